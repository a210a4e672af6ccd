"""The last look at the range of a cotangent, which spares one at all gradients of the source."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.base.compiler import jit
from jaxrf.engine.looks import last_look
from jaxrf.engine.pull import pull_back
from jaxrf.engine.scales import room
from jaxrf.engine.view import Shared
from jaxrf.engine.windows import windows
from jaxrf.planning.programs import traced

SHAPE = (24, 28, 3)


def planned(model):
    """Program, windows of a unit, and a cotangent."""
    program = traced(adapt(model, SHAPE))
    target = program.layers["output"].tangent
    plan = windows(program, target, program.input, {1: np.array([1, 2]), 2: np.array([2, 0])})
    return program, plan, jnp.ones((2, *(s.size for s in plan.unit)), jnp.float32)


@pytest.mark.parametrize(
    "model, where",
    [
        (zoo.resnet18(width=4, stages=1), "stem"),
        (zoo.conv_stack(depth=6, width=32), None),
        (zoo.conv_stack(depth=3, width=32, activation="sigmoid"), None),
    ],
    ids=["a stem", "few channels at the source", "coefficients of images"],
)
def test_it_is_where_all_goes_through_a_small_array(model, where):
    """Behind the pool of a stem; not where the source is smaller, or where a coefficient of unknown size follows."""
    _, plan, _ = planned(model)
    last = last_look(plan)
    assert (last is None) == (where is None)
    if last is not None:
        assert last.equation.params == {"name": where} and 1 < last.limit < room(np.dtype(np.float32)) - last.left + 1


def test_gradients_come_out_in_range(monkeypatch):
    """As if they had been looked at themselves: the same numbers, and magnitudes within the room of single precision."""
    program, plan, ct = planned(zoo.resnet18(width=4, stages=1))
    rng, limit = np.random.default_rng(0), room(np.dtype(np.float32))
    leaves = [jnp.asarray(np.abs(rng.normal(size=v.shape)) + 0.1, v.dtype) for v in program.arguments]
    image, wanted = jnp.asarray(rng.normal(size=program.image.shape), jnp.float32), plan.coefficients()

    def pulled(ct):
        values = program.evaluate(wanted, {**dict(zip(program.arguments, leaves)), program.image: image})
        table = jnp.asarray(plan.starts.table(plan.count))
        found = pull_back(plan, Shared(dict(zip(wanted, values)), plan.starts), table, ct)
        return found.array, found.exponents()

    spared = [jit(pulled)(ct * 2.0**power) for power in (-60, 0, 60)]
    monkeypatch.setattr("jaxrf.engine.pull.last_look", lambda plan: None)
    looked = jit(pulled)(ct)
    for power, (array, exponents) in zip((-60, 0, 60), spared):
        largest = np.abs(np.asarray(array)).max(axis=(1, 2, 3, 4))
        assert (np.abs(np.log2(largest)) <= limit).all()
        found, right = (
            np.ldexp(np.float64(a), np.asarray(e)[:, None, None, None, None])
            for a, e in ((array, exponents - power), looked)
        )
        assert right.any()
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 * right.max())
