"""A convolution as numbers: what a choice between lowerings may look at.

One layout throughout: images (n, *spatial, in), kernels (*spatial, in / groups, out), results (n, *spatial, out).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvolutionSpec:
    """The static side of a convolution over `d` spatial axes.

    y[o] = sum_k w[k] x[(s o + r k - p) / h]    over those k for which h divides,
    with stride s, padding p (negative: cropped), input dilation h (`lhs_dilation`), kernel dilation r (`rhs_dilation`).
    """

    strides: Shape
    padding: Pads
    lhs_dilation: Shape
    rhs_dilation: Shape
    groups: int = 1
    precision: Any = None

    @property
    def numbers(self) -> lax.ConvDimensionNumbers:
        """The layout, as XLA is told it."""
        d = len(self.strides)
        features_last = (0, d + 1, *range(1, d + 1))
        return lax.ConvDimensionNumbers(features_last, (d + 1, d, *range(d)), features_last)

    def adjoint(self, taps: Shape, into: Shape, out: Shape) -> ConvolutionSpec:
        """The convolution, of taps in reverse order, that pulls a cotangent back: from `out` to `into` positions.

        Strides and input dilations change places; a kernel of `taps` positions reaches as far back as forth.
        """
        padding = []
        for k, r, s, h, (before, _), n, m in zip(
            taps, self.rhs_dilation, self.strides, self.lhs_dilation, self.padding, into, out
        ):
            low = (k - 1) * r - before
            high = (n - 1) * h + 1 - ((m - 1) * s + 1) + (k - 1) * r - low
            padding.append((low, high))
        return ConvolutionSpec(
            self.lhs_dilation, tuple(padding), self.strides, self.rhs_dilation, self.groups, self.precision
        )


@dataclass(frozen=True)
class Problem:
    """One convolution: the shapes of image and kernel, the spec, the dtype.

    Where it is `reverse`, the taps of the kernel are met in reverse order, as where a cotangent is pulled back.

    >>> spec = ConvolutionSpec((2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1), groups=6)
    >>> problem = Problem((8, 9, 7, 6), (3, 3, 1, 6), spec)
    >>> problem.result, problem.depthwise
    ((8, 5, 4, 6), True)
    """

    image: Shape
    kernel: Shape
    spec: ConvolutionSpec
    dtype: str = "float32"
    reverse: bool = False

    @property
    def axes(self) -> range:
        """The spatial axes, counted from 0."""
        return range(len(self.spec.strides))

    @property
    def spatial(self) -> Shape:
        return self.image[1:-1]

    @property
    def taps(self) -> Shape:
        return self.kernel[:-2]

    @property
    def inputs(self) -> int:
        """Input features of a group."""
        return self.kernel[-2]

    @property
    def outputs(self) -> int:
        """Output features of a group."""
        return self.kernel[-1] // self.spec.groups

    @property
    def depthwise(self) -> bool:
        return self.spec.groups > 1 and self.inputs == 1

    @property
    def strided(self) -> bool:
        return max(self.spec.strides, default=1) > 1

    @property
    def dilated(self) -> bool:
        """Whether holes lie between the positions of the input, as in the pull-back of a strided convolution."""
        return max(self.spec.lhs_dilation, default=1) > 1

    @cached_property
    def result(self) -> Shape:
        """The shape of the result."""
        sizes = []
        for n, k, s, h, r, (lo, hi) in zip(
            self.spatial,
            self.taps,
            self.spec.strides,
            self.spec.lhs_dilation,
            self.spec.rhs_dilation,
            self.spec.padding,
        ):
            room = ((n - 1) * h + 1 if n else 0) + lo + hi - (k - 1) * r
            sizes.append(max((room - 1) // s + 1, 0))
        return (self.image[0], *sizes, self.kernel[-1])

    @property
    def multiply_adds(self) -> int:
        """The operations of plain XLA, which multiplies padding and holes as if they were data."""
        return math.prod(self.result) * math.prod(self.kernel[:-1])

    @property
    def key(self) -> str:
        """A name, the same for equal problems whatever their precision; files of tuned choices use it.

        >>> spec = ConvolutionSpec((2,), ((1, 1),), (1,), (1,), groups=6)
        >>> Problem((8, 9, 6), (3, 1, 6), spec).key
        'float32 8x9x6 * 3x1x6, stride 2, pad 1:1, holes 1, dilation 1, groups 6'
        """
        s = self.spec
        pads = ",".join(f"{lo}:{hi}" for lo, hi in s.padding)
        strides, holes, dilation = (",".join(map(str, v)) for v in (s.strides, s.lhs_dilation, s.rhs_dilation))
        image, kernel = "x".join(map(str, self.image)), "x".join(map(str, self.kernel))
        return (
            f"{np.dtype(self.dtype).name} {image} * {kernel}, stride {strides}, pad {pads}, "
            f"holes {holes}, dilation {dilation}, groups {s.groups}"
        )
