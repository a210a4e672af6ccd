"""The same program on other platforms and on several devices."""

from __future__ import annotations

import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from tests.running import drawn_run


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    "model, shape, request_",
    [
        (zoo.resnet18(width=8), (64, 64, 3), {"layer": "layer2", "units": "all"}),
        pytest.param(
            zoo.unet(depth=2, width=4, up="bilinear"), (32, 40, 1), {"units": jaxrf.grid(3, 3)}, marks=pytest.mark.slow
        ),
    ],
    ids=["resnet", "unet"],
)
def test_programs_lower_for_accelerators(platform, model, shape, request_, monkeypatch):
    """The program that the engine makes on a GPU or a TPU, with that platform's choices, can be exported for it."""
    monkeypatch.setattr(jax, "default_backend", lambda: {"cuda": "gpu"}.get(platform, platform))
    run = drawn_run(model, jaxrf.noise(1), shape, **request_)
    pull = run.prepared.pullback
    images = np.zeros((run.prepared.images_per_call, *pull.program.image.shape), np.float32)
    keys = jax.random.split(jax.random.key(0), run.prepared.images_per_call)
    some = [a[: pull.batching.batches_per_call] for a in pull.batches]
    exported = jax.export.export(pull.compiled, platforms=(platform,))(run.leaves(0), images, *some, keys)
    assert exported.platforms == (platform,)
    assert len(exported.mlir_module()) > 10_000


SPREAD = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
import jaxrf
from jaxrf import zoo
from jaxrf.engine.plan import ABREAST
for count, units, fewest in ((3, jaxrf.grid(5, 5), 2), (16, "center", 2), (16, "center", 1)):
    ABREAST["cpu"] = fewest, 0
    given = {"inputs": jaxrf.noise(count), "input_shape": (32, 28, 3), "units": units, "seeds": 2}
    one, all_ = (jaxrf.erf(zoo.conv_stack(depth=3, width=8), devices=d, **given) for d in (None, jax.devices()))
    assert len(jax.devices()) == 8
    np.testing.assert_allclose(one.mean, all_.mean, rtol=0, atol=1e-6 * one.mean.max())
    assert one.count == all_.count == 2 * count
print("same")
"""


@pytest.mark.slow
def test_eight_devices_give_the_same_maps():
    """Units, or images, are spread over 8 virtual devices without a change of the result."""
    done = subprocess.run([sys.executable, "-c", SPREAD], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "same", done.stderr[-2000:]
