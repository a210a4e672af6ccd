"""How convolutions and poolings are computed on each backend. Nothing here knows of equations, units or models.

Comes in: a problem, which is shapes alone: `Problem` for a convolution, `PoolingProblem` for a pooling or the way back
through one, `StemProblem` for the way back through both, `Batch` for how units are read. Goes out: the quickest known
way to compute it on a platform. Which that is says a `Table` of decisions for each kind of problem, and `print(table)`
shows it. Invariant: every way gives the numbers of the plain one, which is XLA's own, but for rounding.
To add one: a file here with a class that says what it `applies` to and how it is `run`, entered in `lowerings` or
`poolings`; and a line of the table that says on which platforms and where it is taken, and what was measured.
"""

from __future__ import annotations

from jaxrf.lowering import gemm, groups, phases, plain, scatter, shifts, slices  # each enters its ways
from jaxrf.lowering.lowering import Lowering, lowerings
from jaxrf.lowering.pooling import PoolingLowering, PoolingProblem, PoolingSpec, poolings
from jaxrf.lowering.problem import ConvolutionSpec, Problem

__all__ = [
    "ConvolutionSpec",
    "Lowering",
    "PoolingLowering",
    "PoolingProblem",
    "PoolingSpec",
    "Problem",
    "gemm",
    "groups",
    "lowerings",
    "phases",
    "plain",
    "poolings",
    "scatter",
    "shifts",
    "slices",
]
