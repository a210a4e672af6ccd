"""Does every network of the zoo compile for an accelerator, in how many seconds, and does it fit? Nothing is run.

64 units of the last layer that has as many, at the network's usual input, against plain JAX: `vmap` of the pull-back of
the same units.

    make bench-tpu
    python benchmarks/fitting.py --networks resnet18,vgg16 --seconds 300
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _chips import chosen_chips, with_chips
from _common import Report, parser

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import intercepting
from jaxrf.base.chips import bytes_of, compile_for, platform_of
from jaxrf.zoo.listing import listing

UNITS = {1: (64,), 2: (8, 8), 3: (4, 4, 4)}
"""64 units, spread over a layer of so many axes."""
LIMIT = 14e9
"""Bytes that a program may take."""


def prepared(name: str, platform: str, small: bool) -> Any:
    """The field of 64 units of the last layer of a network that has them."""
    entry = next(entry for entry in listing() if entry.name == name)
    shape = tuple(int(n) for n in entry.input.split("x"))
    model = zoo.models[name](**({"depth": 2, "width": 4} if small else {}))
    for row in reversed(list(jaxrf.trf(model, shape))):
        if row.unit_shape and np.prod(row.unit_shape) >= 64 and all(isinstance(n, int) for n in row.size or (None,)):
            counts = UNITS[len(row.unit_shape)]
            if all(n >= c for n, c in zip(row.unit_shape, counts)):
                break
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jaxrf.prepare(
        model,
        None,
        image,
        layer=row.name,
        units=jaxrf.grid(*counts),
        platform=platform,
        precision="default",
        memory="13GB",
    )


def naive(field: Any, variables: Any, image: jax.Array, units: jax.Array, signs: jax.Array) -> jax.Array:
    """Maps of units in plain JAX: one forward pass, and the pull-back of all of them by `vmap`."""
    ((name, layer),) = field.layers.items()

    def value(x: jax.Array) -> jax.Array:
        seen: dict[str, jax.Array] = {}

        def keep(name: str, x: jax.Array) -> jax.Array:
            number = sum(one.partition("#")[0] == name for one in seen)
            seen[f"{name}#{number}" if number else name] = x
            return x

        with intercepting(keep):
            last = field.subject.fn(variables, x[None])
        return seen.get(name, last)

    values, pull = jax.vjp(value, image)

    def one(unit: jax.Array, sign: jax.Array) -> jax.Array:
        at: list[Any] = [slice(None)] * values.ndim
        for number, axis in enumerate(layer.axes.units):
            at[axis] = unit[number]
        return jnp.square(pull(jnp.zeros_like(values).at[tuple(at)].set(sign))[0]).sum(-1)

    return jax.vmap(one)(units, signs)


def measure(name: str, chip: str, small: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one network on one chip."""
    field = prepared(name, platform_of(chip), small)
    shape, weights, key = field.input_shape, field.subject.abstract, jax.eval_shape(lambda: jax.random.key(0))
    image, count = jax.ShapeDtypeStruct(shape, jnp.float32), len(field.units)
    ((layer, one),) = field.layers.items()
    start = time.perf_counter()
    ours = compile_for(chip, field, weights, jax.ShapeDtypeStruct((1, *shape), jnp.float32), key, batch=count)
    took = time.perf_counter() - start
    value = one.pullback.program.layers[layer].tangent.shape
    rest = [n for axis, n in enumerate(value) if axis not in one.axes.units]
    signs = jax.ShapeDtypeStruct((count, *rest), jnp.float32)
    units = jax.ShapeDtypeStruct(field.units.shape, jnp.int32)
    start = time.perf_counter()
    with jax.default_matmul_precision("default"):
        theirs = compile_for(chip, partial(naive, field), weights, image, units, signs)
    plain = time.perf_counter() - start
    size = bytes_of(ours)
    columns = {
        "layer": layer, "reads": one.plan.reads, "memory GB": size / 1e9, "naive GB": bytes_of(theirs) / 1e9,
        "fits": "yes" if size < LIMIT else "no", "compile s": took, "naive s": plain, "× naive": took / plain,
    }  # fmt: skip
    return columns, {"batching": str(one.plan.batching)}


def main() -> None:
    """Compile the chosen networks, each in a process of its own."""
    arguments = with_chips(parser(__doc__))
    arguments.add_argument("--networks", default=",".join(entry.name for entry in listing()), help="names of the zoo")
    arguments.add_argument(
        "--seconds", type=float, default=900.0, help="after which a network is given up (default: 900)"
    )
    options = arguments.parse_args()
    networks = ["conv_stack"] if options.small else [name.strip() for name in options.networks.split(",")]
    if wrong := [name for name in networks if name not in zoo.models]:
        arguments.error(f"--networks {wrong[0]!r} is not in the zoo; `jaxrf zoo` lists what is.")
    chips = chosen_chips(arguments, options)
    report = Report("fitting", options)
    for name in networks:
        for chip in chips:
            table, row = f"The zoo on a {chip}, by its compiler", name
            if len(networks) * len(chips) == 1:
                report.add(table, row, *measure(name, chip, options.small))
                continue
            command = [sys.executable, *sys.argv, "--networks", name, "--chips", chip]
            try:
                subprocess.run(command, check=True, timeout=options.seconds)
            except subprocess.TimeoutExpired:
                report.add(table, row, {"fits": f"not known: not compiled in {options.seconds:.0f} s"})
            except subprocess.CalledProcessError:
                report.add(table, row, {"fits": "not known: an error"})


if __name__ == "__main__":
    main()
