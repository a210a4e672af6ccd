"""A pooling as numbers, what a way to compute one is, and the table that chooses between them: as for convolutions.

The first axis of what is pooled may be images or units: it is an axis like the others, along which nothing happens.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxrf.base.registry import Registry
from jaxrf.lowering.problem import Pads, Shape
from jaxrf.lowering.table import ANY, CPU, REWRITTEN, TPU, Decision, Table, always

FILLS: Mapping[str, float] = {"max": -math.inf, "min": math.inf, "sum": 0.0}
"""With what each pooling fills its padding, by how it joins a window."""


@dataclass(frozen=True)
class PoolingSpec:
    """The static side of a pooling over all axes of an array: y[o] = join over k < window of x[(s o + r k - p) / h].

    With stride s, padding p, dilation r of the window, and h - 1 `holes` between the positions of the array.
    """

    window: Shape
    strides: Shape
    padding: Pads
    dilation: Shape
    holes: Shape

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> PoolingSpec:
        """Read the parameters of `lax.reduce_window` and of its derivatives."""
        window, ones = tuple(params["window_dimensions"]), (1,) * len(params["window_dimensions"])
        dilation, holes = params.get("window_dilation") or ones, params.get("base_dilation") or ones
        return cls(window, tuple(params["window_strides"]), tuple(params["padding"]), tuple(dilation), tuple(holes))

    def side_by_side(self) -> PoolingSpec:
        """The same for several arrays, along a new first axis."""
        padding = ((0, 0), *self.padding)
        return PoolingSpec((1, *self.window), (1, *self.strides), padding, (1, *self.dilation), (1, *self.holes))

    @property
    def axes(self) -> list[int]:
        """The axes along which anything happens but padding, the last first."""
        moved = zip(self.window, self.strides)
        return [axis for axis, (k, s) in enumerate(moved) if k > 1 or s > 1][::-1]

    def shifts(self, axis: int) -> range:
        """Positions of the window along `axis`."""
        return range(0, self.window[axis] * self.dilation[axis], self.dilation[axis])

    def padded(self, sizes: Sequence[int]) -> Shape:
        """Sizes of an array of `sizes` with its padding."""
        return tuple(n + lo + hi for n, (lo, hi) in zip(sizes, self.padding))


@dataclass(frozen=True)
class PoolingProblem:
    """One pooling, or the way back through it, for arrays of `image` positions.

    Attributes:
        image: what is pooled, or what a cotangent is pulled back to.
        spec: the pooling.
        join: `max`, `min` or `sum`.
        dtype: of what goes through it.
        back: whether a cotangent is pulled back; for a maximum that is to the first winner of each window.
        whole: whether it is between whole arrays, not windows of them that move with their unit.

    >>> spec = PoolingSpec((1, 3), (1, 2), ((0, 0), (1, 1)), (1, 1), (1, 1))
    >>> PoolingProblem((8, 9), spec, "max").result
    (8, 5)
    """

    image: Shape
    spec: PoolingSpec
    join: str
    dtype: str = "float32"
    back: bool = False
    whole: bool = True

    @property
    def result(self) -> Shape:
        """The shape of the pooled array."""
        spec, sizes = self.spec, []
        for n, k, s, r, h, (lo, hi) in zip(
            self.image, spec.window, spec.strides, spec.dilation, spec.holes, spec.padding
        ):
            room = ((n - 1) * h + 1 if n else 0) + lo + hi - (k - 1) * r
            sizes.append(max((room - 1) // s + 1, 0))
        return tuple(sizes)


class PoolingLowering(ABC):
    """One way to compute a pooling, or the way back through it, other than XLA's own.

    Laws, beyond rounding, wherever `applies`: forward, `run(x, (), problem)` is the pooling of x. Back, `run(ct, (), problem)`
    is what a sum pulls ct back to, and `run(ct, winners, problem)` what a maximum does whose `winners` (`slices.py`) these are.
    """

    @abstractmethod
    def applies(self, problem: PoolingProblem) -> bool:
        """Whether this way can do the problem; whether it pays is for `choose_pooling` to say."""

    @abstractmethod
    def run(self, x: jax.Array, winners: Sequence[jax.Array], problem: PoolingProblem) -> jax.Array:
        """What comes out for `x`, which is a cotangent on the way back."""


poolings: Registry[PoolingLowering] = Registry("pooling")
TABLE: Table[PoolingProblem] = Table((
    Decision("shifts", CPU, "forward, float32 or float64", lambda p: p.dtype in REWRITTEN, "4 times for 3x3/2, and XLA's loses NaN"),
    Decision("plain", TPU, "back through a maximum of whole arrays", lambda p: p.join != "sum" and p.whole and p.back, "shifts of whole arrays are copies"),
    Decision("pads", TPU, "back", always, "1.5 times: pads with holes are fused, a stack is a move of axes"),
    Decision("stack", ANY, "back", always, "36 times for 3x3/2 on a CPU, not measured on a GPU"),
    Decision("plain", ANY, "otherwise", always, "XLA's own"),
))  # fmt: skip


def choose_pooling(problem: PoolingProblem, platform: str | None = None) -> str:
    """The name of the way that computes `problem`: the first line of the table that applies; `plain` is XLA's own.

    Args:
        problem: the pooling.
        platform: `cpu`, `gpu`, `tpu`; default: that for which programs are made here.

    >>> spec = PoolingSpec((1, 3), (1, 2), ((0, 0), (1, 1)), (1, 1), (1, 1))
    >>> [choose_pooling(PoolingProblem((8, 9), spec, "max", back=back), "cpu") for back in (False, True)]
    ['shifts', 'stack']
    """
    return TABLE.choose(problem, platform, lambda name: name == "plain" or poolings[name].applies(problem))


def pooling_way(problem: PoolingProblem, platform: str | None = None) -> PoolingLowering | None:
    """The way that `choose_pooling` names; None where it is XLA's own."""
    name = choose_pooling(problem, platform)
    return None if name == "plain" else poolings[name]
