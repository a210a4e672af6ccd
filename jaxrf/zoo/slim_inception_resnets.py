"""Inception-ResNet-V2 of TF-Slim: mixed modules as residual branches."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

from jaxrf.zoo.layers import ACTIVATIONS, Chain, ConvNorm, Layer
from jaxrf.zoo.model import Model, choose, models
from jaxrf.zoo.slim import SlimNet, branch, conv, max_pool, mixed, network
from jaxrf.zoo.slim_inceptions import avg_pool, double, pooled_stem


class Residual(nn.Module):
    """A mixed module, brought to the features of its input by a 1x1 convolution, scaled and added to it."""

    mixed: Layer
    scale: float
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = self.mixed(name="mixed")(x, train)
        up = ConvNorm(x.shape[-1], 1, norm=False, activation="linear", name="Conv2d_1x1")(y)
        return ACTIVATIONS[self.activation](x + self.scale * up)


def repeat(count: int, block: Layer) -> Layer:
    """A chain of equal blocks: `block_1`, `block_2`, ..."""
    return partial(Chain, layers=tuple((f"block_{i}", block) for i in range(1, count + 1)))


def fine() -> Layer:
    """The residual block at stride 8."""
    triple = branch(conv(32), conv(48, 3), conv(64, 3))
    return partial(Residual, mixed(branch(conv(32)), branch(conv(32), conv(32, 3)), triple), 0.17)


def middle() -> Layer:
    """The residual block at stride 16."""
    long = branch(conv(128), conv(160, (1, 7)), conv(192, (7, 1)))
    return partial(Residual, mixed(branch(conv(192)), long), 0.1)


def coarse(scale: float, activation: str) -> Layer:
    """The residual block at stride 32."""
    long = branch(conv(192), conv(224, (1, 3)), conv(256, (3, 1)))
    return partial(Residual, mixed(branch(conv(192)), long), scale, activation)


def reductions(padding: str) -> tuple[Layer, Layer]:
    """The modules that halve the resolution, to stride 16 and to stride 32."""
    to_middle = mixed(
        branch(conv(384, 3, 2, padding)),
        branch(conv(256), conv(256, 3), conv(384, 3, 2, padding)),
        branch(max_pool(padding=padding)),
    )
    to_coarse = mixed(
        branch(conv(256), conv(384, 3, 2, padding)),
        branch(conv(256), conv(288, 3, 2, padding)),
        branch(conv(256), conv(288, 3), conv(320, 3, 2, padding)),
        branch(max_pool(padding=padding)),
    )
    return to_middle, to_coarse


def inception_resnet_v2(num_classes: int | None = None, padding: str = "VALID") -> SlimNet:
    """Inception-ResNet-V2 with TF-Slim's end-points and without its auxiliary head.

    `PreAuxLogits` is the chain of the twenty blocks at stride 16.
    The chains before and after it are `Repeat` and `Repeat_2`.

    Args:
        num_classes: size of the classifier; without it the network ends with `Conv2d_7b_1x1`.
        padding: of the stem and of the modules that halve the resolution, "VALID" or "SAME".

    Source:
        Szegedy, Ioffe, Vanhoucke, Alemi (2016), arXiv:1602.07261, as in TF-Slim, which has wider modules.

    Example:
        >>> from jaxrf.zoo import inception_resnet_v2
        >>> inception_resnet_v2().network
        'inception_resnet_v2'
    """
    choose("padding", padding, ("VALID", "SAME"))
    to_middle, to_coarse = reductions(padding)
    first = mixed(branch(conv(96)), branch(conv(48), conv(64, 5)), double(64, 96), branch(avg_pool, conv(64)))
    layers = [
        *pooled_stem(padding),
        ("Mixed_5b", first),
        ("Repeat", repeat(10, fine())),
        ("Mixed_6a", to_middle),
        ("PreAuxLogits", repeat(20, middle())),
        ("Mixed_7a", to_coarse),
        ("Repeat_2", repeat(9, coarse(0.2, "relu"))),
        ("Block8", coarse(1.0, "linear")),
        ("Conv2d_7b_1x1", conv(1536)),
    ]
    return network("inception_resnet_v2", layers, num_classes)


models.register("inception_resnet_v2")(
    Model(inception_resnet_v2, (299, 299, 3), "TF-Slim; Szegedy et al. (2016), arXiv:1602.07261")
)
