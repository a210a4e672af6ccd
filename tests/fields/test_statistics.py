"""Statistics of a field's maps: one law on device and host, the result of `jaxrf.erf` whichever way they were added."""

from __future__ import annotations

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError
from jaxrf.fields.statistics import Statistics, of_maps
from jaxrf.statistics import gathered
from tests.fields.small import Tied

SHAPE = (4, 9, 14, 2)
UNITS = [(2, 3), (0, 6)]
AVERAGES = ("weighted", "normalized")
SEEDS = 3


class Net(nn.Module):
    """Two layers whose maps differ between units, images and weights."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(3, (3, 3))(nn.relu(nn.Conv(4, (3, 5), strides=2)(x)))


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), SHAPE)


@pytest.fixture(scope="module", params=AVERAGES)
def field(request, images):
    return jaxrf.prepare(Net(), None, images, units=UNITS, average=request.param)


@pytest.fixture(scope="module")
def right(field, images):
    """What the same samples give on the host, all seeds with all images."""
    return jaxrf.erf(
        Net(),
        None,
        images,
        units=UNITS,
        seeds=SEEDS,
        average=next(iter(field.layers.values())).options.average,
        certify=False,
    )


@pytest.fixture(scope="module")
def drawn(field):
    """Variables and keys of all seeds, stacked."""
    roots = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(jnp.arange(SEEDS))
    return jax.vmap(field.init)(roots), jax.vmap(lambda root: jax.random.fold_in(root, 1))(roots)


def assert_same(found, right, tolerance=2e-5):
    """Everything that a result says of its samples, to single precision of its largest number."""
    for name in ("mean", "stderr", "between", "within", "effective"):
        mine, other = getattr(found, name), getattr(right, name)
        size = np.nanmax(np.abs(other), initial=0)
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * size, err_msg=name)
    for name in ("count", "dead", "nonfinite", "average"):
        assert getattr(found, name) == getattr(right, name), name
    assert found.groups.keys() == right.groups.keys()
    for name, kept in right.groups.items():
        assert found.groups[name].keys == kept.keys and found.groups[name].seen == kept.seen
        np.testing.assert_array_equal(found.groups[name].counts(), kept.counts())
        totals = kept.totals()
        np.testing.assert_allclose(found.groups[name].totals(), totals, rtol=0, atol=tolerance * totals.max())


@pytest.mark.filterwarnings("ignore:.* samples:UserWarning")
def test_a_scan_over_checkpoints(field, right, drawn, images):
    """Carried through a scan with a traced seed, the statistics are those of a run over all seeds."""

    def step(total, one):
        seed, variables, key = one
        return total + field.statistics(field(variables, images, key), seed=seed), None

    total, _ = jax.jit(lambda *args: jax.lax.scan(step, field.statistics(), args))(jnp.arange(SEEDS), *drawn)
    result = field.result(total)
    assert_same(result, right)
    assert result.provenance["seeds"] == right.provenance["seeds"]
    mine, other = result.interval("sigma", over="seeds"), right.interval("sigma", over="seeds")
    np.testing.assert_allclose(mine.low, other.low, rtol=1e-4)


@pytest.mark.slow
def test_several_layers(images):
    """With several layers statistics are dicts by name, and add as trees do."""
    field = jaxrf.prepare(Net(), None, images, layer=["Conv_0", "output"], units="center")
    variables = field.init(jax.random.key(0))
    total = field.statistics()
    for first in (0, 2):
        more = field.statistics(field(variables, images[first : first + 2], field.key(), first=first), first=first)
        total = {name: total[name] + more[name] for name in total}
    right = field.result(field(variables, images, field.key()))
    assert list(total) == ["Conv_0", "output"]
    for name, result in field.result(total).items():
        assert_same(result, right[name])


@pytest.mark.slow
def test_vmapped_and_summed_along_its_axis(field, right, drawn, images):
    """`psum` over the axis of `vmap` is the sum over it."""

    def one(seed, variables, key):
        return field.statistics(field(variables, images, key), seed=seed).psum("seed")

    assert_same(field.result(jax.vmap(one, out_axes=None, axis_name="seed")(jnp.arange(SEEDS), *drawn)), right)


@pytest.mark.parametrize("place", ["device", "host"])
def test_calls_merged(field, right, drawn, images, place):
    """Calls with some images each add on device, and in double precision on the host, also when sent elsewhere."""
    parts = []
    for seed in range(SEEDS):
        variables, key = jax.tree.map(lambda a, seed=seed: a[seed], drawn)
        for first, last in ((0, 1), (1, 4)):
            maps = field(variables, images[first:last], key, first=first)
            parts.append(field.statistics(maps, seed=seed, first=first))
    if place == "host":
        parts = [pickle.loads(pickle.dumps(jax.device_get(part))) for part in parts]
    total = sum(parts[1:], parts[0])
    assert (total.moments.mean.dtype == np.float64) == (place == "host")
    assert_same(field.result(total), right, 1e-6 if place == "host" else 2e-5)
    assert_same(field.result(sum(parts)), field.result(total), 0)


def test_nothing_is_the_identity(field, drawn, images):
    """No samples on either side change no bit, be they made by `statistics()` or as zeros of the same shape."""
    variables, key = jax.tree.map(lambda a: a[0], drawn)
    maps = field(variables, images, key)
    some = field.statistics(maps)
    tiny = field.statistics(jaxrf.fields.field.Maps(maps.values, maps.exponent - 500, maps.other_images))
    zeros = jax.tree.map(jnp.zeros_like, some)
    for one in (some, tiny):
        for sum_ in (one + field.statistics(), field.statistics() + one, one + zeros, zeros + one):
            assert all(
                np.array_equal(a, b) for a, b in zip(jax.tree.leaves(sum_.moments), jax.tree.leaves(one.moments))
            )
            assert np.array_equal(sum_.exponent, one.exponent)
            assert np.array_equal(sum_.images.total, one.images.total)


ON_A_MESH = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import jaxrf
from tests.fields.test_statistics import Net, SHAPE, UNITS, assert_same
images = jax.random.normal(jax.random.key(1), (8, *SHAPE[1:]))
variables = Net().init(jax.random.key(0), images)
field = jaxrf.prepare(Net(), variables, images, units=UNITS)
right = field.result(field(variables, images, field.key()))
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
    spread = jax.device_put(images, NamedSharding(mesh, P("data")))
    whole = jax.device_put(variables, NamedSharding(mesh, P()))
    def everywhere(w, x):
        return field.statistics(field(w, x, field.key()))
    assert_same(field.result(jax.jit(everywhere)(whole, spread)), right)
    assert_same(field.result(everywhere(whole, spread)), right)
    def mine(w, x):
        first = jax.lax.axis_index("data") * len(x)
        return field.statistics(field(w, x, field.key(), first=first), first=first).psum("data")
    inside = jax.jit(jax.shard_map(mine, mesh=mesh, in_specs=(P(), P("data")), out_specs=P()))
    assert_same(field.result(inside(whole, spread)), right)
print("same")
"""


@pytest.mark.slow
def test_on_a_mesh():
    """Summed by the compiler and by `psum` inside of `shard_map`, with traced numbers of images, on eight devices."""
    done = subprocess.run([sys.executable, "-c", ON_A_MESH], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "same", done.stderr[-3000:]


@pytest.mark.parametrize("scale", [1e-20, 1e15])
def test_weights_of_any_scale(scale):
    """Seven linear layers of weights times 1e-20 or 1e15 give the same normalized statistics, errors included."""
    model, images = zoo.conv_stack(depth=7, width=3, activation="linear"), jnp.ones((3, 7, 9, 2))
    field = jaxrf.prepare(model, None, images, average="normalized", units=[(3, 4), (0, 0)])
    variables = field.init(jax.random.key(0))
    maps, scaled = (
        field(jax.tree.map(lambda a, factor=factor: factor * a, variables), images, field.key())
        for factor in (1.0, scale)
    )
    right = field.result(field.statistics(maps))
    assert (right.stderr > 0).any()
    assert_same(field.result(field.statistics(scaled)), right, 1e-5)
    assert_same(field.result(scaled), right, 1e-5)


def samples(seed=0, count=5, shape=(3, 4, 5)):
    """Asymmetric maps (image, unit, *map), with a dead one, one with NaN, one with infinity."""
    maps = np.random.default_rng(seed).lognormal(sigma=2, size=(count, *shape)).astype(np.float32)
    maps[1, 0] = 0
    maps[2, 1, 0, 1] = np.nan
    maps[3, 2, 1, 0] = np.inf
    return maps


def made(maps, exponent=None, average="weighted", seed=0, first=0, blocks=8) -> Statistics:
    exponent = jnp.zeros(maps.shape[:2], jnp.int32) if exponent is None else jnp.asarray(exponent, jnp.int32)
    nowhere = jnp.zeros(maps.shape[:2])
    return of_maps(jnp.asarray(maps), exponent, nowhere, seed, first, average=average, blocks=blocks)


def host(maps, average="weighted", seed=0, first=0) -> gathered.Gathered:
    start = gathered.init(maps.shape[1:], average)
    return gathered.update(start, maps, seed, range(first, first + len(maps)))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("average", AVERAGES)
def test_dead_and_lost_maps(average):
    """Dead maps, NaN and infinities are counted for each unit, and stand in the mean where they do on the host."""
    maps = samples()
    mine, right = made(maps, average=average).gathered(), host(maps, average)
    assert mine.dead.tolist() == right.dead.tolist() == [1, 0, 0]
    assert mine.nonfinite.tolist() == right.nonfinite.tolist() == [0, 1, 1]
    a, b = gathered.finalize(mine), gathered.finalize(right)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-6)
    np.testing.assert_allclose(a.stderr[0], b.stderr[0], rtol=1e-5)
    np.testing.assert_allclose(a.groups["images"].totals()[0], b.groups["images"].totals()[0], rtol=1e-6)


def assert_close(a: Statistics, b: Statistics):
    for x, y in zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
def test_associative(average):
    """(a b) c equals a (b c), for samples whose powers of two lie far apart."""
    a, b, c = (
        made(np.abs(samples(k, k + 4)[:, :1]), np.full((k + 4, 1), e), average, k, 10 * k)
        for k, e in enumerate((-300, 20, -290))
    )
    assert_close((a + b) + c, a + (b + c))
    one, other = (jax.device_get(s) for s in (a + c, c + a))
    assert_close(one, other)


def test_powers_far_apart():
    """The mean of a strong and of a vanishingly weak sample is half of the strong one; nothing overflows on the way."""
    maps = np.full((1, 1, 2, 3), 3.0, np.float32)
    for strong in (-400, 0, 400):
        total = made(maps, [[strong]]) + made(maps, [[strong - 200]], first=1) + made(0 * maps, [[7]], first=2)
        np.testing.assert_allclose(total.gathered().samples.mean, np.ldexp(1.0, strong), rtol=1e-6)
    within = np.float32([[[[1e-30, 1.0]]], [[[3e-30, 2.0]]]])
    summary = gathered.finalize(made(within).gathered())
    np.testing.assert_allclose(summary.stderr, [[[1e-30, 0.5]]], rtol=1e-5)


def test_numbers_beyond_double_precision_are_refused():
    """A weighted mean that double precision does not hold says so, and what to do."""
    with pytest.raises(InputError, match="double precision does not"):
        made(np.ones((1, 1, 2, 3), np.float32), [[-2000]]).gathered()


def test_more_levels_than_blocks():
    """Levels beyond the blocks share them as on the host, and are all known to have been there."""
    maps = np.abs(samples(0, 23)[:, 1:2, 1:])
    parts = [made(maps[k : k + 5], blocks=8, first=k) for k in range(0, 23, 5)]
    found = sum(parts).gathered().images
    right = gathered.groups.Groups(8)
    for level, part in enumerate(maps.astype(np.float64)):
        right = gathered.groups.merge(
            right, gathered.groups.of_level(8, level, gathered.Block(np.ones(1, np.int64), part))
        )
    assert (
        found.levels == 23 and found.seen == right.seen and found.modulus == right.modulus and found.keys == right.keys
    )
    np.testing.assert_allclose(found.totals(), right.totals(), rtol=1e-5)
    with pytest.raises(InputError, match="counted from 0 to 16777215 within a run, and 16777216 was given"):
        made(maps[:1], first=2**24).gathered()


@pytest.mark.parametrize("shape", [(1, 70000), (3, 250, 300), (40, 11, 100)])
@pytest.mark.parametrize("average", AVERAGES)
def test_many_positions_in_a_plain_jit(shape, average):
    """Sums over far more than 32,768 positions are right without options for the compiler."""
    maps = np.random.default_rng(0).lognormal(size=(3, *shape)).astype(np.float32)
    exponent = np.random.default_rng(1).integers(-3, 3, (3, shape[0]))
    mine = jax.jit(lambda m: made(m, exponent, average) + made(2 * m, exponent, average, first=3))(maps).gathered()
    whole = np.ldexp(maps.astype(np.float64), exponent[(...,) + (None,) * (maps.ndim - 2)])
    right = host(np.concatenate([whole, 2 * whole]), average)
    np.testing.assert_allclose(mine.samples.mean, right.samples.mean, rtol=1e-5)
    np.testing.assert_allclose(mine.samples.m2, right.samples.m2, rtol=1e-4, atol=1e-6 * right.samples.m2.max())


@pytest.mark.slow
def test_images_that_see_each_other(images):
    """The share of the scores on the own image is that of a run."""

    variables = Tied().init(jax.random.key(0), images)
    field = jaxrf.prepare(Tied(), variables, images, units=UNITS)
    maps = field(variables, images, field.key())
    result = jaxrf.erf(Tied(), variables, images, units=UNITS)
    right = result.provenance["share_on_own_image"]
    assert 0.5 < right < 1
    assert np.array_equal(field.units, result.units) and np.array_equal(field.origin, result.origin)
    for found in (maps, field.statistics(maps), jax.device_get(field.statistics(maps))):
        assert field.result(found).provenance["share_on_own_image"] == pytest.approx(right, rel=1e-5)


def test_refusals(field, drawn, images):
    """Statistics that do not belong together, maps of several calls and odd numbers of blocks say what is needed."""
    variables, keys = drawn
    with pytest.raises(InputError, match=r"The maps have shape \(3, 4, 2.*Inside of `jax.vmap`, take their statistics"):
        field.statistics(jax.vmap(field, (0, None, 0))(variables, images, keys))
    with pytest.raises(InputError, match="blocks=12 is not a power of two"):
        field.statistics(blocks=12)
    one = made(samples())
    with pytest.raises(InputError, match="other averages, weighted and normalized, cannot be added"):
        _ = one + made(samples(), average="normalized")
    with pytest.raises(InputError, match="other numbers of blocks, 8 and 16"):
        _ = one + made(samples(), blocks=16)
    with pytest.raises(InputError, match=r"other shapes, \(3, 4, 5\) and \(3, 4, 6\)"):
        _ = one + made(samples(shape=(3, 4, 6)))
    with pytest.raises(TypeError):
        _ = one + 1
