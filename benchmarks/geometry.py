"""How fast are the tables of theoretical fields, over the number of equations and over image size?

A time is that of one call with everything in it: initialization on shapes, tracing, boxes of all units of all layers.
No weights are made and nothing is compiled.
The peer `asdex`, where it is installed, finds the sparsity of a whole Jacobian; the hull of its center unit's row is
compared with jaxrf's box before anything is timed.
rfa-toolbox cannot be installed on Python 3.11, and torchscan 0.2 gives the fields of single modules only.

    python benchmarks/geometry.py --tables depth,size,asdex
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, interleaved, is_there, parser, seconds

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.planning.programs import Programs


def depth(report: Report, repeats: int, small: bool) -> None:
    """Networks of more and more equations at one image size: the time per equation stays."""
    title = "Over depth, 224×224"
    stacks = {
        f"conv_stack, {d} layers": zoo.conv_stack(depth=d, width=8)
        for d in ((4, 8) if small else (25, 50, 100, 200, 400))
    }
    names = ("resnet18",) if small else ("resnet18", "resnet50", "resnet101", "resnet152", "inception_resnet_v2")
    side = 64 if small else 224
    for name, model in {**stacks, **{name: getattr(zoo, name)() for name in names}}.items():
        _row(report, title, name, model, side, repeats)


def size(report: Report, repeats: int, small: bool) -> None:
    """One network on larger and larger images: the time does not grow with their area."""
    names, sides = (
        (("resnet18",), (64, 96)) if small else (("resnet152", "inception_resnet_v2"), (224, 512, 1024, 2048))
    )
    for name in names:
        for side in sides:
            _row(report, "Over image size", f"{name}, {side}×{side}", getattr(zoo, name)(), side, repeats)


def paths(report: Report, repeats: int, small: bool) -> None:
    """Exact counts of the paths to the center unit of the output."""
    for name in ("resnet18",) if small else ("resnet50", "resnet152", "convnext_tiny", "inception_resnet_v2"):
        model, side = getattr(zoo, name)(), 64 if small else 224
        count = partial(jaxrf.paths, model, (side, side, 3))
        digits = len(str(count().total))
        times = interleaved({"exact": count, "logarithms": partial(count, log=True)}, repeats)
        columns = {f"{form}, s": statistics.median(each) for form, each in times.items()}
        report.add("Path counts", name, {**columns, "digits": digits}, {"seconds": times})


def asdex(report: Report, repeats: int, small: bool) -> None:
    """Against the sparsity of the whole Jacobian, on stacks of four convolutions with one channel."""
    for side in (8, 12) if small else (16, 32, 48, 64):
        model = zoo.conv_stack(depth=4, width=1, activation="linear")
        shape = (side, side, 1)
        row = jaxrf.trf(model, shape)[-1]
        candidates: dict[str, Callable[[], Any]] = {"jaxrf": lambda model=model, shape=shape: jaxrf.trf(model, shape)}
        if is_there("asdex"):
            variables = model.init(jax.random.key(0), jnp.ones((1, *shape)))
            candidates["asdex"] = lambda model=model, variables=variables, shape=shape: _pattern(
                model, variables, shape
            )
            _same_box(candidates["asdex"](), row, shape)
        times = interleaved(candidates, repeats)
        medians = {name: statistics.median(each) for name, each in times.items()}
        columns = {f"{name}, s": medians.get(name) for name in ("jaxrf", "asdex")}
        columns["ratio"] = medians["asdex"] / medians["jaxrf"] if "asdex" in medians else None
        report.add("Against asdex, four 3×3 convolutions", f"{side}×{side}", columns, {"seconds": times})


def _row(report: Report, title: str, name: str, model: Any, side: int, repeats: int) -> None:
    shape = (side, side, 3)
    program = Programs(adapt(model, shape)).geometry.program
    table = jaxrf.trf(model, shape)
    row = table[-1]
    units = np.indices(row.unit_shape).reshape(len(row.unit_shape), -1).T
    times = [seconds(lambda: jaxrf.trf(model, shape)) for _ in range(repeats)]
    boxes = seconds(lambda: [row.box(unit, clip=True) for unit in units[:: max(1, len(units) // 256)]])
    equations = len(program.linear)
    middle = statistics.median(times)
    columns = {"equations": equations, "layers": len(table), "s": middle, "ms per equation": 1e3 * middle / equations}
    report.add(title, name, columns, {"seconds": times, "seconds_of_boxes": boxes})


def _pattern(model: Any, variables: Any, shape: tuple[int, ...]) -> Any:
    import asdex as peer

    return peer.jacobian_sparsity(lambda x: model.apply(variables, x[None])[0], jnp.zeros(shape))


def _same_box(pattern: Any, row: jaxrf.geometry.row.Row, shape: tuple[int, ...]) -> None:
    """Stops the benchmark where the peer's pattern of the center unit has another hull than jaxrf's box."""
    matrix = np.asarray(pattern.todense() if hasattr(pattern, "todense") else pattern)
    y, x = row.center_unit
    seen = np.argwhere(matrix.reshape(*row.unit_shape, -1)[y, x].reshape(shape[:2]))
    hull = tuple((int(lo), int(hi) + 1) for lo, hi in zip(seen.min(axis=0), seen.max(axis=0)))
    if hull != row.box((y, x), clip=True):
        raise SystemExit(f"asdex sees {hull} from unit {(y, x)}, jaxrf {row.box((y, x), clip=True)}.")


TABLES = {"depth": depth, "size": size, "paths": paths, "asdex": asdex}


def main() -> None:
    """Measure the tables that are asked for."""
    options = parser(__doc__)
    options.add_argument("--tables", default=",".join(TABLES), help=f"which of {', '.join(TABLES)} (default: all)")
    chosen = options.parse_args()
    report = Report("geometry", chosen)
    for name in chosen.tables.split(","):
        TABLES[name](report, chosen.repeats, chosen.small)


if __name__ == "__main__":
    main()
