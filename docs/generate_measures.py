"""Write docs/measures.md from the registered measures: `python docs/generate_measures.py`.

A test says when the page is out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.uncertainty import Uncertainty

PAGE = Path(__file__).parent / "measures.md"
INTRODUCTION = """\
<!-- Written by docs/generate_measures.py from the docstrings. Change those. -->

# Measures

A measure turns an ERF map into numbers, for all units at once, with one, two or three spatial axes.
Lengths are in input positions. The true center of a unit comes from the geometry.
Measures marked as *about the center* are refused where a unit has none, as behind global pooling.
A map that is zero everywhere, or holds a NaN or an infinity, measures as NaN.

```python
import jaxrf
from jaxrf import zoo

model = zoo.conv_stack(depth=5, width=8)
result = jaxrf.erf(model, inputs=jaxrf.noise(1), input_shape=(24, 28, 3), seeds=32, average="normalized")
sigma = result.measure("sigma")
half = result.measure("area_ratio", share=0.5)
print(sigma.shape, half.shape)
```

```text
(1, 2) (1,)
```

## As functions

`jaxrf.measures` holds the same measures as functions of arrays, of NumPy or of JAX, where the caller says where maps lie:

```python
half = jaxrf.measures.energy_radius(result.mean, 0.5, center=result.center, origin=result.origin)
print(bool(half == result.measure("energy_radius")))
```

```text
True
```

The last axes are those of the map, as many as `center` has numbers; all before are a batch. Maps of NumPy are measured in double precision, those of JAX in their own, single at least, under `jit`, `vmap` and `grad` too: [In a program of your own](prepared.md) shows it. `radial` needs `rings=` where the center is traced. `gaussian` is fitted on the host, and cannot be part of a program.

## Errors of a measure

`interval` leaves out one seed at a time and measures again.
That gives the standard error of any measure of the mean map, and with what is known of the measure an interval.

```python
found = result.interval("sigma")
print(found.over, found.blocks, bool((found.relative < 0.1).all()))
```

```text
seeds 32 True
```

How the interval is made stands below with each measure. Samples differ in strength:
Student's t gets the degrees of freedom of the equally strong ones that they are worth, less one.
Numbers that noise in the map biases (speckle lowers the effective number of positions)
have their interval about `middle`, the value less its bias.
Numbers that move in steps have ends that lie on steps; where a step is wider than the error, both ends are the value.
What has no interval says why in `missing`, and has NaN in place of its ends; `until=` does not wait for it.
`benchmarks/coverage.py` measures how often intervals of 95 % hold the truth, with 4, 8, 16 and 64 seeds.

`band` gives an interval for each position of the map.
Two standard errors are none there: single entries of squared gradients are far from normal.

Two maps are compared on the same seeds and images, which cancels most of what differs between seeds:

```python
deeper = jaxrf.erf(
    zoo.conv_stack(depth=7, width=8), inputs=jaxrf.noise(1), input_shape=(24, 28, 3), seeds=32, average="normalized"
)
difference = jaxrf.compare(deeper, result, measure="sigma").difference
print(bool((difference.low > 0).all()))
```

```text
True
```

Several maps, by name or in a list, give a table of values and differences, with p-values corrected for the number of
differences (Holm, 1979); it has `to_markdown`, `to_latex` (for the package `booktabs`) and `to_csv`, and shows itself in
notebooks. `baseline=` compares all with one. Results of other scores, averages or protocols are refused.

```python
table = jaxrf.compare({"shallow": result, "deep": deeper}, measure="sigma")
print(table.to_markdown().splitlines()[0])
```

```text
|  | sigma | 95% interval | p (Holm) |
```

What has no interval, and what moves in steps, has none for its difference.

With several seeds and several images, `stderr` of a result counts both: seeds, images, and what is left.
`between` and `within` are the variances behind it.
The "weighted" average is the plain mean of maps, in which strong samples count more;
the "normalized" one divides each map by its sum first.
`effective` says how many equally strong samples a mean is worth; below some 30 its standard errors are rough,
intervals are wide, and a warning says so.
"""


def page() -> str:
    """The page's text."""
    modules = sorted({measure.__module__ for measure in measures.values()})
    return INTRODUCTION + "".join(_family(module) for module in modules)


def _family(module: str) -> str:
    title = module.rpartition(".")[2].capitalize().replace("_", " ")
    text = inspect.getdoc(importlib.import_module(module)) or ""
    names = [name for name in measures if measures[name].__module__ == module]
    return f"\n## {title}\n\n{text}\n" + "".join(_measure(name) for name in names)


def _measure(name: str) -> str:
    function = measures[name]
    doc = inspect.getdoc(function) or ""
    body = re.split(r"\n\n(?=(?:Args|Returns|Raises|Example|References):\n)", doc)
    text, sections = body[0], {part.partition(":\n")[0]: part.partition(":\n")[2] for part in body[1:]}
    parameters = inspect.signature(function).parameters.values()
    options = [
        f"`{p.name}={p.default!r}`" for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "maps"
    ]
    lines = [f"\n### `{name}`\n", text, ""]
    if options:
        lines += [f"Options: {', '.join(options)}.", ""]
    only = getattr(function, "about_center", None)
    if only is not None:
        lines += ["About the center" + "".join(f", with `{k}={v!r}`" for k, v in only.items()) + ".", ""]
    if instead := getattr(function, "instead", None):
        lines += [f"A step function of the map, without a derivative; `{instead}` has one.", ""]
    lines += [*_uncertainty(function), ""]
    if "References" in sections:
        lines += [f"Source: {_flat(sections['References'])}", ""]
    return "\n".join(lines)


def _uncertainty(function: Callable) -> list[str]:
    """What is known of its error, a sentence; or one for each of its parts."""
    declared = getattr(function, "uncertainty", Uncertainty())
    if isinstance(declared, Uncertainty):
        return [str(declared)]
    return [f"- `{part}`: {known}" for part, known in declared.items()]


def _flat(section: str) -> str:
    return " ".join(line.strip() for line in section.splitlines())


if __name__ == "__main__":
    PAGE.write_text(page())
