"""The engine agrees with one plain `jax.vjp` on every layer of every network of the zoo, in double precision."""

from __future__ import annotations

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf import zoo
from jaxrf.adapters import Subject, intercepting
from jaxrf.base.compiler import jit
from jaxrf.inputs.images import Images, as_images
from jaxrf.planning import layers as planning
from jaxrf.planning.programs import Programs
from jaxrf.tangent.trace import OUTPUT
from tests.engine.dense import difference
from tests.engine.small_zoo import ALIKE, NETWORKS, subject_of
from tests.marks import mostly_slow
from tests.running import run_of

EXACT = 1e-10
HIDDEN = 1e-60
"""Of the peak: what a mask of -100 on scores of attention still lets through, which counts as nothing."""
OFTEN = {"resnet34", "resnet101", "resnet_v1_101", "resnet_v2_101", "deit_tiny", "vgg13", "van_b0"}
"""Networks that are compared in every run of the tests; the others where every layer is."""
PLACES = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0, 0.5], [0.5, 0.5, 0.5], [0.2, 0.7, 0.4]])
"""Units of a layer, as shares of its axes: two corners, a border, the center and one between."""


class Reference:
    """Values and gradients of all layers of a subject, by one compiled `jax.vjp` that all layers share."""

    def __init__(self, subject: Subject, images: jax.Array):
        def values(variables, images):
            seen, calls = {}, collections.Counter()

            def keep(name, x):
                seen[f"{name}#{calls[name]}" if calls[name] else name] = x
                calls[name] += 1
                return x

            with intercepting(keep):
                seen[OUTPUT] = subject.fn(variables, images)
            return seen

        def pull(variables, images, cotangents):
            return jax.vjp(lambda x: values(variables, x), images)[1](cotangents)[0]

        self.given = subject.variables, images
        self.values = jit(values)(*self.given)
        self.pull = jit(jax.vmap(pull, in_axes=(None, None, 0)), quick=True)  # compiled once, and run for every layer
        self.zeros = {name: jnp.zeros((len(PLACES), *x.shape), x.dtype) for name, x in self.values.items()}

    def gradients(self, layer: str, cotangents: np.ndarray) -> np.ndarray:
        """(unit, *image) of cotangents (unit, *shape of the layer)."""
        stack = np.zeros(self.zeros[layer].shape)
        stack[: len(cotangents)] = cotangents
        return np.asarray(self.pull(*self.given, {**self.zeros, layer: stack}))[: len(cotangents), 0]


def test_every_network_is_compared():
    """A network that enters the zoo enters this comparison."""
    assert {*NETWORKS, *ALIKE} == set(zoo.models)


@pytest.mark.parametrize("name", mostly_slow(ALIKE, OFTEN, pytest.mark.every_layer))
def test_networks_of_the_same_blocks(name, double, monkeypatch):
    """With few blocks in a row, a deeper network has weights of the shapes of the one that stands for it, in order."""
    mine, other = (subject_of(one, monkeypatch.setattr).abstract for one in (name, ALIKE[name]))
    assert [leaf.shape for leaf in jax.tree.leaves(mine)] == [leaf.shape for leaf in jax.tree.leaves(other)]


@pytest.mark.slow
@pytest.mark.every_layer
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer(name, double, quick, monkeypatch):
    """Maps and values of corners, border and center of all layers, which are zero outside of the box."""
    monkeypatch.setattr(planning, "Programs", functools.cache(Programs))  # they do not depend on the layer
    subject, images, reference, layers = opened(name, monkeypatch)
    found = {layer: errors(subject, images, layer, reference) for layer in layers}
    every = np.concatenate([*found.values()])
    dead = np.count_nonzero(np.isnan(every))
    jax.clear_caches()  # some thousand small programs, which no other network shares
    worst, error = max(found, key=lambda layer: np.nanmax(found[layer], initial=0)), np.nanmax(every)
    print(f"{name}: {len(layers)} layers, {len(every)} maps, {dead} zero; largest error {error:.1e}, {worst!r}")
    assert error < EXACT
    assert dead < 0.1 * len(every)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    mostly_slow(["tcn", "unet_3d", "van_b1", "swin_tiny", "densenet121"], {"tcn"}, pytest.mark.every_layer),
)
def test_a_layer_in_the_middle(name, double, quick, monkeypatch):
    """The same for one layer half-way through, of a few networks."""
    subject, images, reference, layers = opened(name, monkeypatch)
    found = errors(subject, images, layers[len(layers) // 2], reference)
    assert np.nanmax(found) < EXACT


def opened(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Subject, Images, Reference, list[str]]:
    """A small network of the zoo, an image, its reference, and the names of its layers."""
    subject = subject_of(name, monkeypatch.setattr)
    images = as_images(np.random.default_rng(1).normal(size=(1, *subject.input_shape)), None)
    reference = Reference(subject, jnp.asarray(images.source))
    layers = [
        layer.name for layer in planning.Programs(subject, ()).of().program.layers.values() if layer.tangent is not None
    ]
    assert set(layers) == set(reference.values)
    return subject, images, reference, layers


def errors(subject: Subject, images: Images, layer: str, reference: Reference) -> np.ndarray:
    """Of some units of a layer: the larger one of the errors of map and value, as a share of their peak; NaN where both maps are zero."""
    axes = planning.Programs(subject, ()).of().units[layer].units
    value = np.asarray(reference.values[layer])
    units = some_units(tuple(value.shape[axis] for axis in axes))
    run = run_of(subject, images, layer, certify=False, units=units, crop=False)
    with jax.disable_jit():  # operations of one shape are compiled once, instead of a program for each layer
        sample = next(run.samples(images, None))
    pull = run.prepared.pullback
    channels = pull.rule.cotangents(sample.keys[0], jnp.arange(len(units)), pull.channel_count, value.dtype)
    places = [
        tuple(dict(zip(axes, unit)).get(a, 0 if a == 0 else slice(None)) for a in range(value.ndim)) for unit in units
    ]
    stack = np.zeros((len(units), *value.shape))
    for number, place in enumerate(places):
        stack[(number, *place)] = np.reshape(channels[number], stack[(number, *place)].shape)
    gradients = reference.gradients(layer, stack)
    found = []
    for number, (unit, place) in enumerate(zip(units, places)):
        theirs = np.square(gradients[number]).sum(-1)
        outside = np.ones(theirs.shape, bool)
        outside[tuple(slice(lo, hi) for lo, hi in run.prepared.row.box(unit.tolist(), clip=True))] = False
        assert (theirs[outside] <= HIDDEN * theirs.max()).all(), f"unit {unit} of {layer!r} sees more than its box"
        off = np.abs(sample.values[0, number] - value[place].ravel()).max() / (np.abs(value[place]).max() or 1.0)
        map_off = difference(sample.maps[0, number], run.prepared.pullback.origin[number], theirs, theirs.max())
        both_zero = not theirs.any() and map_off == 0
        found.append(np.nan if both_zero and off < EXACT else max(off, map_off))
    return np.array(found)


def some_units(shape: tuple[int, ...]) -> np.ndarray:
    """Positions (n, axes) at `PLACES`, as far as they differ."""
    if not shape:
        return np.zeros((1, 0), np.int64)
    return np.unique(np.rint(PLACES[:, : len(shape)] * (np.array(shape) - 1)).astype(np.int64), axis=0)
