"""Time the alternatives of a convolution on the present device, as the engine runs them: many images, one kernel.

For a TPU that is not here, the cycles that its compiler expects stand for times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrf.base.chips import TOPOLOGIES, platform_of
from jaxrf.base.compiler import compiling_for
from jaxrf.base.estimates import estimate
from jaxrf.errors import unknown
from jaxrf.lowering.convolution import gradient_problem
from jaxrf.lowering.lowering import lowerings
from jaxrf.lowering.problem import ConvolutionSpec, Problem

PASSES = 3  # images per timed call; the engine has its batches in such a loop too


def measure(problem: Problem, repeats: int = 5) -> dict[str, float]:
    """Seconds that each lowering takes for `problem`, the shortest of `repeats`; alternatives take turns.

    The kernel is prepared beforehand. Costs the compilation of one small program per lowering.
    """
    x = jax.random.normal(jax.random.key(0), problem.image, problem.dtype)
    kernel = jax.random.normal(jax.random.key(1), problem.kernel, problem.dtype)
    runs = {name: _program(name, problem, x, kernel) for name in lowerings if lowerings[name].applies(problem)}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - start) / PASSES)
    return best


def expect(problem: Problem, chip: str) -> dict[str, float]:
    """Cycles that the compiler of a TPU expects each lowering to take for `problem`; nothing is run, and no chip is needed.

    Args:
        problem: the convolution.
        chip: a kind of TPU, as "v5e"; a GPU's compiler expects no times.

    Raises:
        UnknownNameError: there is no such TPU.
        InputError: its compiler is not installed.
    """
    if chip not in TOPOLOGIES:
        raise unknown("TPU", chip, TOPOLOGIES)
    x = jax.ShapeDtypeStruct(problem.image, problem.dtype)
    kernel = jax.ShapeDtypeStruct(problem.kernel, problem.dtype)
    found = {}
    with compiling_for(platform_of(chip)):
        for name, way in lowerings.items():
            if way.applies(problem):
                prepared = jax.eval_shape(lambda k, way=way: way.prepare(k, problem), kernel)
                found[name] = estimate(chip, _passes(name, problem), x, prepared).cycles / PASSES
    return found


def _program(name: str, problem: Problem, x: jax.Array, kernel: jax.Array) -> Callable[[], Any]:
    """A call that runs the lowering `PASSES` times, compiled and warm."""
    prepared = jax.jit(lambda k: lowerings[name].prepare(k, problem))(kernel)
    compiled = jax.jit(_passes(name, problem))
    compiled(x, prepared).block_until_ready()
    return lambda: compiled(x, prepared).block_until_ready()


def _passes(name: str, problem: Problem) -> Callable[[jax.Array, Any], jax.Array]:
    """The lowering, `PASSES` times."""

    def passes(x: jax.Array, prepared: Any) -> jax.Array:
        def step(_: Any, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            # The barrier makes every pass depend on the one before it, so that none is left out.
            return lax.optimization_barrier((carry[0], lowerings[name].run(carry[0], prepared, problem)))

        return lax.fori_loop(0, PASSES, step, (x, jnp.zeros(problem.result, x.dtype)))[1]

    return passes


def typical() -> dict[str, Problem]:
    """Convolutions of well-known networks and their input gradients, one image each, by key."""
    layers = [
        _layer(224, 3, 64, 7, stride=2),  # ResNet: stem, then a 3x3 of each stage, and 1x1
        _layer(56, 64, 64, 3),
        _layer(28, 128, 128, 3),
        _layer(56, 128, 128, 3, stride=2),
        _layer(14, 256, 256, 3),
        _layer(7, 512, 512, 3),
        _layer(14, 1024, 256, 1),
        _layer(56, 128, 128, 3, groups=32),  # ResNeXt
        _layer(56, 96, 96, 7, groups=96),  # ConvNeXt
        _layer(14, 384, 384, 7, groups=384),
        _layer(112, 96, 96, 3, stride=2, groups=96),  # MobileNet-V2
        _layer(14, 576, 576, 3, groups=576),
        _layer(28, 1, 6, 5),  # LeNet
    ]
    found = {}
    for p in layers:
        back = gradient_problem(p.result, p.kernel, p.spec, p.spatial, p.dtype)
        found.update({p.key: p, back.key: back})
    return found


def _layer(size: int, inputs: int, outputs: int, taps: int, stride: int = 1, groups: int = 1) -> Problem:
    side = taps // 2
    spec = ConvolutionSpec((stride, stride), ((side, side), (side, side)), (1, 1), (1, 1), groups)
    return Problem((1, size, size, inputs), (taps, taps, inputs // groups, outputs), spec)
