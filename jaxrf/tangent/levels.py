"""Known zeros of values that are not known themselves: which attention weights a mask takes away.

An element of an array is taken as an ordinary number plus a *level*, a number that is known: 0, unless a constant was added
or put in its place. A mask is a level far below the others. What an exponential makes of such an element counts as zero.
So a softmax over a row that has an element beside its masked ones gives known zeros; a row that is masked as a whole gives
equal weights, since its maximum is masked too.

    logits + where(mask, 0, -1e9)       levels 0 and -1e9
    minus the maximum of each row       0 and -1e9; all 0 in a row that is masked as a whole
    exp                                 zero where the level is -1e9

Each function below says this for one family of operations. Arrays have size 1 along axes on which they do not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf.geometry.supports import compact
from jaxrf.tangent.einsum import letters
from jaxrf.tangent.program import Equation
from jaxrf.tangent.tap import TAP

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
        """Whether there are levels of an array that is no constant."""
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


Family = Callable[[Equation, Sequence[Known]], Known | None]
FAMILIES: dict[str, Family] = {}
SOURCES = frozenset({
    "add", "add_any", "concatenate", "dynamic_update_slice", "max", "min", "mul", "pad", "scatter", "scatter-add",
    "scatter-mul", "select_n", "sub",
})  # fmt: skip
"""Operations that bring zeros or levels of constants into arrays of which nothing is known yet."""


def family(*names: str) -> Callable[[Family], Family]:
    """Enters a function for the operations `names`."""

    def enter(function: Family) -> Family:
        FAMILIES.update(dict.fromkeys(names, function))
        return function

    return enter


def after(equation: Equation, operands: Sequence[Known]) -> list[Known]:
    """What is known of the results of an equation; what no family follows is lost, and that is kept in mind."""
    if equation.primitive == "optimization_barrier":
        return list(operands)
    if equation.result.dtype.kind == "b":
        return [NOTHING] * len(equation.results)
    found = FAMILIES[equation.primitive](equation, operands) if equation.primitive in FAMILIES else None
    found = lost(operands) if found is None else found
    support, level = (_of_rank(a, len(equation.result.shape)) for a in (found.support, found.level))
    return [replace(found, support=support, level=level)] * len(equation.results)


def _of_rank(array: np.ndarray | None, rank: int) -> np.ndarray | None:
    """A number, as of an operand that is broadcast, with the axes of the result."""
    return array.reshape([1] * rank) if array is not None and not array.ndim else array


def lost(operands: Sequence[Known]) -> Known:
    """A result that may hold zeros or levels of masks which nobody followed."""
    return Known(blurred=any(x.leveled for x in operands), lost=any(x.lost or x.masked for x in operands))


@family(
    "convert_element_type", "copy", "name", "real", "reduce_precision", "sharding_constraint", "stop_gradient", TAP,
)  # fmt: skip
def _passed_on(equation: Equation, operands: Sequence[Known]) -> Known:
    return operands[0]


@family("neg")
def _turned(equation: Equation, operands: Sequence[Known]) -> Known:
    (x,) = operands
    return known(x.support, -x.at, operands)


@family(
    "abs", "asin", "asinh", "atan", "cbrt", "ceil", "conj", "erf", "expm1", "floor", "imag", "log1p", "round", "sign", "sin",
    "sinh", "sqrt", "square", "tan", "tanh",
)  # fmt: skip
def _zero_stays_zero(equation: Equation, operands: Sequence[Known]) -> Known:
    """Functions of one number that are zero at zero."""
    (x,) = operands
    return known(x.support, None, operands, blurred=x.leveled)


@family("integer_pow")
def _power(equation: Equation, operands: Sequence[Known]) -> Known | None:
    return _zero_stays_zero(equation, operands) if equation.params["y"] > 0 else None


@family("exp", "exp2", "logistic")
def _exponential(equation: Equation, operands: Sequence[Known]) -> Known:
    """Zero where the level lies deep below all others that are no masks."""
    (x,) = operands
    support = None if x.level is None else known(_above_the_gap(x.level), None, ()).support
    return Known(support, None, support is not None, lost=x.lost or x.blurred)


def _above_the_gap(level: np.ndarray) -> np.ndarray:
    """Where levels lie above the highest gap, if there is one; nowhere if all are too low for any number."""
    below = level - max(float(level.max(initial=LOWEST)), FLAG)
    near = below > -DEEP
    if near.all() or not near.any() or below[near].min() - below[~near].max() >= DEEP:
        return near
    steps = np.unique(below)
    gaps = np.flatnonzero(np.diff(steps) >= DEEP)
    return below > steps[gaps[-1]] if len(gaps) else np.ones_like(near)


@family("log")
def _logarithm(equation: Equation, operands: Sequence[Known]) -> Known:
    (x,) = operands
    level = None if x.support is None else np.where(x.support, 0.0, LOWEST)
    return known(None, level, operands, blurred=x.leveled)


@family("add", "add_any")
def _sum(equation: Equation, operands: Sequence[Known]) -> Known:
    a, b = operands
    return known(np.logical_or(a.somewhere, b.somewhere), a.at + b.at, operands)


@family("sub")
def _difference(equation: Equation, operands: Sequence[Known]) -> Known:
    a, b = operands
    return known(np.logical_or(a.somewhere, b.somewhere), a.at - b.at, operands)


@family("mul")
def _product(equation: Equation, operands: Sequence[Known]) -> Known:
    """Zero where a factor is. A level times a constant is one again; times anything else it is not followed."""
    a, b = operands if operands[1].value is not None else operands[::-1]
    support = np.logical_and(a.somewhere, b.somewhere)
    if b.value is None or b.level is None:
        return known(support, None, operands, blurred=a.leveled or b.leveled)
    if a.level is None:  # flags of ones and zeros times such a number are a mask
        return known(support, None, operands, blurred=bool((b.level <= FLAG).any()))
    return known(support, a.level * b.level, operands)


@family("div")
def _quotient(equation: Equation, operands: Sequence[Known]) -> Known:
    a, b = operands
    if a.level is None or b.value is None or b.level is None or not b.level.all():
        return known(a.support, None, operands, blurred=a.leveled or b.leveled)
    return known(a.support, a.level / b.level, operands)


@family("max")
def _larger(equation: Equation, operands: Sequence[Known]) -> Known:
    a, b = operands
    return known(np.logical_or(a.somewhere, b.somewhere), np.maximum(a.at, b.at), operands)


@family("min")
def _smaller(equation: Equation, operands: Sequence[Known]) -> Known:
    a, b = operands
    return known(np.logical_or(a.somewhere, b.somewhere), np.minimum(a.at, b.at), operands)


@family("clamp")
def _clamped(equation: Equation, operands: Sequence[Known]) -> Known | None:
    low, x, high = operands
    if low.value is None or high.value is None:
        return None
    return known(None, np.clip(x.at, low.at, high.at), operands)


@family("select_n")
def _selected(equation: Equation, operands: Sequence[Known]) -> Known:
    """One case or another; where it is not known which, what is known of all of them."""
    which, *cases = operands
    supports, levels = [case.somewhere for case in cases], [case.at for case in cases]
    if which.value is not None:
        places = [np.asarray(which.value.astype(np.int64) == i) for i in range(len(cases))]
        return known(np.select(places, supports), np.select(places, levels), cases)
    highest, lowest = np.maximum.reduce(np.broadcast_arrays(*levels)), np.minimum.reduce(np.broadcast_arrays(*levels))
    found = known(np.logical_or.reduce(np.broadcast_arrays(*supports)), highest, cases)
    return replace(found, blurred=found.blurred or bool((highest - lowest >= DEEP).any()))


@family("reduce_sum")
def _added_up(equation: Equation, operands: Sequence[Known]) -> Known:
    """Zero where all terms are. The sum of a row does not know any more that some of its terms were lost."""
    (x,), axes = operands, tuple(map(int, equation.params["axes"]))
    support = None if x.support is None else x.support.any(axis=axes)
    return Known(known(support, None, operands).support, None, x.masked, blurred=x.leveled)


@family("reduce_max")
def _largest(equation: Equation, operands: Sequence[Known]) -> Known:
    (x,), axes = operands, tuple(map(int, equation.params["axes"]))
    support = None if x.support is None else x.support.any(axis=axes)
    return known(support, None if x.level is None else x.level.max(axis=axes), operands)


@family("cumsum")
def _running_sum(equation: Equation, operands: Sequence[Known]) -> Known:
    (x,), axis = operands, equation.params["axis"]
    if x.support is None:
        return known(None, None, operands, blurred=x.leveled)
    full = [size if a == axis else n for a, (n, size) in enumerate(zip(x.support.shape, equation.result.shape))]
    support = np.broadcast_to(x.support, full)
    turn = (slice(None),) * axis + (slice(None, None, -1 if equation.params["reverse"] else 1),)
    return known(np.logical_or.accumulate(support[turn], axis)[turn], None, operands, blurred=x.leveled)


@family("dot_general")
def _matrix_product(equation: Equation, operands: Sequence[Known]) -> Known:
    """Zero where all products of elements are."""
    left, right, result = letters(equation.params["dimension_numbers"], *(len(v.shape) for v in equation.operands))
    factors = [
        np.ones([1] * len(v.shape), np.float32) if x.support is None else x.support.astype(np.float32)
        for v, x in zip(equation.operands, operands)
    ]
    support = np.einsum(f"{left},{right}->{result}", *factors, optimize=True) > 0
    found = known(support, None, operands)
    return Known(found.support, None, found.masked, blurred=any(x.leveled for x in operands))


@family("conv_general_dilated", "ragged_dot_general")
def _windows_added_up(equation: Equation, operands: Sequence[Known]) -> Known:
    return Known(blurred=any(x.leveled for x in operands), lost=any(x.masked for x in operands))


@family("broadcast_in_dim")
def _repeated(equation: Equation, operands: Sequence[Known]) -> Known:
    places = tuple(map(int, equation.params["broadcast_dimensions"]))

    def lay(a: np.ndarray | None) -> np.ndarray | None:
        shape = [1] * len(equation.result.shape)
        for axis, place in enumerate(places):
            shape[place] = a.shape[axis] if a is not None else 1
        return None if a is None else a.reshape(shape)

    return _rearranged(lay, operands[0])


@family("transpose")
def _transposed(equation: Equation, operands: Sequence[Known]) -> Known:
    return _rearranged(lambda a: None if a is None else a.transpose(equation.params["permutation"]), operands[0])


@family("squeeze", "reshape")
def _reshaped(equation: Equation, operands: Sequence[Known]) -> Known | None:
    """Axes that do not vary stay of size 1 where they can; the array is laid out in full where they are mixed."""
    shape, out = equation.operands[0].shape, equation.result.shape
    if equation.params.get("dimensions") is not None and equation.primitive == "reshape":
        return None

    def lay(a: np.ndarray | None) -> np.ndarray | None:
        return None if a is None else compact(np.broadcast_to(a, shape).reshape(out))

    return _rearranged(lay, operands[0]) if np.prod(shape) <= LARGEST else None


@family(
    "concatenate", "dynamic_slice", "expand_dims", "gather", "index", "pad", "rev", "slice", "stack", "tile",
)  # fmt: skip
def _moved(equation: Equation, operands: Sequence[Known]) -> Known | None:
    """Elements that are only put elsewhere: levels and zeros go along with them."""
    moved = 1 if equation.primitive in ("dynamic_slice", "gather") else len(operands)
    others = [x.value for x in operands[moved:]]
    if any(value is None for value in others) or np.prod(equation.result.shape) > LARGEST:
        return None

    def lay(arrays: Sequence[Any]) -> np.ndarray:
        alike = [not any(np.ndim(a) and np.shape(a)[axis] > 1 for a in arrays) for axis in untouched]
        single = {axis for axis, same in zip(untouched, alike) if same}
        shapes = [[1 if a in single else n for a, n in enumerate(v.shape)] for v in equation.operands]
        full = [np.broadcast_to(np.asarray(a, np.float32), shape) for a, shape in zip(arrays, shapes)]
        return np.asarray(equation.evaluate(*full, *others)[0])

    untouched, some = _untouched(equation), operands[:moved]
    support = lay([x.somewhere for x in some]) > 0 if any(x.support is not None for x in some) else None
    level = lay([x.at for x in some]) if any(x.level is not None for x in some) else None
    return known(support, level, some)


def _untouched(equation: Equation) -> list[int]:
    """Axes along which elements stay where they are, where that is seen from the parameters."""
    axes = range(len(equation.result.shape))
    if equation.primitive == "pad":
        return [a for a in axes if not any(equation.params["padding_config"][a])]
    return [a for a in axes if a != equation.params["dimension"]] if equation.primitive == "concatenate" else []


@family("dynamic_update_slice", "scatter", "scatter-add", "scatter-mul")
def _written(equation: Equation, operands: Sequence[Known]) -> Known | None:
    """Elements written among others at known places: sums, products and copies of flags say where none is."""
    scattered = equation.primitive.startswith("scatter")
    into, new, places = (0, 2, [1]) if scattered else (0, 1, range(2, len(operands)))
    indices = [operands[i].value for i in places]
    some = [operands[into], operands[new]]
    if any(index is None for index in indices) or np.prod(equation.result.shape) > LARGEST:
        return None
    if all(x.support is None for x in some):
        return known(None, None, some, blurred=any(x.leveled for x in some))

    def flags(i: int) -> np.ndarray:
        operand = equation.operands[i]
        return np.broadcast_to(operands[i].somewhere, operand.shape).astype(operand.dtype)

    order = [flags(into), *indices, flags(new)] if scattered else [flags(into), flags(new), *indices]
    return known(np.asarray(equation.evaluate(*order)[0] != 0), None, some, blurred=any(x.leveled for x in some))


def _rearranged(lay: Callable[[np.ndarray | None], np.ndarray | None], x: Known) -> Known:
    return Known(lay(x.support), lay(x.level), x.masked, x.blurred, x.lost)
