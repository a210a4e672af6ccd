"""Boxes of random models against their dense Jacobian: positive weights, smooth increasing nonlinearities."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.planning.programs import Programs

Layer = Callable[[jax.Array, np.random.Generator], jax.Array]
SHAPE = (7, 9, 2)


def weights(draw: np.random.Generator, *shape: int) -> np.ndarray:
    return draw.uniform(0.5, 1.5, shape).astype(np.float32) / np.float32(np.prod(shape[:-1]))


def conv(x, draw):
    """Any kernel, stride, padding, dilation; dense, grouped or depthwise."""
    groups = int(draw.choice([1, 1, 2, x.shape[-1]])) if x.shape[-1] % 2 == 0 else 1
    kernel = weights(draw, *draw.integers(1, 4, 2), x.shape[-1] // groups, 2 * groups)
    dilation = draw.integers(1, 3, 2)
    pads = [(int(draw.integers(-1, 3)), int(draw.integers(0, 3))) for _ in range(2)]
    return lax.conv_general_dilated(
        x, kernel, draw.integers(1, 3, 2).tolist(), pads, rhs_dilation=dilation.tolist(),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
    )  # fmt: skip


def masked_conv(x, draw):
    """A kernel of which half is zero, in no particular form, for all channels alike or for each in another way."""
    mask = draw.random((3, 3, *((1, 1) if draw.random() < 0.5 else (x.shape[-1], 2)))) < 0.5
    return lax.conv_general_dilated(
        x, weights(draw, 3, 3, x.shape[-1], 2) * mask, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_transpose(x, draw):
    kernel = weights(draw, *draw.integers(1, 4, 2), x.shape[-1], 2)
    return lax.conv_transpose(x, kernel, draw.integers(1, 3, 2).tolist(), str(draw.choice(["SAME", "VALID"])))


def average_pool(x, draw):
    window = (1, *draw.integers(1, 4, 2).tolist(), 1)
    return lax.reduce_window(x, 0.0, lax.add, window, (1, *draw.integers(1, 3, 2).tolist(), 1), "SAME") / np.prod(
        window
    )


def max_of_neighbors(x, draw):
    """A smooth maximum of a position and its right neighbor."""
    return jnp.logaddexp(x, jnp.roll(x, -1, 2)) if draw.random() < 0.5 else jnp.logaddexp(x[:, 1:], x[:, :-1])


def padded(x, draw):
    mode = str(draw.choice(["constant", "edge", "reflect", "wrap", "symmetric"]))
    most = min(x.shape[1], x.shape[2])
    amounts = [(int(draw.integers(0, min(3, most))), int(draw.integers(0, min(3, most)))) for _ in range(2)]
    return jnp.pad(x, ((0, 0), *amounts, (0, 0)), mode)


def sliced(x, draw):
    a, b = (int(draw.integers(0, max(1, n // 2))) for n in x.shape[1:3])
    return x[:, a :: int(draw.integers(1, 3)), b:]


def resized(x, draw):
    h, w = (int(draw.integers(max(1, n // 2), 2 * n)) for n in x.shape[1:3])
    method = str(draw.choice(["nearest", "linear"]))
    return jax.image.resize(x, (len(x), min(h, 12), min(w, 12), x.shape[-1]), method)


def moved(x, draw):
    ways = [
        lambda: jnp.roll(x, (1, -2), (1, 2)),
        lambda: x[:, ::-1],
        lambda: x.transpose(0, 2, 1, 3),
        lambda: jnp.concatenate([x, x[:, :1]], 1),
        lambda: jnp.concatenate([x[..., :1], jnp.roll(x, 1, 1)], -1),
        lambda: jnp.repeat(x, 2, 1)[:, : x.shape[1] + 1],
        lambda: x.at[:, 0].set(2 * x[:, -1]),
        lambda: x.at[:, :, 1:].add(x[:, :, :-1]),
    ]
    return ways[draw.integers(len(ways))]()


def summed(x, draw):
    ways = [
        lambda: jnp.cumsum(x, 1) / x.shape[1],
        lambda: x + x.mean((1, 2), keepdims=True),
        lambda: x + x.mean(2, keepdims=True),
        lambda: jnp.einsum("bhwc,wv->bhvc", x, weights(draw, x.shape[2], x.shape[2])),
        lambda: x * x[..., ::-1],
    ]
    return ways[draw.integers(len(ways))]()


def shuffled(x, draw):
    """Space to depth, and tokens and back."""
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    if draw.random() < 0.5 or h * w == 0:
        return x.reshape(len(x), -1, x.shape[-1]).reshape(x.shape) * 0.5
    blocks = x[:, :h, :w].reshape(len(x), h // 2, 2, w // 2, 2, x.shape[-1]).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(len(x), h // 2, w // 2, -1)


def residual(x, draw):
    kernel = weights(draw, 3, int(draw.integers(1, 4)), x.shape[-1], x.shape[-1])
    return x + jax.nn.softplus(
        lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )


LAYERS: list[Layer] = [
    conv, conv, masked_conv, conv_transpose, average_pool, max_of_neighbors, padded, sliced, resized, moved, summed,
    shuffled, residual,
]  # fmt: skip


def random_model(seed: int) -> Callable[[jax.Array], jax.Array]:
    """Three to five layers; the last ones of those that would leave nothing, or too much, are left out."""

    def model(x: jax.Array) -> jax.Array:
        draw = np.random.default_rng(seed)
        for _ in range(draw.integers(3, 6)):
            y = LAYERS[draw.integers(len(LAYERS))](x, np.random.default_rng(draw.integers(2**32)))
            if 0 not in y.shape and y[0].size <= 400:
                x = y
        return x

    return model


@pytest.mark.parametrize("seed", range(36))
def test_boxes_are_the_hulls_of_the_jacobian(seed):
    """The clipped box of every unit is the hull of the derivatives that are not zero, on both axes, and says so."""
    model = random_model(seed)
    row = jaxrf.trf(model, SHAPE)[-1]
    x = np.random.default_rng(seed).uniform(0.5, 1.5, (1, *SHAPE)).astype(np.float32)
    support = np.asarray(jax.jit(jax.jacrev(model))(x)[0, :, :, :, 0]).any(axis=(2, 5))
    axes = Programs(adapt(model, SHAPE)).geometry.units["output"].units  # (2, 1) where it was transposed
    support = support.transpose(*(a - 1 for a in axes), 2, 3)
    assert row.unit_shape == support.shape[:2]
    assert row.exact, row.notes
    for unit in np.ndindex(*row.unit_shape):
        for axis, (lo, hi) in enumerate(row.box(unit, clip=True)):
            seen = np.flatnonzero(support[unit].any(axis=1 - axis))
            assert (lo, hi) == ((seen[0], seen[-1] + 1) if len(seen) else (0, 0)), (unit, axis)
