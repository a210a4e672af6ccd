"""Numbers of known coefficients that are nothing but rounding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.tangent.trace import trace


def support(make, n: int) -> np.ndarray:
    """The support of a matrix (n, ...) that a model makes and multiplies its positions with."""
    program = trace(adapt(lambda x: jnp.einsum("btc,tu->buc", x, make()), (n, 1)))
    (equation,) = [eqn for eqn in program.linear if eqn.primitive == "dot_general"]
    found = equation.support(1 - equation.tangents[0])
    assert found is not None
    return found if found.shape[0] == n else found.T


@pytest.mark.parametrize(("method", "n", "m"), [("lanczos3", 30, 90), ("lanczos5", 13, 11), ("cubic", 17, 5)])
def test_the_tails_of_a_resize_are_zero(method, n, m):
    """Weights that are zero in double precision, and others in single precision by rounding alone, are not a support."""
    with jax.enable_x64(True):
        exact = np.asarray(jax.image.resize(jnp.eye(n), (n, m), method))
    rounded = np.asarray(jax.image.resize(jnp.eye(n, dtype=np.float32), (n, m), method))
    assert ((rounded != 0) & (np.abs(exact) < 1e-11)).any(), "nothing to tell apart"
    found = support(lambda: jax.image.resize(jnp.eye(n, dtype=np.float32), (n, m), method), n)
    np.testing.assert_array_equal(found, np.abs(exact) > 1e-11)


def test_small_numbers_that_are_right_stay():
    """A decay by distance holds 0.5^29 = 2e-9 of its largest number, and so does a matrix that is closed over."""
    distance = np.arange(30)[:, None] - np.arange(30)
    lower = distance >= 0
    given = np.where(lower, 0.5 ** np.maximum(distance, 0), 0).astype(np.float32)
    made = lambda: jnp.where(lower, jnp.exp(-jnp.log(2.0) * distance.astype(np.float32)), 0.0)  # noqa: E731
    for make in (made, lambda: jnp.asarray(given)):
        np.testing.assert_array_equal(support(make, 30), lower)


def test_what_cancels_is_zero():
    """0.3 + 0.3 - 0.6 is -2e-8 in single precision, for there is no 0.3: no weight beside one."""
    left = lambda: jnp.exp(jnp.log(0.3)) * jnp.array([1.0, 0.0, 5.0]) + 0.3 - 0.6  # noqa: E731
    found = support(lambda: left()[:, None] * jnp.ones((1, 2)), 3)
    np.testing.assert_array_equal(found[:, 0], [False, True, True])
