"""Axes of one position that a reshape takes away and a later one gives back: how a field goes on along them meanwhile.

    (batch, 4, 1, channel)     goes on along the axis of one, as it does along that of four
    (batch, 4, channel)        tokens, for attention: one position of the axis that is gone is all that they lie at
    (batch, 4, 1, channel)     goes on along it again

Axes are given back in the reverse order in which they were taken, as brackets close. Where that does not fit, none is given
back; where a window then slides on an axis of one position, it may be that one, and nothing says where elements lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jaxrf.geometry.field import EMPTY_HI, EMPTY_LO, Aside, Continuation, Field


@dataclass(frozen=True)
class Singles:
    """What a relation does to axes of one position.

    Attributes:
        gone: operand axes that the result does not have.
        new: result axes that the operand does not have.
        taken: whether those that are gone can be given back; what is summed over or repeated cannot.
        slid: whether a window slides on such an axis, or where its elements go is not known.
    """

    gone: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    taken: bool = False
    slid: bool = False


def beside(singles: Singles, before: Field, behind: Field) -> Field:
    """The field behind a relation, with what goes on along an axis that is gone, or along one that is given back."""
    if behind.continuation is not None:
        return behind
    old = before.continuation
    if old is not None:
        if not singles.taken or old.cut or old.axis not in singles.gone:
            return behind
        aside = Aside(_endless(old), singles.gone.index(old.axis), len(singles.gone), len(singles.new))
        return replace(behind, aside=aside)
    if before.aside is None:
        return behind
    aside, above = before.aside, before.aside.above - len(singles.gone)
    if singles.new and above == 0 and len(singles.new) == aside.count and aside.endless is not None:
        return replace(behind, continuation=_given_back(aside.endless, singles.new[aside.place], behind))
    if singles.slid:
        return replace(behind, aside=replace(aside, endless=None))
    if above < 0:
        return replace(behind, aside=replace(aside, count=0, above=0))
    return replace(behind, aside=replace(aside, above=above + len(singles.new)))


def _endless(old: Continuation) -> Continuation | None:
    """The same along one axis alone; None where other axes differ."""
    lo, hi = (np.moveaxis(a, old.axis, 0).reshape(old.period, -1) for a in (old.lo, old.hi))
    if old.marginal or (lo != lo[:, :1]).any() or (hi != hi[:, :1]).any():
        return None
    return Continuation(0, old.period, old.step, lo[:, 0], hi[:, 0])


def _given_back(endless: Continuation, axis: int, field: Field) -> Continuation:
    """The same along `axis` of a field, for those of its elements that see something."""
    some = field.lo < field.hi
    shape = [1] * some.ndim
    shape[axis] = endless.period
    lo, hi = endless.lo.reshape(shape), endless.hi.reshape(shape)
    if not some.all():
        lo, hi = np.where(some, lo, EMPTY_LO), np.where(some, hi, EMPTY_HI)
    return replace(endless, axis=axis, lo=lo, hi=hi)
