"""OpenERF: a tool for pretrained timm models, after two papers of 2023."""

from __future__ import annotations

from jaxrf.protocols.protocol import Protocol, Reading, protocols

RADII = (5, 10, 20, 30, 40, 60, 80)

OPENERF = protocols.register("openerf")(
    Protocol(
        name="openerf",
        source=(
            "Kim, Choi, Jang, Kim (2023), Understanding Gaussian Attention Bias of Vision Transformers Using Effective "
            "Receptive Fields, BMVC, and Kim et al. (2023), Dead pixel test using effective receptive field, "
            "Pattern Recognition Letters 167; the authors' package OpenERF."
        ),
        input_size=None,
        inputs="1000 images of the ImageNet validation set, with the evaluation transform of each timm model",
        count=1000,
        units="middle",
        channels="sum",
        score="positive_sum",
        average="weighted",
        display="sum_to_one",
        readings=(
            Reading("center of mass minus center", "center_offset"),
            *(Reading(f"mass within {radius}", "energy_within", {"radius": radius}) for radius in RADII),
            Reading("sigma of the Gaussian", "gaussian", {"tilted": False}, part="sigma"),
        ),
        known=(
            "What is differentiated is the mean over channels of the features at position n // 2 of each axis, "
            "not rectified.",
            "The gradient is averaged over the input's channels and then rectified; maps are summed over images and "
            "divided by their sum.",
            "Images have the input size and crop of each model, 224 for most.",
            "Reported are the center of mass, the mass within seven radii about position n // 2 of the image, "
            "and on request a Gaussian without tilt, fitted by least squares to the whole map with its zeros.",
        ),
        unknown=(
            "Of even grids of tokens the package takes the upper left of the middle four, not n // 2: "
            "for token layers give that unit, and go without the protocol.",
            "The tool is under development; its defaults may change.",
        ),
        incomparable=(
            "The sum over channels is zero by construction right after a LayerNorm without scale, "
            "and small with one: maps of such layers are noise.",
            "Colors are averaged before the gradient is rectified: what red and blue do in opposite directions "
            "cancels, which it does not in other protocols.",
            "Radii are in positions of the image, so models of other input sizes are not comparable.",
            "Ours measures masses and offsets about the true center of the unit; theirs about the middle of the image.",
            "Their Gaussian keeps its mean inside the image, and starts far from the map; ours starts at its moments.",
        ),
    )
)
