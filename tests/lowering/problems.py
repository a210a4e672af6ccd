"""Convolutions that hypothesis draws, small enough to be run one operation at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from jaxrf.lowering import ConvolutionSpec, Problem


@st.composite
def problems(draw, strides=(1, 3), holes=(1, 3), groups=(1, 3), taps=(1, 4), dtype="float64") -> Problem:
    """Any problem in one to three spatial axes: strides over kernels, dilations, uneven and negative padding."""
    d = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(d))

    count = draw(st.integers(*groups))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    spatial, kernel, dilation, apart = each(1, 7 - d), each(*taps), each(1, 3), each(*holes)
    before, after = each(-1, 3), each(-1, 3)
    padding = []
    for n, k, r, h, lo, hi in zip(spatial, kernel, dilation, apart, before, after):
        room = (n - 1) * h + 1
        if room + lo + hi < 0:
            lo = hi = 0
        # One example in a few has no result at all along an axis, the others have some.
        lack = (k - 1) * r + 1 - room - lo - hi
        padding.append((lo, hi + max(lack, 0) if draw(st.integers(0, 9)) else hi))
    spec = ConvolutionSpec(each(*strides), tuple(padding), apart, dilation, count)
    image = (draw(st.integers(1, 2)), *spatial, count * inputs)
    return Problem(image, (*kernel, inputs, count * outputs), spec, dtype)


def operands(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Image and kernel, the same for the same problem."""
    rng = np.random.default_rng(0)
    return rng.normal(size=problem.image).astype(problem.dtype), rng.normal(size=problem.kernel).astype(problem.dtype)
