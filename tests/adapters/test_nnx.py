"""NNX modules as subjects: the user's module is never changed, its copy is tapped."""

from __future__ import annotations

import functools
import threading

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrf.adapters import adapt, intercepting
from jaxrf.adapters.tap import recording
from jaxrf.errors import InputError


class Block(nnx.Module):
    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(channels, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.norm(self.conv(x)))


class Net(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.blocks = nnx.List([Block(4, rngs=rngs) for _ in range(2)])
        self.stack = nnx.split_rngs(splits=3)(nnx.vmap(lambda r: Block(4, rngs=r), in_axes=0, out_axes=0))(rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.tail = nnx.Sequential(nnx.Conv(4, 2, (1, 1), rngs=rngs), nnx.relu)

    def features(self, x, scale=1.0):
        for block in self.blocks:
            x = block(x)
        return scale * x

    def __call__(self, x):
        x = self.features(x)
        x = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.stack)
        x = nnx.remat(lambda block, x: block(x))(self.blocks[0], x)
        x = nnx.jit(lambda block, x: block(x))(self.blocks[1], x)
        return self.tail(self.drop(x))


LAYERS = [
    "blocks/0/conv", "blocks/0/norm", "blocks/0", "blocks/1/conv", "blocks/1/norm", "blocks/1",
    "stack/conv", "stack/norm", "stack", "drop", "tail/layers/0", "tail",
]  # fmt: skip


def taps_of(subject):
    """The record of the taps of one abstract run, and the names of their calls in order."""
    names = []
    with recording() as record, intercepting(lambda name, x: names.append(name) or x):
        jax.eval_shape(lambda v, x: subject.fn(v, x), subject.abstract, subject.images(2))
    return record.taps, names


@pytest.fixture
def net():
    made = Net(rngs=nnx.Rngs(0))
    made.eval()
    return made


@pytest.fixture
def image():
    return jax.random.normal(jax.random.key(7), (2, 5, 7, 4))


def test_the_state_is_the_modules_own(net, image):
    """Without variables the module's own state is used, and the function gives the module's output."""
    subject = adapt(net, (5, 7, 4))
    assert subject.name == "Net"
    np.testing.assert_allclose(subject.fn(subject.variables, image), net(image), rtol=1e-5, atol=1e-6)


def test_taps_stand_on_every_submodule_through_all_transforms(net):
    """List items, nnx.scan, nnx.remat and nnx.jit keep their paths; the root and the list itself are not layers."""
    record, calls = taps_of(adapt(net, (5, 7, 4)))
    assert list(record) == LAYERS
    assert calls.count("blocks/0") == 2
    assert (record["stack"].kind, record["stack"].parameters) == ("Block", 3 * (3 * 3 * 4 * 4 + 4 + 4 + 4))


def test_the_users_module_is_untouched(net, image):
    """Neither the classes nor the state nor the attributes of the user's module change, in train mode either."""
    net.train()
    before, classes = nnx.to_pure_dict(nnx.state(net)), [type(module) for _, module in nnx.iter_modules(net)]
    before = jax.tree.map(np.asarray, {path: v for path, v in before.items() if path != "drop"})
    subject = adapt(net, (5, 7, 4))
    with recording():
        first = subject.fn(subject.variables, image)
    second = subject.fn(subject.variables, image)
    np.testing.assert_array_equal(first, second)
    after = {path: v for path, v in nnx.to_pure_dict(nnx.state(net)).items() if path != "drop"}
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert [type(module) for _, module in nnx.iter_modules(net)] == classes
    assert not any("jaxrf" in name for _, module in nnx.iter_modules(net) for name in vars(module))
    assert int(net.drop.rngs.count[...]) == 0


@pytest.mark.parametrize("form", [lambda state: state, nnx.to_pure_dict], ids=["state", "dict"])
def test_a_state_given_replaces_the_modules_own(net, image, form):
    """Another state of the same structure, or its pure dict, is used in place of the module's own."""
    other = Net(rngs=nnx.Rngs(1))
    other.eval()
    subject = adapt(net, (5, 7, 4), variables=form(nnx.state(other)))
    assert jax.tree.structure(subject.abstract) == jax.tree.structure(subject.variables)
    np.testing.assert_allclose(subject.fn(subject.variables, image), other(image), rtol=1e-5, atol=1e-6)


def test_a_state_that_does_not_fit_is_named(net):
    """A state of other channels, a part of a state, and a state with more name their first leaf."""
    small = Block(3, rngs=nnx.Rngs(0))
    block = Block(4, rngs=nnx.Rngs(0))
    message = r"'conv/bias' has shape \(3,\); needed is \(4,\)"
    with pytest.raises(InputError, match=message):
        adapt(block, (5, 7, 4), variables=nnx.state(small))
    with pytest.raises(InputError, match=r"'norm/mean' is missing"):
        adapt(block, (5, 7, 4), variables=nnx.state(block, nnx.Param))
    with pytest.raises(InputError, match=r"the model has no 'conv/bias'"):
        adapt(block.conv, (5, 7, 4), variables=nnx.state(block) | nnx.state(block.conv))


def test_an_instance_cannot_be_initialized(net):
    """Random initialization of an instance says what to pass instead."""
    with pytest.raises(InputError, match=r"Net cannot be initialized at random.*make\(rngs\)"):
        adapt(net, (5, 7, 4)).initialize(jax.random.key(0))


@pytest.mark.parametrize(
    "make",
    [Net, functools.partial(Block, 4), lambda rngs: Block(4, rngs=rngs)],
    ids=["class", "partial", "function"],
)
def test_a_class_or_function_of_rngs_is_initialized(make, image):
    """A class, a partial of one, and a function of rngs give abstract variables, and those of `rngs=Rngs(key)`."""
    subject = adapt(make, (5, 7, 4))
    assert subject.variables is None
    drawn = subject.initialize(jax.random.key(5))
    expected = nnx.state(make(rngs=nnx.Rngs(jax.random.key(5))))
    assert jax.tree.structure(drawn) == jax.tree.structure(subject.abstract)
    kernels = [nnx.to_flat_state(state)[-1][1] for state in (drawn, expected)]
    assert jax.tree.leaves(kernels[0])[0].shape == jax.tree.leaves(kernels[1])[0].shape
    weights = [jax.tree.leaves(nnx.filter_state(state, nnx.Param)) for state in (drawn, expected)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert subject.fn(drawn, image).shape[:3] == (2, 5, 7)


def test_a_class_with_more_arguments_is_refused():
    """A class that needs more than rngs says which, and how to set them."""
    with pytest.raises(InputError, match=r"Block needs the arguments \['channels', 'rngs'\].*functools.partial\(Block"):
        adapt(Block, (5, 7, 4))


def test_a_function_of_rngs_must_return_a_module():
    """A function make(rngs) that returns something else is refused."""
    with pytest.raises(InputError, match=r"returns a int; needed is an NNX module"):
        adapt(lambda rngs: 3, (5, 7, 4))


@pytest.mark.parametrize("method", ["features", Net.features])
def test_method_and_arguments(net, image, method):
    """`method=` by name and as a function, with keyword arguments."""
    subject = adapt(net, (5, 7, 4), method=method, apply_kwargs={"scale": 2.0})
    np.testing.assert_allclose(subject.fn(subject.variables, image), net.features(image, 2.0), rtol=1e-5, atol=1e-6)


def test_a_module_that_cannot_be_called_is_refused():
    """A module without `__call__` asks for method=."""

    class Silent(nnx.Module):
        pass

    with pytest.raises(InputError, match=r"Silent has no method '__call__'. Say which to call with method="):
        adapt(Silent(), (5, 7, 4))


def test_wrong_channels_say_the_input(net):
    """Inputs of three channels for a model of four say the shape that was given."""
    with pytest.raises(InputError, match=r"Net fails on inputs of shape \(1, 5, 7, 3\), float32"):
        adapt(net, (5, 7, 3))


def test_taps_change_nothing(net, image):
    """A recorded module compiles to the same operations, and gives the same bits."""
    subject = adapt(net, (5, 7, 4))
    plain = jax.jit(lambda v, x: subject.fn(v, x)).lower(subject.variables, image).compile()
    with recording() as record:
        tapped = jax.jit(lambda v, x: subject.fn(v, x)).lower(subject.variables, image).compile()
    assert list(record.taps) == LAYERS

    def operations(compiled):
        lines = (line.partition(", metadata=")[0] for line in compiled.as_text().splitlines())
        return [line for line in lines if " = " in line]

    assert operations(tapped) == operations(plain)
    np.testing.assert_array_equal(tapped(subject.variables, image), plain(subject.variables, image))


def test_one_module_in_two_threads(net):
    """Two threads trace the same module at once, and each finds every layer once per call."""
    subject = adapt(net, (5, 7, 4))
    barrier, found = threading.Barrier(2), []

    def trace():
        barrier.wait()
        found.append(list(taps_of(subject)[0]))

    threads = [threading.Thread(target=trace) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [LAYERS, LAYERS]
