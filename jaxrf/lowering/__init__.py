"""How convolutions and poolings are computed on each backend. Nothing here knows of equations, units or models.

Comes in: a `Problem`, shapes alone. Goes out: the quickest known way to compute it on a platform, printed as a table of
decisions. Invariant: every lowering gives the numbers of the plain one, but for rounding.
A convolution is a `Problem`; `lowerings` holds the ways to compute one, and `choose` says which is taken. One more way is
a file here that registers it, and a line of the table.
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
