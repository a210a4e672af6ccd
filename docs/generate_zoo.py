"""Write docs/zoo.md from the zoo: `python docs/generate_zoo.py`, a minute.

A test says when the page is out of date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jaxrf
from jaxrf import zoo

PAGE = Path(__file__).parent / "zoo.md"
INTRODUCTION = """\
<!-- Written by docs/generate_zoo.py from jaxrf/zoo. Change that. -->

# The zoo

Reference architectures of the field in Flax, without weights: every network of the table of Araujo et al. (2019), and
what later papers on effective fields compare. `zoo.resnet50()` makes one, options are those of its constructor, and on the
command line it is `zoo:resnet50`. Trained weights of torchvision and timm fit four families:
[Trained weights](checkpoints.md).

![Layers of stride 16 of three networks, and the output of a U-Net](images/grid.png)

Size, stride and padding are those of the last map before any classifier, at the usual input.

| name | usual input | parameters | last map | size | stride | padding | as in |
|---|---|---:|---|---:|---:|---:|---|
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_line(name, model) for name, model in zoo.models.items()) + "\n"


def _line(name: str, model: Any) -> str:
    row = jaxrf.trf(model(), model.input_shape)[-1]
    parts = [_joined(model.input_shape), f"{row.parameters:,}", _joined(row.shape)]
    parts += ["global"] * 3 if row.global_axes else [_joined(values) for values in (row.size, row.stride, row.padding)]
    return f"| `{name}` | {' | '.join(parts)} | {model.source} |"


def _joined(values: Sequence[Any]) -> str:
    """Numbers of all axes, one where they are the same and there are no channels.

    >>> _joined((4, 4)), _joined((7, 7, 64))
    ('4', '7×7×64')
    """
    same = len(set(values)) == 1 and len(values) < 3
    return str(values[0]) if same else "×".join("–" if value is None else str(value) for value in values)


if __name__ == "__main__":
    PAGE.write_text(page())
