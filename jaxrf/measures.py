"""Measures: what ERF maps say in numbers, as functions of arrays.

    jaxrf.measures.sigma(maps, center=field.center, origin=field.origin)

A measure takes maps and where they lie, and knows nothing of models, samples or files. It is written once for arrays of
NumPy and of JAX: maps of NumPy are measured in float64 on the host; maps of JAX in their own precision, single at least,
within `jit`, `vmap`, `scan` and `shard_map` too.

Arguments, the same for all:

- `maps` (*lead, *spatial), not negative; one, two or three spatial axes, which are the last ones: as many as `center` has
  numbers. All axes before are a batch, each map of which is measured on its own; `jax.vmap` over any of them gives the
  same.
- `center` (d,) or (*lead, d): true centers of the units, input positions, which may be halves. A measure whose number
  depends on it is marked by `about_center`; others take from it the number of axes alone.
- `origin` (d,) or (*lead, d): input positions of element [0, ..., 0] of the maps; zero if it is left out.
- `input_shape`, the spatial shape of the input, for measures that look at its borders; the shape of the maps if None.
- `box` (d, 2) or (*lead, d, 2): theoretical boxes, half-open intervals of input positions, for measures against them.

Lengths come back in input positions, over (*lead,). A map that is zero everywhere, or holds a NaN or an infinity, has no
field: every number measured on it is NaN. So is one with negative entries where it is of JAX, whose values need not be
known; of NumPy, it is an error. Several numbers come as a named tuple.

Derivatives by the maps are right wherever they exist. A measure that moves in steps raises an InputError under `jax.grad`
that names a smooth one. `gaussian` is fitted by SciPy, and raises one within any transformation.
"""

from jaxrf.statistics.measures.area import area_ratio, area_ratio_replknet2022
from jaxrf.statistics.measures.bounds import border_power, coverage
from jaxrf.statistics.measures.concentration import entropy_positions, participation
from jaxrf.statistics.measures.energy import energy_radius, energy_within, energy_within_soft, smallest_area
from jaxrf.statistics.measures.gaussian import GaussianFit, gaussian
from jaxrf.statistics.measures.lattice import dark_phases, unevenness
from jaxrf.statistics.measures.luo import ratio_luo2016, size_luo2016
from jaxrf.statistics.measures.power import peak, total
from jaxrf.statistics.measures.profiles import Axial, Radial, axial, radial, size_half_width
from jaxrf.statistics.measures.spread import anisotropy, center_offset, covariance, kurtosis, orientation, sigma

__all__ = [
    "Axial",
    "GaussianFit",
    "Radial",
    "anisotropy",
    "area_ratio",
    "area_ratio_replknet2022",
    "axial",
    "border_power",
    "center_offset",
    "covariance",
    "coverage",
    "dark_phases",
    "energy_radius",
    "energy_within",
    "energy_within_soft",
    "entropy_positions",
    "gaussian",
    "kurtosis",
    "orientation",
    "participation",
    "peak",
    "radial",
    "ratio_luo2016",
    "sigma",
    "size_half_width",
    "size_luo2016",
    "smallest_area",
    "total",
    "unevenness",
]
