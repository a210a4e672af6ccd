"""By how much do maps and their measures change with the precision that accelerators multiply in? Emulated on a CPU.

A TPU multiplies bfloat16 numbers, exactly, and adds in float32. "default" rounds both factors to one such number, "high"
splits them into two and "highest" into three, and adds 3 and 6 of their products. The same is done here with the products
and convolutions of the program that is made for a TPU, forward pass and pull-back alike, and compared with float64.

    python benchmarks/precision.py
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, parser, relative_errors
from jax import lax

import jaxrf
from jaxrf import zoo

PASSES = {
    "default": ((0, 0),),
    "high": ((0, 0), (0, 1), (1, 0)),
    "highest": ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)),
}
"""Which parts of both factors are multiplied, the largest part of each being 0."""
PRODUCTS = ("dot_general", "conv_general_dilated")
CHANNEL = 3


@dataclass(frozen=True, eq=False)
class Case:
    """A network, the layer whose units are mapped, and the shape of an image."""

    name: str
    model: Any
    layer: str | None
    shape: tuple[int, int, int]


def cases(small: bool) -> list[Case]:
    """What is measured: ReLU without and with residual sums, a decoder, GELU with LayerNorm."""
    if small:
        return [Case("4 ReLU layers", zoo.conv_stack(depth=4, width=4), None, (12, 12, 3))]
    return [
        Case("10 ReLU layers of 32", zoo.conv_stack(depth=10, width=32), None, (40, 40, 3)),
        Case("ResNet-18 layer2", zoo.resnet18(stages=2), "layer2", (64, 64, 3)),
        Case("ResNet-50 layer2", zoo.resnet50(stages=2), "layer2", (96, 96, 3)),
        Case("U-Net, depth 2", zoo.unet(depth=2, width=16), None, (32, 32, 1)),
        Case("ConvNeXt-T, one stage", zoo.convnext_tiny(stages=1, layer_scale=1.0), None, (32, 32, 3)),
    ]


def parts(x: jax.Array, most: int) -> list[jax.Array]:
    """The numbers of bfloat16 that add up to `x`, the largest first, in float32."""
    found = []
    for _ in range(most):
        found.append(x.astype(jnp.bfloat16).astype(jnp.float32))
        x = x - found[-1]
    return found


def emulated(function: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """`function` with the products of float32 in passes of bfloat16."""
    pairs = PASSES[precision]
    most = 1 + max(max(pair) for pair in pairs)

    def product(eqn: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        if x.dtype != jnp.float32 or y.dtype != jnp.float32:
            return eqn.primitive.bind(x, y, **eqn.params)
        xs, ys = parts(x, most), parts(y, most)
        terms = [eqn.primitive.bind(xs[i], ys[j], **eqn.params) for i, j in reversed(pairs)]
        return functools.reduce(jnp.add, terms)

    def call(*given: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*given)
        return jax.tree.unflatten(jax.tree.structure(shape), evaluated(closed, jax.tree.leaves(given), product))

    return call


Product = Callable[[Any, jax.Array, jax.Array], jax.Array]


def evaluated(closed: Any, given: Sequence[Any], product: Product) -> list[Any]:
    """What a jaxpr returns, its products computed by `product(equation, x, y)`."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.constvars, closed.consts)) | dict(zip(jaxpr.invars, given))

    def read(v: Any) -> Any:
        return v.val if hasattr(v, "val") else known[v]

    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, step(eqn, [read(v) for v in eqn.invars], product)))
    return [read(v) for v in jaxpr.outvars]


def step(eqn: Any, given: list[Any], product: Product) -> Sequence[Any]:
    """What an equation returns; those that hold a jaxpr are gone into."""
    name, params = eqn.primitive.name, eqn.params
    if name in PRODUCTS:
        return [product(eqn, *given)]
    if name == "scan":
        n, m = params["num_consts"], params["num_carry"]
        fixed, carry, each = given[:n], given[n : n + m], given[n + m :]

        def body(carry: Any, one: Any) -> Any:
            found = evaluated(params["jaxpr"], [*fixed, *carry, *one], product)
            return found[:m], found[m:]

        last, stacked = lax.scan(body, carry, each, length=params["length"], reverse=params["reverse"])
        return [*last, *stacked]
    inner = next((params[key] for key in ("jaxpr", "call_jaxpr") if hasattr(params.get(key), "consts")), None)
    if inner is not None:
        return evaluated(inner, given, product)
    found = eqn.primitive.bind(*given, **params)
    return found if eqn.primitive.multiple_results else [found]


def measure(
    case: Case, precisions: Sequence[str], images: int, seeds: int
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Columns and details of one network, by precision."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(images, *case.shape))
    options: dict[str, Any] = {"layer": case.layer, "channels": CHANNEL, "units": "center", "platform": "tpu"}
    single = jaxrf.prepare(case.model, None, jax.ShapeDtypeStruct(given.shape, jnp.float32), **options)
    wide = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float64), single.subject.abstract)
    exact = jaxrf.prepare(case.model, wide, jax.ShapeDtypeStruct(given.shape, jnp.float64), **options)
    drawn = [jax.jit(single.init)(jax.random.key(seed)) for seed in range(seeds)]
    run = jax.jit(exact)
    right = [run(jax.tree.map(lambda a: a.astype(jnp.float64), w), jnp.asarray(given)) for w in drawn]
    found = {}
    for precision in precisions:
        run = jax.jit(emulated(lambda w, x: single(w, x), precision))
        maps = [run(w, jnp.asarray(given, jnp.float32)) for w in drawn]
        found[precision] = compared(exact, right, single, maps)
    return found


def compared(
    exact: Any, right: Sequence[Any], single: Any, maps: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How far maps of several networks, and what is measured of their mean, are from those of float64."""
    errors = np.concatenate(
        [relative_errors(np.asarray(m.array(), np.float64), np.asarray(r.array())) for m, r in zip(maps, right)]
    )
    mine, true = (
        field.result(sum((field.statistics(m, seed=i) for i, m in enumerate(each)), field.statistics()))
        for field, each in ((single, maps), (exact, right))
    )
    mean = relative_errors(mine.mean, true.mean).max()
    sigma, wanted = np.asarray(mine.measure("sigma")), np.asarray(true.measure("sigma"))
    sampling = np.max(true.interval("sigma").stderr / wanted)
    columns = {
        "a map, median %": float(np.median(errors)) * 100,
        "a map, worst %": float(errors.max()) * 100,
        "mean map %": float(mean) * 100,
        "sigma %": float(np.abs(sigma / wanted - 1).max()) * 100,
        "error of sampling %": float(sampling) * 100,
        "area of half %": float(np.abs(np.asarray(mine.area_ratio(0.5)) / np.asarray(true.area_ratio(0.5)) - 1).max()) * 100,
        "Luo's size, positions": float(np.abs(np.asarray(mine.size("luo2016")) - np.asarray(true.size("luo2016"))).max()),
    }  # fmt: skip
    return columns, {"errors": errors.ravel().tolist()}


def main() -> None:
    """Compare the chosen networks."""
    arguments = parser(__doc__)
    arguments.add_argument("--cases", help="the first words of names; all if not given")
    arguments.add_argument("--precisions", default=",".join(PASSES), help=f"of {', '.join(PASSES)} (default: all)")
    options = arguments.parse_args()
    precisions = options.precisions.split(",")
    if wrong := [one for one in precisions if one not in PASSES]:
        arguments.error(f"--precisions {wrong[0]!r} is not known; there are {', '.join(PASSES)}.")
    jax.config.update("jax_enable_x64", True)
    report, images, seeds = Report("precision", options), 2 if options.small else 4, 2 if options.small else 8
    for case in cases(options.small):
        if options.cases is None or any(case.name.startswith(one) for one in options.cases.split(",")):
            for precision, (columns, details) in measure(case, precisions, images, seeds).items():
                report.add("Precision, emulated", f"{case.name}, {precision}", columns, details)


if __name__ == "__main__":
    main()
