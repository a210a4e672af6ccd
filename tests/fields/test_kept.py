"""A second call prepares nothing: what is kept, by what it is found again, and that nothing stale ever is."""

from __future__ import annotations

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxrf
from jaxrf.errors import InputError
from jaxrf.fields.cache import key_of
from jaxrf.fields.opening import kept, traced
from jaxrf.fields.run import root_key
from tests.running import drawn_run

SHAPE = (3, 11, 14, 2)
OPTIONS = {"units": [[2, 5], [7, 1]], "channels": 1}
SCALE = 2.0


class Net(nn.Module):
    """A small net."""

    width: int = 4

    @nn.compact
    def __call__(self, x):
        return nn.Conv(3, (3, 3), name="last")(nn.tanh(nn.Conv(self.width, (3, 3), name="first")(x)))


class Graph(nnx.Module):
    """The same in NNX, with something that training switches."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(jnp.tanh(self.conv(x)))


@pytest.fixture(scope="module")
def images():
    return np.asarray(jax.random.normal(jax.random.key(1), SHAPE))


@pytest.fixture(autouse=True)
def _nothing_kept():
    jaxrf.clear_cache()


class Events:
    """Names of what JAX traced and compiled inside of a `with`."""

    def __enter__(self):
        self.names: list[str] = []
        self.active = True
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def _note(self, name, *_, **__):
        if self.active and ("compile" in name or "trace" in name):
            self.names.append(name)

    def __exit__(self, *_):
        self.active = False


def maps_of(model, variables, images, **options):
    return jaxrf.erf(model, variables, images, **{**OPTIONS, **options}).mean


def fresh(model, variables, images, **options):
    jaxrf.clear_cache()
    return maps_of(model, variables, images, **options)


def test_a_second_call_traces_and_compiles_nothing(images):
    """With other weights, other images and an equal module; and its map is that of a first call."""
    one, two = (Net().init(jax.random.key(n), images) for n in (0, 1))
    maps_of(Net(), one, images)
    with Events() as events:
        found = maps_of(Net(), two, images[::-1].copy())
    assert not events.names
    with Events() as events:
        np.testing.assert_array_equal(found, fresh(Net(), two, images[::-1].copy()))
    assert events.names  # what was not kept is traced


def test_drawn_weights_are_found_again(images):
    """Other seeds, and a rule to stop, need no other program."""
    first = maps_of(Net(), None, images, seeds=2)
    with Events() as events:
        again, other = (maps_of(Net(), None, images, seeds=s) for s in (2, [7, 3]))
    assert not events.names
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01 * first.max()


@pytest.mark.parametrize(
    "change",
    [
        {"units": [[2, 5], [7, 2]]}, {"channels": 0}, {"layer": "first"}, {"score": "abs"}, {"wrt": "first"},
        {"crop": False}, {"precision": "default"}, {"average": "normalized"}, {"pool_units": True}, {"memory": "2GB"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_option_is_part_of_the_key(change, images):
    """A call with another option is not answered by the program of this one."""
    variables = Net().init(jax.random.key(0), images)
    maps_of(Net(), variables, images)
    assert len(kept) == 1
    found = maps_of(Net(), variables, images, **change)
    assert len(kept) == 2
    np.testing.assert_array_equal(found, fresh(Net(), variables, images, **change))


@pytest.mark.slow
def test_shapes_and_precision_are_part_of_the_key(images):
    """Another width, size, type or number of images at a time."""
    for model, batch in ((Net(), images), (Net(5), images), (Net(), images[:, 1:]), (Net(), images[:2])):
        maps_of(model, model.init(jax.random.key(0), batch), batch)
    with jax.enable_x64(True):
        wide = images.astype(np.float64)
        maps_of(Net(), Net().init(jax.random.key(0), wide), wide)
    assert len(kept) == 5


def test_what_was_certified_is_told_again(images):
    """The comparison with the model is made once, and its outcome is in the second result too."""
    variables = Net().init(jax.random.key(0), images)
    without = jaxrf.erf(Net(), variables, images, certify=False, **OPTIONS)
    first, second = (jaxrf.erf(Net(), variables, images, **OPTIONS) for _ in range(2))
    assert "certificate" not in without.provenance
    assert first.provenance["certificate"] == second.provenance["certificate"] < 1e-5


def test_nnx_by_structure(images):
    """Another module of the same structure is found; one in eval mode, or with other weights, gets its own map."""
    train, other = Graph(nnx.Rngs(0)), Graph(nnx.Rngs(1))
    maps_of(train, None, images)
    with Events() as events:
        found = maps_of(other, None, images)
    assert not events.names
    np.testing.assert_array_equal(found, fresh(other, None, images))
    other.eval()
    np.testing.assert_array_equal(maps_of(other, None, images), fresh(other, None, images))


def test_a_module_that_was_trained_on(images):
    """Weights are read at each call."""
    model = Graph(nnx.Rngs(0))
    model.eval()
    before = maps_of(model, None, images)
    model.conv.kernel[...] = 2 * model.conv.kernel[...]
    after = maps_of(model, None, images)
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(after, fresh(model, None, images))


@pytest.mark.slow
def test_nothing_stale_comes_out_of_a_closure(images):
    """A closure over what may change unseen is prepared anew: an NNX module, NumPy, a dict whose entries are replaced."""
    model, factor, tree = Graph(nnx.Rngs(0)), np.ones(2, np.float32), {"w": jnp.ones(2)}
    model.eval()

    def change(name):
        if name == "module":
            model.conv.kernel[...] = 3 * model.conv.kernel[...]
        elif name.startswith("numpy"):
            factor[:] = 3 * factor
        elif name == "module's number":
            settings.factor = 5.0
        elif name == "class's number":
            Chosen.factor = 5.0
        elif name == "dict":
            tree["w"] = 3 * tree["w"]
        else:
            globals()["SCALE"] = 6.0

    settings = types.ModuleType("settings")
    settings.factor = 2.0

    class Chosen:
        factor = 2.0

    def scaled(function):
        @functools.wraps(function)
        def wrapper(x):
            return function(x) * factor

        return wrapper

    functions = {
        "module": lambda x: model(x),
        "numpy": lambda x: x * factor,
        "numpy, in a decorator": scaled(lambda x: x),
        "dict": lambda x: x * tree["w"],
        "global": lambda x: x * SCALE,
        "module's number": lambda x: x * settings.factor,
        "class's number": lambda x: x * Chosen.factor,
    }
    for name, function in functions.items():
        before = maps_of(function, None, images)
        change(name)
        after = maps_of(function, None, images)
        assert not np.allclose(before, after), name
        np.testing.assert_array_equal(after, fresh(function, None, images))


def test_functions_that_stay_are_found():
    """A function of variables, one that closes over arrays of JAX, and one that calls others of the user's."""
    kernel = jnp.ones((3, 2))

    def inner(x):
        return jnp.tanh(x) @ kernel

    functions = [lambda v, x: x * v, lambda x: inner(x), jax.jit(inner), nn.relu]
    keys = [key_of(function) for function in functions]
    assert None not in keys and len(set(keys)) == len(keys)
    assert keys == [key_of(function) for function in functions]


def test_values_that_look_alike_are_told_apart():
    """1, 1.0 and True; lists and tuples; and arrays of equal bytes and other types."""
    things = [1, 1.0, True, "1", [1], (1,), np.float32(0), np.int32(0), {"a": 1}, {"b": 1}, jax.random.key(0), None]
    keys = [key_of(thing) for thing in things]
    assert None not in keys and len(set(keys)) == len(keys)
    assert key_of(jax.random.key(3)) == key_of(jax.random.key(3)) != key_of(jax.random.key(4))


def test_inside_of_a_trace(images):
    """An average on the host cannot be traced; the message names what can."""
    variables = Net().init(jax.random.key(0), images)
    for call in (jax.jit(lambda v: jaxrf.erf(Net(), v, images).mean), jax.grad(lambda v: jaxrf.erf(Net(), v, images))):
        with pytest.raises(InputError, match="traced, as inside of jit, vmap or grad.*jaxrf.prepare"):
            call(variables)


@pytest.mark.slow
def test_several_layers(images):
    """A list of layers gives what each of them gives, from `erf` and from a field, whose forward pass is shared."""
    variables, layers = Net().init(jax.random.key(0), images), ["first", "last"]
    found = jaxrf.erf(Net(), variables, images, layer=layers, **OPTIONS)
    field = jaxrf.prepare(Net(), variables, images, layer=layers, crop=False, **OPTIONS)
    maps = jax.jit(field)(variables, images)
    results = field.result(maps)
    assert list(found) == list(maps) == list(results) == list(field.row) == list(field.origin) == layers
    for layer in layers:
        alone = jaxrf.erf(Net(), variables, images, layer=layer, **OPTIONS)
        np.testing.assert_array_equal(found[layer].mean, alone.mean)
        np.testing.assert_allclose(results[layer].mean, alone.mean, rtol=0, atol=1e-6 * alone.mean.max())
        assert np.array_equal(field.origin[layer], alone.origin)
        assert field.row[layer].name == layer
    assert str(jax.make_jaxpr(field)(variables, images)).count(" tanh ") == 1
    for wrong in ([], ["first", "first"], [3]):
        with pytest.raises(InputError, match=r"not a list of different names|name of a layer, or a list of such"):
            jaxrf.prepare(Net(), variables, images, layer=wrong)


def test_progress(images):
    """It hears of every batch with one seed and of every seed with several, and of the number where that is known."""
    heard: list[tuple[int, int | None]] = []
    variables = Net().init(jax.random.key(0), images)
    maps_of(Net(), None, images, seeds=3, progress=lambda *now: heard.append(now))
    assert heard == [(3, 9), (6, 9), (9, 9)]
    heard.clear()
    maps_of(Net(), variables, iter([images, images]), progress=lambda *now: heard.append(now))
    assert heard[-1] == (6, None)


def test_another_platform(images):
    """Choices for a TPU are made here, and lowered for it, without one."""
    variables = Net().init(jax.random.key(0), images)
    here, there = (jaxrf.prepare(Net(), variables, images, platform=p, **OPTIONS) for p in (None, "tpu"))
    assert "suit a tpu" in str(there.plan) and "suit a cpu" in str(here.plan)
    lowered = jax.jit(there).trace(variables, images).lower(lowering_platforms=("tpu",))
    assert "stablehlo.convolution" in lowered.as_text()
    np.testing.assert_allclose(there(variables, images).array(), here(variables, images).array(), rtol=0, atol=1e-5)
    with pytest.raises(jaxrf.errors.UnknownNameError, match="platform"):
        jaxrf.prepare(Net(), variables, images, platform="tpv")


def test_layers_of_a_model_share_its_traces(images, monkeypatch):
    """Another layer, estimator or score is prepared from the traces of the first call; maps are as if it were alone."""
    from jaxrf.planning import programs

    calls, trace = [], programs.trace
    monkeypatch.setattr(programs, "trace", lambda *given: calls.append(given) or trace(*given))
    first = maps_of(Net(), None, images, seeds=2)
    count = len(calls)
    changes = ({"layer": "first", "channels": 0}, {"score": "abs"}, {"estimator": "sign_averaged", "channels": "probe"})
    found = [maps_of(Net(), None, images, seeds=2, **change) for change in changes]
    assert count > 0 and len(calls) <= count + 1  # a crop of the first layer, which is smaller
    for change, own in zip(changes, found):
        np.testing.assert_array_equal(own, fresh(Net(), None, images, seeds=2, **change))
    np.testing.assert_array_equal(first, fresh(Net(), None, images, seeds=2))


def test_another_model_call_or_precision_has_traces_of_its_own(images):
    """What the traces depend on is in their key."""
    for options in ({}, {"precision": "default"}, {"init": {"*/kernel": "he_normal"}}, {"wrt": "first"}):
        maps_of(Net(), None, images, seeds=2, **options)
    maps_of(Net(5), None, images, seeds=2)
    maps_of(Net(), None, images[:, 1:], seeds=2)
    assert len(traced) == 6
    maps_of(Net(), Net().init(jax.random.key(0), images), images)
    assert len(traced) == 6  # a model whose weights are held keeps none


def test_weights_that_no_map_sees_are_not_drawn(images):
    """Of the layer before the last, those of the last are zeros that take no memory; maps are those of all weights drawn."""
    compiled = drawn_run(Net(), images, images.shape[1:], layer="first", **OPTIONS).compiled
    leaves = compiled.initialize(jax.random.key(3))
    held = [isinstance(leaf, jax.Array) for leaf in leaves]
    whole = jax.tree.leaves(compiled.prepared.subject.initialize(jax.random.key(3)))
    assert sum(held) == 2 and all(leaf.shape == own.shape for leaf, own in zip(leaves, whole))
    assert all(not leaf.any() and leaf.base.size == 1 for leaf, own in zip(leaves, held) if not own)
    for leaf, own, full in zip(leaves, held, whole):
        if own:
            np.testing.assert_allclose(leaf, full, rtol=1e-5)
    alone = maps_of(Net(), None, images, layer="first", seeds=[3])
    drawn = compiled.prepared.subject.initialize(root_key(3))
    np.testing.assert_allclose(alone, maps_of(Net(), drawn, images, layer="first"), rtol=1e-5)
