"""Back through the stem of a network at once: a max-pool, and before it a convolution of an image of few features.

Each of the two ways back puts phases together: behind a stride s, positions s q, s q + 1, ... are made apart and then
alternate. Taken together, the phases of the pooling are features of one convolution without holes, whose results are the
phases of the image, and nothing alternates but the scores, of which a position of the image has one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.lowering.laying import laid
from jaxrf.lowering.pooling import PoolingProblem
from jaxrf.lowering.problem import ConvolutionSpec, Pads, Shape
from jaxrf.lowering.slices import shifted, winners
from jaxrf.lowering.table import ANY, TPU, Decision, Table, always

NONE = -1
"""The code of a window that gives its cotangent to no position."""
FEW, WIDE = 4, 256
"""Most features of an image, and most features of all its phases, which are the results of one convolution."""


@dataclass(frozen=True)
class Side:
    """A stem along one spatial axis: y[o] = max over k of c[stride o + k - pad], c[p] = sum over k of w[k] x[step p + k - margin].

    Attributes:
        pooled, middle, image: positions of y, c and x.
        window, stride, pad: of the pooling.
        taps, step, margin: of the convolution.

    >>> side = Side(56, 112, 224, 3, 2, 1, 7, 2, 3)
    >>> side.period, side.first, side.depth, side.phases, side.blocks
    (4, 5, 3, 57, range(1, 58))
    """

    pooled: int
    middle: int
    image: int
    window: int
    stride: int
    pad: int
    taps: int
    step: int
    margin: int

    @property
    def period(self) -> int:
        """Phases of the image."""
        return self.stride * self.step

    @property
    def first(self) -> int:
        """Where the image begins among the blocks of a period."""
        return self.margin + self.step * self.pad

    @property
    def depth(self) -> int:
        """How many blocks of the image one block of the middle reaches."""
        return (self.step * (self.stride - 1) + self.taps - 1) // self.period + 1

    @property
    def blocks(self) -> range:
        """Blocks that hold positions of the image."""
        return range(min(self.first // self.period, self.depth - 1), (self.image - 1 + self.first) // self.period + 1)

    @property
    def phases(self) -> int:
        """Positions of each phase of the middle."""
        return min((self.middle - 1 + self.pad) // self.stride + 1, self.blocks.stop)


@dataclass(frozen=True)
class StemProblem:
    """The way back through a stem, by its spatial axes.

    Attributes:
        sides: of each axis.
        features: of the image.
        dtype: of what goes through it.
        precision: of the convolution.
    """

    sides: tuple[Side, ...]
    features: int
    dtype: str = "float32"
    precision: Any = None

    @property
    def periods(self) -> Shape:
        """Phases of the image along each axis."""
        return tuple(side.period for side in self.sides)

    @property
    def few(self) -> bool:
        """Whether all phases of the image are few features."""
        return self.features <= FEW and math.prod(self.periods) * self.features <= WIDE and self.dtype == "float32"


TABLE: Table[StemProblem] = Table((
    Decision("together", TPU, f"an image of at most {FEW} features, {WIDE} in all its phases", lambda p: p.few, "10 times on windows of a ResNet's stem, 3 times on whole arrays"),
    Decision("apart", ANY, "otherwise", always, "pooling and convolution each by its own table"),
))  # fmt: skip


def choose_stem(problem: StemProblem, platform: str | None = None) -> str:
    """Whether the pooling and the convolution of a stem are pulled back through together: the first line that applies.

    >>> stem = StemProblem((Side(56, 112, 224, 3, 2, 1, 7, 2, 3),) * 2, features=3)
    >>> choose_stem(stem, "tpu"), choose_stem(stem, "cpu")
    ('together', 'apart')
    """
    return TABLE.choose(problem, platform)


def codes(values: jax.Array, passing: jax.Array | None, problem: PoolingProblem) -> jax.Array:
    """Which position of each window of a maximum gets its cotangent, counted row by row; `NONE` where none does.

    Args:
        values: what is pooled.
        passing: of the same shape, where a cotangent passes that has come to a position; None for everywhere.
        problem: the pooling of `values`, forward.
    """
    spec, number = problem.spec, jnp.zeros((), jnp.int32)
    axes = spec.axes[::-1]
    for axis, place in zip(axes, winners(values, problem)[::-1]):
        number = number * spec.window[axis] + place
    inside = jnp.ones(values.shape, bool) if passing is None else jnp.broadcast_to(passing, values.shape)
    inside = lax.pad(inside, np.False_, [(lo, hi, 0) for lo, hi in spec.padding])
    result = jnp.full(number.shape, NONE, jnp.int8 if math.prod(spec.window) < 128 else jnp.int32)
    for code, at in enumerate(itertools.product(*(spec.shifts(axis) for axis in axes))):
        here = inside
        for axis, k in zip(axes, at):
            here = shifted(here, spec, axis, k)
        result = jnp.where((number == code) & here, result.dtype.type(code), result)
    return result


def phases(ct: jax.Array, code: jax.Array, problem: StemProblem) -> Iterator[jax.Array]:
    """Cotangents of the middle, phase by phase: position `stride` q + t along an axis is q of phase t, (n, *q, features).

    Args:
        ct: (n, *pooled, features).
        code: of each window, as `codes` has them, (n, *pooled, features) or for all (1, *pooled, features).
        problem: the stem.
    """
    sides = problem.sides
    reach = [(side.window - 1) // side.stride for side in sides]
    amounts = [(0, 0, 0), *((r, s.phases - s.pooled, 0) for r, s in zip(reach, sides)), (0, 0, 0)]
    ct, code = laid(ct, amounts), laid(code, amounts, NONE)
    zero = jnp.zeros((), ct.dtype)
    for phase in itertools.product(*(range(side.stride) for side in sides)):
        total = jnp.zeros((len(ct), *(side.phases for side in sides), ct.shape[-1]), ct.dtype)
        for at in itertools.product(*(range(t, s.window, s.stride) for t, s in zip(phase, sides))):
            begin = [r - k // s.stride for r, k, s in zip(reach, at, sides)]
            ends = [b + s.phases for b, s in zip(begin, sides)]
            given, owner = (lax.slice(a, (0, *begin, 0), (len(a), *ends, a.shape[-1])) for a in (ct, code))
            number = int(np.ravel_multi_index(at, [side.window for side in sides]))
            total = total + jnp.where(owner == number, given, zero)
        yield total


def kernel_of(kernel: jax.Array, problem: StemProblem) -> jax.Array:
    """The kernel (phases, *depth, out, periods * in) of `through`, from that of the stem (*taps, in, out).

    Position t of the middle's period meets position r of the image's, d blocks on, by tap `period` d + r - `step` t.
    """
    d = len(problem.sides)
    kernel = jnp.pad(kernel, [*((0, 1) for _ in problem.sides), (0, 0), (0, 0)])  # the last tap stands for none
    for number, side in enumerate(problem.sides):
        blocks, r, t = np.arange(side.depth)[::-1], np.arange(side.period), np.arange(side.stride)
        tap = side.period * blocks[:, None, None] + r - side.step * t[:, None]
        tap = np.where((tap >= 0) & (tap < side.taps), tap, side.taps)
        kernel = jnp.take(kernel, tap, axis=3 * number)
    order = [*range(1, 3 * d, 3), *range(0, 3 * d, 3), 3 * d + 1, *range(2, 3 * d, 3), 3 * d]
    kernel = kernel.transpose(order)
    return kernel.reshape(-1, *kernel.shape[d : 2 * d + 1], math.prod(kernel.shape[2 * d + 1 :]))


def through(ct: jax.Array, code: jax.Array, kernel: jax.Array, problem: StemProblem) -> jax.Array:
    """Pull `ct` (n, *pooled, out) back through the stem, to (n, *blocks, *periods, in), the phases of the image.

    Args:
        ct, code: as `phases` takes them.
        kernel: as `kernel_of` makes it.
        problem: the stem.
    """
    sides = problem.sides
    pads: Pads = tuple((s.depth - 1 - s.blocks.start, s.blocks.stop - s.phases) for s in sides)
    ones = (1,) * len(sides)
    spec = ConvolutionSpec(ones, pads, ones, ones, precision=problem.precision)
    y: Any = sum(
        lax.conv_general_dilated(one, own, ones, pads, dimension_numbers=spec.numbers, precision=spec.precision)
        for one, own in zip(phases(ct, code, problem), kernel, strict=True)
    )
    return y.reshape(*y.shape[:-1], *problem.periods, problem.features)


def alternating(scores: jax.Array, problem: StemProblem) -> jax.Array:
    """What positions of the image have, (n, *image), from (n, *blocks, *periods)."""
    d, sides = len(problem.sides), problem.sides
    order = [0, *(axis for i in range(d) for axis in (1 + i, 1 + d + i))]
    sizes = [len(side.blocks) * side.period for side in sides]
    whole = scores.transpose(order).reshape(len(scores), *sizes)
    begin = [side.first - side.blocks.start * side.period for side in sides]
    return lax.slice(whole, (0, *begin), (len(scores), *(b + side.image for b, side in zip(begin, sides))))
