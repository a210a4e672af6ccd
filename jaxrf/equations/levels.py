"""Known zeros of values that are not known themselves: which attention weights a mask takes away.

An element of an array is taken as an ordinary number plus a *level*, a number that is known: 0, unless a constant was added
or put in its place. A mask is a level far below the others. What an exponential makes of such an element counts as zero.
So a softmax over a row that has an element beside its masked ones gives known zeros; a row that is masked as a whole gives
equal weights, since its maximum is masked too.

    logits + where(mask, 0, -1e9)       levels 0 and -1e9
    minus the maximum of each row       0 and -1e9; all 0 in a row that is masked as a whole
    exp                                 zero where the level is -1e9

What an operation makes of them its rule says (`Operation.known`), with the words of this file.
Arrays have size 1 along axes on which they do not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.equations.program import Equation
from jaxrf.geometry.supports import compact

DEEP = 50.0
"""Levels that lie below all higher ones by this or more are masks: exp(-50) is 2e-22.

Slopes that fall step by step, such as those of ALiBi, have no such gap, and are none.
"""
LOWEST = -1e30
"""The level of minus infinity: low, and sums of it stay finite."""
FLAG = -1e3
"""What is multiplied with a constant this low may become a mask; an exponential of such a level alone is zero."""
LARGEST = 2**24
"""Arrays of more elements are not laid out in full; what is known of them is lost."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of an array's elements.

    Attributes:
        support: where they can be other than zero; None: anywhere.
        level: the known number beside an ordinary one; None: 0.
        masked: whether some of the zeros come from exponentials of masked logits.
        blurred: whether there may be other levels, which were not followed.
        lost: whether there may be other zeros of masks, which were not followed.
        value: the elements themselves, where the array is a constant.
    """

    support: np.ndarray | None = None
    level: np.ndarray | None = None
    masked: bool = False
    blurred: bool = False
    lost: bool = False
    value: np.ndarray | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing is to be said."""
        return self.support is None and self.level is None and not (self.blurred or self.lost)

    @property
    def leveled(self) -> bool:
        """Whether there are levels of an array that is not a constant."""
        return self.value is None and (self.blurred or self.level is not None)

    @property
    def at(self) -> Any:
        """The level as a number."""
        return 0.0 if self.level is None else self.level

    @property
    def somewhere(self) -> Any:
        """The support as flags."""
        return True if self.support is None else self.support


NOTHING = Known()


def constant(value: np.ndarray) -> Known:
    """What is known of a constant: everything. Its level is its value, where that is a level at all."""
    number = value.dtype.kind in "iuf" or value.dtype.name == "bfloat16"
    level = np.nan_to_num(np.asarray(value, np.float64), nan=0.0, posinf=-LOWEST, neginf=LOWEST) if number else None
    return Known(np.asarray(value != 0), None if level is None else np.clip(level, LOWEST, -LOWEST), value=value)


def known(support: Any, level: Any, of: Sequence[Known], blurred: bool = False) -> Known:
    """A result of the operands `of`: with size 1 along axes that do not vary, and None where nothing is to be said."""
    support = None if support is None or np.all(support) else compact(np.asarray(support, bool))
    level = None if level is None or not np.any(np.abs(level) >= DEEP) else compact(np.clip(level, LOWEST, -LOWEST))
    masked = support is not None and any(one.masked for one in of)
    return Known(support, level, masked, blurred or any(x.blurred for x in of), any(x.lost for x in of))


def lost(operands: Sequence[Known]) -> Known:
    """A result that may hold zeros or levels of masks which nobody followed."""
    return Known(blurred=any(x.leveled for x in operands), lost=any(x.lost or x.masked for x in operands))


def above_the_gap(level: np.ndarray) -> np.ndarray:
    """Where levels lie above the highest gap, if there is one; nowhere if all are too low for any number."""
    below = level - max(float(level.max(initial=LOWEST)), FLAG)
    near = below > -DEEP
    if near.all() or not near.any() or below[near].min() - below[~near].max() >= DEEP:
        return near
    steps = np.unique(below)
    gaps = np.flatnonzero(np.diff(steps) >= DEEP)
    return below > steps[gaps[-1]] if len(gaps) else np.ones_like(near)


def rearranged(lay: Callable[[np.ndarray], np.ndarray], x: Known) -> Known:
    """The same elements, laid out in another way by `lay`."""
    support, level = (None if a is None else lay(a) for a in (x.support, x.level))
    return Known(support, level, x.masked, x.blurred, x.lost)


def carried(equation: Equation, operands: Sequence[Known], moved: int, untouched: Sequence[int] = ()) -> Known | None:
    """Elements of the first `moved` operands put elsewhere by the operation itself: levels and zeros go along with them.

    Elements stay where they are along the axes `untouched`, which are of size 1 where nothing varies along them.
    None where the other operands are not known, or where the result is too large.
    """
    others = [x.value for x in operands[moved:]]
    if any(value is None for value in others) or np.prod(equation.result.shape) > LARGEST:
        return None

    def lay(arrays: Sequence[Any]) -> np.ndarray:
        alike = [not any(np.ndim(a) and np.shape(a)[axis] > 1 for a in arrays) for axis in untouched]
        single = {axis for axis, same in zip(untouched, alike) if same}
        shapes = [[1 if a in single else n for a, n in enumerate(v.shape)] for v in equation.operands]
        full = [np.broadcast_to(np.asarray(a, np.float32), shape) for a, shape in zip(arrays, shapes)]
        return np.asarray(equation.evaluate(*full, *others)[0])

    some = operands[:moved]
    support = lay([x.somewhere for x in some]) > 0 if any(x.support is not None for x in some) else None
    level = lay([x.at for x in some]) if any(x.level is not None for x in some) else None
    return known(support, level, some)


def zero_at_zero(operands: Sequence[Known]) -> Known:
    """A function of one number that is zero at zero."""
    (x,) = operands
    return known(x.support, None, operands, blurred=x.leveled)


def summed(operands: Sequence[Known], level: Any) -> Known:
    """Two operands joined in such a way that zeros of both alone are zeros of the result, of a `level` that is known."""
    a, b = operands
    return known(np.logical_or(a.somewhere, b.somewhere), level, operands)
