"""Taps name values, are numbered by call, and change nothing."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxrf
from jaxrf.adapters import adapt, intercepting
from jaxrf.adapters.tap import TAP, active, recording, tap
from tests.tangent.programs import program_of


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.LayerNorm()(nn.Conv(4, (3, 3))(x)))


class Net(nn.Module):
    """A jitted, a rematerialized and a plain block."""

    @nn.compact
    def __call__(self, x):
        x = nn.jit(Block)(name="jitted")(x)
        x = nn.remat(Block)(name="again")(x)
        return Block(name="plain")(x)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.norm(self.conv(x)))


IMAGE = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype(np.float32)


def test_outside_of_a_recording_a_tap_does_nothing():
    """It returns its argument itself, whatever that is."""
    assert not active()
    for x in (jnp.ones(3), {"a": 1}, "text", None):
        assert tap(x, "name") is x


def test_leaves_of_a_tree_are_named_by_their_path():
    """Floating leaves are tapped by name and path, the others are left alone."""

    def f(x):
        out = tap({"a": jnp.sin(x), "n": jnp.argmax(x), "b": [jnp.cos(x)]}, "layer", kind="Pair", parameters=7)
        return out["a"] + out["b"][0]

    program = program_of(f, 4, 5)
    assert list(program.layers) == ["layer['a']", "layer['b'][0]", "output"]
    assert {(layer.kind, layer.parameters) for layer in list(program.layers.values())[:2]} == {("Pair", 7)}


def test_repeated_names_are_numbered_by_call():
    """Also those of a jitted function that JAX traces once and calls three times."""
    step = jax.jit(lambda x: tap(jnp.sin(x), "sine"))
    program = program_of(lambda x: step(step(step(x))), 4, 5)
    assert list(program.layers) == ["sine", "sine#1", "sine#2", "output"]
    tangents = [layer.tangent for layer in program.layers.values()]
    position = {eqn.result: i for i, eqn in enumerate(program.linear)}
    assert sorted(tangents, key=position.get) == tangents


def test_a_tap_is_linear_and_batches():
    """It passes derivatives of both modes, any order, and vmap, as an identity does."""
    with recording() as record:

        def f(x):
            return tap(x * x, "square").sum()

        assert float(jax.grad(f)(jnp.float32(3))) == 6
        assert float(jax.jvp(f, (jnp.float32(3),), (jnp.float32(1),))[1]) == 6
        assert float(jax.grad(jax.grad(f))(jnp.float32(3))) == 2
        np.testing.assert_array_equal(jax.vmap(jax.grad(f))(jnp.arange(3.0)), [0, 2, 4])
    assert list(record.taps) == ["square"]


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, functools.partial(jax.vmap, axis_size=1)])
def test_a_handler_sees_values(transform):
    """`intercepting` replaces tapped values, without a recording, where the function is traced."""
    with intercepting(lambda name, x: x + 1 if name == "here" else x):
        assert float(transform(lambda x: 10 * tap(tap(x, "here"), "there"))(jnp.zeros(1))[0]) == 10


def compiled(fn, *args) -> str:
    """The compiled module without the names of places in the source."""
    text = jax.jit(fn).lower(*args).compile().as_text()
    text = re.sub(r"(?s)\n(FileNames|FunctionNames|FileLocations|StackFrames)\n.*?\n\n", "\n", text)
    text = re.sub(r", metadata=\{[^}]*\}", "", text)
    return re.sub(r"(jit_\w+|HloModule \S+)", "", text)


def instructions(text: str) -> list[str]:
    """The operations of a compiled module in order, without the numbers that XLA gives to names."""
    return [re.sub(r"[%.\d]+", "", line.split(" = ", 1)[1]) for line in text.splitlines() if " = " in line]


@pytest.mark.parametrize("kind", [pytest.param("linen", marks=pytest.mark.slow), "nnx"])
def test_taps_leave_the_compiled_model_alone(kind):
    """Forward pass and gradient have the same compiled operations and the same output bits with and without taps."""
    subject = adapt(Net() if kind == "linen" else NnxNet(nnx.Rngs(0)), (6, 7, 2))
    variables = subject.variables if kind == "nnx" else subject.initialize(jax.random.key(0))

    def pair(variables, x):
        y, vjp = jax.vjp(lambda x: subject.fn(variables, x), x)
        return y, vjp(y)[0]

    def tapped(variables, x):
        return pair(variables, x)

    plain_text, plain = compiled(pair, variables, IMAGE), jax.jit(pair)(variables, IMAGE)
    with recording() as record:
        assert TAP in str(jax.make_jaxpr(tapped)(variables, IMAGE))
        jax.clear_caches()
        tapped_text, other = compiled(tapped, variables, IMAGE), jax.jit(tapped)(variables, IMAGE)
    assert record.taps
    assert instructions(tapped_text) == instructions(plain_text)
    assert len(instructions(plain_text)) > 10
    for one, two in zip(plain, other):
        np.testing.assert_array_equal(one, two)


def test_taps_appear_in_what_was_traced_before():
    """A sub-function that was jitted and run before has its taps all the same."""
    inner = jax.jit(lambda x: tap(jnp.sin(x), "inner"))
    inner(jnp.ones((1, 4, 5)))
    jax.grad(lambda x: inner(x).sum())(jnp.ones((1, 4, 5)))
    assert list(program_of(lambda x: inner(x) * 2, 4, 5).layers) == ["inner", "output"]

    model = Net()
    variables = model.init(jax.random.key(0), IMAGE)
    jax.jit(model.apply)(variables, IMAGE)
    names = [row.name for row in jaxrf.trf(model, (6, 7, 2))]
    assert "jitted/Conv_0" in names
    assert "again/LayerNorm_0" in names


def test_traces_leave_nothing_behind():
    """After a table was made, the same jitted function has no tap, and taps are off."""
    inner = jax.jit(lambda x: tap(jnp.sin(x), "inner"))
    program_of(lambda x: inner(x) * 2, 4, 5)
    assert not active()
    assert TAP not in str(jax.make_jaxpr(lambda x: inner(x) * 2)(jnp.ones((1, 4, 5))))
    with pytest.raises(ZeroDivisionError), recording():
        raise ZeroDivisionError
    assert not active()


def test_an_early_reader_of_the_tapped_value():
    """The value that a tap names is the one of the forward pass: evaluating the program gives it."""
    program = program_of(lambda x: jnp.cos(tap(jnp.sin(x), "sine")), 4, 5)
    x = np.ones((1, 4, 5), np.float32)
    (value,) = program.evaluate([program.layers["sine"].value], {program.image: x})
    np.testing.assert_allclose(value, np.sin(x), rtol=1e-6)


def test_taps_in_branches():
    """A tap in a branch is a layer, whichever branch would run."""

    def f(x):
        return lax.cond(x.sum() > 0, lambda y: tap(jnp.sin(y), "left"), lambda y: tap(jnp.cos(y), "right"), x)

    assert sorted(program_of(f, 4, 5).layers) == ["left", "output", "right"]
