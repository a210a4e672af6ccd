"""A slow, obvious reference for theoretical fields: sets of positions pushed through small 1-D graphs.

A signal is a list with one frozenset per position: the input positions that it depends on.
An operation makes new sets as unions of old ones, and nothing else; padding is a position that depends on nothing.
Graphs are data (a tuple of `Step`s), so that the same graph can be built elsewhere and compared.
Independent on purpose: it imports nothing of the package under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

NOTHING: frozenset[int] = frozenset()
Signal = list[frozenset[int]]


@dataclass(frozen=True)
class Step:
    """One operation: its name in `OPERATIONS`, the signals that it reads, its options.

    Signal 0 is the input of the graph, signal i the result of step i - 1; negative numbers count from the end.
    """

    op: str
    inputs: tuple[int, ...] = (-1,)
    options: dict[str, Any] = field(default_factory=dict)


Graph = tuple[Step, ...]


def source(size: int) -> Signal:
    """The input: each position depends on itself."""
    return [frozenset([i]) for i in range(size)]


def union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return NOTHING.union(*sets)


def conv(
    x: Signal,
    kernel: int | Sequence[bool],
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    base_dilation: int = 1,
) -> Signal:
    """Convolution or pooling; `kernel` is a number of taps or tells for each tap whether it is non-zero.

    Base dilation first puts base_dilation - 1 empty positions between neighbors (a transposed convolution).
    """
    taps = [True] * kernel if isinstance(kernel, int) else list(kernel)
    x = pad(x, *padding, interior=base_dilation - 1)
    reach = dilation * (len(taps) - 1) + 1
    starts = range(0, len(x) - reach + 1, stride)
    return [union(x[s + dilation * t] for t, on in enumerate(taps) if on) for s in starts]


def pool(x: Signal, kernel: int, stride: int | None = None, padding: tuple[int, int] = (0, 0)) -> Signal:
    """Pooling; its stride is its kernel unless it is given."""
    return conv(x, kernel, stride or kernel, padding)


def add(*xs: Signal) -> Signal:
    """Sum of branches, or their concatenation over channels."""
    assert len({len(x) for x in xs}) == 1, "branches of different lengths cannot be added"
    return [union(sets) for sets in zip(*xs, strict=True)]


def concat(*xs: Signal) -> Signal:
    """Concatenation along space."""
    return [one for x in xs for one in x]


def pad(x: Signal, before: int = 0, after: int = 0, interior: int = 0) -> Signal:
    """Empty positions before, after and between; negative numbers crop the ends."""
    gap = [NOTHING] * interior
    spread = [one for i, s in enumerate(x) for one in ([*gap, s] if i else [s])]
    spread = [NOTHING] * max(before, 0) + spread + [NOTHING] * max(after, 0)
    return spread[max(-before, 0) : len(spread) - max(-after, 0)]


def cut(x: Signal, start: int, stop: int, step: int = 1) -> Signal:
    """A slice."""
    return x[start:stop:step]


def nearest(x: Signal, factor: int) -> Signal:
    """Nearest upsampling: each position `factor` times."""
    return [one for one in x for _ in range(factor)]


def reverse(x: Signal) -> Signal:
    return x[::-1]


def roll(x: Signal, shift: int) -> Signal:
    """Moves everything by `shift` positions; what leaves at one end enters at the other."""
    return [x[(i - shift) % len(x)] for i in range(len(x))]


def cumsum(x: Signal) -> Signal:
    """Running sum: each position depends on all up to itself."""
    return [union(x[: i + 1]) for i in range(len(x))]


def mean(x: Signal) -> Signal:
    """A global average, spread over all positions again."""
    return [union(x)] * len(x)


OPERATIONS: dict[str, Callable[..., Signal]] = {
    f.__name__: f for f in (conv, pool, add, concat, pad, cut, nearest, reverse, roll, cumsum, mean)
}


def signals(graph: Graph, size: int) -> list[Signal]:
    """The input of `size` positions and the results of all steps."""
    made = [source(size)]
    for step in graph:
        made.append(OPERATIONS[step.op](*(made[i] for i in step.inputs), **step.options))
    return made


def evaluate(graph: Graph, size: int) -> Signal:
    """The result of the last step."""
    return signals(graph, size)[-1]


def hulls(x: Signal) -> list[tuple[int, int]]:
    """Half-open hull of each set; (0, 0) for an empty one."""
    return [(min(s), max(s) + 1) if s else (0, 0) for s in x]


def endless(graph: Graph, size: int, units: Sequence[int], lattice: int, step: int, far: int) -> list[tuple[int, int]]:
    """Hulls that the units of `graph` on `size` positions would have without borders.

    Evaluates the graph on an input that has `far` more periods on each side, and moves the units to its middle.
    One period is `lattice` units and `step` input positions; the graph must keep its paddings at the larger size.
    """
    found = hulls(evaluate(graph, size + 2 * far * step))
    return [tuple(end - far * step for end in found[u + far * lattice]) for u in units]  # type: ignore[misc]


def unet(depth: int, kernel: int, pool_by: int = 2, transposed: bool = False) -> Graph:
    """A U-Net: per level two convolutions, pooling, two at the bottom, upsampling, skip, two convolutions.

    Convolutions keep the size; even kernels pad less in front.
    `transposed` upsamples by a transposed convolution whose kernel is its stride, otherwise by repetition.
    """
    steps: list[Step] = []
    same = {"kernel": kernel, "padding": ((kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2)}
    skips = []
    for _ in range(depth):
        steps += [Step("conv", (len(steps),), same), Step("conv", (len(steps) + 1,), same)]
        skips.append(len(steps))
        steps.append(Step("pool", (len(steps),), {"kernel": pool_by}))
    steps += [Step("conv", (len(steps),), same), Step("conv", (len(steps) + 1,), same)]
    for skip in reversed(skips):
        if transposed:
            around = {"kernel": pool_by, "padding": (pool_by - 1,) * 2, "base_dilation": pool_by}
            steps.append(Step("conv", (len(steps),), around))
        else:
            steps.append(Step("nearest", (len(steps),), {"factor": pool_by}))
        steps.append(Step("add", (len(steps), skip)))
        steps += [Step("conv", (len(steps),), same), Step("conv", (len(steps) + 1,), same)]
    return tuple(steps)
