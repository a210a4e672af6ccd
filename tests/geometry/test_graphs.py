"""Fields against brute force: random graphs of single operations, as maps of axes and as sets of positions."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jaxrf.geometry.axis_map import AxisMap
from jaxrf.geometry.field import Field
from jaxrf.geometry.maps import Blocks, Pattern, Scan, Window, identity, whole
from jaxrf.geometry.merge import merge, source
from jaxrf.geometry.relations import Product, Union
from jaxrf.geometry.supports import products
from tests.geometry.index_sets import Graph, Step, endless, hulls, signals

Options = dict[str, Any]
many = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


# --- The graph as fields -------------------------------------------------------------------------------------------


def maps(step: Step, lengths: list[int]) -> list[AxisMap]:
    """What each operand of a step is read by; `lengths` are those of the operands and of the result."""
    *ins, out = lengths
    n, o = ins[0], step.options
    if step.op in ("conv", "pool"):
        taps = [True] * o["kernel"] if isinstance(o["kernel"], int) else o["kernel"]
        stride = o.get("stride") or (o["kernel"] if step.op == "pool" else 1)
        dilation, before = o.get("dilation", 1), o.get("padding", (0, 0))[0]
        offsets = tuple(t * dilation - before for t, on in enumerate(taps) if on)
        return [Window(n, out, stride, offsets, o.get("base_dilation", 1))]
    if step.op == "add":
        return [identity(n) for n in ins]
    if step.op == "concat":
        starts = [0, *itertools.accumulate(ins)]
        return [Window(n, out, 1, (-start,)) for n, start in zip(ins, starts)]
    if step.op == "pad":
        return [Window(n, out, 1, (-o.get("before", 0),), o.get("interior", 0) + 1)]
    if step.op == "cut":
        return [Window(n, out, o.get("step", 1), (o["start"],))]
    if step.op == "nearest":
        return [Blocks(n, out, 1, o["factor"])]
    if step.op == "roll":
        turned = np.roll(np.arange(n), o["shift"])
        return [Pattern(n, n, turned[:, None] == np.arange(n))]
    return {"reverse": [Window(n, n, -1, (n - 1,))], "cumsum": [Scan(n, n)], "mean": [whole(n, n)]}[step.op]


def fields(graph: Graph, lengths: list[int]) -> list[Field]:
    """The field of the input and of each step, by maps, relations and merges alone."""
    made = [source((lengths[0],), 0)]
    for step, out in zip(graph, lengths[1:]):
        inputs = [i % len(made) for i in step.inputs]
        pushed = [
            Product((lengths[i],), (out,), ((axis_map, None if step.op == "mean" else 0),)).push(made[i])
            for i, axis_map in zip(inputs, maps(step, [*(lengths[i] for i in inputs), out]))
        ]
        made.append(functools.reduce(merge, pushed))
    return made


# --- Random graphs -------------------------------------------------------------------------------------------------


def small(draw: st.DrawFn, low: int, high: int) -> int:
    return draw(st.integers(low, high))


def draw_kernel(draw: st.DrawFn) -> int | list[bool]:
    """A number of taps, or a mask of them with at least one."""
    if draw(st.booleans()):
        return small(draw, 1, 4)
    return draw(st.lists(st.booleans(), min_size=1, max_size=4).filter(any))


def draw_conv(draw: st.DrawFn, n: int) -> Options | None:
    kernel = draw_kernel(draw)
    options = {
        "kernel": kernel,
        "stride": small(draw, 1, 4),
        "padding": (small(draw, -1, 3), small(draw, -1, 3)),
        "dilation": small(draw, 1, 3),
        "base_dilation": draw(st.sampled_from([1, 1, 2, 3])),
    }
    taps = kernel if isinstance(kernel, int) else len(kernel)
    inside = (n - 1) * options["base_dilation"] + 1 + sum(options["padding"])
    fits = inside >= options["dilation"] * (taps - 1) + 1 and n > -sum(min(p, 0) for p in options["padding"])
    return options if fits else None


MOVES = {
    "pool": lambda draw, n: {"kernel": small(draw, 1, min(n, 3))},
    "pad": lambda draw, n: {"before": small(draw, -1, 2), "after": small(draw, 0, 2), "interior": small(draw, 0, 2)},
    "cut": lambda draw, n: {
        "start": (a := small(draw, 0, n - 1)),
        "stop": small(draw, a + 1, n),
        "step": small(draw, 1, 2),
    },
    "nearest": lambda draw, n: {"factor": small(draw, 1, 3)},
    "reverse": lambda draw, n: {},
    "roll": lambda draw, n: {"shift": small(draw, -3, 3)},
    "cumsum": lambda draw, n: {},
    "mean": lambda draw, n: {},
}


@st.composite
def any_graphs(draw: st.DrawFn) -> tuple[Graph, int]:
    """Up to eight steps of every kind, each on any signals made so far; and the size of the input."""
    size = small(draw, 1, 14)
    graph: list[Step] = []
    lengths = [size]
    for _ in range(small(draw, 1, 8)):
        at = small(draw, max(0, len(lengths) - 3), len(lengths) - 1)
        equal = [i for i, n in enumerate(lengths) if n == lengths[at]]
        op = draw(st.sampled_from(["conv", "conv", "conv", "add", "concat", *MOVES]))
        if op == "add":
            step = Step(op, (at, draw(st.sampled_from(equal))))
        elif op == "concat":
            step = Step(op, (at, small(draw, 0, len(lengths) - 1)))
        else:
            options = draw_conv(draw, lengths[at]) if op == "conv" else MOVES[op](draw, lengths[at])
            step = Step(op, (at,), options) if options is not None else Step("add", (at, at))
        made = len(signals((*graph, step), size)[-1])
        if 0 < made <= 40:
            graph.append(step)
            lengths.append(made)
    return tuple(graph), size


@st.composite
def regular_graphs(draw: st.DrawFn) -> tuple[Graph, int, int]:
    """Graphs that repeat over space: convolutions, residual blocks, upsampling, U-Net levels.

    Also the size of the input, and a number of positions after which everything repeats.
    """
    graph: list[Step] = []
    period = 1

    def add(op: str, at: int, **options: Any) -> int:
        graph.append(Step(op, (at,), options))
        return len(graph)

    def convolve(at: int, stride: int) -> int:
        """Any kernel, padded in some uneven way so that n positions give (n - 1) // stride + 1."""
        taps, dilation = small(draw, 1, 4), small(draw, 1, 3)
        total = dilation * (taps - 1)
        before = small(draw, 0, total)
        return add("conv", at, kernel=taps, stride=stride, dilation=dilation, padding=(before, total - before))

    def block(at: int, depth: int) -> int:
        nonlocal period
        kind = draw(st.sampled_from(["conv", "residual", "transposed", "level"] if depth else ["conv", "residual"]))
        stride = small(draw, 1, 3)
        if kind == "conv":
            period *= stride
            return convolve(at, stride)
        if kind == "residual":
            period *= stride
            graph.append(Step("add", (convolve(at, stride), convolve(convolve(at, 1), stride))))
            return len(graph)
        if kind == "transposed":
            return add("conv", at, kernel=small(draw, 1, 4), base_dilation=stride, padding=(small(draw, 1, 3), 3))
        period *= stride
        inner = block(add("pool", at, kernel=stride), depth - 1)
        up = add("nearest", inner, factor=small(draw, 1, 3))
        return add("pad", up, before=small(draw, -1, 1), after=small(draw, 0, 1))

    last = 0
    for _ in range(small(draw, 1, 3)):
        last = block(last, 2)
    return tuple(graph), small(draw, 8, 24), period


# --- The laws ------------------------------------------------------------------------------------------------------


def found(field: Field, length: int) -> list[tuple[int, int]]:
    lo, hi = (np.broadcast_to(a, (length,)) for a in (field.lo, field.hi))
    return [(int(a), int(b)) if a < b else (0, 0) for a, b in zip(lo, hi)]


@many
@given(any_graphs())
def test_clipped_fields_are_the_hulls_of_index_sets(case):
    """At every position of every signal, borders included, whatever the graph."""
    graph, size = case
    sets = signals(graph, size)
    for field, signal in zip(fields(graph, [len(s) for s in sets]), sets, strict=True):
        assert found(field, len(signal)) == hulls(signal)


def some_of_each(graph: Graph, size: int) -> list[int]:
    """Lengths of all signals; a graph with an empty one is not a case."""
    lengths = [len(signal) for signal in signals(graph, size)]
    assume(min(lengths) > 0)
    return lengths


@many
@given(regular_graphs())
def test_continuations_are_the_hulls_on_an_endless_input(case):
    """What an interior unit would see, for every unit, where the graph repeats over space."""
    graph, size, period = case
    lengths = some_of_each(graph, size)
    continuation = fields(graph, lengths)[-1].continuation
    assert continuation is not None
    units = np.arange(lengths[-1])
    lo, hi = continuation.at(units)
    times = period // math.gcd(period, continuation.step)
    lattice, step = times * continuation.period, times * continuation.step
    some = lo < hi
    reach = max(int((hi - lo)[some].max(initial=1)), int(-lo[some].min(initial=0)), int(hi[some].max(initial=0)) - size)
    far = reach // step + 2
    expected = endless(graph, size, units.tolist(), lattice, step, far)
    for a, b, (c, d) in zip(lo, hi, expected):
        assert (a, b) == (c, d) or (a >= b and c >= d)


@many
@given(regular_graphs())
def test_paths_have_the_stride_of_the_continuation(case):
    """Sub-sampling by paths and by the repeating pattern is one number."""
    graph, size, _ = case
    lengths = some_of_each(graph, size)
    field = fields(graph, lengths)[-1]
    assert field.paths.stride * field.continuation.period == field.continuation.step
    assert field.paths.center_lo <= field.paths.center_hi


masks = st.lists(st.booleans(), min_size=9, max_size=9).map(lambda on: np.array(on).reshape(3, 3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(masks, masks, st.integers(1, 2), st.integers(0, 2))
def test_windows_that_are_no_product_of_axes(first, second, stride, before):
    """Two masked 3x3 windows on 4x6 positions, against boolean matrices; clipped fields are exact per axis."""
    shape = (4, 6)
    reached = np.eye(24, dtype=bool).reshape(*shape, *shape)
    made = [source(shape, axis) for axis in range(2)]
    for mask, s in ((first, stride), (second, 1)):
        ins = reached.shape[:2]
        out = tuple((n - 1) // s + 1 for n in ins)
        parts = [
            Product(ins, out, tuple((Window(n, m, s, tuple(int(t) - before for t in taps)), a)
                                    for a, (n, m, taps) in enumerate(zip(ins, out, part))))
            for part in products(mask)
        ]  # fmt: skip
        hull = Product(ins, out, tuple((Window(n, m, s, tuple(range(-before, 3 - before))), a)
                                       for a, (n, m) in enumerate(zip(ins, out))))  # fmt: skip
        made = [Union(tuple(parts), hull).push(field) for field in made]
        reached = _read(reached, mask, s, before, out)
    for axis, field in enumerate(made):
        line = reached.any(axis=(3, 2)[axis])
        some = line.any(-1)
        lo, hi = (np.broadcast_to(a, reached.shape[:2]) for a in (field.lo, field.hi))
        assert ((lo < hi) == some).all()
        assert (lo[some] == line.argmax(-1)[some]).all()
        assert (hi[some] == line.shape[-1] - line[..., ::-1].argmax(-1)[some]).all()


def _read(reached: np.ndarray, mask: np.ndarray, stride: int, before: int, out: tuple[int, ...]) -> np.ndarray:
    """Sets of the result's positions, as booleans, by one loop over positions and taps."""
    result = np.zeros((*out, *reached.shape[2:]), bool)
    for y, x in np.ndindex(out):
        for dy, dx in np.argwhere(mask):
            a, b = stride * y + dy - before, stride * x + dx - before
            if 0 <= a < reached.shape[0] and 0 <= b < reached.shape[1]:
                result[y, x] |= reached[a, b]
    return result
