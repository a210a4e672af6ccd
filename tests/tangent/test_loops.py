"""Loops that end by a condition, and constants that a model makes inside of loops and branches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf


def conv(x, kernel=3):
    kernel = jnp.ones((kernel, 1, 1)) if isinstance(kernel, int) else kernel
    return lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))


def resized(x, size):
    return jax.image.resize(x, (len(x), size, x.shape[-1]), "linear")


def attend(x, mask):
    weights = jax.nn.softmax(jnp.where(mask, jnp.einsum("bqc,bkc->bqk", x, x), -1e30))
    return x + weights @ x


def test_a_while_loop_of_known_length_is_run_through():
    """Three convolutions in a `while` that counts to a number that the model closed over: size 7."""
    row = jaxrf.trf(
        lambda x: lax.while_loop(lambda s: s[0] < np.array(3), lambda s: (s[0] + 1, conv(s[1])), (0, x))[1], (11, 1)
    )[-1]
    assert row.exact and (row.size, row.stride, row.padding) == ((7,), (1,), (3,))


def test_the_counter_of_a_while_loop_is_known_inside():
    """An index that counts along reads one position per iteration: 0, 1 and 2."""

    def model(x):
        def add(state):
            i, total = state
            return i + 1, total + lax.dynamic_slice_in_dim(x, i, 1, 1)

        return lax.while_loop(lambda s: s[0] < 3, add, (0, x[:, :1]))[1]

    row = jaxrf.trf(model, (7, 1))[-1]
    assert row.exact and row.box((0,), clip=True) == ((0, 3),)


@pytest.mark.parametrize("other", [lambda x: resized(conv(x), 11), lambda x: 2 * resized(x, 11)])
def test_a_resize_in_a_branch_is_followed(other):
    """Its matrix is a constant of the branch, whichever branch runs: no axis is global."""
    row = jaxrf.trf(lambda x: lax.cond(x.sum() > 0, lambda y: resized(y, 11), other, x), (5, 1))[-1]
    alone = jaxrf.trf(other, (5, 1))[-1]
    assert row.exact and row.global_axes == ()
    assert [row.box(u, clip=True) for u in range(11)] == [alone.box(u, clip=True) for u in range(11)]


def test_a_masked_kernel_in_a_scan_is_followed():
    """Causal kernels of scanned layers keep their zeros: two of them see 2 positions back and none ahead."""
    causal = np.array([1.0, 1.0, 0.0])[:, None, None]
    model = lambda kernels, x: lax.scan(lambda y, k: (conv(y, k * causal), None), x, kernels)[0]  # noqa: E731
    row = jaxrf.trf(model, (9, 1), variables=jax.ShapeDtypeStruct((2, 3, 1, 1), jnp.float32))[-1]
    assert row.exact and (row.size, row.padding) == ((3,), (2,))


@pytest.mark.parametrize(
    "model",
    [
        lambda x: lax.scan(lambda y, _: (attend(y, np.tri(7, dtype=bool)), None), x, None, length=2)[0],
        lambda x: lax.cond(x.sum() > 0, lambda y: attend(y, np.tri(7, dtype=bool)), lambda y: y, x),
    ],
)
def test_masked_attention_in_loops_and_branches_is_followed(model):
    """The mask of a scanned or chosen layer is seen as one that stands outside: unit 4 sees 0 to 4."""
    row = jaxrf.trf(model, (7, 2))[-1]
    assert row.exact and row.box((4,), clip=True) == ((0, 5),)


def test_a_scan_that_hands_out_numbers():
    """Literals that a loop stacks, or a branch chooses, are arrays like others: the factors leave the field as it is."""

    def model(x):
        _, stacked = lax.scan(lambda c, _: (c + 1, 2.0), x.sum(), None, length=3)
        chosen = lax.cond(x.sum() > 0, lambda: 1.0, lambda: 3.0)
        return conv(x) * lax.stop_gradient(stacked.sum() * chosen)

    row = jaxrf.trf(model, (7, 1))[-1]
    assert row.exact and row.size == (3,) and row.stride == (1,)
