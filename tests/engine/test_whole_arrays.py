"""Pull-backs of whole arrays, which a TPU prefers to windows that hold most of the work."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.base.compiler import compiling_for
from jaxrf.engine.placing import place
from jaxrf.engine.scales import scales
from jaxrf.engine.windows import Starts
from jaxrf.lowering.choice import choose
from jaxrf.lowering.convolution import input_gradient
from jaxrf.lowering.problem import ConvolutionSpec
from jaxrf.primitives.rule import Span

POOLED = zoo.resnet18(width=4, stages=2)
CORNERS = np.array([(0, 0), (2, 1), (1, 3), (3, 3)])


def maps_on(platform: str, model, shape, **request) -> tuple[str, np.ndarray]:
    """How a platform's choices pull back, and the maps (image, unit, *map) that they give here."""
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    field = jaxrf.prepare(model, None, images, platform=platform, **request)
    maps = jax.jit(lambda k: field(field.init(k), images, k))(jax.random.key(1))
    return field.plan.reads, np.asarray(maps.array())


@pytest.mark.slow
def test_maps_are_those_of_windows():
    """Units at corners and inside, behind a max-pool and a skip, each with a window of the image of its own."""
    asked = {"layer": "layer2", "units": CORNERS, "crop": False}
    (ours, found), (theirs, wanted) = (maps_on(p, POOLED, (28, 32, 3), **asked) for p in ("tpu", "cpu"))
    assert (ours, theirs) == ("whole", "slices")
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * wanted.max())


def test_small_fields_keep_their_windows():
    """A unit that sees a small part of a large image is pulled back on windows; the plan says which it is."""
    shape = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def plan(model, units, platform):
        return jaxrf.prepare(model, None, shape, units=units, platform=platform, crop=False).plan

    small, large = zoo.conv_stack(depth=2, width=4), POOLED
    assert [plan(m, "center", "tpu").reads for m in (small, large)] == ["slices", "whole"]
    assert "reads       whole arrays" in str(plan(large, "center", "tpu"))
    assert [plan(large, "center", p).reads for p in ("cpu", "gpu")] == ["slices", "slices"]


def test_a_unit_is_laid_into_a_whole_array():
    """Each unit at its own place; one that lies outside is dropped."""
    starts = Starts()
    rows = starts.row(np.array([2, 0, 5])), starts.row(np.array([1, 3, 0]))
    ct = jnp.arange(1.0, 7.0).reshape(3, 1, 1, 2)
    natural = Span(1, 5, rows[0]), Span(1, 4, rows[1]), Span(2, 2)
    found = place(ct, natural, (Span(5, 5), Span(4, 4), Span(2, 2)), starts, jnp.asarray(starts.table(3)))
    wanted = np.zeros((3, 5, 4, 2))
    wanted[0, 2, 1], wanted[1, 0, 3] = (1, 2), (3, 4)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("outputs, name", [(3, "interleave"), (8, "plain")])
def test_strided_convolutions_are_pulled_back_alike(outputs, name):
    """By the choices of a TPU too; a stem of few channels goes by its phases there."""
    rng, spec = np.random.default_rng(0), ConvolutionSpec((2, 2), ((3, 3), (3, 2)), (1, 1), (1, 1))
    ct, kernel = rng.normal(size=(2, 6, 5, 7)), rng.normal(size=(7, 7, outputs, 7))
    ct, kernel, seen = jnp.asarray(ct, jnp.float32), jnp.asarray(kernel, jnp.float32), []
    wanted = input_gradient(ct, kernel, spec, (11, 10))
    with compiling_for("tpu"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrf.lowering.choice.choose", lambda p: seen.append(choose(p)) or seen[-1])
        found = input_gradient(ct, kernel, spec, (11, 10))
    assert seen[0] == name
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_part_of_large_weights_tells_their_scale():
    """On a TPU the middle of a coefficient is read, so that one of 2**20 elements costs a part; powers of two come out."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(3, 3, 256, 512)), jnp.float32)
    with compiling_for("tpu"):
        for power in (-30, 0, 30):
            ((factor, exponent),) = scales([weights * 2.0**power], [1.0])
            assert abs(int(exponent) - power) <= 4 and float(factor) == 2.0 ** -int(exponent)
        text = str(jax.make_jaxpr(lambda w: scales([w], [1.0]))(weights))
    assert "f32[1,1,128,512]" in text
