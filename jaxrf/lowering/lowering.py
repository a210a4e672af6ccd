"""What a lowering is: one way to compute a convolution, the problems that it can do, and how it prepares the kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import jax
from jax import lax

from jaxrf.base.platforms import traits
from jaxrf.base.registry import Registry
from jaxrf.lowering.problem import Problem


class Lowering(ABC):
    """One way to compute a convolution.

    Law: `run(x, prepare(w, problem), problem)` is the convolution of x with w, its taps in reverse order if the problem
    is so, beyond rounding, wherever `applies`.
    """

    @abstractmethod
    def applies(self, problem: Problem) -> bool:
        """Whether this way can do the problem; whether it pays is for `choose` to say."""

    def prepare(self, kernel: jax.Array, problem: Problem) -> Any:
        """What `run` needs of the kernel; made once, where many images meet one kernel."""
        return in_order(kernel, problem)

    @abstractmethod
    def run(self, x: jax.Array, prepared: Any, problem: Problem) -> jax.Array:
        """The result (n, *spatial, out) for `x` of the problem's shape."""


lowerings: Registry[Lowering] = Registry("lowering")


def in_order(kernel: jax.Array, problem: Problem) -> jax.Array:
    """The kernel with its taps as `run` meets them, reversed where the problem is."""
    return laid_out(lax.rev(kernel, tuple(problem.axes))) if problem.reverse else kernel


def laid_out(kernel: jax.Array) -> jax.Array:
    """The kernel as it is, computed before the convolution.

    The barrier keeps XLA from moving a change of its order into the convolution, where a CPU takes 30 times as long.
    """
    return kernel if traits().any_kernel_order else lax.optimization_barrier(kernel)


def padded(x: jax.Array, problem: Problem) -> jax.Array:
    """`x` with its padding, cropped where that is negative.

    The barrier keeps the padding out of the loops that read it: there it is a branch for every element.
    """
    pads = problem.spec.padding
    if not any(map(any, pads)):
        return x
    config = [(0, 0, 0), *((lo, hi, 0) for lo, hi in pads), (0, 0, 0)]
    return lax.optimization_barrier(lax.pad(x, x.dtype.type(0), config))
