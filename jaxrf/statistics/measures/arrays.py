"""What measures need where arrays of NumPy and of JAX differ.

Everything else is written once, in the words of the array API that both share.
JAX is imported by a call that was handed an array of JAX, and by no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrf.errors import InputError

Array = Any
"""Of NumPy or of JAX."""


def namespace(*arrays: Any) -> Any:
    """`jax.numpy` if any of `arrays` is of JAX, traced or not; else `numpy`, also for lists, numbers and None."""
    for array in arrays:
        if hasattr(array, "__array_namespace__") and (found := array.__array_namespace__()) is not np:
            return found
    return np


def is_traced(*arrays: Any) -> bool:
    """Whether the values of any of `arrays` are not known: within `jit`, `vmap`, `grad` and `scan`."""
    if namespace(*arrays) is np:
        return False
    from jax.core import Tracer

    return any(isinstance(array, Tracer) for array in arrays)


def known(**options: Any) -> None:
    """Check that options are plain numbers.

    Raises:
        InputError: one of them is traced.
    """
    for name, value in options.items():
        if is_traced(*value) if isinstance(value, tuple | list) else is_traced(value):
            raise InputError(
                f"{name!r} of a measure came as a traced array. It has to be known when a program is made: "
                f"close over it, or name it in static_argnames of jax.jit."
            )


def rounding(array: Any) -> float:
    """How closely sums of shares of one are known in the precision of `array`: 1e-12 in double, 4e-6 in single."""
    return max(1e-12, 32 * float(np.finfo(array.dtype).eps))


def quotient(above: Any, below: Any, where: Any, otherwise: float) -> Any:
    """`above / below` where `where`, else `otherwise`; with the derivative of the one that is taken."""
    xp = namespace(above, below)
    return xp.where(where, above / xp.where(where, below, 1.0), otherwise)


def root(square: Any) -> Any:
    """The square root; its derivative at zero, which does not exist, counts as zero."""
    xp = namespace(square)
    zero = square == 0
    return xp.where(zero, 0.0, xp.sqrt(xp.where(zero, 1.0, square)))


def binned(bins: Callable[[Any], Any], of: Any, values: Any, n: int) -> Any:
    """Sums of `values` (*lead, position) by the bins (*lead, position) that their positions fall into, (*lead, n).

    Args:
        bins: from `of` to whole numbers; positions in bins from `n` on are left out.
        of: (*lead, k), what the bins are made of. Those of NumPy are made and held for one map after the other.
        values: (*lead, position).
        n: how many bins there are.
    """
    xp, lead = namespace(of, values), values.shape[:-1]
    if xp is not np:
        return _one_by_one(bins(of), xp.asarray(values), n)
    pairs = zip(of.reshape(-1, of.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    return np.array([np.bincount(bins(row), weights=own, minlength=n)[:n] for row, own in pairs]).reshape(*lead, n)


def _one_by_one(bins: Any, values: Any, n: int) -> Any:
    """The same for JAX, a pass over the maps for each bin: all at once would hold (bin, position) for each of them.

    A scatter, one pass, does not know where it is on meshes of explicit axes, and takes its entries in turn elsewhere.
    """
    from jax import checkpoint, lax

    xp = namespace(values)
    one = checkpoint(lambda number: xp.where(bins == number, values, 0).sum(-1))
    return xp.moveaxis(lax.map(one, xp.arange(n)), 0, -1)
