"""EfficientNets, version 1 and 2: inverted residual blocks with gates; wider and deeper by one factor each."""

from __future__ import annotations

import math
from functools import partial

from jaxrf.zoo.layers import KAIMING_FAN_OUT, Chain, ConvNorm, Head, InvertedResidual, blocks, network
from jaxrf.zoo.mobilenets import rounded
from jaxrf.zoo.model import Model, choose, models

V1 = (
    (False, 1, 3, 1, 16, 1),
    (False, 6, 3, 2, 24, 2),
    (False, 6, 5, 2, 40, 2),
    (False, 6, 3, 2, 80, 3),
    (False, 6, 5, 1, 112, 3),
    (False, 6, 5, 2, 192, 4),
    (False, 6, 3, 1, 320, 1),
)
"""Fused or not, expansion, kernel, stride of the first block, features, number of blocks; table 1 of the paper."""
V2_S = (
    (True, 1, 3, 1, 24, 2),
    (True, 4, 3, 2, 48, 4),
    (True, 4, 3, 2, 64, 4),
    (False, 4, 3, 2, 128, 6),
    (False, 6, 3, 1, 160, 9),
    (False, 6, 3, 2, 256, 15),
)
"""The same for EfficientNetV2-S; table 4 of its paper. Fused blocks have no gate."""
KINDS = {
    "efficientnet_b0": (V1, 32, 1.0, 1.0, 1e-5),
    "efficientnet_b4": (V1, 32, 1.4, 1.8, 1e-5),
    "efficientnet_v2_s": (V2_S, 24, 1.0, 1.0, 1e-3),
}
"""Layout, features of the stem, factors of width and depth, epsilon of the normalizations."""


def efficientnet(
    kind: str = "efficientnet_b0",
    *,
    width: float | None = None,
    depth: float | None = None,
    num_classes: int | None = None,
) -> Chain:
    """An EfficientNet: modules `stem`, `stage1`, ..., `conv_last`, `head`.

    There is no dropout. The gates see the whole map, and so do all layers behind the first of them.

    Args:
        kind: "efficientnet_b0", "efficientnet_b4" or "efficientnet_v2_s".
        width: factor of the number of features, which become multiples of eight; the kind's own where None.
        depth: factor of the number of blocks per stage, rounded up; the kind's own where None.
        num_classes: size of the classifier; without it the network returns the map of `conv_last`.

    Source:
        Tan, Le (2019), arXiv:1905.11946; Tan, Le (2021), arXiv:2104.00298; padding as in torchvision.

    Example:
        >>> from jaxrf.zoo import efficientnet_b4
        >>> efficientnet_b4.input_shape
        (380, 380, 3)
    """
    choose("kind", kind, tuple(KINDS))
    layout, stem, own_width, own_depth, epsilon = KINDS[kind]
    wider = own_width if width is None else width
    deeper = own_depth if depth is None else depth
    conv = partial(ConvNorm, activation="silu", epsilon=epsilon, kernel_init=KAIMING_FAN_OUT)
    features = rounded(stem * wider)
    layers = [("stem", partial(conv, features, 3, 2, 1))]
    for i, (fused, expansion, kernel, first_stride, out, count) in enumerate(layout, 1):
        chain = []
        for j in range(math.ceil(count * deeper)):
            squeezed = 0 if fused else max(1, features // 4)
            stride = 1 if j else first_stride
            chain.append(
                partial(
                    InvertedResidual, rounded(out * wider), features * expansion, kernel, stride, squeezed, fused,
                    activation="silu", gate=("silu", "sigmoid"), epsilon=epsilon,
                )
            )  # fmt: skip
            features = rounded(out * wider)
        layers.append((f"stage{i}", blocks(chain)))
    last = 1280 if layout is V2_S else 4 * features
    return network([*layers, ("conv_last", partial(conv, last, 1))], num_classes, Head)


for _kind, _extent in {"efficientnet_b0": 224, "efficientnet_b4": 380, "efficientnet_v2_s": 384}.items():
    models.register(_kind)(
        Model(
            partial(efficientnet, _kind),
            (_extent, _extent, 3),
            f"Tan, Le, arXiv:{'2104.00298' if 'v2' in _kind else '1905.11946'}; torchvision",
        )
    )
