"""Write the pages of the atlas from its data: `python docs/atlas/pages.py`.

No number on them is typed by hand. A test says when a page is out of date.
"""

from __future__ import annotations

import csv
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

import accuracy
import equal_depth
import growth
import inputs
import matplotlib
import rankings
from _rows import FOLDER, MARK, interval, known, read, table, times

import jaxrf
from jaxrf import zoo
from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.protocol import CAP, ERROR, LEAST, WORK, jobs
from jaxrf.atlases.row import SCHEMA, AtlasRow

PUBLISHED = FOLDER.parent.parent / "tests" / "data" / "araujo2019.csv"
BY_VJP = FOLDER / "by_vjp.csv"
END_POINTS = FOLDER / "end_points.csv"
STARTS, TWICE = FOLDER / "starts.csv", FOLDER / "twice.csv"
VARIANTS = {
    "inception_v2-no-separable-conv": ("inception_v2", {"separable": False}),
    "inception_resnet_v2-same": ("inception_resnet_v2", {"padding": "SAME"}),
}
"""Networks of the published table that are options of another one in the zoo."""


def pages(atlas: Atlas) -> dict[str, str]:
    """All pages, by their names."""
    return {
        "index": index(atlas), "schema": schema(), "growth": growth.page(atlas), "accuracy": accuracy.page(atlas),
        "equal_depth": equal_depth.page(read(equal_depth.FILE)), "inputs": inputs.page(atlas),
        "rankings": rankings.page(atlas), "araujo": araujo(atlas),
    }  # fmt: skip


def index(atlas: Atlas) -> str:
    """The first page: what the atlas is, and how far it is."""
    there = [row for row in atlas if row.status != "failed"]
    states = Counter(row.status for row in atlas)
    promised = {job.network for job in jobs()}
    counts = (
        f"{len(there)} rows of {len({row.network for row in there})} of the zoo's {len(promised)} networks: "
        f"{states['done']} done, {states['capped']} capped, {states['begun']} begun; {states['failed']} more failed."
    )
    header = ("network", "input", "images", "done", "capped", "begun", "stages", "failures")
    every = table(header, _rows_so_far(atlas), "|---|---|---|---:|---:|---:|---:|---|")
    checks = [[f"`{one['network']}` `{one['layer']}`", times(one["input"]), f"{one['sigma']} ± {one['error']}",
               f"{one['vjp_sigma']} ± {one['vjp_error']}", one["networks"], one["deviation"]] for one in read(BY_VJP)]  # fmt: skip
    header = ("row", "input", "sigma", "by `jax.vjp`", "networks", "standard errors apart")
    checked = table(header, checks, "|---|---|---:|---:|---:|---:|")
    starts = table(("start", "end", "how it ended"), [list(one.values()) for one in read(STARTS)], "|---|---|---|")
    twice = [[f"`{one['network']}` `{one['layer']}`", times(one["input"]), one["samples"], one["hash"], one["again"],
              "the same" if one["hash"] == one["again"] else "others"] for one in read(TWICE)]  # fmt: skip
    header = ("row", "input", "samples", "hash", "in another place", "bits")
    again = table(header, twice, "|---|---|---:|---|---|---|")
    missing = ", ".join(f"`{name}`" for name in sorted(promised - {row.network for row in atlas})) or "none"
    return MARK + INDEX.format(
        checked=checked, counts=counts, table=every, error=f"{100 * ERROR:.0f} %", cap=CAP, least=LEAST,
        work=f"{WORK / 1e9:g}·10⁹", starts=starts, twice=again, missing=missing,
    )  # fmt: skip


def _rows_so_far(atlas: Atlas) -> Iterable[list[str]]:
    """How far each network is, on each input and kind of images."""
    for network in atlas.networks:
        for input in dict.fromkeys(row.input for row in atlas[network]):
            for images in ("noise", "photos"):
                own = list(atlas[network].select(input=input, images=images))
                if own:
                    states = Counter(row.status for row in own)
                    failures = "; ".join(dict.fromkeys(row.reason for row in own if row.reason))
                    numbers = [f"{states[state] or ''}" for state in ("done", "capped", "begun")]
                    yield [f"`{network}`", times(input), images, *numbers, f"{own[0].stages}", failures]


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
    return MARK + SCHEMA_PAGE.format(schema=SCHEMA, table=table(("column", "is"), lines, "|---|---|"))


def araujo(atlas: Atlas) -> str:
    """The page of the published table, with ours beside it."""
    lines, alike = [], 0
    ours = {(line["network"], line["end_point"]): line for line in read(END_POINTS)}
    for entry in read(PUBLISHED):
        own = ours[entry["network"], entry["end_point"]]
        both = [[line[key] for key in ("size", "stride", "pad_224")] for line in (entry, own)]
        alike += both[0] == both[1]
        lines.append([f"`{entry['end_point']}`", *both[0], *both[1], *_effective(atlas, *list(entry.values())[:2])])
    header = ("end-point", "size", "stride", "padding", "our size", "stride", "padding", "sigma", "half width")
    every = table(header, lines, "|---|---:|---:|---:|---:|---:|---:|---|---|")
    measured = sum(line[-1] != "" for line in lines)
    return MARK + ARAUJO.format(count=len(lines), alike=alike, measured=measured, table=every)


def end_points(networks: Iterable[str] = ()) -> list[list[str]]:
    """Our size, stride and padding of published end-points, by `jaxrf.trf`; of all networks where none are given."""
    lines, tables = [], {}
    for entry in read(PUBLISHED):
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
    found = known(atlas.select(network=network, layer=layer, input="224x224x3", images="noise"))
    return [interval(found[0], "sigma"), interval(found[0], "half_width")] if found else ["", ""]


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
The run goes on where it was stopped; inputs and photos that are not in the table below were not reached. Networks without any row: {missing}.

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
- [Accuracy on ImageNet over theoretical and effective size](accuracy.md)
- [What skips, dilation, kernels, attention and initializers do at equal depth](equal_depth.md)
- [Photos beside noise, and a smaller input](inputs.md)
- [Published rankings under error bars](rankings.md)
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
| stop | a relative standard error of sigma of {error} from samples worth 30 equally strong ones, looked at after 32, 64, 128, ... samples; or, "capped", the power of two of samples whose forward passes take {work} multiply-adds, at least {least} random networks and at most {cap} samples |

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
## How the run went

The run was interrupted on the way, and went on with the same command each time.

{starts}
These rows were made in another place as well, without a stop:

{twice}
```{{toctree}}
:hidden:

schema
growth
accuracy
equal_depth
inputs
rankings
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
    for name, text in pages(atlas).items():
        (FOLDER / f"{name}.md").write_text(text)
    drawn = {
        "growth": growth.figure(atlas), "accuracy": accuracy.figure(accuracy.points(atlas)),
        "equal_depth": equal_depth.figure(read(equal_depth.FILE)),
    }  # fmt: skip
    with matplotlib.rc_context({"svg.hashsalt": "atlas"}):  # the same file from the same data
        for name, figure in drawn.items():
            figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
