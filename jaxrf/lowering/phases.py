"""Convolutions of an image with holes, by the phases of the result: transposed ones, pull-backs of strided ones.

With h - 1 holes between positions, result h q + t meets only every h-th tap.
So each phase t is a small convolution without holes, and the results of the phases alternate.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.lowering.choice import compute, prepare
from jaxrf.lowering.lowering import Lowering, in_order, lowerings
from jaxrf.lowering.problem import Problem

MOST_PHASES = 64


def has_phases(problem: Problem) -> bool:
    """Whether there are holes, no strides, and not more phases than a program can hold."""
    return problem.dilated and not problem.strided and math.prod(problem.spec.lhs_dilation) <= MOST_PHASES


def interleave(y: jax.Array, problem: Problem) -> jax.Array:
    """Move (n, *q, *t, out) to (n, *spatial, out): position h q + t, as many of them as the result has."""
    d, periods = len(problem.axes), problem.spec.lhs_dilation
    order = [0, *(a for i in problem.axes for a in (1 + i, 1 + d + i)), 1 + 2 * d]
    sizes = [y.shape[1 + i] * h for i, h in enumerate(periods)]
    y = y.transpose(order).reshape(y.shape[0], *sizes, y.shape[-1])
    return lax.slice(y, (0,) * y.ndim, problem.result)


def counts(problem: Problem) -> list[int]:
    """Results per phase and axis, the last ones of some phases being one too many."""
    return [-(-m // h) for m, h in zip(problem.result[1:-1], problem.spec.lhs_dilation)]


class Phases(Lowering):
    """One convolution per phase, with the taps that it meets: no multiplication is wasted."""

    def applies(self, problem):
        return has_phases(problem)

    def parts(self, problem: Problem) -> list[tuple[tuple[slice, ...], Problem] | None]:
        """The taps and the problem of each phase, in order; None where it meets no tap."""
        return [self._part(problem, phase) for phase in itertools.product(*map(range, problem.spec.lhs_dilation))]

    def _part(self, problem: Problem, phase: tuple[int, ...]) -> tuple[tuple[slice, ...], Problem] | None:
        spec, taps, sizes, pads, dilation = problem.spec, [], [], [], []
        for i, (t, m) in enumerate(zip(phase, counts(problem))):
            h, r, p = spec.lhs_dilation[i], spec.rhs_dilation[i], spec.padding[i][0]
            step = h // math.gcd(h, r)  # from one tap that is met to the next
            first = next((k for k in range(min(step, problem.taps[i])) if (t + r * k - p) % h == 0), None)
            if first is None:
                return None
            met = range(first, problem.taps[i], step)
            stored = [problem.taps[i] - 1 - k for k in reversed(met)] if problem.reverse else met
            taps.append(slice(stored[0], stored[-1] + 1, step))
            sizes.append(len(met))
            dilation.append(r * step // h)
            low = (p - t - r * first) // h
            pads.append((low, m - problem.spatial[i] - low + (sizes[-1] - 1) * dilation[-1]))
        ones = (1,) * len(taps)
        part = replace(spec, strides=ones, padding=tuple(pads), lhs_dilation=ones, rhs_dilation=tuple(dilation))
        return tuple(taps), replace(problem, kernel=(*sizes, *problem.kernel[-2:]), spec=part)

    def prepare(self, kernel, problem):
        return [None if part is None else prepare(kernel[part[0]], part[1]) for part in self.parts(problem)]

    def run(self, x, prepared, problem):
        shape = (x.shape[0], *counts(problem), problem.kernel[-1])
        phases = [
            jnp.zeros(shape, x.dtype) if part is None else compute(x, kernel, part[1])
            for kernel, part in zip(prepared, self.parts(problem))
        ]
        stacked = jnp.stack(phases, axis=-2)
        return interleave(stacked.reshape(*shape[:-1], *problem.spec.lhs_dilation, shape[-1]), problem)


class Interleave(Lowering):
    """One convolution for all phases at once, each of which is a block of features.

    Its kernel covers the taps of every phase, so that some products are with zeros:
    16 for 9 at 3x3 and stride 2, 64 for 49 at 7x7 and stride 2.
    The one product is wider, which pays where features are few.
    """

    def applies(self, problem):
        return has_phases(problem) and problem.spec.groups == 1 and set(problem.spec.rhs_dilation) == {1}

    def offsets(self, problem: Problem) -> list[range]:
        """Say on which positions of the input, from q on, the results h q + t depend, whatever t is."""
        spec = problem.spec
        return [
            range(-(p // h), (h + k - 2 - p) // h + 1)
            for k, h, (p, _) in zip(problem.taps, spec.lhs_dilation, spec.padding)
        ]

    def part(self, problem: Problem) -> Problem:
        """The convolution of all phases."""
        spec, offsets = problem.spec, self.offsets(problem)
        ones = (1,) * len(offsets)
        pads = tuple((-j.start, m - n + j.stop - 1) for j, n, m in zip(offsets, problem.spatial, counts(problem)))
        features = math.prod(spec.lhs_dilation) * problem.kernel[-1]
        kernel = (*map(len, offsets), problem.kernel[-2], features)
        return replace(problem, kernel=kernel, spec=replace(spec, padding=pads, lhs_dilation=ones), reverse=False)

    def prepare(self, kernel, problem):
        d, spec = len(problem.axes), problem.spec
        kernel = in_order(kernel, problem)
        kernel = jnp.pad(kernel, [*((0, 1) for _ in problem.taps), (0, 0), (0, 0)])  # the last tap stands for none
        for i, (offsets, h) in enumerate(zip(self.offsets(problem), spec.lhs_dilation)):
            tap = h * np.asarray(offsets)[:, None] + spec.padding[i][0] - np.arange(h)
            tap = np.where((tap >= 0) & (tap < problem.taps[i]), tap, problem.taps[i])
            kernel = jnp.take(kernel, tap, axis=2 * i)
        order = [*range(0, 2 * d, 2), 2 * d, *range(1, 2 * d, 2), 2 * d + 1]
        part = self.part(problem)
        return prepare(kernel.transpose(order).reshape(part.kernel), part)

    def run(self, x, prepared, problem):
        y = compute(x, prepared, self.part(problem))
        return interleave(y.reshape(*y.shape[:-1], *problem.spec.lhs_dilation, problem.kernel[-1]), problem)


lowerings.register("phases")(Phases())
lowerings.register("interleave")(Interleave())
