"""Models as their authors write them: for one image, with a second input, with random numbers; against plain `jax.grad`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxrf
from jaxrf.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 9, 5, 2)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 2, 2)).astype(np.float32)
STREAMS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
"""The keys that a Linen model draws from where none are given."""


def conv(x: jax.Array, kernel: np.ndarray = KERNEL) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def whole(result: jaxrf.Result) -> np.ndarray:
    """The first map, laid into the input."""
    found = np.zeros(result.input_shape)
    values, origin = np.asarray(result.mean[0]), np.asarray(result.origin[0])
    for place in np.ndindex(*values.shape):
        at = tuple(int(o + p) for o, p in zip(origin, place))
        if all(0 <= a < n for a, n in zip(at, found.shape)):
            found[at] = values[place]
    return found


def assert_as_called(model: Any, variables: Any, call: Any, unit: tuple[int, ...], alone: bool, **options: Any) -> None:
    """The mean map is that of `jax.grad` of `call` on each image alone, or on the batch."""

    @jax.jit
    def gradient(images: jax.Array, image: int | jax.Array) -> jax.Array:
        return jax.grad(lambda x: call(x)[(image, *unit)].sum())(images)[image].sum(-1)

    rows = [gradient(IMAGES[i : i + 1], 0) if alone else gradient(IMAGES, i) for i in range(len(IMAGES))]
    result = jaxrf.erf(model, variables, IMAGES, units=[unit], channels="sum", score="signed", **options)
    right = np.mean(rows, axis=0)
    np.testing.assert_allclose(whole(result), right, atol=1e-5 * np.abs(right).max())
    assert result.count == len(IMAGES)
    assert result.provenance["certificate"] < 1e-5


class Squeezed(nn.Module):
    """Squeeze-and-excitation whose gate is reshaped to one row."""

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(4, (3, 3), name="conv")(x)
        gate = nn.Dense(4)(jax.nn.relu(nn.Dense(2)(y.mean((1, 2)).reshape(1, -1))))
        return y * jax.nn.sigmoid(gate).reshape(1, 1, 1, 4)


class Cross(nn.Module):
    """Attention from the image's positions to a context, and a scale and shift by a label."""

    @nn.compact
    def __call__(self, x, context, label):
        q = nn.Dense(4)(x.reshape(x.shape[0], -1, 2))
        k = nn.Dense(4)(context)
        tokens = nn.dot_product_attention(q[:, :, None], k[:, :, None], k[:, :, None])[:, :, 0]
        scale = nn.Embed(10, 2)(label)[:, None, None]
        return nn.Conv(3, (3, 3), name="out")(x * (1 + scale) + nn.Dense(2)(tokens).reshape(x.shape))


WRITTEN_FOR_ONE = {
    "resize": (lambda x: conv(jax.image.resize(x, (1, 18, 10, 2), "bilinear")), (18, 10)),
    "reshape": (lambda x: conv(conv(x).reshape(1, 5, 9, 2)), (5, 9)),
    "reshape of channels": (lambda x: conv(x).reshape(1, 9, 5, -1), (9, 5)),
    "first": (lambda x: conv(x[:1]), (9, 5)),
    "index": (lambda x: conv(x[0][None]), (9, 5)),
}


@pytest.mark.parametrize("name", WRITTEN_FOR_ONE)
def test_functions_written_for_one_image(name):
    """A function that makes one image of any batch is run on each image alone, in tables and in maps."""
    model, units = WRITTEN_FOR_ONE[name]
    assert jaxrf.trf(model, (9, 5, 2))[-1].unit_shape == units
    assert_as_called(model, None, model, (units[0] // 2, 1), alone=True)


def test_functions_without_an_axis_of_images():
    """`net(x)[0]` reads the first image alone, so it is one for single images: the oracle agrees on each."""
    model = lambda x: conv(x)[0]  # noqa: E731
    assert jaxrf.trf(model, (9, 5, 2))[-1].unit_shape == (9, 5)
    assert jaxrf.erf(model, None, IMAGES).count == 3
    jaxrf.check(model, None, IMAGES, units=[[4, 2], [0, 1]])


def test_a_module_written_for_one_image():
    """A reshape that fails on two images is not a failure of the model."""
    variables = Squeezed().init(jax.random.key(0), IMAGES[:1])
    assert_as_called(Squeezed(), variables, lambda x: Squeezed().apply(variables, x), (4, 2), alone=True)


def test_what_is_made_of_all_images_has_no_unit_of_one():
    """A loss mixes the images of a batch: its table says so, and its maps are refused."""
    assert "batch" in jaxrf.trf(lambda x: jnp.sin(x).mean(), (9, 5, 2))[-1].global_axes
    with pytest.raises(InputError, match=r"made of all images of a batch .* as mean\(\(1, 2, 3\)\) does"):
        jaxrf.erf(lambda x: jnp.sin(x).mean(), None, IMAGES)


def test_a_second_input_of_one_holds_for_all_images():
    """A context and a label of batch 1 stand beside each image, as in a call with this image alone."""
    beside = (jnp.asarray(RNG.normal(size=(1, 3, 4)), jnp.float32), jnp.array([7]))
    variables = Cross().init(jax.random.key(0), IMAGES[:1], *beside)
    call = lambda x: Cross().apply(variables, x, *beside)  # noqa: E731
    assert_as_called(Cross(), variables, call, (4, 2), alone=True, args=(..., *beside))


@pytest.mark.parametrize("count", [2, 3])
def test_a_second_input_of_several_is_refused(count):
    """One value for each image has no image to go to, whether the model would broadcast it or fail."""
    context, label = jnp.ones((count, 3, 4)), jnp.arange(count)
    with pytest.raises(
        InputError, match=rf"Is {count} the batch of the argument of shape \({count}, 3, 4\)\?.*\(1, 3, 4\)"
    ):
        jaxrf.trf(Cross(), (9, 5, 2), args=(..., context, jnp.array([7])))
    with pytest.raises(
        InputError, match=rf"{count} outputs of one image, as many as an argument of shape \({count},\)"
    ):
        jaxrf.erf(lambda x, c: conv(x) * c[:, None, None, None], None, IMAGES, args=(..., label))


def test_arguments_per_window_are_not_per_image():
    """An argument with an entry for each of four windows of an image is the same for all images."""
    bias = jnp.arange(4.0)[:, None, None]

    def windows(x, bias):
        parts = x.reshape(-1, 4, 9, 2)
        return parts + jnp.tile(bias, (len(parts) // 4, 1, 1))[..., None]

    assert jaxrf.trf(windows, (24, 6, 2), args=(..., bias))[-1].unit_shape == (4, 4, 9)


class DropPath(nn.Module):
    """Stochastic depth: a residual branch is left out for some of the images."""

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.Conv(2, (3, 3), name="early")(x))
        for name in ("one", "two"):
            kept = jax.random.bernoulli(self.make_rng("drop_path"), 0.5, (x.shape[0], 1, 1, 1))
            y = y + 2 * kept * nn.Conv(2, (3, 3), name=name)(nn.silu(y))
        return nn.Dropout(0.3, deterministic=False, name="drop")(y)


@pytest.mark.slow
def test_random_numbers_are_those_of_the_batch():
    """Under stochastic depth and dropout each image has the masks that it has in a call with all of them."""
    variables = DropPath().init(STREAMS, IMAGES)
    call = lambda x: DropPath().apply(variables, x, rngs=STREAMS)  # noqa: E731
    assert_as_called(DropPath(), variables, call, (4, 2), alone=False)


def test_dropout_of_nnx_and_keys_of_ones_own():
    """So it is for NNX's dropout, whose keys are state, and for a key that is split among the images."""
    net = nnx.Sequential(nnx.Conv(2, 2, (3, 3), rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    graph, state = nnx.split(net)
    assert_as_called(net, None, lambda x: nnx.merge(graph, state, copy=True)(x), (4, 2), alone=False)

    def split(x):
        masks = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (9, 5, 2)))(
            jax.random.split(jax.random.key(3), len(x))
        )
        return conv(x * masks)

    assert_as_called(split, None, split, (4, 2), alone=False)


def test_one_mask_for_all_images_ties_nothing():
    """A mask without an axis of images is the same for an image alone, so that batches may have any sizes."""

    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            return conv(nn.Dropout(0.5, broadcast_dims=(0,), deterministic=False)(x))

    assert_as_called(Shared(), {}, lambda x: Shared().apply({}, x, rngs=STREAMS), (4, 2), alone=True)
    assert jaxrf.erf(Shared(), {}, [IMAGES[:2], IMAGES[2:]]).count == 3


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_batches_that_draw_have_one_size(sizes):
    """The array handed in is the batch: neither a smaller nor a larger one after the first is cut to fit."""
    batches = [IMAGES[: sizes[0]], IMAGES[: sizes[1]]]
    with pytest.raises(InputError, match=f"random numbers of their own.* same size; found {sizes[1]} after {sizes[0]}"):
        jaxrf.erf(DropPath(), None, batches)


@pytest.mark.parametrize("model", [nn.Conv(3, (3, 3)), conv], ids=["runs", "fails"])
def test_a_batch_in_the_input_shape_is_asked_about(model):
    """(1, 24, 20, 2) for a model of two spatial axes asks whether 1 is the batch, whether or not the model takes it."""
    with pytest.raises(InputError, match=r"1 .*the batch\? Then leave it out: (input_shape=)?\(24, 20, 2\)"):
        jaxrf.trf(model, (1, 24, 20, 2))


def test_an_axis_of_one_position():
    """A model of three spatial axes takes (1, 24, 20, 2), and so does one of two where the axes are named."""
    assert jaxrf.trf(nn.Conv(3, (3, 3, 3)), (1, 24, 20, 2))[-1].size == (3, 3, 3)
    assert jaxrf.trf(nn.Conv(3, (3, 3)), (1, 24, 20, 2), spatial_axes=(1, 2, 3))[-1].size == (1, 3, 3)
    assert jaxrf.trf(jnp.tanh, (1, 24, 20, 2))[-1].size == (1, 1, 1)
