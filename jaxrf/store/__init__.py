"""Results on disk: a Zarr v3 group, or one npz or NetCDF file. Nothing here runs a model or imports JAX."""

from jaxrf.store.disk import load, save
from jaxrf.store.record import Record, Variable

__all__ = ["Record", "Variable", "load", "save"]
