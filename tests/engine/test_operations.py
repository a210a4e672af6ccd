"""The engine's maps equal the dense Jacobian's through every kind of operation: all units, corners and borders too."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.engine import models
from tests.engine.dense import EXACT, errors
from tests.engine.models import average_pool, conv, layer_norm, max_pool, sum_pool, weights
from tests.marks import mostly_slow

pytestmark = pytest.mark.usefixtures("double", "quick")


def between(middle, before=(3, 3, 2, 3), after=(3, 3, 3, 2)):
    """The operation `middle` between two convolutions, and the weights of both."""

    def model(w, x):
        return conv(jnp.tanh(middle(jnp.tanh(conv(x, w[0])))), w[1])

    return model, weights(before, after)


def transposed(size, stride, padding="SAME"):
    def model(w, x):
        y = lax.conv_transpose(jnp.tanh(conv(x, w[0], 2)), w[1], (stride, stride), padding)
        return conv(jnp.tanh(y), w[2])

    return model, weights((3, 3, 2, 3), (size, size, 3, 3), (3, 3, 3, 2))


def convolution(kernel, **options):
    def model(w, x):
        return conv(jnp.tanh(conv(x, w[0])), w[1], **options)

    return model, weights((3, 3, 2, 4), kernel)


def resized(shape, method):
    return between(lambda x: jax.image.resize(x, (x.shape[0], *shape, 3), method))


def padded(mode):
    widths = ((0, 0), (2, 1), (1, 2), (0, 0))
    return between(lambda x: conv(jnp.pad(x, widths, mode=mode), jnp.ones((3, 2, 3, 3)), 2, "VALID"))


def space_to_depth(x, block=2):
    n, h, w, c = x.shape
    x = x.reshape(n, h // block, block, w // block, block, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // block, w // block, -1)


def depth_to_space(x, block=2):
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, block, block, c // block**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * block, w * block, -1)


def shuffled(w, x):
    y = jnp.tanh(conv(space_to_depth(x), w[0]))
    return conv(depth_to_space(y), w[1])


def branches(w, x):
    """Two branches of different kernels, and one split over channels."""
    y = jnp.concatenate([jnp.tanh(conv(x, w[0], 2)), max_pool(x, 2, 2, "SAME")], -1)
    wide, narrow = jnp.split(y, [3], -1)
    return jnp.concatenate([conv(wide, w[1]), narrow * 2], -1)


def unet(w, x):
    down = jnp.tanh(conv(x, w[0]))
    low = jnp.tanh(conv(max_pool(down, 2, 2), w[1]))
    up = jax.image.resize(low, (x.shape[0], *x.shape[1:3], low.shape[-1]), "nearest")
    return conv(jnp.concatenate([up, down], -1), w[2])


def excitation(x):
    return x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True) * 2 - 0.3)


def group_norm(x):
    y = jnp.concatenate([x, x[..., :1]], -1).reshape(*x.shape[:3], 2, 2)
    return layer_norm(y, (1, 2, 4)).reshape(*x.shape[:3], 4)[..., :3]


def attention(x):
    n, h, w, c = x.shape
    tokens = x.reshape(n, h * w, c)
    scores = jax.nn.softmax(jnp.einsum("nic,njc->nij", tokens, tokens * 0.7))
    return (tokens + jnp.einsum("nij,njc->nic", scores, tokens)).reshape(x.shape)


def looped(w, x):
    def layer(y, kernel):
        return jnp.tanh(conv(y, kernel)), y.sum(-1)

    y, sums = lax.scan(jax.checkpoint(layer), jnp.tanh(conv(x, w[0], 2)), jnp.stack([w[1], w[2]]))
    return jnp.concatenate([y, jnp.moveaxis(sums, 0, -1)], -1)


def branching(x):
    return lax.cond(x.sum() > 0, lambda y: jnp.roll(y, 1, 1), lambda y: y[:, ::-1] * 2, x)


CASES = {
    "strided, SAME, uneven": (*convolution((3, 2, 4, 2), stride=(2, 3)), (8, 11, 2)),
    "stride above kernel": (*convolution((2, 1, 4, 2), stride=(3, 4), padding="VALID"), (10, 13, 2)),
    "dilated": (*convolution((3, 2, 4, 2), rhs_dilation=(2, 3)), (9, 7, 2)),
    "dilated input": (*convolution((3, 2, 4, 2), lhs_dilation=(2, 3), padding=((1, 2), (0, 1))), (4, 5, 2)),
    "dilated both ways": (
        *convolution(
            (3, 2, 4, 2), lhs_dilation=(3, 2), rhs_dilation=(2, 1), stride=(2, 3), padding=((3, 2), (0, 2))
        ), (5, 4, 2)),
    "negative padding": (*convolution((3, 3, 4, 2), padding=((-1, 2), (3, -2)), stride=(2, 1)), (8, 9, 2)),
    "padding above kernel": (*convolution((2, 3, 4, 2), padding=((4, 5), (3, 6)), stride=2), (4, 5, 2)),
    "grouped": (*convolution((3, 3, 2, 6), groups=2, stride=(1, 2)), (5, 7, 2)),
    "depthwise": (*convolution((3, 2, 1, 8), groups=4, stride=2), (8, 7, 2)),
    "kernel above image": (*convolution((7, 9, 4, 2)), (3, 4, 2)),
    "transposed 2/2": (*transposed(2, 2), (10, 14, 2)),
    "transposed 3/2": (*transposed(3, 2), (9, 14, 2)),
    "transposed 4/2": (*transposed(4, 2), (10, 13, 2)),
    "transposed 5/3, valid": (*transposed(5, 3, "VALID"), (6, 7, 2)),
    "nearest x2": (*resized((14, 10), "nearest"), (7, 5, 2)),
    "nearest 7 to 20": (*resized((20, 11), "nearest"), (7, 5, 2)),
    "bilinear 7 to 20": (*resized((20, 9), "bilinear"), (7, 5, 2)),
    "bilinear down": (*resized((5, 3), "bilinear"), (12, 8, 2)),
    "wrap": (*padded("wrap"), (6, 7, 2)),
    "reflect": (*padded("reflect"), (6, 7, 2)),
    "symmetric": (*padded("symmetric"), (6, 7, 2)),
    "edge": (*padded("edge"), (6, 7, 2)),
    "max-pool": (*between(lambda x: max_pool(x)), (8, 9, 2)),
    "max-pool, valid": (*between(lambda x: max_pool(x, 2, 3, "VALID")), (9, 8, 2)),
    "average": (*between(lambda x: average_pool(x)), (8, 9, 2)),
    "sums": (*between(lambda x: sum_pool(x, 2, 3, ((0, 0), (2, 3), (1, 0), (0, 0)))), (9, 8, 2)),
    "roll": (*between(lambda x: jnp.roll(x, (1, -2), (1, 2))), (7, 5, 2)),
    "flip": (*between(lambda x: x[:, ::-1, ::-2]), (7, 9, 2)),
    "sliced": (*between(lambda x: x[:, 1::2, 2:8:3]), (9, 11, 2)),
    "swapped axes": (*between(lambda x: x.transpose(0, 2, 1, 3)), (6, 9, 2)),
    "cumulative": (*between(lambda x: jnp.cumsum(x, 1) * 0.3), (6, 5, 2)),
    "space to depth": (shuffled, weights((3, 3, 8, 8), (3, 3, 2, 2)), (6, 10, 2)),
    "branches": (branches, weights((5, 3, 2, 2), (3, 1, 3, 2)), (9, 12, 2)),
    "U-Net": (unet, weights((3, 3, 2, 2), (3, 3, 2, 3), (3, 3, 5, 2)), (8, 12, 2)),
    "squeeze and excitation": (*between(excitation), (5, 7, 2)),
    "GroupNorm": (*between(group_norm), (5, 6, 2)),
    "attention": (*between(attention), (4, 5, 2)),
    "scan of remat": (looped, weights((3, 3, 2, 3), (3, 3, 3, 3), (3, 3, 3, 3)), (9, 11, 2)),
    "cond": (*between(branching), (5, 7, 2)),
    "stop_gradient": (*between(lambda x: x * lax.stop_gradient(x.mean((1, 2), keepdims=True))), (6, 5, 2)),
    "one dimension": (
        lambda w, x: conv(max_pool(jnp.tanh(conv(x, w[0], 2, rhs_dilation=(2,)))), w[1]),
        weights((5, 2, 3), (3, 3, 2)), (23, 2)),
    "three dimensions": (
        lambda w, x: conv(max_pool(jnp.tanh(conv(x, w[0], (1, 2, 1))), 2), w[1], padding="VALID"),
        weights((3, 2, 1, 1, 2), (1, 2, 2, 2, 1)), (4, 7, 5, 1)),
}  # fmt: skip


CHOOSING = ("max-pool", "max-pool, valid", "branches", "U-Net", "cond", "one dimension", "three dimensions")


SLOW = {"bilinear 7 to 20", "nearest 7 to 20", "bilinear down", "space to depth", "U-Net", "GroupNorm", "scan of remat"}


@pytest.mark.parametrize("case", mostly_slow(CASES, set(CASES) - SLOW))
def test_every_unit(case):
    """All units have the map of the dense Jacobian, whose hull is the unit's box; where values choose, it lies in it."""
    f, w, shape = CASES[case]
    turned = (2, 1) if case == "swapped axes" else None  # units are in the order of the image's axes
    found = errors(f, models.images(1, *shape), w, channels="sum", tight=case not in CHOOSING, own_axes=turned)
    assert found.max() < EXACT


def test_windows_larger_than_the_image():
    """A deep stack on a small image: windows become whole axes on the way down."""

    def stack(w, x):
        return functools.reduce(lambda y, kernel: jnp.tanh(conv(y, kernel)), w, x)

    assert errors(stack, models.images(1, 4, 9, 1), weights(*[(3, 3, 1, 1)] * 5)).max() < EXACT


@pytest.mark.parametrize("pool", [max_pool, lambda x: max_pool(x, 3, 1, "VALID"), lambda x: max_pool(x, 2, 3)])
def test_ties_go_to_the_first_maximum(pool):
    """On a constant image every maximum is shared, and JAX lets the first take all."""
    batch = np.ones((1, 8, 9, 2))
    assert errors(lambda x: pool(x), batch).max() < EXACT
