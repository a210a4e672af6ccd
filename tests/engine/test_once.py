"""What one call does once: traces of the user's model, relations of equations, fields of layers."""

from __future__ import annotations

from collections import Counter

import flax.linen as nn
import jax
import numpy as np
import pytest

import jaxrf
from jaxrf.interpret import fields, geometry
from jaxrf.primitives import rules

pytestmark = pytest.mark.usefixtures("quick")
CALLS: Counter[tuple[int, ...]] = Counter()


class Residual(nn.Module):
    """Six convolutions in residual blocks, which note the shape of each image that they are traced with."""

    @nn.compact
    def __call__(self, x):
        CALLS[x.shape] += 1
        x = nn.Conv(3, (3, 3))(x)
        for number in range(3):
            x = x + nn.tanh(nn.Conv(3, (3, 3), name=f"block{number}")(x))
        return nn.Conv(2, (3, 3), strides=2)(x)


def given() -> tuple[dict, np.ndarray]:
    """Weights and images of 28 x 40, much larger than a unit's field of 11 x 11."""
    images = np.random.default_rng(0).normal(size=(2, 28, 40, 2)).astype(np.float32)
    jaxrf.clear_cache()
    variables = Residual().init(jax.random.key(0), images)
    CALLS.clear()
    return variables, images


def test_a_model_is_traced_once_for_each_shape_that_is_needed():
    """With one image to compare its variables, with two to see whether it mixes images, and with one to be run."""
    variables, images = given()
    jaxrf.erf(Residual(), variables, images, units="all", certify=False)
    assert CALLS == {(1, 28, 40, 2): 2, (2, 28, 40, 2): 1}


@pytest.mark.slow
def test_a_part_of_the_image_is_one_trace_more():
    """Its shapes are others, and so may be what the model computes with them."""
    variables, images = given()
    jaxrf.erf(Residual(), variables, images, units=[(6, 9)], certify=False)
    assert {shape: n for shape, n in CALLS.items() if shape[1:] == (28, 40, 2)} == {
        (1, 28, 40, 2): 2,
        (2, 28, 40, 2): 1,
    }
    assert [n for shape, n in CALLS.items() if shape[1:] != (28, 40, 2)] == [1]


def test_a_table_traces_two_images_alone():
    """Beside the shapes of the variables."""
    given()
    table = jaxrf.trf(Residual(), (28, 40, 2))
    assert len(table) == 6 and CALLS == {(1, 28, 40, 2): 1, (2, 28, 40, 2): 1}


@pytest.mark.parametrize("units, programs", [("all", 2), ([(6, 9)], 3)])
def test_relations_are_derived_once(units, programs, monkeypatch):
    """Each equation of each program says once how its result depends on an operand, whoever asks: table, windows, crop."""
    derived: Counter = Counter()

    def counting(rule):
        relation = rule.relation

        def counted(equation, operand):
            derived[equation, operand] += equation.result.tangent
            return relation(equation, operand)

        return counted

    for rule in {id(rules[name]): rules[name] for name in rules}.values():  # one may stand for several primitives
        monkeypatch.setattr(rule, "relation", counting(rule))
    pushed: Counter = Counter()
    boxes = fields.boxes
    monkeypatch.setattr(geometry, "boxes", lambda program, *args: pushed.update([program]) or boxes(program, *args))
    variables, images = given()
    jaxrf.erf(Residual(), variables, images, units=units, certify=False)
    assert max(derived.values()) == 1
    assert set(pushed.values()) == {1} and len(pushed) <= programs
