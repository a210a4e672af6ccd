"""Which lowering computes a convolution: a table for CPUs, plain XLA elsewhere, or what was measured on this device."""

from __future__ import annotations

import jax
from jaxrf.lowering.lowering import lowerings
FORCE = None
def choose(problem, platform=None):
    if FORCE: return FORCE(problem)
    if lowerings["gemm"].applies(problem): return "gemm"
    if lowerings["shifts"].applies(problem): return "shifts"
    return "plain"

def prepare(kernel, problem):
    return lowerings[choose(problem)].prepare(kernel, problem)

def compute(x, prepared, problem):
    return lowerings[choose(problem)].run(x, prepared, problem)
