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

The pictures are sizes of the theoretical field over the layers in order, from 1 to 16384 input positions on a logarithmic
scale, the same for all; the gray lines are 16, 256 and 4096, the dashed one is the size of the image. Blue are layers whose
units see a part of it, red those that see all of it through attention, gates or normalizations.
`python docs/images/draw_zoo.py NAME` draws one.

| size over layers | name | usual input | size | stride | parameters | multiply-adds | as in |
|---|---|---|---|---|---:|---:|---|
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_line(entry) for entry in listing()) + "\n"


def _line(entry: Entry) -> str:
    shapes = [text.replace("x", "×") for text in (entry.input, entry.size, entry.stride)]
    numbers = [f"{entry.parameters:,}", f"{entry.multiply_adds / 1e9:.2f} G"]
    picture = f"![Sizes of {entry.name}](images/zoo/{entry.name}.svg)"
    return f"| {picture} | `{entry.name}` | {' | '.join(shapes + numbers)} | {entry.source} |"


if __name__ == "__main__":
    PAGE.write_text(page())
