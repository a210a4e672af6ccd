"""Back through a max-pool and a convolution at once, against `jax.vjp` of both."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxrf.lowering.pooling import PoolingProblem, PoolingSpec
from jaxrf.lowering.stems import NONE, TABLE, Side, StemProblem, alternating, choose_stem, codes, kernel_of, through

STEMS = {
    "ResNet": [((3, 2, 1), (7, 2, 3)), ((3, 2, 1), (7, 2, 3))],
    "uneven": [((3, 2, 0), (5, 3, 1)), ((2, 3, 1), (3, 1, 0))],
    "one axis": [((4, 2, 1), (4, 2, 2))],
    "strides only": [((2, 2, 0), (1, 1, 0)), ((1, 2, 0), (2, 4, 1))],
}
"""By name and axis: window, stride, padding of the pool; taps, stride, padding of the convolution."""
SIZES = (29, 38)


def pooled(x, window, strides, pads):
    """The maximum over windows of (n, *spatial, features)."""
    return lax.reduce_window(x, -np.inf, lax.max, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0)))


@pytest.mark.parametrize("masked", [False, True], ids=["all", "positive"])
@pytest.mark.parametrize("name", STEMS)
def test_gradients_are_those_of_both(name, masked):
    """On whole arrays: every position of the image, its phases put in order; windows that end on padding too."""
    sides, rng = STEMS[name], np.random.default_rng(0)
    pool, convolution = zip(*sides)
    window, strides, lows = zip(*pool)
    taps, steps, margins = zip(*convolution)
    x = jnp.asarray(rng.normal(size=(1, *SIZES[: len(sides)], 2)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*taps, 2, 5)), jnp.float32)
    spatial = "HW"[: len(sides)]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")

    def middle(x):
        pads = tuple((margin, margin) for margin in margins)
        return lax.conv_general_dilated(x, kernel, steps, pads, dimension_numbers=numbers)

    def stem(x):
        y = middle(x)
        return pooled(jnp.maximum(y, 0) if masked else y, window, strides, tuple((lo, lo) for lo in lows))

    y, pull = jax.vjp(stem, x)
    ct = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    values = middle(x)
    ones = (1,) * y.ndim
    spec = PoolingSpec((1, *window, 1), (1, *strides, 1), ((0, 0), *((lo, lo) for lo in lows), (0, 0)), ones, ones)
    shape = PoolingProblem(values.shape, spec, "max")
    code = codes(jnp.maximum(values, 0) if masked else values, values > 0 if masked else None, shape)
    each = zip(y.shape[1:-1], values.shape[1:-1], x.shape[1:-1], window, strides, lows, taps, steps, margins)
    problem = StemProblem(tuple(Side(*one) for one in each), 2)
    phases = through(ct, code, kernel_of(kernel, problem), problem)
    found = jnp.stack([alternating(phases[..., c], problem) for c in (0, 1)], axis=-1)
    (wanted,) = pull(ct)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def test_codes_name_the_first_winner():
    """Counted row by row; none where it may not pass, or where nothing but padding is."""
    x = jnp.array([[1.0, 5.0, 2.0, 5.0], [7.0, 0.0, 5.0, 1.0]])
    ones = (1, 1)
    problem = PoolingProblem((2, 4), PoolingSpec((2, 2), (2, 2), ((0, 0), (0, 0)), ones, ones), "max")
    assert codes(x, None, problem).tolist() == [[2, 1]]
    assert codes(x, x < 6, problem).tolist() == [[NONE, 1]]
    padded = PoolingProblem((2, 4), PoolingSpec((1, 2), (1, 2), ((0, 0), (2, 0)), ones, ones), "min")
    assert codes(x, None, padded).tolist() == [[NONE, 0, 0], [NONE, 1, 1]]


def test_a_stem_of_many_features_is_taken_apart():
    """The printed table says where both go together, and that no CPU or GPU does."""
    side = Side(56, 112, 224, 3, 2, 1, 7, 2, 3)
    many = [StemProblem((side, side), features) for features in (3, 64)]
    assert [choose_stem(problem, "tpu") for problem in many] == ["together", "apart"]
    assert {choose_stem(problem, platform) for problem in many for platform in ("cpu", "gpu")} == {"apart"}
    assert choose_stem(StemProblem((side, side), 3, "bfloat16"), "tpu") == "apart"
    assert "an image of at most 4 features" in str(TABLE)
