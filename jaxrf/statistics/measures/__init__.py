"""Measures on ERF maps, one file per family. Importing this package registers them all.

A measure is called by name, `measures["sigma"](maps, center=center)`, or through a result, `result.measure("sigma")`.
`registry` says what all of them have in common.
"""

from jaxrf.statistics.measures import area, concentration, coverage, energy, gaussian, luo, power, profiles, spread
from jaxrf.statistics.measures.registry import measures

__all__ = ["area", "concentration", "coverage", "energy", "gaussian", "luo", "measures", "power", "profiles", "spread"]
