"""Sweeps: products of models, layers, inputs and seeds, run to the end whatever happens on the way."""

from jaxrf.sweeps.specification import Specification, from_dict, read

__all__ = ["Specification", "from_dict", "read"]
