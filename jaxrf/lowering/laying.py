"""Arrays laid into larger or smaller ones, in the one order that XLA gets right: first cut, then spread and pad.

`lax.pad` cuts where an amount is negative. Where the same pad also puts holes between positions, XLA adds the amounts to
the padding of a convolution or pooling that follows, which then reads what was cut (openxla/xla#48715).
And a convolution that cuts and pads at once reads beyond its image on a CPU (openxla/xla#48713).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

Amounts = Sequence[tuple[int, int, int]]


def laid(x: jax.Array, amounts: Amounts, value: jax.Array | float = 0.0) -> jax.Array:
    """`lax.pad(x, value, amounts)`, whose cuts are slices.

    Args:
        x: any array.
        amounts: (low, high, interior) of each axis.
        value: of what is added.

    >>> laid(jnp.arange(1.0, 5.0), [(-3, 1, 1)]).tolist()
    [0.0, 3.0, 0.0, 4.0, 0.0]
    """
    x, amounts = cut(x, amounts)
    return lax.pad(x, jnp.asarray(value, x.dtype), amounts) if any(map(any, amounts)) else x


def cut(x: jax.Array, amounts: Amounts) -> tuple[jax.Array, Amounts]:
    """`x` without the positions that negative amounts take away whole, and the amounts that are left, none negative.

    Law: lax.pad(x, v, amounts) equals lax.pad(*cut(x, amounts)[:1], v, cut(x, amounts)[1]).
    Along an axis of which nothing is left the amounts stand for its length alone.

    >>> kept, left = cut(jnp.arange(1.0, 5.0), [(-3, 1, 1)])
    >>> kept.tolist(), left
    ([3.0, 4.0], ((1, 1, 1),))
    """
    parts = [kept(n, amount) for n, amount in zip(x.shape, amounts)]
    first, last, left = zip(*parts) if parts else ((), (), ())
    whole = last == x.shape and not any(first)
    return x if whole else lax.slice(x, first, last), left


def kept(n: int, amount: tuple[int, int, int]) -> tuple[int, int, tuple[int, int, int]]:
    """Which positions (first, last) of an axis of `n` are left by `cut`, and the amounts that remain.

    >>> kept(4, (-3, 1, 1)), kept(4, (-7, 2, 0))
    ((2, 4, (1, 1, 1)), (0, 0, (0, 0, 0)))
    """
    low, high, interior = amount
    step, length = interior + 1, (n - 1) * (interior + 1) + 1 if n else 0
    first, last = min(n, -(min(low, 0) // step)), max(0, n + min(high, 0) // step)
    if first >= last:
        return 0, 0, (max(0, length + low + high), 0, interior)
    return first, last, (low + first * step, high + (n - last) * step, interior)
