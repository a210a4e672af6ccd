"""Measures: what ERF maps say in numbers, one file for each family; `jaxrf.measures` is their public face.

Takes maps and where they lie, arrays of NumPy or of JAX, and gives numbers; knows nothing of models, samples or files.
Arguments and conventions are those of `jaxrf.measures`, the same for all.

To add a measure: write one function in the file of its family, with the arguments above, its own options after `maps`,
and what it gives for a flat map, a single pixel and a zero map in its docstring; read the maps with `reading.read`; let it
stand under `measures.register` with its own name; declare what is known of its error (`uncertainty`), that it is about
the center (`about_center`), or that it moves in steps (`in_steps`); where it is read off a curve, return that `Curve`
under `read_off`, which declares both; import it here and in `jaxrf/measures.py`, and run
`python docs/generate_measures.py`. `tests/measures/` holds it to its laws by itself.
"""

from jaxrf.statistics.measures import (
    area,
    bounds,
    concentration,
    energy,
    gaussian,
    lattice,
    luo,
    power,
    profiles,
    spread,
)
from jaxrf.statistics.measures.registry import measures

__all__ = [
    "area",
    "bounds",
    "concentration",
    "energy",
    "gaussian",
    "lattice",
    "luo",
    "measures",
    "power",
    "profiles",
    "spread",
]
