"""Write docs/protocols.md from the protocols: `python docs/generate_protocols.py`.

A test says when the page is out of date.
"""

from __future__ import annotations

from pathlib import Path

from jaxrf.protocols import Protocol, Reading, displays, protocols

PAGE = Path(__file__).parent / "protocols.md"
INTRODUCTION = """\
<!-- Written by docs/generate_protocols.py from jaxrf/protocols. Change that. -->

# Protocols

Numbers on effective receptive fields are comparable only where all choices behind them are the same:
the input size, the unit, its channels, the score, the average, and the measure.
A protocol is such a set of choices, as published. `jaxrf.erf(..., protocol="replknet2022")` fixes them;
options that contradict it are refused, and so are images of another size.
Weights and images are not part of it: pass those that it names.

```python
from jaxrf.protocols import protocols

print(protocols["replknet2022"].settings())
```

```text
{'units': 'middle', 'channels': 'relu_sum', 'score': 'relu', 'average': 'weighted'}
```

`protocols[name].read(result)` gives what the source reports,
and `protocols[name].shown(result.mean)` the map as it is shown there.
Without a protocol the defaults are ours: random probes, the square score and measures that do not depend on scale.
"""


def page() -> str:
    """The page's text."""
    return INTRODUCTION + "".join(_protocol(protocol) for protocol in protocols.values())


def _protocol(protocol: Protocol) -> str:
    size = "x".join(map(str, protocol.input_size)) if protocol.input_size else "any"
    shown = (displays[protocol.display].__doc__ or "").partition("\n")[0]
    rows = {
        "input size": size,
        "inputs": protocol.inputs,
        "samples": "any number" if protocol.count is None else str(protocol.count),
        "unit": f"`{protocol.units}`: " + _UNITS[protocol.units],
        "channels": f"`{protocol.channels}`",
        "score": f"`{protocol.score}`",
        "average": f"`{protocol.average}`",
        "shown as": shown,
        "measures": "; ".join(map(_reading, protocol.readings)) or "none: a figure alone",
    }
    lines = [f"\n## `{protocol.name}`\n", protocol.source, "", "| choice | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    for title, facts in (
        ("What is known", protocol.known),
        ("What is open, and how it is read here", protocol.unknown),
        ("What makes its numbers incomparable", protocol.incomparable),
    ):
        lines += [f"\n**{title}.**\n", *(f"- {fact}" for fact in facts)]
    return "\n".join(lines) + "\n"


_UNITS = {
    "center": "the unit whose field lies nearest to the middle of the input",
    "middle": "position `n // 2` of each axis of the layer",
}


def _reading(reading: Reading) -> str:
    options = "".join(f", {name}={value}" for name, value in reading.options.items())
    part = f", part={reading.part}" if reading.part else ""
    return f"{reading.label} (`{reading.measure}{options}{part}`)"


if __name__ == "__main__":
    PAGE.write_text(page())
