"""Draws grid.png: `python docs/images/draw_grid.py`, some minutes on two cores."""

from __future__ import annotations

from pathlib import Path

import jaxrf
from jaxrf import zoo

NETWORKS = {
    "ResNet-18": (zoo.resnet18(), "layer3"),
    "MobileNet-V2": (zoo.mobilenet_v2(), "block_12"),
    "ConvNeXt-T": (zoo.convnext_tiny(layer_scale=1.0), "stage3"),
    "U-Net": (zoo.unet(depth=4, width=16), None),
}

if __name__ == "__main__":
    results = {}
    for name, (model, layer) in NETWORKS.items():
        shape = (224, 224, 1 if name == "U-Net" else 3)
        results[name] = jaxrf.erf(
            model, inputs=jaxrf.noise(1), input_shape=shape, layer=layer, seeds=32, average="normalized"
        )
    jaxrf.plot_grid(results).savefig(Path(__file__).parent / "grid.png", dpi=110)
