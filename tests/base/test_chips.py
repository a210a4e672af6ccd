"""Chips that are not here: what is said where there is none, no compiler, or too little memory."""

from __future__ import annotations

import importlib.util

import jax
import numpy as np
import pytest

from jaxrf.base import chips
from jaxrf.errors import InputError, PlanError, UnknownNameError


@pytest.mark.parametrize(
    "name, match",
    [
        ("v7x:2x2", "Unknown chip 'v7x'.*Known: 'h100', 'v5e', 'v5p', 'v6e'"),
        ("v5e:16x17", "Unknown topology of v5e 'v5e:16x17'.*'v5e:16x16'.*'v5e:8x8'"),
        ("v5p:4x4", "Unknown topology of v5p.*'v5p:4x4x4'"),
        ("h100:2x2", "Unknown topology of h100"),
        ("", "Unknown chip ''"),
    ],
)
def test_a_topology_that_does_not_exist(name, match):
    """The known ones are listed, without any compiler."""
    with pytest.raises(UnknownNameError, match=match):
        chips.devices(name)


@pytest.mark.parametrize("chip, package, extra", [("v5e", "libtpu", "tpu"), ("h100", "jax_cuda13_plugin", "cuda13")])
def test_a_compiler_that_is_missing_is_named(chip, package, extra):
    """The message says for which chip, and how to get its compiler."""
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    target = "make bench-h100" if chip == "h100" else "make bench-tpu"
    with pytest.raises(InputError, match=rf"No compiler for {chip} is here: .*jaxrf\[{extra}\].*`{target}`"):
        chips.device(chip)


class Lowered:
    """A program whose compilation ends with these words, or gives a program of a size."""

    def __init__(self, words, size=0):
        self.words, self.size = words, size

    def __getattr__(self, name):
        return lambda *args, **kwargs: self

    def compile(self):
        if self.words:
            raise jax.errors.JaxRuntimeError(self.words)
        return self

    def memory_analysis(self):
        sizes = dict.fromkeys(("temp", "output", "alias"), 0) | {"argument": self.size}
        return type("Sizes", (), {f"{name}_size_in_bytes": n for name, n in sizes.items()})


OLD = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (64.00G) exceeds available HBM (15.75G)."
NEW = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 64.00G of 15.75G hbm. Exceeded hbm capacity by 48.25G."


@pytest.mark.parametrize(
    "chip, lowered, kind, match",
    [
        ("v5e", Lowered(OLD), PlanError, r"one v5e: it needs 68.7 GB of 16.9 GB, 51.8 GB too many. Of a batch of 512, some 126 would fit. .* memory=.*The compiler says: .*64.00G"),
        ("v5e", Lowered(NEW), PlanError, r"it needs 68.7 GB of 16.9 GB, 51.8 GB too many. Of a batch of 512, some 126"),
        ("v5e", Lowered("RESOURCE_EXHAUSTED: no number"), PlanError, r"does not fit one v5e. Prepare it"),
        ("h100", Lowered("", 10**11), PlanError, r"one h100: it needs 100.0 GB of 85.0 GB, 15.0 GB too many. Of a batch of 512, some 435"),
        ("v5e", Lowered("INTERNAL: unknown"), jax.errors.JaxRuntimeError, "INTERNAL: unknown"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_fit(chip, lowered, kind, match, monkeypatch):
    """By how much, which batch would fit, and what to do; the compiler's words are kept, other failures stay what they are."""
    monkeypatch.setattr(chips, "device", lambda chip: jax.devices()[0])
    monkeypatch.setattr(jax, "jit", lambda function: lowered)
    with pytest.raises(kind, match=match):
        chips.compile_for(chip, lambda x: x, np.zeros(3, np.float32), batch=512)


def test_a_mesh_holds_all_chips(monkeypatch):
    """Axes whose lengths do not multiply to the number of chips are refused, with both numbers."""
    monkeypatch.setattr(chips, "devices", lambda name: tuple(jax.devices() * 4))
    with pytest.raises(InputError, match=r"A mesh data=3 x units=2 holds 6 chips, and v5e:2x2 has \d+"):
        chips.mesh("v5e:2x2", {"data": 3, "units": 2})
    assert chips.mesh("v5e:2x2", {"data": len(jax.devices()), "units": 4}).shape["units"] == 4
