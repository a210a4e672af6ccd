"""Which lowering computes a convolution: a table for CPUs, plain XLA elsewhere, or what was measured on this device."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from jaxrf.base import compiler
from jaxrf.lowering.lowering import lowerings
from jaxrf.lowering.problem import Problem
from jaxrf.lowering.table import ANY, CPU, REWRITTEN, TPU, Decision, Table, always
from jaxrf.lowering.tuned import tuned_choices

TUNING = "JAXRF_TUNING"
CACHE = 2**24  # bytes of an intermediate result beyond which memory, not arithmetic, takes the time

_seen: ContextVar[dict[str, Problem] | None] = ContextVar("problems", default=None)


def _few_numbers(p: Problem) -> bool:
    """Depthwise, or so few results of one feature that patches cost more than arithmetic."""
    return p.depthwise or (p.spec.groups == 1 and p.outputs * math.prod(p.taps) <= 256)


def _few_outputs(p: Problem) -> bool:
    return p.outputs <= 4 and p.inputs >= 16 and not p.dilated


def _growing(p: Problem) -> bool:
    """Multiplications saved outweigh the memory of the product, of which each element is worth `inputs` of them."""
    product = math.prod(p.image[:-1]) * math.prod(p.taps) * p.outputs
    wasted = math.prod(p.result[1:-1]) / max(math.prod(p.spatial), 1)
    fits = product * np.dtype(p.dtype).itemsize <= CACHE
    return fits and not p.dilated and wasted >= 1 + 16 / max(p.inputs, 1)


def _large_image(p: Problem) -> bool:
    return p.outputs <= 4 and math.prod(p.result[1:-1]) >= 128**2


TABLE: Table[Problem] = Table((
    Decision("gemm", CPU, "one tap", always, "1.1 to 2.5 times"),
    Decision("shifts", CPU, "depthwise, or one input feature and few results", _few_numbers, "10 to 80 times"),
    Decision("phases", CPU, "holes and groups", lambda p: p.spec.groups > 1, "20 to 100 times for depthwise"),
    Decision("groups", CPU, "groups", always, "1.3 to 7 times"),
    Decision("interleave", CPU, "holes, large image, at most 4 outputs", _large_image, "up to 3 times for a 7x7/2 stem"),
    Decision("interleave", TPU, "holes, at most 4 outputs", lambda p: p.outputs <= 4, "2.3 times for 8 images of a 7x7/2 stem"),
    Decision("scatter", CPU, "at most 4 outputs of at least 16 inputs", _few_outputs, "1 to 6 times"),
    Decision("scatter", CPU, "the result is larger than the image", _growing, "1.2 to 3.9 times on small windows"),
    Decision("plain", ANY, "otherwise", always, "a GEMM already on a CPU, not measured elsewhere"),
))  # fmt: skip


def choose(problem: Problem, platform: str | None = None) -> str:
    """The name of the lowering that computes `problem`.

    In this order: what the file named by the environment variable JAXRF_TUNING says for this platform and problem;
    the first line of the table that applies on the platform, in float32 and float64; else `plain`.

    A problem is that of one image: those that `vmap` puts side by side are not in its shapes. For eight images, 4 of 263
    convolutions of six networks of the zoo (all of VGG-16) would be chosen otherwise: two of these would be slower,
    one quicker.

    Args:
        problem: the convolution.
        platform: `cpu`, `cuda`, `tpu`, ...; default: that of JAX's default device.

    Raises:
        InputError: JAXRF_TUNING names a file that is none of `jaxrf tune`.

    >>> from jaxrf.lowering import ConvolutionSpec
    >>> spec = ConvolutionSpec((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), groups=96)
    >>> problem = Problem((8, 56, 56, 96), (3, 3, 1, 96), spec)
    >>> choose(problem, "cpu"), choose(problem, "tpu")
    ('shifts', 'plain')
    """
    platform = platform or compiler.platform()
    if (seen := _seen.get()) is not None:
        seen[problem.key] = problem
    if file := os.environ.get(TUNING):
        name = tuned_choices(file, platform).get(problem.key)
        if name is not None and lowerings[name].applies(problem):
            return name
    rewritten = problem.dtype in REWRITTEN
    return TABLE.choose(
        problem, platform, lambda name: name == "plain" or (rewritten and lowerings[name].applies(problem))
    )


@contextmanager
def recording_problems() -> Iterator[dict[str, Problem]]:
    """Within it, every problem that is chosen for enters the dict that it yields, by its key.

    Programs that JAX compiled before are not traced again, and their problems not seen.
    """
    seen: dict[str, Problem] = {}
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def prepare(kernel: jax.Array, problem: Problem) -> Any:
    """What `compute` needs of the kernel (*spatial, in / groups, out); worth making once for many images."""
    return lowerings[choose(problem)].prepare(kernel, problem)


def compute(x: jax.Array, prepared: Any, problem: Problem) -> jax.Array:
    """The convolution (n, *spatial, out) of `x` (n, *spatial, in) by the lowering that `choose` names."""
    return lowerings[choose(problem)].run(x, prepared, problem)
