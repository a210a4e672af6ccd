"""A prepared field in several processes, without jit, and called very often."""

from __future__ import annotations

import gc
import sys

import jax
import numpy as np
import pytest

import jaxrf
from tests.fields.small import CHANNEL, UNITS, Net, assert_same, written_out
from tests.processes import run_two

ONE_OF_TWO = """
import sys
import jax
number, port = int(sys.argv[1]), sys.argv[2]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", 2, number, initialization_timeout=120)
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import jaxrf
from tests.fields.small import SHAPE, UNITS, Net
assert len(jax.devices()) == 2 and len(jax.local_devices()) == 1
images = np.random.default_rng(0).normal(size=(4, *SHAPE[1:])).astype(np.float32)
field = jaxrf.prepare(Net(), None, images, units=UNITS)
variables, key = field.init(jax.random.key(0)), field.key()
right = field(variables, jax.numpy.asarray(images), key)
result = field.result(right)
wide = lambda a: P(*[None] * (a.ndim - 1), "data") if a.shape[-1] % 2 == 0 else P()
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,))
    def put(a, spec):
        a = np.asarray(a)
        return jax.make_array_from_callback(a.shape, NamedSharding(mesh, spec), lambda index: a[index])
    spread = put(images, P("data"))
    for place in (lambda a: P(), wide):
        weights = jax.tree.map(lambda a: put(a, place(a)), variables)
        maps = jax.jit(field)(weights, spread, key)
        (mine,) = maps.values.addressable_shards
        assert mine.data.shape[0] == 2
        values, near = np.asarray(right.array())[mine.index], np.asarray(right.array()).max()
        scaled = np.ldexp(np.asarray(mine.data), np.asarray(maps.exponent.addressable_shards[0].data)[..., None, None])
        np.testing.assert_allclose(scaled, values, rtol=0, atol=3e-5 * near)
        both = field.result(field.statistics(maps))
        for name in ("mean", "stderr"):
            np.testing.assert_allclose(getattr(both, name), getattr(result, name), rtol=0, atol=3e-5 * result.mean.max())
        assert both.count == 4 and both.groups["images"].levels == 4
print("done")
"""


@pytest.mark.slow
def test_two_processes():
    """Global arrays over two processes on loopback: images over both, weights whole or split, statistics of all images."""
    run_two(ONE_OF_TWO)


@pytest.mark.slow
def test_without_jit(field, variables, images):
    """Under `jax_disable_jit` maps and statistics are the same, one operation after the other."""
    right = written_out(variables, images)
    with jax.disable_jit():
        maps = field(variables, images)
        total = field.statistics(maps)
    assert_same(field, maps, right)
    np.testing.assert_allclose(field.result(total).mean, field.result(maps).mean, rtol=0, atol=1e-6 * right.max())


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("what", ["field", "statistics", "erf"])
def test_calls_leave_nothing_behind(what, field, variables, images):
    """200 warm calls leave as many arrays as there were, and the process no larger."""
    host = np.asarray(images)
    calls = {
        "field": lambda: field(variables, images).values.block_until_ready(),
        "statistics": lambda: jax.block_until_ready(field.statistics(field(variables, images))),
        "erf": lambda: jaxrf.erf(Net(), variables, host, units=UNITS, channels=CHANNEL),
    }
    for _ in range(20):
        calls[what]()
    gc.collect()
    arrays, size = len(jax.live_arrays()), resident()
    for _ in range(200):
        calls[what]()
    gc.collect()
    assert len(jax.live_arrays()) == arrays
    assert resident() - size < 16e6, f"{(resident() - size) / 1e6:.1f} MB more"
