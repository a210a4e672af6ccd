"""What operations say of values, against brute force: every element of every operand is changed, and zeros are put in."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf.primitives
from jaxrf.equations.levels import NOTHING, Known, constant
from jaxrf.equations.program import Equation, Literal, Variable
from jaxrf.geometry.merge import source
from jaxrf.primitives import rules
from jaxrf.primitives.operation import NOTHING_KNOWN, Kind, Operation, about, operations
from jaxrf.tangent.constants import Constants
from tests.primitives.functions import FUNCTIONS, equations

NOT_TRIED = set(
    "bitcast_convert_type empty2 eq_to expand_dims igamma_grad_a index le_to log2 lt_to one_minus_square random_clone "
    "random_fold_in random_gamma_grad random_split rng_bit_generator split stack stop_gradient threefry2x32 unstack".split()
)
"""Operations that JAX writes for itself, in other versions than this one, or inside of others."""


def evaluated(name: str) -> list[tuple[Equation, list[np.ndarray]]]:
    """Each equation of a function that has numbers for operands, and the operands for one input."""
    forward, argument, _ = equations(name)
    values = {argument: np.random.default_rng(3).uniform(0.5, 1.5, argument.shape).astype(np.float32)}
    found = []
    for eqn in forward:
        operands = [v.value if isinstance(v, Literal) else values[v] for v in eqn.operands]
        values.update(zip(eqn.results, eqn.evaluate(*operands)))
        if all(jnp.issubdtype(v.dtype, np.number) or v.dtype == bool for v in (*eqn.operands, *eqn.results)):
            found.append((eqn, [np.asarray(one) for one in operands]))
    return found


def changed(value: np.ndarray, place: tuple[int, ...]) -> list[np.ndarray]:
    """The array with other numbers at one place."""
    others = [~value[place]] if value.dtype == bool else [value[place] + 1, value[place] - 1]
    result = []
    for other in others:
        result.append(value.copy())
        result[-1][place] = other
    return result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_depend_on_what_is_in_relation(name):
    """Where one element of one operand changes, only results change whose relation holds it."""
    for eqn, operands in evaluated(name):
        for i, value in enumerate(operands):
            links = [about(eqn.primitive).values(eqn, i, k) for k in range(len(eqn.results))]
            if about(eqn.primitive).kind is Kind.DRAW or isinstance(eqn.operands[i], Literal):
                continue
            assert None not in links or eqn.primitive in ("stack", "tile"), eqn.primitive
            for k, link in enumerate(links):
                if link is not None:
                    fields = [link.push(source(value.shape, axis)) for axis in range(value.ndim)]
                    assert_within(eqn, operands, i, k, fields)


def assert_within(eqn, operands, i, k, fields):
    before = np.asarray(eqn.evaluate(*operands)[k])
    seen = [[np.broadcast_to(end, before.shape) for end in (field.lo, field.hi)] for field in fields]
    for place in np.ndindex(operands[i].shape):
        for other in changed(operands[i], place):
            after = np.asarray(eqn.evaluate(*operands[:i], other, *operands[i + 1 :])[k])
            moved = ~np.isclose(before, after, rtol=1e-5, atol=0, equal_nan=True)  # loops end by the slowest element
            for (lo, hi), at in zip(seen, place):
                assert not (moved & ~((lo <= at) & (at < hi))).any(), (eqn.primitive, i, place)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_known_zeros_are_zeros(name):
    """With zeros put into operands, nothing outside of the support that an operation tells is other than zero."""
    draw = np.random.default_rng(5)
    for eqn, operands in evaluated(name):
        for _ in range(3):
            there = [draw.random(value.shape) < 0.6 for value in operands]
            floats = [jnp.issubdtype(value.dtype, jnp.inexact) for value in operands]
            values = [v * t if one else v for v, t, one in zip(operands, there, floats)]
            told = [Known(support=t) if one else constant(v) for v, t, one in zip(values, there, floats)]
            known = about(eqn.primitive).known(eqn, told)
            if known is not None and known.support is not None and eqn.result.dtype != bool:
                (result, *_) = eqn.evaluate(*values)
                other = (np.asarray(result) != 0) & ~np.isnan(result)  # none over none
                assert not other[~np.broadcast_to(known.support, eqn.result.shape)].any(), eqn.primitive


def test_constants_tell_levels_where_it_is_said():
    """A mask added to, multiplied with or put in place of numbers is seen; the pass over a program asks these alone."""
    for eqn, operands in [pair for name in ("clamp", "max", "min", "products of values") for pair in evaluated(name)]:
        one = about(eqn.primitive)
        if not one.tells_levels:
            continue
        low = [np.full_like(v, 0 if eqn.primitive == "mul" else -1e9 if v.dtype != bool else 1) for v in operands]
        if eqn.primitive == "min":
            low[1][:] = -1e9
        told = [constant(v) if i else NOTHING for i, v in enumerate(low)]
        if eqn.primitive == "select_n":
            told[0] = constant(low[0])
        found = one.known(eqn, told)
        assert found is not None
        assert found.level is not None or found.support is not None or eqn.primitive == "max"


def test_every_operation_without_a_rule_is_tried():
    """Whatever is registered beside the rules occurs in a function; of other operations nothing is known, and all answer."""
    used = {eqn.primitive for name in FUNCTIONS for eqn in equations(name)[0]}
    assert set(operations) - set(rules) - NOT_TRIED <= used
    assert about("no such primitive") is NOTHING_KNOWN
    assert NOTHING_KNOWN.kind is Kind.OTHER
    assert NOTHING_KNOWN.values(equations("abs")[0][0], 0) is None
    assert all(operations[name] is rules[name] for name in rules)
    assert all(type(one).__doc__ and type(one) is not Operation for one in operations.values())
    assert jaxrf.primitives.about is about


def test_random_operations_of_jax_are_all_known():
    """A primitive of this JAX whose name says that it is random draws numbers, or is a function of them."""
    import jax.extend.core.primitives as every

    names = {getattr(every, one).name for one in dir(every) if one.endswith("_p")}
    random = {name for name in names if name.startswith(("random_", "rng_", "threefry"))}
    assert {name for name in random if about(name).kind is not Kind.DRAW} <= {"random_gamma_grad"}
    assert len(random) > 5


def test_indices_steer_and_factors_do_not():
    """Indices, starts and the matrix of a product say where elements come from; what is written or multiplied does not."""
    steering = {
        "gather": "01", "dynamic_slice": "011", "dynamic_update_slice": "0011", "scatter": "010", "scatter-add": "010",
        "mul": "00", "select_n": "000", "dot_general": "11", "conv_general_dilated": "00", "pad": "00",
    }  # fmt: skip
    nowhere = Equation("", {}, (), (), lambda: [])
    for primitive, expected in steering.items():
        found = [about(primitive).steers(nowhere, i) for i in range(len(expected))]
        assert found == [one == "1" for one in expected], primitive


def test_numbers_that_constants_repeat():
    """A number is found behind whatever only casts, repeats or moves it."""
    number = Literal(np.float32(0.25))
    wide, turned = Variable((3, 2), np.dtype(np.float32)), Variable((2, 3), np.dtype(np.float32))
    other = Variable((2, 3), np.dtype(np.float32))
    forward = [
        Equation("broadcast_in_dim", {}, (number,), (wide,), lambda x: [x]),
        Equation("transpose", {}, (wide,), (turned,), lambda x: [x]),
        Equation("neg", {}, (turned,), (other,), lambda x: [-x]),
    ]
    constants = Constants(forward, {}, [], Variable((1,), np.dtype(np.float32)))
    assert constants.number(turned) == 0.25
    assert constants.number(other) is None
