"""Models of Haiku, Equinox and Keras: a row for each layer, by names; each test is left out where its library is missing."""

from __future__ import annotations

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.adapters import adapt, is_model
from jaxrf.errors import InputError

os.environ.setdefault("KERAS_BACKEND", "jax")
SHAPE = (15, 17, 3)
WANTED = {
    "stem": (3, 2),
    "block/conv": (7, 2),
    "block": (7, 2),
    "block/conv#1": (11, 2),
    "block#1": (11, 2),
    "output": (11, 2),
}
"""Size and stride: a kernel of 3 with stride 2, then a residual block with a kernel of 3 that is called twice."""


def sizes(table):
    return {row.name: (row.size[0], row.stride[0]) for row in table}


def haiku_net():
    hk = pytest.importorskip("haiku")

    class Block(hk.Module):
        def __call__(self, x):
            return x + hk.Conv2D(4, 3, name="conv")(jax.nn.relu(x))

    def net(x, drop=0.0):
        block = Block(name="block")
        x = block(block(hk.Conv2D(4, 3, 2, name="stem")(x)))
        return hk.dropout(hk.next_rng_key(), drop, x) if drop else x

    return hk, net


@pytest.mark.slow
def test_modules_of_haiku_are_rows():
    """By the names that Haiku gives, with kinds and parameters; values are those of the function."""
    hk, net = haiku_net()
    model = hk.transform(net)
    table = jaxrf.trf(model, SHAPE)
    assert sizes(table) == WANTED
    assert (table["block"].kind, table["block"].parameters) == ("Block", 148)
    subject, x = adapt(model, SHAPE), jnp.ones((1, *SHAPE))
    variables = subject.initialize(jax.random.key(0))
    np.testing.assert_array_equal(subject.fn(variables, x), model.apply(variables, None, x))
    assert jaxrf.erf(model, None, jaxrf.noise(1), input_shape=SHAPE, layer="block", seeds=2).count == 2


def test_haiku_without_keys_and_with_random_streams():
    """`without_apply_rng` takes no key; dropout gets one that is always the same."""
    hk, net = haiku_net()
    assert sizes(jaxrf.trf(hk.without_apply_rng(hk.transform(net)), SHAPE)) == WANTED
    subject = adapt(hk.transform(net), SHAPE, apply_kwargs={"drop": 0.5})
    variables, x = subject.initialize(jax.random.key(0)), jnp.ones((1, *SHAPE))
    np.testing.assert_array_equal(subject.fn(variables, x), subject.fn(variables, x))
    with pytest.raises(InputError, match="method='encode' was given, but net is a transformed function"):
        jaxrf.trf(hk.transform(net), SHAPE, method="encode")


def test_the_state_of_haiku_comes_with_the_parameters():
    """Batch normalization in eval mode needs averages that its initialization makes in train mode alone."""
    hk, _ = haiku_net()
    model = hk.transform_with_state(lambda x, train: hk.BatchNorm(True, True, 0.9, name="norm")(x, train))
    variables = model.init(jax.random.key(0), jnp.ones((1, *SHAPE)), True)
    row = jaxrf.trf(model, SHAPE, variables=variables, apply_kwargs={"train": False})["norm"]
    assert row.size == (1, 1) and row.kind == "BatchNorm"
    with pytest.raises(InputError, match=r"fails on inputs of shape \(1, 15, 17, 3\).*No value for 'average'"):
        jaxrf.trf(model, SHAPE, apply_kwargs={"train": False})
    with pytest.raises(InputError, match="is missing"):
        jaxrf.trf(model, SHAPE, variables=({}, variables[1]), apply_kwargs={"train": True})


def test_haiku_in_a_function_of_the_users():
    """A function that applies parameters has the same rows; outside of a trace nothing intercepts."""
    hk, net = haiku_net()
    model = hk.without_apply_rng(hk.transform(net))
    variables = jax.eval_shape(lambda key: model.init(key, jnp.ones((1, *SHAPE))), jax.random.key(0))
    assert sizes(jaxrf.trf(lambda variables, x: model.apply(variables, x), SHAPE, variables=variables)) == WANTED


def equinox_net():
    eqx = pytest.importorskip("equinox")

    class Block(eqx.Module):
        conv: eqx.nn.Conv2d
        act: object = jax.nn.relu

        def __init__(self, key):
            self.conv = eqx.nn.Conv2d(4, 4, 3, padding=1, key=key)

        def __call__(self, x):
            return x + self.conv(self.act(x))

    class Net(eqx.Module):
        stem: eqx.nn.Conv2d
        block: Block
        parts: list
        times: int

        def __init__(self, times=2, *, key):
            first, second, third = jax.random.split(key, 3)
            self.stem, self.block = eqx.nn.Conv2d(3, 4, 3, 2, padding=1, key=first), Block(second)
            self.parts, self.times = [eqx.nn.Lambda(jnp.tanh), eqx.nn.Conv2d(4, 2, 1, key=third)], times

        def __call__(self, x):
            x = self.stem(x)
            for _ in range(self.times):
                x = self.block(x)
            return x

        def headed(self, x):
            return self.parts[1](self.parts[0](self(x)))

    return eqx, Net


def test_modules_of_equinox_are_rows():
    """By their paths, channels first, mapped over the batch; the user's module stays what it is."""
    _, net = equinox_net()
    model = net(key=jax.random.key(0))
    table = jaxrf.trf(model, (3, 15, 17))
    assert sizes(table) == WANTED
    assert (table["block"].kind, table["block"].parameters, table["block"].shape) == ("Block", 148, (4, 8, 9))
    assert type(model.block).__name__ == "Block" and not hasattr(model.block, "_jaxrf_label")
    assert [row.name for row in jaxrf.trf(model, (3, 15, 17), method="headed")][-3:] == ["parts/0", "parts/1", "output"]
    subject, x = adapt(model, (3, 15, 17)), jax.random.normal(jax.random.key(0), (2, 3, 15, 17))
    np.testing.assert_allclose(subject.fn(subject.variables, x), jax.vmap(model)(x), rtol=1e-6)


@pytest.mark.slow
def test_weights_of_equinox_are_given_or_drawn():
    """Another module of the same structure replaces them; a class, or one with options, draws them from a key."""
    eqx, net = equinox_net()
    model, other = net(key=jax.random.key(0)), net(key=jax.random.key(1))
    x = np.ones((1, 3, 15, 17), np.float32)
    np.testing.assert_array_equal(*[jaxrf.erf(*call, x, layer="stem").mean for call in ((model, other), (other, None))])
    for make in (net, functools.partial(net, 1)):
        first, again, second = (adapt(make, (3, 15, 17)).initialize(jax.random.key(k)).stem.weight for k in (1, 1, 2))
        assert (first == again).all() and (first != second).any()
    assert jaxrf.erf(net, None, jaxrf.noise(1), input_shape=(3, 15, 17), layer="stem", seeds=2).count == 2
    with pytest.raises(InputError, match="'block/conv/bias' has shape"):
        jaxrf.trf(model, (3, 15, 17), variables=eqx.tree_at(lambda m: m.block.conv.bias, model, jnp.ones(3)))
    with pytest.raises(InputError, match=r"Conv2d needs the arguments \['in_channels'"):
        jaxrf.trf(eqx.nn.Conv2d, (3, 15, 17))
    with pytest.raises(InputError, match="Net has no method 'encode'"):
        jaxrf.trf(model, (3, 15, 17), method="encode")


def keras_net():
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras was imported on another backend")
    layers = keras.layers
    block = keras.Sequential([layers.Conv2D(4, 3, padding="same", name="conv")], name="block")
    image = layers.Input(SHAPE)
    return keras, keras.Model(image, block(block(layers.Conv2D(4, 3, 2, "same", name="stem")(image))), name="net")


def test_layers_of_keras_are_rows():
    """By their names below the model, whatever calls it; `Layer.__call__` is Keras's own again afterwards."""
    keras, model = keras_net()
    plain = keras.layers.Layer.__call__
    table = jaxrf.trf(model, SHAPE)
    assert sizes(table) == WANTED
    assert (table["block"].kind, table["block"].parameters) == ("Sequential", 148)
    named = {f"net/{name}": value for name, value in WANTED.items() if name != "output"}
    assert sizes(jaxrf.trf(lambda x: model(x), SHAPE)) == {**named, "net": (11, 2), "output": (11, 2)}
    assert keras.layers.Layer.__call__ is plain
    x = np.ones((1, *SHAPE), np.float32)
    closed = jaxrf.erf(lambda x: model(x), None, x, channels=1)
    np.testing.assert_allclose(jaxrf.erf(model, None, x, channels=1).mean, closed.mean, rtol=1e-5)


def test_weights_of_keras_are_given_by_name():
    """Doubled kernels of the first layer give four times the map; what does not fit is named."""
    keras, model = keras_net()
    from jaxrf.adapters import variables_of

    own, x = variables_of(model, None), np.ones((1, *SHAPE), np.float32)
    double = {**own, "stem/kernel": 2 * own["stem/kernel"]}
    call = {"layer": "stem", "channels": 0}
    np.testing.assert_allclose(
        jaxrf.erf(model, double, x, **call).mean, 4 * jaxrf.erf(model, None, x, **call).mean, rtol=1e-5
    )
    with pytest.raises(InputError, match="'block/conv/bias' is missing"):
        jaxrf.trf(model, SHAPE, variables={"stem/kernel": own["stem/kernel"]})
    with pytest.raises(InputError, match=r"has no weights yet. Build it first: model.build\(\(None, 15, 17, 3\)\)"):
        jaxrf.trf(keras.Sequential([keras.layers.Conv2D(2, 3)]), SHAPE)


def test_a_model_is_told_from_what_makes_one():
    """For references on the command line: an instance is a model, its class and functions are not."""
    _, net = equinox_net()
    hk, function = haiku_net()
    assert is_model(net(key=jax.random.key(0))) and is_model(hk.transform(function))
    assert not any(map(is_model, (net, functools.partial(net, 1), function)))


def test_files_of_the_same_name_are_not_the_libraries(monkeypatch):
    """A user's keras.py, haiku.py or equinox.py, and Keras 2, leave models what they are."""
    import sys
    import types

    for name in ("keras", "haiku", "equinox"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert jaxrf.trf(lambda x: x[:, 1:] - x[:, :-1], (5, 7, 1))[-1].size == (2, 1)
