"""How much each rewritten operation gains over XLA's own: forward passes and input gradients.

The naive side is what `jax.lax` and `jax.vjp` give; the other side is `jaxrf.lowering`, which chooses by its table.
Results are compared first. Run it as `python benchmarks/lowering.py`; `--small` tells only whether it runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, interleaved, parser
from jax import lax

from jaxrf.lowering import ConvolutionSpec, PoolingLowering, PoolingProblem, PoolingSpec, Problem
from jaxrf.lowering.choice import choose
from jaxrf.lowering.convolution import convolution_forward, gradient_problem, input_gradient
from jaxrf.lowering.pooling import choose_pooling, pooling_way
from jaxrf.lowering.slices import winners

Candidates = dict[str, Callable[..., jax.Array]]


def layer(n: int, size: int, inputs: int, outputs: int, taps: int, stride: int = 1, groups: int = 1, pad: int = -1):
    """A square convolution, as wide as its kernel needs it (SAME) unless `pad` says otherwise."""
    side = taps // 2 if pad < 0 else pad
    spec = ConvolutionSpec((stride,) * 2, ((side, side),) * 2, (1, 1), (1, 1), groups)
    return Problem((n, size, size, inputs), (taps, taps, inputs // groups, outputs), spec)


def convolutions(k: int) -> dict[str, Problem]:
    """The cases by name; `k` divides sizes and features where only a trial is wanted."""
    return {
        "depthwise 7x7, 8 x 56^2 x 96": layer(8, 56 // k, 96 // k, 96 // k, 7, groups=96 // k),
        "depthwise 7x7, 8 x 14^2 x 384": layer(8, 14 // k, 384 // k, 384 // k, 7, groups=384 // k),
        "depthwise 3x3/2, 8 x 56^2 x 96": layer(8, 56 // k, 96 // k, 96 // k, 3, 2, groups=96 // k),
        "depthwise 13x13, 8 x 28^2 x 64": layer(8, 28 // k, 64 // k, 64 // k, 13, groups=64 // k),
        "depthwise 31x31, 4 x 14^2 x 64": layer(4, 14 // k, 64 // k, 64 // k, 31, groups=64 // k),
        "32 groups 3x3, 8 x 56^2 x 128": layer(8, 56 // k, 128 // k, 128 // k, 3, groups=32 // k),
        "32 groups 3x3, 8 x 14^2 x 512": layer(8, 14 // k, 512 // k, 512 // k, 3, groups=32 // k),
        "stem 7x7/2, 8 x 224^2 x 3": layer(8, 224 // k, 3, 64 // k, 7, 2),
        "1x1, 8 x 56^2, 256 to 64": layer(8, 56 // k, 256 // k, 64 // k, 1),
        "1x1/2, 8 x 56^2, 256 to 512": layer(8, 56 // k, 256 // k, 512 // k, 1, 2),
        "one channel 3x3, 8 x 224^2": layer(8, 224 // k, 1, 1, 3),
        "first 3x3, 8 x 224^2, 3 to 64": layer(8, 224 // k, 3, 64 // k, 3),
        "dense 3x3, 8 x 56^2 x 64": layer(8, 56 // k, 64 // k, 64 // k, 3),
        "dense 3x3, 8 x 7^2 x 512": layer(8, 7, 512 // k, 512 // k, 3),
        "window 3x3 from 5^2, 32 x 64": layer(32, 5, 64 // k, 64 // k, 3, pad=0),
        "window 3x3 from 11^2, 32 x 64": layer(32, 11, 64 // k, 64 // k, 3, pad=0),
    }


def forward(problem: Problem) -> tuple[Candidates, tuple[Any, ...], str]:
    """Candidates, operands, and the lowering that is chosen."""
    naive = {"naive": lambda x, w: xla(x, w, problem.spec)}
    ours = {"rewritten": lambda x, w: convolution_forward(x, w, problem.spec)}
    return {**naive, **ours}, (normal(problem.image, 0), normal(problem.kernel, 1)), choose(problem)


def gradient(problem: Problem) -> tuple[Candidates, tuple[Any, ...], str]:
    """The same for the input gradient."""
    image = jax.ShapeDtypeStruct(problem.image, jnp.float32)
    spec, spatial = problem.spec, problem.spatial
    naive = {"naive": lambda ct, w: jax.linear_transpose(lambda x: xla(x, w, spec), image)(ct)[0]}
    ours = {"rewritten": lambda ct, w: input_gradient(ct, w, spec, spatial)}
    chosen = choose(gradient_problem(problem.result, problem.kernel, spec, spatial, "float32"))
    return {**naive, **ours}, (normal(problem.result, 0), normal(problem.kernel, 1)), chosen


def gradients_in_a_loop(problem: Problem) -> tuple[Candidates, tuple[Any, ...], str]:
    """Input gradients of several cotangents one after the other, as `lax.map` and `scan` run them."""
    candidates, (ct, kernel), chosen = gradient(problem)
    cts = jnp.stack([ct] * 16)
    looped = {name: _mapped(call) for name, call in candidates.items()}
    return looped, (cts, kernel), chosen


def _mapped(call: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda cts, kernel: lax.map(lambda ct: call(ct, kernel), cts)


def pooling(n: int, size: int, features: int, backward: bool) -> tuple[Candidates, tuple[Any, ...], str]:
    """Max-pooling 3x3/2, and its gradient for 8 cotangents that share one image."""
    spec = PoolingSpec((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)
    x = normal((n, size, size, features), 0)
    problem = PoolingProblem(x.shape, spec, "max")

    def xla_pool(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, -jnp.inf, lax.max, spec.window, spec.strides, "VALID")

    if not backward:
        return _poolings({"naive": xla_pool}, (x,), problem, lambda way, x: way.run(x, (), problem))
    cts = normal((8, *problem.result), 1)

    def naive(cts: jax.Array, x: jax.Array) -> jax.Array:
        pull = jax.vjp(xla_pool, x)[1]
        return jax.vmap(lambda ct: pull(ct)[0])(cts)

    def ours(way: PoolingLowering, cts: jax.Array, x: jax.Array) -> jax.Array:
        return jax.vmap(lambda ct, places: way.run(ct, places, back), in_axes=(0, None))(cts, winners(x, back))

    back = replace(problem, back=True)
    return _poolings({"naive": naive}, (cts, x), back, ours)


def _poolings(
    naive: Candidates, operands: tuple[Any, ...], problem: PoolingProblem, run: Callable[..., jax.Array]
) -> tuple[Candidates, tuple[Any, ...], str]:
    """Beside the naive one, the way that the table takes; the naive one again where that is XLA's own."""
    way = pooling_way(problem)
    ours = naive["naive"] if way is None else partial(run, way)
    return {**naive, "rewritten": ours}, operands, choose_pooling(problem)


def xla(x: jax.Array, kernel: jax.Array, spec: ConvolutionSpec) -> jax.Array:
    """The convolution as a user writes it."""
    return lax.conv_general_dilated(
        x, kernel, spec.strides, spec.padding, dimension_numbers=spec.numbers, feature_group_count=spec.groups
    )


def normal(shape: tuple[int, ...], seed: int) -> jax.Array:
    """Standard normal numbers, float32."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def cases(k: int) -> Iterator[tuple[str, str, tuple[Candidates, tuple[Any, ...], str]]]:
    """Table, row, and what is compared."""
    for name, problem in convolutions(k).items():
        yield "forward", name, forward(problem)
        yield "input gradient", name, gradient(problem)
    yield (
        "input gradient",
        "16 dense 3x3 in a loop, 14^2 x 256",
        gradients_in_a_loop(layer(1, 14, 256 // k, 256 // k, 3)),
    )
    yield "forward", "max-pool 3x3/2, 8 x 112^2 x 64", pooling(8, 112 // k, 64 // k, backward=False)
    yield "input gradient", "max-pool 3x3/2, 8 cotangents, 112^2 x 64", pooling(1, 112 // k, 64 // k, backward=True)


def finished(call: Callable[..., jax.Array], operands: tuple[Any, ...]) -> None:
    """Return when the result is there."""
    call(*operands).block_until_ready()


def main() -> None:
    """Compare, time, write."""
    made = parser(__doc__)
    made.add_argument("--only", default="", help="rows whose name holds this text")
    options = made.parse_args()
    report = Report("lowering", options)
    for table, row, (candidates, operands, chosen) in cases(8 if options.small else 1):
        if options.only not in row:
            continue
        compiled = {name: jax.jit(call) for name, call in candidates.items()}
        wanted, found = (np.asarray(compiled[name](*operands)) for name in ("naive", "rewritten"))
        error = float(abs(found - wanted).max() / abs(wanted).max())
        if error > 1e-5:
            raise SystemExit(f"{row}: the results differ by {error:.1e} of the largest; no times are given.")
        runs = {name: partial(finished, call, operands) for name, call in compiled.items()}
        times = interleaved(runs, options.repeats)
        naive, ours = (statistics.median(times[name]) for name in ("naive", "rewritten"))
        shortest = {name: min(spent) for name, spent in times.items()}
        columns = {
            "naive, ms": naive * 1e3,
            "rewritten, ms": ours * 1e3,
            "ratio": naive / ours,
            "ratio of the shortest": shortest["naive"] / shortest["rewritten"],
            "by": chosen,
        }
        report.add(table, row, columns, {"seconds": times, "error": error})


if __name__ == "__main__":
    main()
