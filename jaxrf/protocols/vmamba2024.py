"""Liu et al. (2024), VMamba: RepLKNet's script with other images and another display, as most papers on scans use it."""

from __future__ import annotations

from dataclasses import replace

from jaxrf.protocols.protocol import protocols
from jaxrf.protocols.replknet2022 import REPLKNET2022

VMAMBA2024 = protocols.register("vmamba2024")(
    replace(
        REPLKNET2022,
        name="vmamba2024",
        source=(
            "Liu, Tian, Zhao, Yu, Xie, Wang, Ye, Jiao, Liu (2024), VMamba: Visual State Space Model, NeurIPS; the authors' "
            "analyze/erf.py and analyze/utils.py."
        ),
        inputs=(
            "50 images of ImageNet's validation set drawn at random, the shorter side resized to 1024, the middle cut out, "
            "normalized as for ImageNet"
        ),
        display="power_0.2",
        readings=(),
        known=(
            "The last feature map of the backbone is used, before pooling and classifier.",
            "Differentiated is the sum over channels of the rectified features at position n // 2 of each axis.",
            "The gradient is rectified per input channel and summed over the channels; maps are averaged over images.",
            "Shown is the map to the power 0.2, divided by its peak; each network before and after training.",
            "The script reports no number.",
        ),
        unknown=(
            "Which images: they are drawn without a fixed seed.",
            "An earlier script of the same authors, analyze/get_erf.py, shows the power 0.25, resizes images to a square, "
            "and prints RepLKNet's ratios of the map so transformed; which script made a figure of the first versions of "
            "the paper is not said. Here it is the later one.",
            "The law of the weights before training is that of each library's model, and not written down.",
        ),
        incomparable=(
            "The power 0.2 lifts a thousandth of the peak to a quarter of it: fields look wider than by log10(map + 1), "
            "and a field that looks global may hold little out there.",
            "It does not depend on the scale of the gradients, as log10(map + 1) does, so the same maps rank otherwise.",
            "Each map is divided by its own peak: brightness says nothing between two networks.",
            "Images whose map holds a NaN are skipped; here they are counted, and they make the mean NaN.",
            "One network without training is one draw of its weights; another draw has another map.",
        ),
    )
)
