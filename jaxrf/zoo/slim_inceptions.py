"""Inception-V2, V3 and V4 of TF-Slim, as lists of end-points."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import AvgPool, Concat, ConvNorm, Layer
from jaxrf.zoo.model import Model, choose, models
from jaxrf.zoo.slim import SlimNet, branch, conv, max_pool, mixed, network

avg_pool = partial(AvgPool, kernel=3)


class SeparableConv(nn.Module):
    """A depthwise convolution with several outputs per input feature, then a pointwise one with normalization."""

    features: int
    kernel: int
    stride: int
    multiplier: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        inputs = x.shape[-1]
        x = nn.Conv(
            inputs * self.multiplier,
            (self.kernel,) * (x.ndim - 2),
            strides=self.stride,
            feature_group_count=inputs,
            use_bias=False,
            name="depthwise",
        )(x)
        return ConvNorm(self.features, 1, scale=False, epsilon=1e-3, name="pointwise")(x, train)


def double(first: int, second: int) -> Layer:
    """A 1x1 convolution and two 3x3 ones."""
    return branch(conv(first), conv(second, 3), conv(second, 3))


def crossed(features: int) -> Layer:
    """A 1x3 and a 3x1 convolution of the same map, concatenated."""
    sides = (("Conv2d_1x3", conv(features, (1, 3))), ("Conv2d_3x1", conv(features, (3, 1))))
    return partial(Concat, layers=sides)


def snake(first: int, *features: int) -> tuple[Layer, ...]:
    """A 1x1 convolution, then long ones that alternate between 7x1 and 1x7."""
    return conv(first), *(conv(n, (7, 1) if i % 2 == 0 else (1, 7)) for i, n in enumerate(features))


def v2_module(one: int, three: tuple[int, int], two: tuple[int, int], pooled: int, pool: Layer = avg_pool) -> Layer:
    """The module of Inception-V2 that keeps the resolution, by the features of its four branches."""
    return mixed(
        branch(conv(one)),
        branch(conv(three[0]), conv(three[1], 3)),
        double(*two),
        branch(pool, conv(pooled)),
    )


def v2_reduction(three: tuple[int, int], two: tuple[int, int]) -> Layer:
    """The module of Inception-V2 that halves the resolution."""
    return mixed(
        branch(conv(three[0]), conv(three[1], 3, 2)),
        branch(conv(two[0]), conv(two[1], 3), conv(two[1], 3, 2)),
        branch(max_pool(padding="SAME")),
    )


V2: list[tuple[str, Layer]] = [
    ("MaxPool_2a_3x3", max_pool(padding="SAME")),
    ("Conv2d_2b_1x1", conv(64)),
    ("Conv2d_2c_3x3", conv(192, 3)),
    ("MaxPool_3a_3x3", max_pool(padding="SAME")),
    ("Mixed_3b", v2_module(64, (64, 64), (64, 96), 32)),
    ("Mixed_3c", v2_module(64, (64, 96), (64, 96), 64)),
    ("Mixed_4a", v2_reduction((128, 160), (64, 96))),
    ("Mixed_4b", v2_module(224, (64, 96), (96, 128), 128)),
    ("Mixed_4c", v2_module(192, (96, 128), (96, 128), 128)),
    ("Mixed_4d", v2_module(160, (128, 160), (128, 160), 96)),
    ("Mixed_4e", v2_module(96, (128, 192), (160, 192), 96)),
    ("Mixed_5a", v2_reduction((128, 192), (192, 256))),
    ("Mixed_5b", v2_module(352, (192, 320), (160, 224), 128)),
    ("Mixed_5c", v2_module(352, (192, 320), (192, 224), 128, max_pool(3, 1, "SAME"))),
]


def stem(padding: str = "VALID") -> list[tuple[str, Layer]]:
    """The first layers, which Inception-V3, V4 and Inception-ResNet-V2 have in common."""
    return [
        ("Conv2d_1a_3x3", conv(32, 3, 2, padding)),
        ("Conv2d_2a_3x3", conv(32, 3, 1, padding)),
        ("Conv2d_2b_3x3", conv(64, 3)),
    ]


def pooled_stem(padding: str = "VALID") -> list[tuple[str, Layer]]:
    """The stem and what follows it in Inception-V3 and Inception-ResNet-V2."""
    return [
        *stem(padding),
        ("MaxPool_3a_3x3", max_pool(padding=padding)),
        ("Conv2d_3b_1x1", conv(80, 1, 1, padding)),
        ("Conv2d_4a_3x3", conv(192, 3, 1, padding)),
        ("MaxPool_5a_3x3", max_pool(padding=padding)),
    ]


def v3_fine(pooled: int) -> Layer:
    """The module of Inception-V3 at stride 8."""
    return mixed(branch(conv(64)), branch(conv(48), conv(64, 5)), double(64, 96), branch(avg_pool, conv(pooled)))


def v3_middle(narrow: int) -> Layer:
    """The module of Inception-V3 at stride 16."""
    return mixed(
        branch(conv(192)),
        branch(conv(narrow), conv(narrow, (1, 7)), conv(192, (7, 1))),
        branch(*snake(narrow, narrow, narrow, narrow, 192)),
        branch(avg_pool, conv(192)),
    )


def v3_coarse() -> Layer:
    """The module of Inception-V3 at stride 32."""
    return mixed(
        branch(conv(320)),
        branch(conv(384), crossed(384)),
        branch(conv(448), conv(384, 3), crossed(384)),
        branch(avg_pool, conv(192)),
    )


V3: list[tuple[str, Layer]] = [
    *pooled_stem(),
    ("Mixed_5b", v3_fine(32)),
    ("Mixed_5c", v3_fine(64)),
    ("Mixed_5d", v3_fine(64)),
    (
        "Mixed_6a",
        mixed(
            branch(conv(384, 3, 2, "VALID")),
            branch(conv(64), conv(96, 3), conv(96, 3, 2, "VALID")),
            branch(max_pool()),
        ),
    ),
    ("Mixed_6b", v3_middle(128)),
    ("Mixed_6c", v3_middle(160)),
    ("Mixed_6d", v3_middle(160)),
    ("Mixed_6e", v3_middle(192)),
    (
        "Mixed_7a",
        mixed(
            branch(conv(192), conv(320, 3, 2, "VALID")),
            branch(conv(192), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, 2, "VALID")),
            branch(max_pool()),
        ),
    ),
    ("Mixed_7b", v3_coarse()),
    ("Mixed_7c", v3_coarse()),
]


def v4_stem() -> list[tuple[str, Layer]]:
    """The layers of Inception-V4 down to stride 8."""
    long = branch(conv(64), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, 1, "VALID"))
    return [
        *stem(),
        ("Mixed_3a", mixed(branch(max_pool()), branch(conv(96, 3, 2, "VALID")))),
        ("Mixed_4a", mixed(branch(conv(64), conv(96, 3, 1, "VALID")), long)),
        ("Mixed_5a", mixed(branch(conv(192, 3, 2, "VALID")), branch(max_pool()))),
    ]


def v4_modules() -> list[tuple[str, Layer]]:
    """The modules of Inception-V4 from stride 8 on: A, reduction, B, reduction, C."""
    a = mixed(branch(conv(96)), branch(conv(64), conv(96, 3)), double(64, 96), branch(avg_pool, conv(96)))
    b = mixed(
        branch(conv(384)),
        branch(conv(192), conv(224, (1, 7)), conv(256, (7, 1))),
        branch(*snake(192, 192, 224, 224, 256)),
        branch(avg_pool, conv(128)),
    )
    c = mixed(
        branch(conv(256)),
        branch(conv(384), crossed(256)),
        branch(conv(384), conv(448, (3, 1)), conv(512, (1, 3)), crossed(256)),
        branch(avg_pool, conv(256)),
    )
    to_b = mixed(
        branch(conv(384, 3, 2, "VALID")),
        branch(conv(192), conv(224, 3), conv(256, 3, 2, "VALID")),
        branch(max_pool()),
    )
    to_c = mixed(
        branch(conv(192), conv(192, 3, 2, "VALID")),
        branch(conv(256), conv(256, (1, 7)), conv(320, (7, 1)), conv(320, 3, 2, "VALID")),
        branch(max_pool()),
    )
    return [
        *((f"Mixed_5{letter}", a) for letter in "bcde"),
        ("Mixed_6a", to_b),
        *((f"Mixed_6{letter}", b) for letter in "bcdefgh"),
        ("Mixed_7a", to_c),
        *((f"Mixed_7{letter}", c) for letter in "bcd"),
    ]


def inception(scope: str = "inception_v3", num_classes: int | None = None, separable: bool = True) -> SlimNet:
    """An Inception with TF-Slim's end-points, without its auxiliary head.

    Args:
        scope: "inception_v2", "inception_v3" or "inception_v4".
        num_classes: size of the classifier; without it the network ends with its last mixed module.
        separable: whether the first layer of version 2 is a separable convolution, or an ordinary one as in the others.

    Source:
        Ioffe, Szegedy (2015), arXiv:1502.03167, figure 5; Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2015),
        arXiv:1512.00567; Szegedy, Ioffe, Vanhoucke, Alemi (2016), arXiv:1602.07261, figures 3 to 9; all as in TF-Slim.

    Example:
        >>> from jaxrf.zoo import inception_v3
        >>> inception_v3().network
        'inception_v3'
    """
    choose("scope", scope, tuple(SOURCES))
    choose("separable", separable, (True, False) if scope == "inception_v2" else (True,))
    first = partial(SeparableConv, 64, 7, 2, 8) if separable else conv(64, 7, 2)
    layers = {
        "inception_v2": [("Conv2d_1a_7x7", first), *V2],
        "inception_v3": V3,
        "inception_v4": [*v4_stem(), *v4_modules()],
    }
    return network(scope, layers[scope], num_classes)


SOURCES = {
    "inception_v2": (224, "Ioffe, Szegedy (2015), arXiv:1502.03167"),
    "inception_v3": (299, "Szegedy et al. (2015), arXiv:1512.00567"),
    "inception_v4": (299, "Szegedy et al. (2016), arXiv:1602.07261"),
}
"""Extent of the usual image, and the paper."""
for _scope, (_extent, _paper) in SOURCES.items():
    models.register(_scope)(Model(partial(inception, _scope), (_extent, _extent, 3), f"TF-Slim; {_paper}"))
