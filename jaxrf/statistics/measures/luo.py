"""The size of Luo et al. (2016): how many positions stand out against the peak."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxrf.statistics.measures.arrays import Array, quotient
from jaxrf.statistics.measures.reading import Reading, read
from jaxrf.statistics.measures.registry import measures
from jaxrf.statistics.measures.steps import in_steps
from jaxrf.statistics.measures.uncertainty import Uncertainty, uncertainty

THRESHOLD = 1 - 0.9545
COUNTS_NOISE = Uncertainty(
    missing="it counts entries above a part of the peak, and noise moves both by more than their errors tell."
)


@measures.register("size_luo2016")
@uncertainty(COUNTS_NOISE)
@in_steps(instead="sigma")
def size_luo2016(maps: Array, *, center: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Side of a square with as many positions as are above 4.55 % of the peak, in input positions.

    The square root of that number; the d-th root with d spatial axes.
    The paper calls what is above `1 - 95.45 %` of the peak the part within two standard deviations.
    It is not: a Gaussian falls to 4.55 % of its peak at `sqrt(2 ln(1 / 0.0455)) = 2.49` standard deviations,
    so in two dimensions this is the root of a disk's area, `sqrt(pi) * 2.49 sigma = 4.41 sigma`.
    It counts noise: with few samples, entries of a speckled map fall below the threshold at random.

    A flat map gives the root of its number of positions, a single pixel gives 1, a zero map NaN.

    Example:
        >>> float(size_luo2016(np.array([[0.0, 1.0], [0.5, 0.01]]), center=np.zeros(2))) == 2**0.5
        True

    References:
        Luo, Li, Urtasun, Zemel (2016), Understanding the Effective Receptive Field in Deep CNNs, section 3.
        Ours takes the score as it is given; the paper does not say whether the square or its root is counted.
        Theirs is the share of the value at the center point, ours that of the peak: the same where a map peaks there.
    """
    return _side(read(maps, center, origin))


def _side(seen: Reading) -> Array:
    peak = seen.shares.max(seen.axes, keepdims=True)
    count = (seen.shares > THRESHOLD * peak).sum(seen.axes)
    return seen.xp.where(seen.alive, seen.array(count) ** (1 / seen.d), np.nan)


@measures.register("ratio_luo2016")
@uncertainty(COUNTS_NOISE)
@in_steps(instead="sigma")
def ratio_luo2016(maps: Array, *, center: Array, box: Array, origin: Array | None = None) -> Float[Array, "*lead"]:
    """Luo's size divided by the side of the theoretical box (the d-th root of its area); no unit.

    A flat map over the whole box gives 1, a single pixel one over the side;
    a zero map and an empty box give NaN.

    References:
        Luo et al. (2016), figure 2 right. Theirs is the unclipped theoretical size; `box` may be either.
    """
    seen = read(maps, center, origin, box)
    box = seen.array(box)
    side = seen.xp.prod(box[..., 1] - box[..., 0], axis=-1) ** (1 / seen.d)
    return quotient(_side(seen), side, side > 0, np.nan)
