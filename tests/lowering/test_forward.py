"""Forward equations through the lowerings, as jaxprs hold them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxrf.adapters import adapt
from jaxrf.lowering.forward import lower
from jaxrf.lowering.pooling import FILLS
from jaxrf.tangent.trace import trace


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def single_equation(f, *operands):
    """The one equation of `f`, and its result by JAX."""
    (equation,) = jax.make_jaxpr(f)(*operands).eqns
    return equation, f(*operands)


def convolution(layout, groups, image, kernel, **how):
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=image)), jnp.asarray(rng.normal(size=kernel))
    options = {"window_strides": (1, 1), "padding": ((1, 1), (0, 2)), **how}
    f = lambda x, w: lax.conv_general_dilated(x, w, dimension_numbers=layout, feature_group_count=groups, **options)  # noqa: E731
    return (*single_equation(f, x, w), (x, w))


@pytest.mark.parametrize(
    ("layout", "groups", "image", "kernel", "how"),
    [
        (("NHWC", "HWIO", "NHWC"), 6, (2, 5, 7, 6), (3, 2, 1, 6), {"window_strides": (2, 1)}),
        (("NCHW", "OIHW", "NCHW"), 6, (2, 6, 5, 7), (6, 1, 3, 2), {"rhs_dilation": (1, 2)}),
        (("HWCN", "OHWI", "CWNH"), 1, (5, 7, 3, 2), (4, 1, 1, 3), {"padding": ((0, 0), (-1, 2))}),
        (("NHWC", "HWIO", "NHWC"), 3, (2, 5, 7, 6), (3, 2, 2, 9), {"lhs_dilation": (2, 3)}),
        (("NWC", "WIO", "NWC"), 2, (2, 9, 4), (3, 2, 6), {"window_strides": (2,), "padding": ((1, 1),)}),
        (("NDHWC", "DHWIO", "NDHWC"), 1, (1, 3, 4, 5, 2), (1, 1, 1, 2, 3),
         {"window_strides": (2, 1, 1), "padding": ((0, 1), (0, 0), (1, 0))}),
    ],
)  # fmt: skip
def test_convolutions_in_any_layout(layout, groups, image, kernel, how):
    """A layout is a matter of transposes: the result is JAX's, in its own layout."""
    equation, wanted, operands = convolution(layout, groups, image, kernel, **how)
    results = lower(equation.primitive.name, equation.params, operands, "cpu")
    assert results is not None
    assert len(results) == 1 and results[0].shape == wanted.shape
    np.testing.assert_allclose(results[0], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_are_left_to_xla(platform):
    """On GPUs and TPUs no equation is rewritten."""
    equation, _, operands = convolution(("NHWC", "HWIO", "NHWC"), 6, (2, 5, 7, 6), (3, 2, 1, 6))
    assert lower(equation.primitive.name, equation.params, operands, platform) is None
    equation, _ = single_equation(lambda x: lax.reduce_window_max_p.bind(x, **POOLED), jnp.ones((5, 7)))
    assert lower("reduce_window_max", equation.params, [jnp.ones((5, 7))], platform) is None


POOLED = {
    "window_dimensions": (2, 3),
    "window_strides": (2, 1),
    "padding": ((1, 0), (0, 2)),
    "base_dilation": (1, 1),
    "window_dilation": (2, 1),
}


@pytest.mark.parametrize("join", sorted(FILLS))
def test_poolings(join):
    """With padding, strides and dilation: XLA's numbers."""
    operation, name = {"max": lax.max, "min": lax.min, "sum": lax.add}[join], f"reduce_window_{join}"
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)))
    initial = np.float64(FILLS[join])

    def pool(x):
        p = POOLED
        return lax.reduce_window(
            x, initial, operation, p["window_dimensions"], p["window_strides"], p["padding"], p["base_dilation"],
            p["window_dilation"],
        )  # fmt: skip

    equation, wanted = single_equation(pool, x)
    assert equation.primitive.name == name
    (found,) = lower(name, equation.params, [x], "cpu")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ((5, 7), {"base_dilation": (1, 2)}),
        ((1, 2), {}),
        ((0, 7), {}),
        ((70, 7), {"window_dimensions": (65, 3), "window_dilation": (1, 1)}),
    ],
)
def test_poolings_that_xla_keeps(shape, change):
    """Holes, empty arrays and results, and windows of more than 64 positions have no quicker way here."""
    assert lower("reduce_window_max", {**POOLED, **change}, [jnp.ones(shape)], "cpu") is None


def test_integers_and_other_operations_are_left():
    """Only floating-point convolutions and poolings are rewritten."""
    assert lower("reduce_window_max", POOLED, [jnp.ones((5, 7), jnp.int32)], "cpu") is None
    assert lower("dot_general", {}, [jnp.ones((2, 3)), jnp.ones((3, 2))], "cpu") is None
    layout = ("NHWC", "HWIO", "NHWC")
    equation, _, operands = convolution(layout, 1, (2, 5, 7, 3), (1, 1, 3, 4), batch_group_count=2)
    assert lower("conv_general_dilated", equation.params, operands, "cpu") is None
    equation, _, operands = convolution(layout, 1, (2, 15, 17, 3), (3, 3, 3, 40))
    assert lower("conv_general_dilated", equation.params, operands, "cpu") is None


def test_a_block_of_a_network():
    """A depthwise block with pooling, equation by equation, is what Flax computes, also under jit."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(6, (3, 3), strides=2, feature_group_count=3, param_dtype=x.dtype)(x)
            x = nn.max_pool(nn.relu(nn.Conv(8, (1, 1), param_dtype=x.dtype)(x)), (3, 3), (2, 2), "SAME")
            return nn.avg_pool(x, (2, 2), (1, 1), "SAME")

    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 15, 13, 3)))
    model = Block()
    variables = model.init(jax.random.key(0), x)
    program = trace(adapt(model, x.shape[1:], dtype=x.dtype), batch=2)
    lowered = []

    def note(equation, operands):
        results = lower(equation.primitive, equation.params, operands, "cpu")
        lowered.extend([] if results is None else [equation.primitive])
        return results

    @jax.jit
    def run(x):
        known = {**dict(zip(program.arguments, jax.tree.leaves(variables))), program.image: x}
        return program.evaluate([program.layers["output"].value], known, note)[0]

    np.testing.assert_allclose(run(x), model.apply(variables, x), rtol=0, atol=1e-12)
    assert lowered.count("conv_general_dilated") == 2
    assert {"reduce_window_max", "reduce_window_sum"} <= set(lowered)
