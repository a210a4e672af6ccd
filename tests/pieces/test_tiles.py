"""A model in tiles gives what it gives on the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.adapters.values import layer_value
from jaxrf.errors import CheckError, InputError
from jaxrf.pieces.tiles import relative
from tests.pieces.models import Trunk, drawn


def compare(model, shape, tile, **options):
    """Tiles have the bits of the whole, compiled alike."""
    variables, image = drawn(model, shape)
    whole = jax.jit(model.apply, compiler_options=jaxrf.compiler_options())(variables, image)
    np.testing.assert_array_equal(jaxrf.tile(model, variables, image, tile, **options), whole)


@pytest.mark.parametrize(
    ("depth", "up", "tile"),
    [
        (1, "transposed", 40),
        pytest.param(2, "bilinear", 100, marks=pytest.mark.slow),
        pytest.param(3, "nearest", 200, marks=pytest.mark.slow),
        pytest.param(4, "transposed", 420, marks=pytest.mark.slow),
    ],
)
def test_u_nets_of_four_depths(depth, up, tile):
    """Tiles of U-Nets begin at multiples of their period, and no seam is seen."""
    compare(zoo.unet(depth=depth, width=2, up=up), (4 * tile // 16 * 16, 1), tile)


def test_a_u_net_of_three_axes():
    """An axis may stay whole while others are cut."""
    compare(zoo.unet(depth=1, width=2), (56, 20, 48, 1), (36, None, 36))


@pytest.mark.parametrize("size", [(235, 190), (232, 201)])
def test_a_trunk_with_padding_that_depends_on_the_size(size):
    """Tiles have the length of the image modulo the step, so that "SAME" pads them as it pads the whole."""
    compare(Trunk(), (*size, 3), 160)


@pytest.mark.parametrize(("blocks", "context"), [(1, 19), pytest.param(23, 349, marks=pytest.mark.slow)])
def test_a_generator_with_upsampling(blocks, context):
    """An ESRGAN-like generator of 23 blocks has 349 positions of context at its own resolution."""
    model = zoo.esrgan(blocks, width=4, growth=2, channels=1)
    row = jaxrf.trf(model, (4 * context, 1))[-1]
    assert row.halo() == ((context, context),)
    assert row.stride[0] == pytest.approx(0.25)
    compare(model, (5 * context, 1), 3 * context)


@pytest.mark.parametrize(
    ("model", "layer", "size", "tile"),
    [
        (Trunk(), None, 203, 160),
        pytest.param(zoo.resnet18(), "layer2", 256, 160, marks=pytest.mark.slow),
    ],
)
def test_tiles_of_a_trunk_have_the_bits_of_the_whole_in_both_precisions(model, layer, size, tile):
    """In double and in single precision, a layer inside too; what single precision rounds is the same in both."""
    variables, image = drawn(model, (size, size, 3))
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)

    def both(variables, image):
        subject = adapt(model, image.shape[1:], variables=variables, dtype=image.dtype)
        value = jax.jit(layer_value(subject, layer or "output"), compiler_options=jaxrf.compiler_options())
        whole = np.asarray(value(variables, image))
        np.testing.assert_array_equal(jaxrf.tile(model, variables, image, tile, layer=layer), whole)
        return whole

    with jax.enable_x64(True):
        exact = both(wide, image.astype(np.float64))
    assert 0 < relative(both(variables, image), exact) < 1e-6


def test_only_one_shape_is_compiled():
    """All tiles share one program, whatever their number."""
    shapes = []

    def model(x):
        shapes.append(x.shape)
        return x[:, 2:] - x[:, :-2]

    image = np.random.default_rng(0).normal(size=(3, 100, 1)).astype(np.float32)
    np.testing.assert_array_equal(jaxrf.tile(model, None, image, 12), image[:, 2:] - image[:, :-2])
    assert [shape for shape in shapes if shape[0] == 3] == [(3, 12, 1)]


def test_a_layer_inside_and_channels_first():
    """Any layer of the table can be computed in tiles; units may lie on any axes of it."""
    kernel = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)

    def model(x):
        y = jax.lax.conv_general_dilated(x, kernel, (2, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        return jaxrf.tap(y, "conv").mean((2, 3))

    image = np.random.default_rng(1).normal(size=(2, 3, 41, 36)).astype(np.float32)
    whole = jax.lax.conv_general_dilated(image, kernel, (2, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    tiled = jaxrf.tile(model, None, image, (15, 12), layer="conv", spatial_axes=(2, 3))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    with pytest.raises(InputError, match="sees its input whole .y, x., behind reduce_sum"):
        jaxrf.tile(model, None, image, (15, 12), spatial_axes=(2, 3))


def test_a_memory_map_is_read_and_written_in_parts(tmp_path):
    """Neither image nor output need be in memory as a whole."""
    image = np.memmap(tmp_path / "image", np.float32, "w+", shape=(1, 64, 64, 1))
    image[:] = np.random.default_rng(0).normal(size=image.shape)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=image.shape)
    assert jaxrf.tile(lambda x: nn.avg_pool(x, (3, 3), padding="SAME"), None, image, 16, out=out) is out
    np.testing.assert_allclose(out, nn.avg_pool(jnp.asarray(image), (3, 3), padding="SAME"), atol=1e-6)


IMAGE = np.random.default_rng(0).normal(size=(1, 96, 4)).astype(np.float32)


def moving(x):
    return x[:, 1:] + x[:, :-1]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda x: x - x.mean(1, keepdims=True), {}, "sees its input whole .*reduce_sum.*frozen.*tile=None"),
        (lambda x: jnp.cumsum(x, 1), {}, "cannot be cut on axis 0.*tile=None"),
        (moving, {"tile": 1}, "tile=1 is too small.*Use tile=2 or more"),
        (moving, {"tile": 0}, "tile=0 is not a whole number of at least 1"),
        (moving, {"tile": 2.5}, "tile=2.5 is not a whole number"),
        (moving, {"tile": (8, 8)}, "for each of the 1 spatial axes"),
        (moving, {"context": ((2, 1), (1, 1))}, "is not a pair"),
        (moving, {"image": IMAGE[0, :, 0]}, r"image\[None\]"),
        (moving, {"image": IMAGE.astype(int)}, "whole numbers.*no derivative.*/ 255"),
        (zoo.unet(depth=1, width=2), {}, "needs variables to run"),
        (zoo.unet(depth=3, width=2), {"image": IMAGE[:, :92]}, "needs a multiple of 8"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused_with_what_would_work(model, options, message):
    options = {"image": IMAGE, "tile": 32, **options}
    with pytest.raises(InputError, match=message):
        jaxrf.tile(model, None, options.pop("image"), options.pop("tile"), **options)


def test_a_context_larger_than_the_image_asks_for_the_whole():
    """Where no tile would do, it says so."""
    model = nn.Conv(1, (95,))
    variables, image = drawn(model, (96, 1))
    with pytest.raises(InputError, match="47 positions of context before and 47 after.*tile=95 or more"):
        jaxrf.tile(model, variables, image, 64)
    wide = nn.Conv(1, (301,))
    variables, image = drawn(wide, (96, 1))
    with pytest.raises(InputError, match="150 positions.*Run all of its 96 positions: tile=None"):
        jaxrf.tile(wide, variables, image, 64)


@pytest.mark.parametrize(
    "gate",
    [lambda x: jax.lax.stop_gradient(x.max(1, keepdims=True)), lambda x: jnp.linspace(0, 1, x.shape[1])[:, None]],
    ids=["a statistic without a derivative", "coordinates"],
)
def test_values_that_depend_on_more_than_derivatives_are_found(gate):
    """A box is of derivatives; one more tile over the seam shows what else a value depends on."""
    with pytest.raises(CheckError, match="depend on more than its derivative"):
        jaxrf.tile(lambda x: moving(x * gate(x)), None, IMAGE, 32)


def test_nan_on_one_side_is_a_difference():
    """NaN, or an infinity, of a tile alone is told; of both it is what the image gives."""
    whole = np.array([2.0, np.nan, np.inf, 4.0])
    assert relative(whole.copy(), whole) == 0
    for place, value in ((0, np.nan), (1, 1.0), (2, -np.inf), (3, np.inf)):
        mine = whole.copy()
        mine[place] = value
        assert relative(mine, whole) == np.inf
    assert relative(np.array([2.0, np.nan, np.inf, 5.0]), whole) == 0.25


@pytest.mark.slow
def test_an_image_that_does_not_fit_as_a_whole(tmp_path):
    """8192 x 8192 from a memory map and into one, under 2 GB resident, where the whole would take twice as much."""
    script = Path(__file__).parents[2] / "benchmarks" / "tiles.py"
    command = [sys.executable, str(script), "--image", str(tmp_path), "8192"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["error"] < 1e-6 and found["resident"] < 2e9 < 4e9 < found["whole"]
