"""Crops: the same maps from a part of the image, and a reason where all of it is run."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo

SHAPE = (160, 192, 3)
NHWC = ("NHWC", "HWIO", "NHWC")


def both(model, variables=None, shape=SHAPE, **options):
    """The maps with and without cropping, and the plan."""
    given = {"inputs": jaxrf.noise(2), "input_shape": shape, **options}
    plan = jaxrf.plan(model, variables, **given)
    return jaxrf.erf(model, variables, **given), jaxrf.erf(model, variables, crop=False, **given), plan


@pytest.mark.parametrize(
    "model, options",
    [
        pytest.param(zoo.resnet18(width=8, stages=2), {"units": np.array([[9, 10]])}, marks=pytest.mark.slow),
        pytest.param(
            zoo.resnet18(width=8, stages=2, padding="SAME"),
            {"units": np.array([[9, 10], [10, 12]])},
            marks=pytest.mark.slow,
        ),
        (zoo.conv_stack(depth=4, width=8), {"units": np.array([[0, 0]])}),
        (zoo.conv_stack(depth=4, width=8), {"units": np.array([[159, 191], [150, 180]])}),
        pytest.param(
            zoo.unet(depth=2, width=4, up="nearest"),
            {"units": np.array([[77, 91]]), "shape": (160, 192, 1)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            zoo.mobilenet_v2(width=0.25), {"units": np.array([[10, 11]]), "layer": "block_4"}, marks=pytest.mark.slow
        ),
    ],
    ids=["resnet", "same", "corner", "far corner", "unet", "mobilenet"],
)
def test_a_crop_gives_the_same_maps(model, options):
    """Means and origins agree, and only a part of the image was run."""
    if options.get("layer") == "block_4":
        table = jaxrf.trf(model, SHAPE)
        options = {**options, "layer": next(row.name for row in table if row.stride == (8, 8) and row.size[0] < 100)}
    cropped, whole, plan = both(model, **options)
    assert plan.crop.box is not None
    assert (cropped.origin == whole.origin).all()
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=0, atol=2e-4 * whole.mean.max())


KERNELS = [np.random.default_rng(0).normal(size=(3, 3, *features)).astype(np.float32) for features in ((3, 4), (4, 5))]


def pooled(x):
    """Convolutions and means over the pixels of windows, of which there are fewer at a border; stride 4."""
    for kernel in KERNELS:
        x = jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=NHWC))
        x = nn.avg_pool(x, (7, 5), padding="SAME", count_include_pad=False)
    return jnp.sin(x)


@pytest.mark.parametrize(
    "units", [[[20, 24]], [[0, 0], [1, 3]], [[39, 47]], [[0, 24], [9, 20]]], ids=["inside", "corner", "end", "border"]
)
def test_means_over_the_pixels_inside(units):
    """How many pixels a window holds differs at the borders of the image alone; the crop's own borders are not read."""
    cropped, whole, plan = both(pooled, units=np.array(units))
    assert plan.crop.box is not None
    assert (cropped.origin == whole.origin).all()
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=0, atol=2e-4 * whole.mean.max())


@pytest.mark.slow
def test_inception_is_cropped():
    """Its modules hold such means, and its stem has no padding."""
    options = {"input_shape": (512, 480, 3), "layer": "Mixed_5c"}
    plan = jaxrf.plan(zoo.inception_v3(), inputs=jaxrf.noise(1), **options)
    assert plan.crop.box is not None
    assert max(hi - lo for lo, hi in plan.crop.box) < 240


def test_a_crop_starts_on_the_stride_and_keeps_the_length_modulo_it():
    """SAME padding falls as on the whole image."""
    plan = jaxrf.plan(
        zoo.resnet18(width=8, stages=2, padding="SAME"), inputs=jaxrf.noise(1), input_shape=SHAPE,
        units=np.array([[9, 10]]),
    )  # fmt: skip
    for (lo, hi), n in zip(plan.crop.box, SHAPE[:2], strict=True):
        assert lo % 8 == 0
        assert (n - hi) % 8 == 0


def test_values_behind_a_stop_gradient_are_inside_the_crop():
    """A gate whose derivative is cut still needs the places that its value comes from."""
    kernel = jax.random.normal(jax.random.key(0), (9, 9, 3, 4))

    def model(x):
        gate = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return x[..., :1] * jax.lax.stop_gradient(jax.nn.sigmoid(gate))

    cropped, whole, plan = both(model, units=np.array([[80, 90]]))
    assert plan.crop.box == ((76, 85), (86, 95))
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=1e-4)


def test_a_global_value_needs_the_whole_image():
    """`y * stop_gradient(mean(y))` has a local box and a global coefficient."""
    cropped, whole, plan = both(
        lambda x: x * jax.lax.stop_gradient(jax.nn.sigmoid(x.mean((1, 2), keepdims=True))), units=np.array([[80, 90]])
    )
    assert plan.crop.box is None
    assert "cover" in plan.crop.why
    np.testing.assert_array_equal(cropped.mean, whole.mean)


def test_an_operation_of_unknown_reach_needs_the_whole_image():
    """The plan names it."""
    plan = jaxrf.plan(
        lambda x: x * jax.lax.stop_gradient(jax.lax.top_k(x, 3)[0]), inputs=jaxrf.noise(1), input_shape=SHAPE,
        units=np.array([[80, 90]]),
    )  # fmt: skip
    assert plan.crop.box is None
    assert "top_k" in plan.crop.why


def test_products_along_channels_keep_positions():
    """Channels may be multiplied up at each place."""
    cropped, whole, plan = both(
        lambda x: x * jax.lax.stop_gradient(jnp.cumprod(jnp.tanh(x), axis=3)), units=np.array([[8, 9]])
    )
    assert plan.crop.box == ((8, 10), (9, 11))
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=1e-5)


@pytest.mark.parametrize(
    "chosen",
    [
        lambda x, i: x[..., i][..., None],
        lambda x, i: jax.lax.dynamic_slice(x, (0, 0, 0, i), (*x.shape[:3], 1)),
        lambda x, i: x.at[..., i].set(x[..., 0]),
        lambda x, i: jax.lax.dynamic_update_slice(x, x[..., :1], (0, 0, 0, i)),
    ],
    ids=["gather", "dynamic_slice", "scatter", "dynamic_update_slice"],
)
def test_what_indices_are_made_of_is_needed(chosen):
    """The channel of the largest mean is chosen by the whole image."""
    model = lambda x: x * jax.lax.stop_gradient(chosen(x, jnp.argmax(x.mean((0, 1, 2)))))  # noqa: E731
    cropped, whole, plan = both(model, units=np.array([[8, 9]]), inputs=jaxrf.noise(1))
    assert plan.crop.box is None
    assert "cover" in plan.crop.why
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=1e-5)


@pytest.mark.parametrize("place", [np.s_[:, 3:4, 4:5], np.s_[:, -5:-4, -7:-6]], ids=["from the front", "from the end"])
def test_values_of_a_fixed_place(place):
    """They are other ones on a crop, where they do not lie as far from the same corner."""
    cropped, whole, plan = both(lambda x: x * jax.lax.stop_gradient(jnp.tanh(x[place])), units=np.array([[80, 90]]))
    assert "fixed places" in plan.crop.why or "boxes" in plan.crop.why
    np.testing.assert_allclose(cropped.mean, whole.mean, rtol=1e-5)


def test_squeeze_and_excitation_is_run_whole():
    """A pooled gate sees all of the image."""
    plan = jaxrf.plan(lambda x: x * x.mean((1, 2), keepdims=True), inputs=jaxrf.noise(1), input_shape=SHAPE)
    assert plan.crop.box is None


def position(x):
    """Where each column lies on the image, from 1 to 3."""
    return jnp.linspace(1, 3, x.shape[2])[:, None]


@pytest.mark.parametrize(
    "step",
    [lambda x: x * position(x), lambda x: x + position(x), lambda x: x * (x.shape[1] / 50)],
    ids=["scaled by position", "position added", "scaled by size"],
)
def test_what_is_computed_with_the_size_is_run_whole(step):
    """Coordinates and sizes are others on a crop, and the map would be too."""
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 4))

    def model(x):
        return jnp.sin(step(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)))

    plan = jaxrf.plan(model, inputs=jaxrf.noise(1), input_shape=SHAPE)
    assert plan.crop.box is None
    assert "computes with the size of its input" in plan.crop.why
    jaxrf.check(model, inputs=jaxrf.noise(1), input_shape=SHAPE)


def test_large_constants_are_compared_too():
    """Zeros of a ReLU on a large image do not forbid a crop; coordinates over its channels do, on a large crop as well."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 80)).astype(np.float32)

    def model(x, step):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        return jnp.sin(step(x)).mean(-1, keepdims=True)

    options = {"inputs": jaxrf.noise(1), "input_shape": (600, 700, 1), "units": np.array([[0, 0], [520, 520]])}
    relu = jaxrf.plan(lambda x: model(x, lambda x: jax.nn.relu(x) * 2), **options)
    assert relu.crop.box == ((0, 522), (0, 522))
    scaled = jaxrf.plan(lambda x: model(x, lambda x: x * jnp.broadcast_to(position(x), x.shape)), **options)
    assert "computes with the size of its input" in scaled.crop.why


def test_a_model_that_refuses_the_crop_is_run_whole():
    """Some models take certain sizes only."""
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 4))

    def model(x):
        if x.shape[1:] != SHAPE:
            raise ValueError("the size of this model is fixed")
        return jnp.sin(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC))

    plan = jaxrf.plan(model, inputs=jaxrf.noise(1), input_shape=SHAPE)
    assert plan.crop.why == "the model does not take an input of the crop's size"
    jaxrf.check(model, inputs=jaxrf.noise(1), input_shape=SHAPE)


@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["alike", "by the size"])
def test_matrices_that_differ_by_the_size_of_the_input_are_seen(scale):
    """A banded matrix whose numbers depend on the input's size keeps the image whole; one that does not is cropped."""

    def model(x):
        n = x.shape[1]
        places = np.arange(n)
        band = np.abs(places[:, None] - places) <= 2
        numbers = 1 + scale * np.sin(places[:, None] * n + 3.0 * places)
        return jnp.tanh(jnp.einsum("pq,nqc->npc", np.where(band, numbers, 0.0), jnp.tanh(x)))

    images = np.random.default_rng(0).normal(size=(1, 61, 2)).astype(np.float32)
    plan = jaxrf.plan(model, None, images, units=[(30,)], spatial_axes=(1,))
    assert (plan.crop.box is None) == (scale == 1.0)
    whole, mine = (
        jaxrf.erf(model, None, images, units=[(30,)], spatial_axes=(1,), crop=crop, channels=1)
        for crop in (False, True)
    )
    right = np.asarray(jax.grad(lambda x: model(x)[0, 30, 1])(images))[0] ** 2
    for result in (whole, mine):
        start = int(result.origin[0, 0])
        np.testing.assert_allclose(
            result.mean[0], right.sum(-1)[start : start + result.mean.shape[1]], rtol=1e-5, atol=1e-7
        )
