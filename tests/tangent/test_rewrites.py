"""Operations that are written in terms of simpler ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

import jaxrf
from tests.tangent.programs import check_derivative, program_of

MESH = Mesh(np.array(jax.devices()[:1]), ("d",))


@jax.custom_vjp
def pair(x):
    return x, 2 * x[:, ::2]


pair.defvjp(lambda x: (pair(x), None), lambda _, cts: (cts[0].at[:, ::2].add(2 * cts[1]),))


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1, 1),))

SHARDED = jax.shard_map(
    lambda x: x * lax.axis_index("d") + lax.pmean(x, "d") * lax.psum(x, "d"),
    mesh=MESH, in_specs=PartitionSpec("d"), out_specs=PartitionSpec("d"),
)  # fmt: skip

WRITTEN = {
    "unstack": lambda x: jnp.unstack(x, axis=1)[2] * jnp.unstack(x, axis=1)[0],
    "stack": lambda x: jnp.stack([x, 2 * x], 2),
    "tile": lambda x: jnp.tile(x, (1, 2, 3)),
    "device_put": lambda x: jax.device_put(2 * x),
    "optimization_barrier": lambda x: lax.optimization_barrier((x, 2 * x))[1],
    "psum": lambda x: jax.vmap(lambda y: y - lax.pmean(y, "i"), axis_name="i", in_axes=1)(x),
    "shard_map": SHARDED,
    "custom_linear_solve": lambda x: jnp.linalg.solve(jnp.eye(5) * 5 + x[0] @ x[0].T, x[0]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_rewritten_operations_are_the_derivative(name):
    """What stands for them is the derivative, and they are gone."""
    program = check_derivative(WRITTEN[name], 5, 3)
    assert name not in {eqn.primitive for eqn in program.linear}


def test_both_results_of_a_custom_vjp():
    """Each result has the support of its own backward rule: every other position of the second."""
    row = jaxrf.trf(lambda x: pair(x)[1], (9, 3))[-1]
    assert [row.box((u,), clip=True) for u in range(5)] == [((2 * u, 2 * u + 1),) for u in range(5)]
    assert row.exact and row.stride == (2,)


def test_a_backward_rule_that_is_not_linear_stays():
    """It has no transpose, so the operation counts as seeing everything, which is noted."""
    program = program_of(clipped, 5, 3)
    assert [eqn.primitive for eqn in program.linear] == ["custom_lin"]
    row = jaxrf.trf(clipped, (5, 3))[-1]
    assert not row.exact and "custom rule" in row.notes[0]


def test_a_loop_of_unknown_length_is_no_rule_of_ours():
    """A `while` that carries the tangent raises, with its line, or counts as global when asked to."""

    def model(x):
        return lax.while_loop(lambda s: s.sum() < 9, lambda s: 2 * s, x)

    with pytest.raises(jaxrf.errors.UnknownPrimitiveError, match=r"'while'.*test_rewrites.py"):
        jaxrf.trf(model, (5, 3))
    row = jaxrf.trf(model, (5, 3), unknown="global")[-1]
    assert not row.exact and row.box((2,), clip=True) == ((0, 5),)


def test_a_reshape_that_reads_its_axes_in_another_order():
    """JAX writes a convolution that is vectorized over rows with one: every row sees itself, and no other image."""

    def along_rows(row):
        return lax.conv_general_dilated(row, jnp.ones((3, 1, 1)), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))

    def model(x):
        return jax.vmap(along_rows, 1, 1)(x)

    program = program_of(model, 4, 6, 1)
    assert "reshape" in [eqn.primitive for eqn in program.linear]
    assert all(eqn.params.get("dimensions") is None for eqn in program.linear if eqn.primitive == "reshape")
    row = jaxrf.trf(model, (4, 6, 1))[-1]
    assert row.exact and row.global_axes == () and row.size == (1, 3) and row.stride == (1, 1)
    assert [row.box((u, 2), clip=True) for u in range(4)] == [((u, u + 1), (1, 4)) for u in range(4)]
    jaxrf.check(model, inputs=np.ones((2, 4, 6, 1), np.float32))
