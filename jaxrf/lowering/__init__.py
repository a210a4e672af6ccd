"""How convolutions and poolings are computed on each backend. Nothing here knows of equations, units or models.

A convolution is a `Problem`, shapes alone; `lowerings` holds the ways to compute one, and `choose` says which is taken.
"""

from __future__ import annotations

from jaxrf.lowering import gemm, groups, phases, plain, scatter, shifts  # each enters its lowering
from jaxrf.lowering.lowering import Lowering, lowerings
from jaxrf.lowering.problem import ConvolutionSpec, Problem

__all__ = [
    "ConvolutionSpec",
    "Lowering",
    "Problem",
    "gemm",
    "groups",
    "lowerings",
    "phases",
    "plain",
    "scatter",
    "shifts",
]
