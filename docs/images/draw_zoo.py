"""Draws zoo/NAME.png for networks of the zoo: `python docs/images/draw_zoo.py [NAME ...]`.

All of them take about half an hour on two cores; without names, those are drawn whose picture is missing or is of another
network than the stored table says.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

import jaxrf
from jaxrf import zoo
from jaxrf.report.canvas import new_figure
from jaxrf.zoo.listing import listing

FOLDER = Path(__file__).parent / "zoo"
SIDE = 96
"""Pixels of a picture, to each side."""
COLORS = 48
MADE_OF = ("input", "size", "stride", "parameters", "multiply_adds")
"""What a picture is redrawn for when it changes: it is written into the file."""
SCALED = {"layer_scale": 1.0}
"""Where residual branches begin at nearly nothing, a map of random weights would show the skips alone."""
FEW = {"unet_3d": 1, "deeplab_v3": 2, "esrgan": 2}
"""Seeds of networks whose maps take long; the others have four."""


def state(name: str) -> str:
    """What the table says of a network, as it stands in its picture."""
    entry = next(asdict(entry) for entry in listing() if entry.name == name)
    return json.dumps({key: entry[key] for key in MADE_OF})


def state_of(file: Path) -> str:
    """What the table said of the network of a picture."""
    with Image.open(file) as picture:
        return str(picture.info.get("network", ""))


def picture(name: str) -> np.ndarray:
    """The map of the center unit of the last map over the whole usual input, (y, x, 3) in bytes."""
    model = zoo.models[name]
    network = model(**{key: value for key, value in SCALED.items() if key in model.options})
    seeds: Any = FEW.get(name, 4)
    result = jaxrf.erf(
        network, inputs=jaxrf.noise(1), input_shape=model.input_shape, seeds=seeds, average="normalized",
        memory="3GB", certify=False,
    )  # fmt: skip
    figure = new_figure(SIDE / 100, SIDE / 100)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    result.plot(ax=ax, zoom=False, shares=())
    ax.set(title="", xlabel="", ylabel="", xticks=[], yticks=[])
    for lines in ax.lines:
        lines.set_markersize(4)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return np.asarray(Image.open(file).convert("RGB"))


def main(names: list[str]) -> None:
    """Draw what was asked for, one file after the other."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or [name for name in sorted(zoo.models) if stale(name)]:
        said = PngImagePlugin.PngInfo()
        said.add_text("network", state(name))
        drawn = Image.fromarray(picture(name)).quantize(COLORS)
        drawn.save(FOLDER / f"{name}.png", optimize=True, pnginfo=said)
        print(name, (FOLDER / f"{name}.png").stat().st_size, flush=True)


def stale(name: str) -> bool:
    """Whether a network has no picture, or one of another network."""
    file = FOLDER / f"{name}.png"
    return not file.exists() or state_of(file) != state(name)


if __name__ == "__main__":
    main(sys.argv[1:])
