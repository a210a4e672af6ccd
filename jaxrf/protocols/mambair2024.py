"""Guo et al. (2024), MambaIR: effective fields of networks that restore images, on their output image."""

from __future__ import annotations

from dataclasses import replace

from jaxrf.protocols.protocol import protocols
from jaxrf.protocols.replknet2022 import REPLKNET2022

MAMBAIR2024 = protocols.register("mambair2024")(
    replace(
        REPLKNET2022,
        name="mambair2024",
        source=(
            "Guo, Li, Dai, Ouyang, Ren, Xia (2024), MambaIR: A Simple Baseline for Image Restoration with State-Space "
            "Model, ECCV; the authors' analysis/erf.py."
        ),
        input_size=(120, 120),
        inputs="the low-resolution images of Urban100 for twofold super-resolution, values 0 to 1, resized to 120x120",
        count=100,
        channels="sum",
        display="power_0.25",
        readings=(),
        known=(
            "Differentiated is the sum over the three colors of the restored image at position n // 2 of each axis, "
            "not rectified.",
            "The gradient is rectified per input channel and summed over the channels; maps are averaged over images.",
            "Images are resized without regard to their proportions, to the nearest position, as that is the default.",
            "Shown is the map to the power 0.25, divided by its peak. The script reports no number.",
        ),
        unknown=(
            "The script asks for 100 images, and Urban100 has as many; whether one was skipped for a NaN is not said.",
            "Whether the maps of the other networks in the figure were made with weights for the same scale is not said.",
        ),
        incomparable=(
            "The unit is a pixel of the restored image, and its field that of the whole network; those of classifiers are "
            "of their last feature map, and without a head.",
            "A pixel of an image made twice as large has a center between two positions of the input, and position "
            "n // 2 of the output is one of four phases, whose maps differ.",
            "The power 0.25 lifts a thousandth of the peak to a sixth of it.",
            "Each map is divided by its own peak: brightness says nothing between two networks.",
            "Images of 120x120 are smaller than many of the fields: those are cut at the border.",
        ),
    )
)
