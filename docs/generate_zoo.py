"""Write docs/zoo.md from the zoo's stored table: `python docs/generate_zoo.py`.

A test says when the page is out of date.
"""

from __future__ import annotations

from pathlib import Path

from jaxrf.zoo.listing import Entry, listing

PAGE = Path(__file__).parent / "zoo.md"
INTRODUCTION = """\
<!-- Written by docs/generate_zoo.py from jaxrf/zoo. Change that. -->

# The zoo

Reference architectures of the field in Flax, without weights: every network of the table of Araujo et al. (2019), and
what later papers on effective fields compare. `zoo.resnet50()` makes one, options are those of its constructor, and on the
command line it is `zoo:resnet50`. Trained weights of torchvision and timm fit four families:
[Trained weights](checkpoints.md).

![Layers of stride 16 of three networks, and the output of a U-Net](images/grid.png)

Size and stride are those of the last map before any classifier, at the usual input; "-" where a unit of it sees the whole
image by attention, gates or normalizations. Parameters and multiply-adds are those of the whole network with 1000 classes;
what single layers cost, and all up to them, is in the table of `jaxrf.trf`, where a multiply-add counts as two operations.
`jaxrf zoo` prints the same table, and [Models](reference/models.md) sorts it by family.

The pictures are effective fields of the center unit of that map, over the whole usual input, in the colors of the
[figures](gallery.md): four decades below the peak. Each is the mean over four random networks (two or one, where they are
large) on noise, with residual branches at full scale; of three axes it is the middle plane, of one the curve.
`python docs/images/draw_zoo.py NAME` draws one.

| field | name | usual input | size | stride | parameters | multiply-adds | as in |
|---|---|---|---|---|---:|---:|---|
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_line(entry) for entry in listing()) + "\n"


def _line(entry: Entry) -> str:
    shapes = [text.replace("x", "×") for text in (entry.input, entry.size, entry.stride)]
    numbers = [f"{entry.parameters:,}", f"{entry.multiply_adds / 1e9:.2f} G"]
    picture = f"![{entry.name}](images/zoo/{entry.name}.png)"
    return f"| {picture} | `{entry.name}` | {' | '.join(shapes + numbers)} | {entry.source} |"


if __name__ == "__main__":
    PAGE.write_text(page())
