"""Effective numbers of positions: over how many positions a map is spread, wherever they lie."""

from __future__ import annotations

from jaxtyping import Float

from jaxrf.statistics.measures.arrays import Array
from jaxrf.statistics.measures.reading import read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty


@measures.register("participation")
@uncertainty(Uncertainty(scale="log", corrected=True))
def participation(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Participation ratio `(sum A)^2 / sum A^2`: the effective number of positions that share the map.

    A round Gaussian in two dimensions has `4 pi sigma^2`.
    A flat map gives its number of positions, a single pixel 1, a zero map NaN.
    Speckle lowers it: a map with exponentially distributed noise gives half of what its mean gives.

    Example:
        >>> float(participation([1.0, 1.0, 0.0], center=[1.0]))
        2.0

    References:
        Bell, Dean (1970), Atomic vibrations in vitreous silica: the inverse of their participation ratio per position.
    """
    seen = read(maps, center, origin)
    return 1 / seen.sum(seen.shares * seen.shares)


@measures.register("entropy_positions")
@uncertainty(Uncertainty(scale="log", corrected=True))
def entropy_positions(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Exponential of the entropy of the map, in nats: the effective number of positions that share it.

    Tails weigh more than in the participation ratio. A round Gaussian in two dimensions has `2 pi e sigma^2`.
    A flat map gives its number of positions, a single pixel 1, a zero map NaN.
    Its derivative by an entry that is zero is infinite, and counts as that of an entry that stays zero.

    Example:
        >>> round(float(entropy_positions([[1, 1, 1], [1, 1, 1]], center=[0, 1])), 9)
        6.0

    References:
        Hill (1973), Diversity and Evenness, the number of order one; the participation ratio is that of order two.
    """
    seen = read(maps, center, origin)
    logarithm = seen.xp.log(seen.xp.where(seen.shares > 0, seen.shares, 1.0))
    return seen.xp.exp(-seen.sum(seen.shares * logarithm))
