"""Plain functions as subjects, and how their two kinds are told apart."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.adapters.tap import recording, tap
from jaxrf.errors import InputError

WEIGHTS = {"kernel": np.arange(6, dtype=np.float32).reshape(3, 2)}


def closed(x):
    return tap(jnp.tanh(x), "tanh") * 2


def weighted(variables, x):
    return x @ variables["kernel"]


def timed(x, t, *, gain=1.0):
    return gain * x * t


def test_a_function_of_the_image_has_no_variables():
    """`f(x)` becomes a subject whose variables are the empty tuple, and which cannot be initialized."""
    subject = adapt(closed, (5, 7, 3))
    assert (subject.name, subject.variables, subject.abstract, subject.init) == ("closed", (), (), None)
    np.testing.assert_array_equal(subject.fn((), jnp.ones((1, 5, 7, 3))), closed(jnp.ones((1, 5, 7, 3))))
    with pytest.raises(InputError, match=r"closed cannot be initialized at random"):
        subject.initialize(jax.random.key(0))


def test_taps_by_hand_are_recorded():
    """`jaxrf.tap` in the function names its layer."""
    subject = adapt(closed, (5, 7, 3))
    with recording() as record:
        jax.eval_shape(lambda x: subject.fn((), x), subject.images())
    assert list(record.taps) == ["tanh"]


def test_a_function_of_variables_takes_arrays_or_shapes():
    """`f(variables, x)` is concrete with arrays and abstract with shapes."""
    subject = adapt(weighted, (5, 3), variables=WEIGHTS)
    assert subject.variables is WEIGHTS
    np.testing.assert_array_equal(subject.fn(WEIGHTS, jnp.ones((1, 5, 3))), np.ones((1, 5, 3)) @ WEIGHTS["kernel"])
    shapes = {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32)}
    subject = adapt(weighted, (5, 3), variables=shapes)
    assert subject.variables is None
    assert subject.abstract == shapes


def test_an_attribute_init_makes_variables():
    """A function with `init(key)` needs no variables, and is initialized by it."""

    def model(variables, x):
        return weighted(variables, x)

    model.init = lambda key: {"kernel": jax.random.normal(key, (3, 2))}
    subject = adapt(model, (5, 3))
    assert subject.abstract["kernel"].shape == (3, 2)
    drawn = subject.initialize(jax.random.key(2))
    np.testing.assert_array_equal(drawn["kernel"], jax.random.normal(jax.random.key(2), (3, 2)))


@pytest.mark.parametrize(
    ("model", "options", "factor"),
    [
        (timed, {"args": (..., 3.0)}, 3),
        (timed, {"args": (..., 3.0), "apply_kwargs": {"gain": 2.0}}, 6),
        (timed, {"apply_kwargs": {"t": 4.0}}, 4),
        (lambda t, x: timed(x, t), {"args": (5.0, ...)}, 5),
        (functools.partial(timed, t=2.0), {}, 2),
        (jax.jit(lambda x: 7 * x), {}, 7),
    ],
    ids=["args", "both", "keyword", "image-last", "partial", "jit"],
)
def test_other_arguments(model, options, factor):
    """Arguments besides the image come from args, apply_kwargs or a partial; none of them is taken for variables."""
    subject = adapt(model, (5, 3), **options)
    np.testing.assert_array_equal(subject.fn(subject.variables, jnp.ones((1, 5, 3))), np.full((1, 5, 3), factor))


def test_variables_and_other_arguments():
    """`f(variables, x, t)` takes its variables first and the rest from args."""
    subject = adapt(lambda variables, x, t: t * weighted(variables, x), (5, 3), variables=WEIGHTS, args=(..., 2.0))
    expected = 2 * weighted(WEIGHTS, np.ones((1, 5, 3)))
    np.testing.assert_array_equal(subject.fn(WEIGHTS, jnp.ones((1, 5, 3))), expected)


def test_missing_variables_are_asked_for():
    """`f(variables, x)` alone says the three ways to give variables, and the one for a second input."""
    with pytest.raises(
        InputError, match=r"weighted is read as weighted\(variables, x\).*init\(key\).*args=\(\.\.\., value"
    ):
        adapt(weighted, (5, 3))


def test_variables_that_the_function_does_not_take():
    """Variables for `f(x)` are refused; an empty tree counts as none."""
    with pytest.raises(InputError, match=r"Variables were given, but closed takes no more than the 1 argument"):
        adapt(closed, (5, 7, 3), variables=WEIGHTS)
    assert adapt(closed, (5, 7, 3), variables={}).variables == ()


@pytest.mark.parametrize("model", [lambda *x: x[0], lambda x=None: x, lambda a, b, c: a])
def test_an_ambiguous_function_says_how_to_wrap_it(model):
    """A function of no or too many required parameters is neither kind, and the error says what to write."""
    with pytest.raises(InputError, match=r"neither .*Wrap it: lambda x: .*lambda variables, x:"):
        adapt(model, (5, 3))


def test_a_function_has_no_methods():
    """`method=` with a function is refused."""
    with pytest.raises(InputError, match=r"method='encode' was given, but closed is a function"):
        adapt(closed, (5, 7, 3), method="encode")


@pytest.mark.parametrize("variables", [WEIGHTS, None])
def test_a_failing_function_says_its_input(variables):
    """What the function raises becomes an error that names the shape, for both kinds."""
    model = weighted if variables else lambda x: x @ jnp.ones((3, 2))
    with pytest.raises(InputError, match=r"fails on inputs of shape \(1, 5, 4\), float32: TypeError: dot_general"):
        adapt(model, (5, 4), variables=variables)


def test_variables_must_be_arrays():
    """A leaf that is not an array is named."""
    with pytest.raises(InputError, match=r"variables of weighted hold a str at 'kernel'"):
        adapt(weighted, (5, 3), variables={"kernel": "weights.npz"})
