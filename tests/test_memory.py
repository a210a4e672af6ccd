"""Memory that is kept: told in page faults of another process, since it cannot be undone in one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import jaxrf
from jaxrf import memory, zoo

PROGRAM = """
import resource, sys
import jaxrf
assert sys.argv[1] == "returned" or jaxrf.keep_memory()
import jax, numpy as np

grow = jax.jit(lambda x: (x[:, None] * x).cumsum(0).cumsum(1)[::7, ::7])  # 36 MB arrays in between
x = np.ones(3000, np.float32)
for calls in (30, 10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        grow(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep memory in other ways")
def test_kept_memory_is_used_again():
    """A program with large arrays touches fresh pages in each call, and few once memory is kept."""
    assert 4 * faults("kept") < faults("returned")


def test_other_libraries_are_left_alone(monkeypatch):
    """Without the GNU C library nothing is changed, and it is said so."""
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert jaxrf.keep_memory() is False
    assert memory.growth() == 1


def test_plans_reckon_with_kept_memory(monkeypatch):
    """What is freed and not fit for what follows counts too, weights do not."""

    def planned() -> int:
        inputs = np.zeros((1, 30, 32, 3), np.float32)
        return jaxrf.plan(zoo.conv_stack(depth=3, width=4), inputs=inputs, seeds=1, units="all").memory

    before = planned()
    monkeypatch.setattr(memory, "_kept", True)
    assert 1.9 * before < planned() < 2 * before
