"""Liu et al. (2023), SLaK: RepLKNet's script, and a figure without a logarithm of ConvNeXts with other kernels."""

from __future__ import annotations

from dataclasses import replace

from jaxrf.protocols.protocol import protocols
from jaxrf.protocols.replknet2022 import REPLKNET2022

SLAK2023 = protocols.register("slak2023")(
    replace(
        REPLKNET2022,
        name="slak2023",
        source=(
            "Liu, Chen, Chen, Chen, Xiao, Wu, Karkkainen, Pechenizkiy, Mocanu, Wang (2023), More ConvNets in the 2020s: "
            "Scaling up Kernels Beyond 51x51 using Sparsity, ICLR; the authors' erf/visualize_erf.py, erf/analyze_erf.py "
            "and erf/erf_slak51_convnext7_convnext31.py."
        ),
        display="peak_to_one",
        known=(
            "Maps are made as by RepLKNet's script: the sum over channels of the rectified last feature map at position "
            "n // 2, the gradient rectified per input channel, averaged over images.",
            "The maps are of the features before the last normalization; the script remarks that behind it they differ "
            "little.",
            "The figure shows maps divided by their peak, without a logarithm.",
            "In it are ConvNeXt-T, ConvNeXt-T with kernels of RepLKNet (31, 29, 27, 13), and SLaK-T (51, 49, 47, 13).",
            "Ratios are RepLKNet's, on log10(map + 1): other maps than those that the figure shows.",
        ),
        unknown=(
            "Which images: the script takes the first 50 in the order of the folders, which is by class.",
            "Other papers' figures of ConvNeXt have other displays: VMamba's scripts show it to the power 0.2. Which one is "
            "meant has to be looked up in each.",
        ),
        incomparable=(
            "Divided by the peak and without a logarithm, a map shows its peak and little else: the same maps look far "
            "smaller than by RepLKNet's or VMamba's display.",
            "Sparse kernels have zeros that training moved: the theoretical field is that of the kernel's rectangle.",
            "All that makes RepLKNet's ratios incomparable makes these so.",
        ),
    )
)
