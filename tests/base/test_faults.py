"""Convolutions that XLA computes wrongly: the engine does without, and programs that hold one are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.base.faults import fault
from jaxrf.checks import oracles
from jaxrf.errors import CheckError

KERNEL = np.random.default_rng(0).normal(size=(2, 8, 4)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(1, 7, 8)).astype(np.float32)


def convolve(x, padding, kernel=KERNEL, **options):
    return lax.conv_general_dilated(
        x, jnp.asarray(kernel), (1,), [padding], dimension_numbers=("NHC", "HIO", "NHC"), **options
    )


def cutting(x):
    """Cuts three positions in front and pads two behind; not linear, so that values matter."""
    return jnp.tanh(convolve(x, (-3, 2)))


def apart(x):
    """The same, cut by a slice."""
    return jnp.tanh(convolve(x[:, 3:], (0, 2)))


def test_maps_are_those_of_the_model_as_written():
    """The engine's map is that of the same model with a slice, and the certificate says which convolution is wrong."""
    given = {"inputs": IMAGES, "units": [[1], [3]], "channels": "sum"}
    with pytest.warns(
        UserWarning, match=r"padding \(\(-3, 2\),\), called at test_faults.py.*jaxlib .*openxla/xla#48713"
    ):
        found = jaxrf.erf(cutting, None, **given)
    right = jaxrf.erf(apart, None, **given)
    for one, other, at, there in zip(found.mean, right.mean, found.origin, right.origin):
        assert at.tolist() == there.tolist()
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert found.provenance["certificate"] is None and right.provenance["certificate"] is not None


def test_the_oracle_is_no_reference_for_them():
    """`check` and the dense Jacobian say so instead of comparing with what was read beyond the image."""
    with pytest.warns(UserWarning, match="computes wrongly"), pytest.raises(CheckError, match="The oracle runs a conv"):
        jaxrf.check(cutting, None, IMAGES)
    subject = adapt(cutting, IMAGES.shape[1:], dtype=IMAGES.dtype)
    with pytest.raises(CheckError, match="Cut by a slice and pad apart"):
        oracles.jacobian(subject, (), IMAGES)
    jaxrf.check(apart, None, IMAGES)


@pytest.mark.parametrize("padding", [(-3, 2), (-1, 1), (-2, -1), (2, -3), (-1, 0), (0, 2)])
def test_what_is_not_told_is_right(padding):
    """A convolution that is not told to be wrong equals the one in double precision, which XLA computes otherwise."""
    told = bool(fault(jax.make_jaxpr(lambda x: convolve(x, padding))(IMAGES), "cpu"))
    assert told == (padding[0] < 0 < padding[1])
    if not told:
        with jax.enable_x64(True):
            right = convolve(IMAGES.astype(np.float64), padding, KERNEL.astype(np.float64))
        np.testing.assert_allclose(convolve(IMAGES, padding), right, atol=1e-4)


def test_programs_within_programs_are_looked_through():
    """Calls, loops and branches hold it too; holes, double precision and other devices do without the faulty way."""

    def widened(y):
        return convolve(y, (-3, 2), np.ones((1, 8, 8))).repeat(2, 1)[:, :7]

    def looped(x):
        def step(y, _):
            return jax.jit(jax.checkpoint(widened))(y), None

        return lax.cond(x.sum() > 0, lambda y: lax.scan(step, y, None, 2)[0], lambda y: y, x)

    program = jax.make_jaxpr(looped)(IMAGES)
    assert "called at test_faults.py" in fault(program, "cpu")
    assert not fault(program, "tpu")
    assert not fault(jax.make_jaxpr(lambda x: convolve(x, (-3, 2), lhs_dilation=(2,)))(IMAGES), "cpu")
    with jax.enable_x64(True):
        wide = jax.make_jaxpr(lambda x: convolve(x, (-3, 2), KERNEL.astype(np.float64)))(IMAGES.astype(np.float64))
    assert not fault(wide, "cpu")
