"""Write the pages of the atlas from its data: `python docs/atlas/pages.py`.

No number on them is typed by hand. A test says when a page is out of date.
"""

from __future__ import annotations

import csv
import inspect
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

import jaxrf
from jaxrf import zoo
from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.protocol import CAP, ERROR, jobs
from jaxrf.atlases.row import SCHEMA, AtlasRow

FOLDER = Path(__file__).parent
PUBLISHED = FOLDER.parent.parent / "tests" / "data" / "araujo2019.csv"
BY_VJP = FOLDER / "by_vjp.csv"
END_POINTS = FOLDER / "end_points.csv"
VARIANTS = {
    "inception_v2-no-separable-conv": ("inception_v2", {"separable": False}),
    "inception_resnet_v2-same": ("inception_resnet_v2", {"padding": "SAME"}),
}
"""Networks of the published table that are options of another one in the zoo."""
MARK = "<!-- Written by docs/atlas/pages.py from the atlas. Change that. -->\n\n"


def index(atlas: Atlas) -> str:
    """The first page: what the atlas is, and how far it is."""
    there = [row for row in atlas if row.status != "failed"]
    states = Counter(row.status for row in atlas)
    promised = [job for job in jobs() if job.images == "noise"]
    counts = f"""{len(there)} rows of {len({row.network for row in there})} of the zoo's {len({job.network for job in promised})} networks
so far: {states["done"]} done, {states["capped"]} capped, {states["begun"]} begun; {states["failed"]} more failed."""
    lines = []
    for network in atlas.networks:
        for input in dict.fromkeys(row.input for row in atlas[network]):
            for images in ("noise", "photos"):
                own = [row for row in atlas[network] if (row.input, row.images) == (input, images)]
                if own:
                    lines.append([f"`{network}`", _x(input), images, f"{sum(row.status == 'done' for row in own)}",
                                  f"{own[0].stages}", "; ".join(filter(None, (row.reason for row in own)))])  # fmt: skip
    table = _table(
        ("network", "input", "images", "stages done", "of", "failures"), lines, "|---|---|---|---:|---:|---|"
    )
    checks = [[f"`{one['network']}` `{one['layer']}`", _x(one["input"]), f"{one['sigma']} ± {one['error']}",
               f"{one['vjp_sigma']} ± {one['vjp_error']}", one["networks"], one["deviation"]] for one in _read(BY_VJP)]  # fmt: skip
    header = ("row", "input", "sigma", "by `jax.vjp`", "networks", "standard errors apart")
    checked = _table(header, checks, "|---|---|---:|---:|---:|---:|")
    return MARK + INDEX.format(checked=checked, counts=counts, table=table, error=f"{100 * ERROR:.0f} %", cap=CAP)


def schema() -> str:
    """The page of the columns, from the docstring of a row."""
    text = inspect.getdoc(AtlasRow) or ""
    entries = re.sub(r"\n {8}", " ", text.partition("Attributes:\n")[2])
    told = dict(re.findall(r"^ {4}(\w+): (.*)$", entries, re.MULTILINE))
    lines = []
    for field in fields(AtlasRow):
        measure = re.sub("_(low|high|error)$", "", field.name)
        part = field.name.removeprefix(f"{measure}_")
        meaning = told.get(field.name) or PARTS[part].format(measure=measure)
        lines.append([f"`{field.name}`", meaning])
    return MARK + SCHEMA_PAGE.format(schema=SCHEMA, table=_table(("column", "is"), lines, "|---|---|"))


def growth(atlas: Atlas) -> str:
    """The page of growth: theoretical and effective sizes stage by stage, and their ratio over depth."""
    parts, slopes = [], []
    for network in atlas.networks:
        for input in dict.fromkeys(row.input for row in atlas[network]):
            rows = list(atlas[network].select(input=input, images="noise", status="done"))
            if len(rows) > 1:
                parts.append(f"## {network}, {_x(input)}\n\n" + _stages(rows))
            if (slope := exponent(rows)) is not None:
                slopes.append([f"`{network}`", _x(input), f"{len(rows)}", f"{slope:.2f}"])
    table = _table(("network", "input", "stages", "exponent"), slopes, "|---|---|---:|---:|")
    return MARK + GROWTH.format(slopes=table, parts="\n".join(parts))


def ratio(row: AtlasRow) -> float:
    """Effective over theoretical size: sigma over that of a flat map of the theoretical field; so 1 where it is flat."""
    assert row.sigma is not None  # as in every row that is done
    return math.sqrt(12) * row.sigma / row.mean_size


def exponent(rows: Sequence[AtlasRow]) -> float | None:
    """K of `ratio = c * size**k` through stages whose fields fit into the input; None with fewer than three of these."""
    own = [row for row in rows if not _larger(row)]
    if len(own) < 3:
        return None
    size, share = np.log([row.mean_size for row in own]), np.log([ratio(row) for row in own])
    return float(np.polyfit(size, share, 1)[0])


def _stages(rows: Iterable[AtlasRow]) -> str:
    lines = [
        [f"`{row.layer}`", f"{row.mean_size:g}{'*' * _larger(row)}", _x(row.stride), _interval(row, "sigma"),
         _interval(row, "half_width"), f"{ratio(row):.3f}", row.estimator, f"{row.samples}"]
        for row in rows
    ]  # fmt: skip
    header = ("last layer", "theoretical size", "stride", "sigma", "half width", "ratio", "estimator", "samples")
    return _table(header, lines, "|---|---:|---:|---|---|---:|---|---:|")


def araujo(atlas: Atlas) -> str:
    """The page of the published table, with ours beside it."""
    lines, alike = [], 0
    ours = {(line["network"], line["end_point"]): line for line in _read(END_POINTS)}
    for entry in _read(PUBLISHED):
        own = ours[entry["network"], entry["end_point"]]
        both = [[line[key] for key in ("size", "stride", "pad_224")] for line in (entry, own)]
        alike += both[0] == both[1]
        lines.append([f"`{entry['end_point']}`", *both[0], *both[1], *_effective(atlas, *list(entry.values())[:2])])
    header = ("end-point", "size", "stride", "padding", "our size", "stride", "padding", "sigma", "half width")
    table = _table(header, lines, "|---|---:|---:|---:|---:|---:|---:|---|---|")
    measured = sum(line[-1] != "" for line in lines)
    return MARK + ARAUJO.format(count=len(lines), alike=alike, measured=measured, table=table)


def end_points(networks: Iterable[str] = ()) -> list[list[str]]:
    """Our size, stride and padding of published end-points, by `jaxrf.trf`; of all networks where none are given."""
    lines, tables = [], {}
    for entry in _read(PUBLISHED):
        name = entry["network"]
        if networks and name not in networks:
            continue
        if name not in tables:
            zoo_name, options = VARIANTS.get(name, (name, {}))
            tables[name] = {row.name: row for row in jaxrf.trf(zoo.models[zoo_name](**options), (224, 224, 3))}
        row = tables[name][entry["end_point"]]
        numbers = [row.size, row.stride, row.padding]
        texts = [str(along[0]) if len({*along}) == 1 else "x".join(map(str, along)) for along in numbers]
        lines.append([name, entry["end_point"], *texts])
    return lines


def _effective(atlas: Atlas, network: str, layer: str) -> list[str]:
    """Effective columns of an end-point, where the atlas has it on the input of the published table."""
    found = list(atlas.select(network=network, layer=layer, input="224x224x3", images="noise", status="done"))
    return [_interval(found[0], "sigma"), _interval(found[0], "half_width")] if found else ["", ""]


def _read(file: Path) -> list[dict[str, str]]:
    lines = file.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _larger(row: AtlasRow) -> bool:
    """Whether the theoretical field is larger than the input."""
    return any(size > int(side) for size, side in zip(row.size, row.input.split("x")))


def _interval(row: AtlasRow, name: str) -> str:
    value, low, high = (getattr(row, key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return ""
    return f"{value:.4g}" + ("" if low is None or high is None else f" [{low:.4g}, {high:.4g}]")


def _x(text: str) -> str:
    return text.replace("x", "×")


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], rule: str) -> str:
    rows = [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(cells)} |" for cells in lines)]
    return "\n".join(rows) + "\n"


PARTS = {
    "low": "lower end of the interval of `{measure}`",
    "high": "upper end of the interval of `{measure}`",
    "error": "relative standard error of `{measure}`",
}
INDEX = """\
# The atlas

Theoretical and effective fields of the [zoo](../zoo.md)'s networks, stage by stage, with error bars and under one protocol, as
data: `jaxrf.atlas()`, or `jaxrf atlas` on the command line.

{counts}
The run goes on where it was stopped; networks, inputs and photos that are not in the table below were not reached.

```python
import jaxrf

atlas = jaxrf.atlas()
row = atlas.find("resnet18", "layer1", input="224x224x3")
print(row.size, row.stride, row.estimator)
print(row.command)
```

```text
(43, 43) 4x4 sign_averaged
jaxrf atlas-redo resnet18 layer1 --input 224x224x3 --images noise
```

The printed command makes the row again in about a minute, with all of its samples or the first of them, and says whether
the bits are the same or the intervals meet.

- [The columns](schema.md)
- [Growth from stage to stage, and the ratio of effective to theoretical size](growth.md)
- [The table of Araujo et al. (2019) beside ours](araujo.md)

## Protocol

| | |
|---|---|
| layers | the last module of each stage: of each run of modules at one resolution, long runs being cut into four |
| unit | the center one |
| weights | random, each network's own initializer, a new network for each seed; normalizations as in evaluation |
| images | "noise": one image of standard normal noise. "photos": four of scikit-image, normalized as ImageNet |
| inputs | the zoo's usual one, and about half of it on each side |
| field | mean square of the gradient by the input, weighted average, random probe over the channels |
| estimator | [sign-averaged](../sign-averaged.md), or sampled where that refuses, as behind attention |
| stop | a relative standard error of sigma of {error}, looked at after 32, 64, 128, ... samples; or {cap} samples |

The intervals are for other random networks on the same images. Where the column `estimator_exact` is False, the
sign-averaged estimator has a bias of up to some per cent in total, and less in sigma, that no interval tells.
Networks with a scale near zero on their branches, as ConvNeXt's layer scale, are nearly linear before training.

## Make it

```{{code-block}} bash
jaxrf atlas-run --out runs/atlas --size usual --images noise
jaxrf atlas-export runs/atlas --csv atlas.csv --maps maps
```

The run begins with noise and with the networks that cost least, so that one that was stopped has as many rows as possible;
the same command goes on. Each row is a [sweep](../sweeps.md) in a folder of its own. A network that fails has a row with
its reason. `jaxrf.atlas("atlas.csv")` reads the table, `jaxrf.load("maps/resnet18/224x224x3/noise/layer1.zarr")` a map.

## Rows so far

{table}
## Rows made again without the engine

`docs/atlas/by_vjp.py` draws other networks and takes whole gradients by plain `jax.vjp`, one probe for each network.
Some rows stand twice: what was two standard errors apart was taken again with more networks.

{checked}
## What is not here

ImageNet accuracies are not here yet: with so few networks, a rank correlation of sizes and accuracies says nothing.

```{{toctree}}
:hidden:

schema
growth
araujo
```
"""
SCHEMA_PAGE = """\
# The columns of the atlas

Schema {schema}. The table is a CSV; its first line is `# jaxrf atlas, schema {schema}`, and `jaxrf.atlas` refuses another one.
A row is a network, a layer, an input and a kind of images. What is not known is empty. Numbers per axis are joined, as 8x8.
Positions and sizes are those of the input. Intervals are of 95 %, by the jackknife over random networks; errors are relative
standard errors. Where a measure has one number for each axis, value, ends and error are means over the axes.
[Measures](../measures.md) defines each of them.

{table}"""
GROWTH = """\
# Growth from stage to stage

Center unit, noise, random weights; rows of the atlas that are done, with intervals of 95 %. "*" marks theoretical fields that
are larger than the input, where the effective one is cut as well.

The ratio is sigma over that of a flat map on the whole theoretical field, size/√12; it is 1 where the field is flat.

## Over depth

In a stack of n equal layers the theoretical size grows as n and the effective one as √n (Luo et al., 2016), so that the ratio
falls as size to the power of −1/2. These are the exponents of lines through the stages of each network, on logarithmic axes,
where at least three stages have fields that fit into the input. Strides, skips and attention change them.

{slopes}
{parts}"""
ARAUJO = """\
# The table of Araujo, Norris and Sim

Size, stride and padding of the {count} end-points published by Araujo, Norris and Sim (2019), *Computing Receptive Fields of
Convolutional Neural Networks*, Distill, at 224×224, and ours, from the zoo's networks by `jaxrf.trf`: {alike} of {count} are the
same. Sigma and half width are those of the effective field, on noise and with random weights, with intervals of 95 %, for the
{measured} end-points that are in the [atlas](index.md) so far.

{table}"""


def main() -> None:
    """Write all pages; with `--trace`, first the theoretical fields of the published end-points, which takes minutes."""
    if "--trace" in sys.argv:
        with END_POINTS.open("w", newline="") as file:
            lines = [["network", "end_point", "size", "stride", "pad_224"], *end_points()]
            csv.writer(file, lineterminator="\n").writerows(lines)
    atlas = jaxrf.atlas()
    pages = {"index": index(atlas), "schema": schema(), "growth": growth(atlas), "araujo": araujo(atlas)}
    for name, text in pages.items():
        (FOLDER / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
