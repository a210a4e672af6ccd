"""Area ratios: how much of the input a centered square must cover to hold a share of the map."""

from __future__ import annotations

import functools
import math

import numpy as np

from jaxrf.statistics.measures.arrays import Array, binned, quotient, rounding
from jaxrf.statistics.measures.energy import within
from jaxrf.statistics.measures.reading import check_share, read
from jaxrf.statistics.measures.registry import about_center, measures
from jaxrf.statistics.measures.uncertainty import Curve, read_off


@measures.register("area_ratio")
@about_center()
@read_off(instead="energy_within_soft")
def area_ratio(
    maps: Array,
    share: float = 0.5,
    *,
    center: Array,
    origin: Array | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Curve:
    """Share of the input area in the smallest centered square that holds `share` of the map; no unit.

    The square (an interval with one axis, a cube with three) is centered on the true center of the unit.
    It holds a position when it covers it fully, and only its part inside the input counts as area.
    Shares are met up to 1e-12 of the sum, its rounding; up to 4e-6 in single precision.

    A single pixel at the center gives `1 / positions`, a flat map about `share`, a zero map NaN.

    Args:
        maps: (*lead, *spatial), windows of the input.
        share: of the sum of the map, in (0, 1].
        center: true centers, input positions.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    Raises:
        InputError: `share` is outside (0, 1].

    Example:
        >>> float(area_ratio(np.ones(9), 0.5, center=np.array([4.0])))  # five of nine positions
        0.5555555555555556

    References:
        Ding et al. (2022), Scaling Up Your Kernels to 31x31 (RepLKNet), the high-contribution area ratio.
        They take squares about the middle of the image on `log10(map + 1)`, which depends on the scale of gradients;
        ours works on the map itself.
    """
    seen = read(maps, center, origin)
    xp = seen.xp
    distance = functools.reduce(xp.maximum, [xp.abs(r) for r in seen.offsets(seen.center)])
    shape = seen.input_shape(input_shape)
    middle, extent = seen.array(seen.place), seen.array(shape)
    near = 1e-9 + 4 * float(np.finfo(extent.dtype).eps) * max(shape)

    def area(radius: Array) -> Array:
        first = xp.maximum(xp.ceil(middle - radius[..., None] - near), 0)
        last = xp.minimum(xp.floor(middle + radius[..., None] + near), extent - 1)
        return xp.prod((last - first + 1) / extent, axis=-1)

    return within(seen, distance, share, area)


@measures.register("area_ratio_replknet2022")
@read_off(instead="energy_within_soft")
def area_ratio_replknet2022(
    maps: Array,
    share: float = 0.5,
    *,
    center: Array,
    origin: Array | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Curve:
    """RepLKNet's high-contribution area ratio: on `log10(map + 1)`, about the middle of the image; no unit.

    Squares have the odd sides 3, 5, 7, ... about position `n // 2` of each axis of the input; the first whose sum
    exceeds `share` of the whole counts, as `(side / n)^2`; NaN where none does, as with `share` 1.
    The maps are the sums of `relu(gradient)` over channels and images of the protocol: another scale, another number.
    `center` gives the number of axes only. On a grid with unequal sides the area is over the product of the sides.

    A single pixel in the middle gives `9 / positions`, a flat map the first odd square above `share`, a zero map NaN.

    Args:
        maps: (*lead, *spatial), windows of the input; outside of them the map is zero.
        share: of the sum of `log10(map + 1)`, in (0, 1].
        center: true centers, input positions.
        origin: input position of element [0, ..., 0] of the maps; by default the input's own.
        input_shape: spatial shape of the input; by default the shape of the maps.

    References:
        Ding et al. (2022), Scaling Up Your Kernels to 31x31, and the authors' erf/analyze_erf.py,
        which also stops before the square that would touch the far side: so does this.
    """
    seen = read(maps, center, origin)
    xp, extent = seen.xp, seen.input_shape(input_shape)
    logarithms = seen.flat(xp.log10(seen.maps + 1))
    # Distance from the middle in whole positions, the largest over the axes: a square is what lies within one.
    distance = [xp.abs(r) for r in seen.offsets(np.array([n // 2 for n in extent]) - seen.first)]
    largest = max(min(extent) // 2 - 1, 0)
    square = xp.minimum(seen.flat(functools.reduce(xp.maximum, distance)), largest + 1).astype(int)
    inside = xp.cumsum(binned(lambda bins: bins, square, logarithms, largest + 2), axis=-1)
    whole = inside[..., -1:]
    alive = seen.alive[..., None] & xp.isfinite(whole) & (whole > 0)
    level = quotient(inside[..., 1 : largest + 1], whole, alive, np.nan)
    area = seen.array((2 * np.arange(largest) + 3.0) ** seen.d / math.prod(extent))
    return Curve(level, area, check_share(share) + 2 * rounding(level))  # it is to be exceeded
