"""The laws of rules, for every registered one: relations against dense Jacobians, pull-backs against `jax.vjp`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.equations.program import Variable
from jaxrf.geometry.merge import source
from jaxrf.primitives import Rule, rules
from jaxrf.tangent.trace import trace
from tests.primitives.cases import CASES, positive
from tests.primitives.equations import inputs, jacobian, program, pulled, tried
from tests.primitives.families.convolution import conv


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def hull(support: np.ndarray, rank: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Per element of the result: first and one-past-last position of the operand's `axis`; (0, 0) if there is none."""
    others = tuple(rank + a for a in range(support.ndim - rank) if a != axis)
    line = support.any(axis=others)
    some = line.any(axis=-1)
    if line.shape[-1] == 0:
        return np.zeros(some.shape, int), np.zeros(some.shape, int)
    lo, hi = line.argmax(axis=-1), line.shape[-1] - line[..., ::-1].argmax(axis=-1)
    return np.where(some, lo, 0), np.where(some, hi, 0)


@pytest.mark.parametrize("name", CASES)
def test_relation_is_the_support_of_the_jacobian(name):
    """Fields pushed through a relation are the hulls of the derivatives that are not zero; loose ones hold them."""
    for one in tried(name):
        equation, operand, support = one.equation, one.operand, one.support
        rule = rules[equation.primitive]
        relation, loose = rule.relation(equation, operand), rule.loose(equation, operand)
        rank = len(equation.result.shape)
        for axis in range(support.ndim - rank):
            field = relation.push(source(equation.operands[operand].shape, axis))
            assert field.lo.shape == field.hi.shape
            lo, hi = (np.broadcast_to(a, equation.result.shape) for a in (field.lo, field.hi))
            lo, hi = np.where(lo < hi, lo, 0), np.where(lo < hi, hi, 0)
            true_lo, true_hi = hull(support, rank, axis)
            if loose:
                some = true_lo < true_hi
                assert (lo <= true_lo)[some].all() and (hi >= true_hi)[some].all(), (equation.primitive, axis)
            else:
                assert np.array_equal(lo, true_lo) and np.array_equal(hi, true_hi), (equation.primitive, axis)


@pytest.mark.parametrize("name", CASES)
def test_pulled_boxes_hold_what_they_depend_on(name):
    """The box that a relation pulls back holds every element on which an element of the result's box depends."""
    draw = np.random.default_rng(5)
    for one in tried(name):
        equation, operand, support = one.equation, one.operand, one.support
        out = equation.result.shape
        if not out or 0 in out:
            continue
        relation = rules[equation.primitive].relation(equation, operand)
        lo = np.stack([draw.integers(0, n, 12) for n in out])
        hi = np.stack([draw.integers(a + 1, n + 1) for a, n in zip(lo, out)])
        box = relation.pull([(a, b) for a, b in zip(lo, hi)])
        for unit in range(12):
            part = support[tuple(slice(a, b) for a, b in zip(lo[:, unit], hi[:, unit]))]
            for axis, (first, last) in enumerate(box):
                line = part.any(axis=tuple(a for a in range(part.ndim) if a != len(out) + axis))
                seen = np.flatnonzero(line)
                assert (seen >= first[unit]).all() and (seen < last[unit]).all(), (equation.primitive, axis)


@pytest.mark.parametrize("name", CASES)
def test_pull_back_is_the_gradient(name):
    """Cotangents on moving windows and on whole arrays give JAX's gradients, whichever axes move, nothing outside."""
    axes = tuple(range(len(program(name).layers["output"].tangent.shape)))
    choices = list(dict.fromkeys([axes, axes[1:2], ()] if len(axes) > 3 else [axes, ()]))
    for moving, (mine, theirs) in zip(choices, pulled(name, choices), strict=True):
        scale = max(1, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12 * scale, err_msg=f"moving axes {moving}")


SCALED = [name for name in rules if type(rules[name]).powers is not Rule.powers]


@pytest.mark.parametrize("primitive", SCALED)
def test_powers_of_coefficients_come_out(primitive):
    """Eight times a coefficient gives 8**power times the derivative, for every coefficient that a rule names."""
    pairs = ((n, e, i) for n in CASES for e in program(n).linear if e.primitive == primitive for i in e.tangents)
    name, equation, operand = next((n, e, i) for n, e, i in pairs if rules[primitive].powers(e, i))
    for j, power in rules[primitive].powers(equation, operand).items():
        others = [v for k, v in enumerate(equation.operands) if isinstance(v, Variable) and not v.tangent and k != j]
        known = dict(zip(others, program(name).evaluate(others, {program(name).image: next(inputs(name))})))
        coefficient = equation.operands[j]
        if isinstance(coefficient, Variable):
            (value,) = program(name).evaluate([coefficient], {program(name).image: next(inputs(name))})
            once, more = (jacobian(equation, operand, {**known, coefficient: c * value}) for c in (1.0, 8.0))
            np.testing.assert_allclose(more, once * 8.0**power, rtol=1e-12)
            assert np.asarray(once).any()


def test_every_rule_has_a_case():
    """A rule that is registered is under these laws; one that may be loose is so in a case, the others never are."""
    found: dict[str, set[bool]] = {}
    for name in CASES:
        for equation in program(name).linear:
            rule = rules[equation.primitive]
            loose = {bool(rule.loose(equation, i)) for i in equation.tangents}
            found.setdefault(equation.primitive, set()).update(loose)
    assert set(rules) == set(found)
    families = {type(rules[name]): rules[name].hull_where for name in rules}
    for family, where in families.items():
        loose = set().union(*(found[name] for name in rules if type(rules[name]) is family))
        expected = {False} if not where else {True} if where == "always" else {False, True}
        assert loose == expected, family


@pytest.mark.parametrize("write", ["add", "set"])
def test_scatter_before_a_convolution(write):
    """Vectorized over images, as the engine runs it: XLA must not fuse the two, which it does wrongly."""

    def model(x):
        return conv(getattr(x.at[:, :, 1:], write)(x[:, :, :-1]), positive(1, 1, 2, 3))

    traced = trace(adapt(model, (5, 7, 2), dtype=np.float64))
    images = np.random.default_rng(0).uniform(0.5, 1.5, (2, 1, 5, 7, 2))
    wanted = [traced.layers["output"].value]
    (values,) = jax.jit(jax.vmap(lambda x: traced.evaluate(wanted, {traced.image: x})))(images)
    np.testing.assert_allclose(values, [model(jnp.asarray(x)) for x in images], rtol=1e-12)
