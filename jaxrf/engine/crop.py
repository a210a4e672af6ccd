"""The part of the image that a set of units needs, where leaving out the rest is exact.

What a unit's gradient needs is more than where it flows to: its coefficients are values, and values may depend on
places from which no derivative comes (behind `stop_gradient`, say). So the forward pass is interpreted too,
with the same relations, and the crop holds every place on which a coefficient inside a window depends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxrf.engine.windows import Step, Windows
from jaxrf.equations.program import Equation, Operand, TangentProgram, Variable
from jaxrf.geometry.field import Field
from jaxrf.geometry.merge import merge, source
from jaxrf.interpret.fields import Boxes
from jaxrf.interpret.geometry import Geometry
from jaxrf.primitives import rules
from jaxrf.primitives.operation import Kind, about
from jaxrf.primitives.rule import Span, Spans

Fields = tuple[Field, ...]

ROUNDING = 64
"""Units in the last place of the largest entry by which the same matrix, made for two sizes, may differ."""


@dataclass(frozen=True)
class Crop:
    """Half-open intervals of the image, one per spatial axis; or None and the reason why the image is run whole.

    `needed` are the places that values come from, in the order of the pull-back's coefficients.
    """

    box: tuple[tuple[int, int], ...] | None
    why: str
    needed: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return f"crop to {self.box}" if self.box else f"whole image: {self.why}"


def find_crop(program: TangentProgram, windows: Windows, spatial: tuple[int, ...], step: tuple[int, ...]) -> Crop:
    """The smallest exact crop of the image for the units of a plan.

    Args:
        program: traced on the whole image.
        windows: the windows of all units.
        spatial: the image's spatial axes.
        step: per spatial axis, how far the whole network moves in one period of all its layers; a crop starts at a
            multiple of it, and has the image's length modulo it, so that strides and SAME paddings fall as before.
    """
    extents = [program.image.shape[a] for a in spatial]
    fields = value_fields(program, windows)
    if isinstance(fields, str):
        return Crop(None, fields)
    needed = _places(fields, windows, spatial)
    lows = [min([n, *(lo for lo, _ in needed[i :: len(spatial)])]) for i, n in enumerate(extents)]
    highs = [max([0, *(hi for _, hi in needed[i :: len(spatial)])]) for i in range(len(spatial))]
    region = windows.regions[windows.source]
    box = []
    for i, (a, n, s) in enumerate(zip(spatial, extents, step)):
        if windows.source is program.input:
            lo, hi = _reach(region[a], windows)
            lows[i], highs[i] = min(lows[i], lo), max(highs[i], hi)
        wide = (
            region[a].size + 1 if region[a].moving else 0
        )  # so that maps have the shape that they have on the whole image
        lo = max(0, min(lows[i], n - wide)) // s * s
        hi = min(n, max(highs[i], lo + wide))
        hi = min(n, hi + (n - hi) % s)
        box.append((lo, hi))
    if all(hi - lo >= n * 0.9 for (lo, hi), n in zip(box, extents)):
        return Crop(None, "the units' fields cover it")
    return Crop(tuple(box), "", tuple(needed))


def same_places(crop: Crop, cropped: TangentProgram, moved: Windows, spatial: tuple[int, ...]) -> bool:
    """Whether coefficients come from the same places of the image on the crop as on the whole image.

    Those of a slice at a fixed place, as of a token or a corner, do not: on the crop that is another place.
    """
    fields = value_fields(cropped, moved)
    if isinstance(fields, str) or crop.box is None:
        return False
    found = _places(fields, moved, spatial)
    shifts = [lo for lo, _ in crop.box] * (len(found) // len(spatial))
    there = [(lo + shift, hi + shift) for (lo, hi), shift in zip(found, shifts)]
    return len(there) == len(crop.needed) and all(
        mine == theirs or (mine[0] >= mine[1] and theirs[0] >= theirs[1]) for mine, theirs in zip(crop.needed, there)
    )


def _places(fields: Mapping[Variable, Fields], windows: Windows, spatial: tuple[int, ...]) -> list[tuple[int, int]]:
    """The hull of the places that each coefficient of a step depends on, one per spatial axis."""
    return [
        _needed(fields[operand][a], window, windows)
        for step in windows.steps
        for operand in step.equation.operands
        if isinstance(operand, Variable) and operand in fields
        for window in _windows_of(operand, step, windows.regions[step.equation.result])
        for a in spatial
    ]


def value_fields(program: TangentProgram, windows: Windows) -> Mapping[Variable, Fields] | str:
    """The places of the image that each coefficient's value depends on, or a reason why they are not known."""
    shape = program.image.shape
    fields: dict[Variable, Fields] = {program.image: tuple(source(shape, a) for a in range(len(shape)))}
    for eqn in program.needed(windows.coefficients()):
        used = [i for i, v in enumerate(eqn.operands) if v in fields]
        if about(eqn.primitive).kind is Kind.DRAW:
            return f"{eqn.primitive} draws at random over the whole array"
        if not used:
            continue
        for number, result in enumerate(eqn.results):
            joined: Fields | None = None
            for i in used:
                link = about(eqn.primitive).values(eqn, i, number)
                if link is None:
                    return f"it is not known on which places the values of {eqn.primitive} {eqn.where()} depend"
                pushed = tuple(link.push(f) for f in fields[eqn.operands[i]])  # type: ignore[index]
                joined = pushed if joined is None else tuple(map(merge, joined, pushed))
            assert joined is not None
            fields[result] = joined
    return fields


def _windows_of(operand: Variable, step: Step, out: Spans) -> list[Spans | None]:
    """The windows on which a step reads a coefficient, one for each tangent that it pulls to and each time it stands there."""
    rule, eqn = rules[step.equation.primitive], step.equation
    places = [j for j, v in enumerate(eqn.operands) if v is operand]
    return [rule.reads(eqn, i, j, out, into) for i, into in step.into.items() for j in places]


def _needed(field: Field, spans: tuple[Span, ...] | None, windows: Windows) -> tuple[int, int]:
    """The hull of a field over all windows of a coefficient; over the whole coefficient where it has none."""
    lo, hi = field.lo, field.hi
    for axis in range(lo.ndim):
        if spans is None or lo.shape[axis] == 1:
            continue
        first, last = _reach(spans[axis], windows)
        cut = tuple(slice(max(0, first), last) if a == axis else slice(None) for a in range(lo.ndim))
        lo, hi = lo[cut], hi[cut]
    return (int(lo.min()), int(hi.max())) if lo.size else (field.extent, 0)


def _reach(span: Span, windows: Windows) -> tuple[int, int]:
    """The first and the last position that any unit's window holds."""
    if span.start is None:
        return 0, span.extent
    lo, hi = windows.starts.bounds(span.start)
    return lo, hi + span.size


def total_step(found: Boxes, passed: Iterable[Variable], spatial: tuple[int, ...]) -> tuple[int, ...] | None:
    """Per spatial axis, the least common multiple of the steps of the variables passed; None where one has none."""
    steps = [1] * len(spatial)
    for fields in (found.fields[v] for v in passed):
        for i, a in enumerate(spatial):
            c = fields[a].continuation
            if c is None or not c.step:
                return None
            steps[i] = math.lcm(steps[i], abs(c.step))
    return tuple(steps)


def same_boxes(whole: Windows, cropped: Windows, shift: tuple[int, ...], spatial: tuple[int, ...]) -> bool:
    """Whether two plans are the same but for where their windows start on the image, which differs by `shift`."""
    if len(whole.steps) != len(cropped.steps):
        return False
    for a, b in zip(whole.steps, cropped.steps):
        if a.equation.primitive != b.equation.primitive:
            return False
        mine, theirs = whole.regions[a.equation.result], cropped.regions[b.equation.result]
        moving = [(x, y) for x, y in zip(mine, theirs) if x.moving and y.moving]
        if any(x.size != y.size or (_outside(whole, x) != _outside(cropped, y)).any() for x, y in moving):
            return False
    mine, theirs = whole.regions[whole.source], cropped.regions[cropped.source]
    for i, axis in enumerate(spatial):
        x, y = mine[axis], theirs[axis]
        if x.moving != y.moving:
            return False
        if x.moving:
            moved = whole.starts.rows[x.start] - cropped.starts.rows[y.start]  # type: ignore[index]
            if x.size != y.size or (moved != shift[i]).any():
                return False
    return bool(np.all(np.array(shift) >= 0))


def _outside(windows: Windows, span: Span) -> np.ndarray:
    """(2, unit): by how much each window leaves its array, before and behind."""
    assert span.start is not None
    starts = windows.starts.rows[span.start]
    return np.maximum(0, [-starts, starts + span.size - span.extent])


def same_constants(
    geometry: Geometry, windows: Windows, cropped: TangentProgram, moved: Windows, box: Sequence[tuple[int, int]]
) -> bool:
    """Whether two plans compute with the same constants, where these meet what depends on the image.

    Models may compute with the size of their input or with coordinates; on a crop those are others.
    Constants of two sizes count as the same where each is one number throughout, or where they are met place by place
    and agree at all places that see the crop alone: the number of pixels in a window is less at the border.
    Indices, which steer, are left to `same_boxes`; matrices of products, such as those of a resize, agree but for rounding.
    """
    whole, spatial = geometry.program, geometry.spatial
    used = [
        [*program.needed(found.coefficients()), *(step.equation for step in found.steps)]
        for program, found in ((whole, windows), (cropped, moved))
    ]
    if len(used[0]) != len(used[1]):
        return False
    fields: Mapping[Variable, Fields] | None = None
    free = _free(whole), _free(cropped)
    for mine, theirs in zip(*used):
        if mine.primitive != theirs.primitive or len(mine.operands) != len(theirs.operands):
            return False
        known = list(zip(_constants(whole, mine, free[0]), _constants(cropped, theirs, free[1])))
        if all(a is not None for a, _ in known):
            continue
        for i, (a, b) in enumerate(known):
            what = about(mine.primitive)
            if _same(a, b) or (what.steers(mine, i) and what.letters(mine, i) is None):
                continue
            fields = fields or _seen(geometry, windows)
            if a is None or b is None:
                return False
            pair, places = ((mine, a), (theirs, b)), (fields, box, spatial)
            if not (_same_inside(*pair, *places) if what.letters(mine, i) is None else _same_matrix(*pair, i, *places)):
                return False
    return True


def _free(program: TangentProgram) -> set[Operand]:
    """What is made of the image, the weights or chance: all but constants."""
    found: set[Operand] = {program.image, *program.arguments}
    for eqn in program.forward:
        if about(eqn.primitive).kind is Kind.DRAW or any(v in found for v in eqn.operands):
            found.update(eqn.results)
    return found


def _constants(program: TangentProgram, eqn: Equation, free: set[Operand]) -> list[np.ndarray | None]:
    """The constants among the operands of an equation.

    Of one that is too large to be evaluated it is the number that it repeats; or NaN, which equals nothing.
    """
    found = []
    for i, operand in enumerate(eqn.operands):
        value = eqn.known(i)
        if value is None and isinstance(operand, Variable) and not operand.tangent and operand not in free:
            value = program.consts.get(operand, eqn.number(i))
            value = np.asarray(np.nan if value is None else value)
        found.append(value)
    return found


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is None and b is None
    if a.shape == b.shape != ():
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return a.size > 0 and b.size > 0 and bool((a == a.flat[0]).all() and (b == a.flat[0]).all())


def _seen(geometry: Geometry, windows: Windows) -> Mapping[Variable, Fields]:
    """The places of the image that values and derivatives depend on."""
    values = value_fields(geometry.program, windows)
    assert not isinstance(values, str), "a crop was found by them"
    return {**values, **geometry.all_boxes.fields}


def _same_inside(
    whole: tuple[Equation, np.ndarray], cropped: tuple[Equation, np.ndarray], fields: Mapping[Variable, Fields],
    box: Sequence[tuple[int, int]], spatial: tuple[int, ...],
) -> bool:  # fmt: skip
    """Whether constants of an equation on the whole image and on the crop agree where its result sees the crop alone.

    What a unit needs sees the crop alone, and so does all that it is made of.
    """
    (eqn, a), (small, b) = whole, cropped
    if not about(eqn.primitive).pointwise or eqn.result not in fields or not a.ndim == b.ndim == len(eqn.result.shape):
        return False
    cut, inside = [slice(None)] * a.ndim, np.ones((1,) * a.ndim, bool)
    for axis, (lo, hi) in zip(spatial, box):
        field = fields[eqn.result][axis]
        inside = inside & (field.lo >= lo) & (field.hi <= hi)
        c = field.continuation
        if c is None or c.step <= 0 or lo * c.period % c.step:
            return False
        first = lo * c.period // c.step
        cut[c.axis] = slice(first, first + small.result.shape[c.axis])
    there, seen = (x[tuple(c if n > 1 else slice(None) for c, n in zip(cut, x.shape))] for x in (a, inside))
    return there.shape == b.shape and bool(((there == b) | ~seen).all())


def _same_matrix(
    whole: tuple[Equation, np.ndarray], cropped: tuple[Equation, np.ndarray], operand: int,
    fields: Mapping[Variable, Fields], box: Sequence[tuple[int, int]], spatial: tuple[int, ...],
) -> bool:  # fmt: skip
    """Whether the known matrix of a product on the crop is part of that on the whole image.

    In the rows whose results see the crop alone, and but for rounding, since matrices are computed from sizes.
    """
    (eqn, a), (small, b) = whole, cropped
    names = about(eqn.primitive).letters(eqn, operand)
    assert names is not None
    mine, other, result = names
    cut, rows = [slice(None)] * a.ndim, np.ones((1,) * a.ndim, bool)
    pairs = (
        (eqn.result, small.result, result),
        (eqn.operands[1 - operand], small.operands[1 - operand], other),
    )
    for axis, (lo, hi) in zip(spatial, box):
        for variable, there, own in pairs:
            field = fields[variable][axis] if isinstance(variable, Variable) and variable in fields else None
            if field is None or field.continuation is None or own[field.continuation.axis] not in mine:
                continue
            c = field.continuation
            if c.step <= 0 or lo * c.period % c.step:
                return False
            place, first = mine.index(own[c.axis]), lo * c.period // c.step
            cut[place] = slice(first, first + there.shape[c.axis])
            if variable is eqn.result:
                inside = np.broadcast_to((field.lo >= lo) & (field.hi <= hi), eqn.result.shape)
                others = tuple(k for k in range(inside.ndim) if k != c.axis)
                rows = rows & inside.any(axis=others).reshape([-1 if k == place else 1 for k in range(a.ndim)])
    part, seen = (x[tuple(c if n > 1 else slice(None) for c, n in zip(cut, x.shape))] for x in (a, rows))
    if part.shape != b.shape:
        return False
    close = np.abs(part - b) <= ROUNDING * np.finfo(np.result_type(a, np.float16)).eps * np.abs(a).max(initial=0)
    return bool((close | ~seen).all())
