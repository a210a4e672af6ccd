"""A data-parallel loop of two processes on loopback is watched as one loop."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from tests.processes import run_two

ONE_OF_TWO = """
import sys
import jax
number, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", 2, number, initialization_timeout=120)
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
import jaxrf
from tests.watching.test_watch import IMAGES, Net, step
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
def put(a, spec):
    a = np.asarray(a)
    return jax.make_array_from_callback(a.shape, NamedSharding(mesh, spec), lambda index: a[index])
variables = jax.tree.map(lambda a: put(a, P()), Net().init(jax.random.key(0), IMAGES))
spread = put(IMAGES, P("data"))
held = {"held": IMAGES, "spread": spread}
watches = {name: jaxrf.watch(Net(), variables, images, layer=["c1", "c2"], every=2, out=f"{out}/{name}") for name, images in held.items()}
for at in range(3):
    for watch in watches.values():
        watch(at, variables)
    variables = step(variables, spread)
for watch in watches.values():
    watch.flush()
print("done")
"""


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Held images on both, or spread over both: one record, equal to that of one process."""
    run_two(ONE_OF_TWO, str(tmp_path))
    import jax

    from tests.watching.test_watch import IMAGES, Net, train

    variables = Net().init(jax.random.key(0), IMAGES)
    with jaxrf.watch(Net(), variables, IMAGES, layer=["c1", "c2"], every=2, out=tmp_path / "one") as watch:
        train(variables, range(3), watch)
    for name in ("held", "spread"):
        history = jaxrf.history(tmp_path / name)
        assert history.steps == [0, 2]
        for layer in ("c1", "c2"):
            right = watch.history().result(layer, 2)
            found = history.result(layer, 2)
            np.testing.assert_allclose(found.mean, right.mean, rtol=0, atol=3e-5 * right.mean.max())
            assert found.groups["images"].levels == 4
