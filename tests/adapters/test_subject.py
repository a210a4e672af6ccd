"""How a model is called: shapes, dtypes, axes and arguments are checked before anything runs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrf.adapters import adapt
from jaxrf.errors import InputError


def identity(x):
    return x


@pytest.mark.parametrize(
    ("shape", "axes"), [((9, 2), (1,)), ((5, 7, 3), (1, 2)), ((5, 7, 4, 3), (1, 2, 3))], ids=["1d", "2d", "3d"]
)
def test_spatial_axes_lie_between_batch_and_features(shape, axes):
    """One, two and three spatial axes are found without being named."""
    assert adapt(identity, shape).spatial_axes == axes


@pytest.mark.parametrize(("given", "axes"), [((2, 3), (2, 3)), ((-2, -1), (2, 3)), ((1,), (1,)), ([3], (3,))])
def test_spatial_axes_may_be_given(given, axes):
    """Axes of the batched input may be named, from the end too."""
    assert adapt(identity, (3, 5, 7), spatial_axes=given).spatial_axes == axes


@pytest.mark.parametrize("axes", [(), (0, 1), (2, 2), (3, 2), (4,), (-5,)])
def test_spatial_axes_that_do_not_fit(axes):
    """The batch axis, repeated, falling and absent axes are refused."""
    with pytest.raises(InputError, match=r"does not fit batched inputs of shape \(batch, 3, 5, 7\); needed .* 1 to 3"):
        adapt(identity, (3, 5, 7), spatial_axes=axes)


def test_no_spatial_axes():
    """An input of rank one has none unless its only axis is named."""
    with pytest.raises(InputError, match=r"shape \(64,\) has no spatial axes.*spatial_axes=\(1,\)"):
        adapt(identity, (64,))
    assert adapt(identity, (64,), spatial_axes=(1,)).spatial_axes == (1,)


@pytest.mark.parametrize("shape", [(), (5, 0, 3), (5, -1, 3), (5.5, 7, 3), "57", 7, (None, 7, 3)])
def test_input_shapes_that_are_none(shape):
    """Empty, zero, negative, broken and unknown sizes are refused."""
    with pytest.raises(InputError, match=r"needed are positive whole numbers, the shape of one image"):
        adapt(identity, shape)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.uint8, "whole numbers .uint8.*/ 255"),
        (np.int32, "whole numbers .int32.*/ 255"),
        (np.complex64, "complex64; a derivative needs floating-point inputs, or ids of tokens"),
        (bool, "bool; a derivative needs floating-point inputs, or ids of tokens"),
    ],
)
def test_inputs_must_be_real_numbers(dtype, message):
    """Integer, complex and boolean inputs say how to convert them."""
    with pytest.raises(InputError, match=message):
        adapt(identity, (5, 7, 3), dtype=dtype)


def test_double_precision_must_be_switched_on():
    """float64 inputs are refused where JAX would cut them, and taken where it would not."""
    with pytest.raises(InputError, match=r"dtype float64, which JAX would cut to float32.*jax_enable_x64"):
        adapt(identity, (5, 7, 3), dtype=np.float64)
    with jax.enable_x64(True):
        assert adapt(identity, (5, 7, 3), dtype=np.float64).dtype == np.float64
    assert adapt(identity, (5, 7, 3), dtype=jnp.bfloat16).images(3) == jax.ShapeDtypeStruct((3, 5, 7, 3), jnp.bfloat16)


@pytest.mark.parametrize(("args", "found"), [((), 0), ((1.0,), 0), ((..., ...), 2)])
def test_args_have_one_place_for_the_image(args, found):
    """No Ellipsis and two of them are refused; arrays among the arguments are not compared with it."""
    with pytest.raises(InputError, match=rf"args has {found} places for the image; needed is exactly one `\.\.\.`"):
        adapt(identity, (5, 7, 3), args=args)
    assert adapt(lambda x, t: x * t, (5, 7, 3), args=(..., np.ones(3, np.float32))).input_shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("model", "found"), [(3, "a int"), ("resnet", "a str"), (None, "a NoneType"), (dict, "the class dict")]
)
def test_what_is_no_model(model, found):
    """Things of no known kind say what they are and what is needed."""
    with pytest.raises(InputError, match=rf"The model is {found}; needed is a model of Linen, NNX, PyTorch, Haiku"):
        adapt(model, (5, 7, 3))


@pytest.mark.parametrize(
    "reads", [lambda x: x * x.sum().item(), lambda x: x * float(x.sum()), lambda x: x if x.sum() > 0 else -x, np.tanh]
)
def test_a_model_that_reads_values_is_told_why_it_cannot(reads):
    """`.item()`, `float`, `if` and numpy need values; the message says so, and where."""
    with pytest.raises(InputError, match=r"value of a traced array at test_subject.py:\d+ .*jnp\.where"):
        adapt(lambda x: jnp.tanh(reads(x)), (5, 7, 1))


def test_a_failing_line_is_named():
    """The message of a model that raises names the user's line."""

    def net(x):
        raise ValueError("too thin")

    with pytest.raises(InputError, match=r"ValueError: too thin Raised at test_subject.py:\d+ \(net\)\."):
        adapt(net, (5, 7, 1))


def lacking(x, t):
    return x * t


def fails(error):
    def net(x):
        raise error

    return net


def asserts(x):
    assert x.shape[1] % 4 == 0
    return x


def unpacks(x):
    batch, height, channels = x.shape
    return x.reshape(batch, height * channels)


@pytest.mark.parametrize(
    "model",
    [lambda x: x @ jnp.ones((2, 4)), asserts, unpacks, lambda x: x.shape[7] * x, fails(ValueError("bad width 5"))],
)
def test_input_shape_is_named_where_shapes_are_at_fault(model):
    """Errors of shapes, by a library or by the model's own checks, end with a look at input_shape."""
    with pytest.raises(InputError, match=r"Check input_shape \(one image, without the batch axis\)\.$"):
        adapt(model, (5, 7, 3))


@pytest.mark.parametrize(
    "model", [fails(KeyError("stem")), fails(AttributeError("no shape")), fails(ValueError("no such mode"))]
)
def test_input_shape_is_not_named_elsewhere(model):
    """A missing key, attribute or option of the model's is not put down to the input's shape."""
    with pytest.raises(InputError, match=r"Raised at test_subject.py:\d+ \(net\)\.$"):
        adapt(model, (5, 7, 3))


def test_arguments_that_are_lacking():
    """A call that lacks an argument says where to put it, and nothing of shapes."""

    class Timed(nn.Module):
        def __call__(self, x, t):
            return x * t

    for model, options in (
        (Timed(), {}),
        (lambda x: lacking(x), {}),
        (lacking, {"args": (...,), "apply_kwargs": {"s": 1}}),
    ):
        with pytest.raises(
            InputError, match=r"(missing|unexpected|variables).*(args=\(\.\.\., value|apply_kwargs)"
        ) as caught:
            adapt(model, (5, 7, 3), **options)
        assert "input_shape" not in str(caught.value)
