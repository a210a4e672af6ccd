"""Grouped convolutions as a few dense ones, each of which does several groups at once."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import lax

from jaxrf.lowering.lowering import Lowering, in_order, lowerings

# Features of a dense part: it multiplies the zeros between its groups too, yet one wide product beats many thin ones.
WIDTH = 64


class Groups(Lowering):
    """Groups are taken together while they hold at most `WIDTH` features; their kernels stand on a block diagonal."""

    def applies(self, problem):
        return problem.spec.groups > 1

    def together(self, problem) -> int:
        """Groups per dense part, a divisor of their number."""
        fits = max(WIDTH // max(problem.inputs, problem.outputs), 1)
        return max(m for m in range(1, problem.spec.groups + 1) if problem.spec.groups % m == 0 and m <= fits)

    def prepare(self, kernel, problem):
        m = self.together(problem)
        kernel = in_order(kernel, problem)
        split = kernel.reshape(*kernel.shape[:-1], problem.spec.groups // m, m, problem.outputs)
        diagonal = jnp.einsum("...ipgo,gh->p...higo", split, jnp.eye(m, dtype=kernel.dtype))
        return diagonal.reshape(-1, *problem.taps, m * problem.inputs, m * problem.outputs)

    def run(self, x, prepared, problem):
        width = self.together(problem) * problem.inputs
        part = replace(
            problem,
            image=(*problem.image[:-1], width),
            kernel=prepared.shape[1:],
            spec=replace(problem.spec, groups=1),
            reverse=False,
        )
        plain = lowerings["plain"]
        parts = [
            plain.run(lax.slice_in_dim(x, g * width, (g + 1) * width, axis=-1), kernel, part)
            for g, kernel in enumerate(prepared)
        ]
        return jnp.concatenate(parts, axis=-1)


lowerings.register("groups")(Groups())
