"""Programs of jaxrf are compiled without the fusion that computes wrong sums on CPUs."""

from __future__ import annotations

import ast
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf.base.compiler import compiler_options, compiling_for, jit

PACKAGE = Path(jaxrf.__file__).parent


@pytest.mark.parametrize("choices", [None, "tpu"])
def test_sum_of_a_product_with_a_broadcast_coefficient(choices):
    """The derivative of a normalization over features is the same compiled and operation by operation.

    Also where the choices are those of another platform: it is here that the program runs.
    """
    rng = np.random.default_rng(0)
    coefficient, ct = rng.normal(size=(10, 4)).astype(np.float32), rng.normal(size=(2000, 10, 4)).astype(np.float32)

    def pull(coefficient, ct):
        return ct - (coefficient * ct).sum(-1, keepdims=True)

    with compiling_for(choices):
        np.testing.assert_allclose(jit(pull)(coefficient, ct), pull(coefficient, ct), atol=1e-5)


@pytest.mark.parametrize(
    ("version", "faulty"), [("0.10.1", False), ("0.10.2", True), ("0.11.0", True), ("0.12.0", False), ("1.0", False)]
)
def test_versions(version, faulty):
    """Only the versions of jaxlib that are known to be faulty are compiled in another way."""
    assert (compiler_options(version) is not None) is faulty


@pytest.mark.parametrize("folder", ["engine", "checks/oracles.py"])
def test_nothing_else_is_compiled(folder):
    """The engine and the oracle compile by `jaxrf.base.compiler.jit` alone."""
    place = PACKAGE / folder
    for file in place.rglob("*.py") if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(file.read_text())):
            plain = isinstance(node, ast.Attribute) and node.attr == "jit" and ast.unparse(node) == "jax.jit"
            assert not plain, f"{file.name}:{node.lineno} calls jax.jit"


def test_options_are_known_to_the_compiler():
    """XLA takes the options here, or they are not passed."""
    assert float(jax.jit(lambda x: 2 * x, compiler_options=compiler_options())(3.0)) == 6
