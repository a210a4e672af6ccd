"""Ding et al. (2022), RepLKNet: the script that most later papers on large kernels use."""

from __future__ import annotations

from jaxrf.protocols.protocol import Protocol, Reading, protocols

SHARES = (0.2, 0.3, 0.5, 0.99)

REPLKNET2022 = protocols.register("replknet2022")(
    Protocol(
        name="replknet2022",
        source=(
            "Ding, Zhang, Han, Ding (2022), Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs, "
            "CVPR; the authors' erf/visualize_erf.py and erf/analyze_erf.py."
        ),
        input_size=(1024, 1024),
        inputs="the first 50 images of ImageNet's validation set, resized to 1024x1024 and normalized as for ImageNet",
        count=50,
        units="middle",
        channels="relu_sum",
        score="relu",
        average="weighted",
        display="log10_of_one_more",
        readings=tuple(
            Reading(f"area ratio at {share:.0%}", "area_ratio_replknet2022", {"share": share}) for share in SHARES
        ),
        known=(
            "The last feature map is used, before pooling and classifier.",
            "Differentiated is the sum over channels of the rectified features at position n // 2 of each axis.",
            "The gradient is rectified per input channel and summed over the channels; maps are averaged over images.",
            "Ratios are areas of squares of odd side, from 3 on, about position n // 2 of the image, "
            "on log10(map + 1) divided by its peak.",
        ),
        unknown=("Which images: the script takes the first 50 in the order of the folders, which is by class.",),
        incomparable=(
            "log10(map + 1) depends on the scale of the gradients: a model whose logits are scaled by ten gets other "
            "ratios. Networks of different gradient scale are not comparable, nor are versions with other last layers.",
            "Squares lie about position n // 2 of the image, whether or not the unit does. A ResNet with symmetric "
            "padding has its unit 16 of 32 there; with Flax's SAME padding that unit is 31 positions away.",
            "Images whose map holds a NaN are skipped by the script without a word; here they are counted, "
            "and they make the mean NaN.",
            "Gradients on one image of one network are rectified before they are averaged, so noise does not average "
            "out: the far background is lifted, and large shares measure it.",
            "At a smaller image size the field reaches the border and the ratio saturates.",
        ),
    )
)
