"""Do fields sharded over a pod compile, what do they take of a chip, and what do chips say to each other? Nothing is run.

Images lie over an axis of the mesh; weights are whole on each chip, or split as in fully sharded training; units lie
over an axis of their own. The compiler of TPUs compiles for all chips of `v5e:16x16` on this machine.

    make bench-tpu
    python benchmarks/pods.py --cases images,split
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from _common import Report, parser
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrf
from jaxrf import zoo
from jaxrf.base.chips import bytes_of, compile_for, mesh, without_hardware
from jaxrf.base.estimates import Computations

LIMIT = 14e9
"""Bytes of a chip that a program may take."""


@dataclass(frozen=True)
class Case:
    """A way to lie on a pod.

    Attributes:
        name: of the case, and of its row.
        what: in words.
        images: the axes of the mesh that they lie over.
        weights: the axis that they are split over; None where they are whole on each chip.
        units: the axis that they are dealt over; None where each chip has those of its images.
        each: how many images each place has.
        asked: which units of the layer.
    """

    name: str
    what: str
    images: tuple[str, ...]
    weights: str | None = None
    units: str | None = None
    each: int = 4
    asked: Any = "all"

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of the mesh."""
        return self.images if self.units is None else (*self.images, self.units)


GRID = jaxrf.grid(4, 4)
CASES = (
    Case("images", "16 units, images over all chips, weights whole", ("data",), asked=GRID),
    Case("split", "16 units, images over all chips, weights split over 16", ("data", "weights"), "weights", asked=GRID),
    Case("units", "all units over 16 places, images over 16, weights whole", ("data",), None, "units", 1),
    Case("both", "all units over 16 places, images over 16, weights split over these", ("data",), "data", "units", 1),
)  # fmt: skip


def spread(weight: Any, axis: str, length: int) -> P:
    """How a weight is split over an axis: along the last of its axes that can be."""
    fit = [a for a, n in enumerate(weight.shape) if n % length == 0]
    return P(*[None] * fit[-1], axis) if fit else P()


def program(case: Case, place: Mesh, model: Any, layer: str | None, shape: tuple[int, ...]) -> tuple[Any, tuple]:
    """The function of a case, and what it takes."""
    count = case.each * prod(place.shape[axis] for axis in case.images)
    one = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    field = jaxrf.prepare(
        model, None, one, layer=layer, units=case.asked, precision="default", platform="tpu", memory="8GB"
    )
    lie: Callable[..., Any] = partial(NamedSharding, place)

    def split(weight: Any) -> Any:
        where = spread(weight, case.weights, place.shape[case.weights]) if case.weights is not None else P()
        return jax.ShapeDtypeStruct(weight.shape, weight.dtype, sharding=lie(where))

    weights = jax.tree.map(split, field.subject.abstract)
    images = jax.ShapeDtypeStruct((count, *shape), jnp.float32, sharding=lie(P(case.images)))
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=lie(P()))
    if case.units is None:
        return field, (weights, images, key)
    dealt = field.across(case.units, place.shape[case.units])

    def maps(weights: Any, images: jax.Array, key: jax.Array) -> Any:
        return dealt(weights, images, key, first=jax.lax.axis_index("data") * len(images))

    inside = jax.shard_map(maps, mesh=place, in_specs=(P(), P("data"), P()), out_specs=P("data"))
    return inside, (weights, images, key)


def measure(case: Case, topology: str, small: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and details of one case."""
    chips = prod(int(n) for n in topology.partition(":")[2].split("x"))
    side = int(chips**0.5)
    lengths = dict(zip(case.axes, (chips,) if len(case.axes) == 1 else (side, chips // side)))
    place = mesh(topology, lengths)
    model, layer, shape = (
        (zoo.conv_stack(depth=2, width=8), None, (16, 16, 3)) if small else (zoo.resnet18(), "layer2", (224, 224, 3))
    )
    function, arguments = program(case, place, model, layer, shape)
    start = time.perf_counter()
    compiled = compile_for(topology.partition(":")[0], function, *arguments)
    took = time.perf_counter() - start
    said = Computations(compiled.as_text()).collectives()
    apart = {True: [], False: []}
    for name, count in said.items():
        apart["in a loop" in name].append(f"{count} {name.removesuffix(' in a loop')}")
    size = bytes_of(compiled)
    columns = {
        "maps of": case.what,
        "memory GB a chip": size / 1e9,
        "fits": "yes" if size < LIMIT else "no",
        "collectives": ", ".join(apart[False]) or "none",
        "in loops": ", ".join(apart[True]) or "none",
        "compile s": took,
    }
    return columns, {"topology": topology, "mesh": lengths, "collectives": said, "bytes": size}


def main() -> None:
    """Compile the chosen cases."""
    arguments = parser(__doc__)
    arguments.add_argument("--cases", default=",".join(case.name for case in CASES), help="names of cases")
    arguments.add_argument("--topology", default="v5e:16x16", help="of TPUs (default: v5e:16x16)")
    options = arguments.parse_args()
    without_hardware()
    asked = [name.strip() for name in options.cases.split(",")]
    chosen = [case for case in CASES if case.name in asked]
    if len(chosen) < len(asked):
        arguments.error(f"--cases {options.cases} holds one that is not among {', '.join(c.name for c in CASES)}.")
    if len(chosen) > 1:  # each in a process of its own: a compiler keeps what it has taken
        for case in chosen:
            subprocess.run([sys.executable, *sys.argv, "--cases", case.name], check=True)
        return
    topology = "v5e:2x2" if options.small else options.topology
    columns, details = measure(chosen[0], topology, options.small)
    Report("pods", options).add("Pods, by the compiler", f"{chosen[0].name}, {topology}", columns, details)


if __name__ == "__main__":
    main()
