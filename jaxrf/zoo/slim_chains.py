"""The TF-Slim networks that are plain chains: AlexNet-V2, VGG and MobileNet-V1."""

from __future__ import annotations

from functools import partial

from jaxrf.zoo.layers import ConvNorm, Layer
from jaxrf.zoo.model import Model, at_least, choose, models
from jaxrf.zoo.slim import SlimNet, SpatialMean, max_pool, network

biased = partial(ConvNorm, norm=False)
VGG_FEATURES = (64, 128, 256, 512, 512)
VGG_CONVOLUTIONS = {"vgg_a": (1, 1, 2, 2, 2), "vgg_16": (2, 2, 3, 3, 3)}
"""How many convolutions the five blocks have, in the columns A and D of the paper."""

MOBILENET_LAYERS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (2, 1024),
    (1, 1024),
)
"""Stride of the depthwise convolution and features of the pointwise one, for layers 1 to 13 of MobileNet-V1."""


def fully_connected(scope: str, kernel: int, num_classes: int | None) -> list[tuple[str, Layer]]:
    """The three last layers of AlexNet and VGG, as convolutions; none without classes."""
    at_least("num_classes", num_classes, 1, optional=True)
    if num_classes is None:
        return []
    return [
        (f"{scope}/fc6", partial(biased, 4096, kernel, padding="VALID")),
        (f"{scope}/fc7", partial(biased, 4096, 1)),
        (f"{scope}/fc8", partial(biased, num_classes, 1, activation="linear")),
        ("Logits", partial(SpatialMean)),
    ]


def alexnet_v2(num_classes: int | None = None) -> SlimNet:
    """AlexNet in the one-column variant, with TF-Slim's end-points.

    Args:
        num_classes: size of the classifier; without it the network ends with `alexnet_v2/pool5`.

    Source:
        Krizhevsky (2014), arXiv:1404.5997, as in TF-Slim: no response normalization.

    Example:
        >>> from jaxrf.zoo import alexnet_v2
        >>> alexnet_v2().network
        'alexnet_v2'
    """
    layers = [
        ("conv1", partial(biased, 64, 11, 4, "VALID")),
        ("pool1", max_pool()),
        ("conv2", partial(biased, 192, 5)),
        ("pool2", max_pool()),
        ("conv3", partial(biased, 384)),
        ("conv4", partial(biased, 384)),
        ("conv5", partial(biased, 256)),
        ("pool5", max_pool()),
    ]
    scoped = [(f"alexnet_v2/{name}", layer) for name, layer in layers]
    return network("alexnet_v2", [*scoped, *fully_connected("alexnet_v2", 5, num_classes)], None)


def vgg(scope: str = "vgg_16", num_classes: int | None = None) -> SlimNet:
    """A VGG network, with TF-Slim's end-points.

    Args:
        scope: "vgg_a", of eleven layers with weights, or "vgg_16".
        num_classes: size of the classifier; without it the network ends with its `pool5`.

    Source:
        Simonyan, Zisserman (2014), arXiv:1409.1556, table 1, columns A and D.

    Example:
        >>> from jaxrf.zoo import vgg_16
        >>> vgg_16().network
        'vgg_16'
    """
    choose("scope", scope, tuple(VGG_CONVOLUTIONS))
    layers: list[tuple[str, Layer]] = []
    for block, (count, features) in enumerate(zip(VGG_CONVOLUTIONS[scope], VGG_FEATURES), start=1):
        conv = partial(biased, features)
        layers += [(f"{scope}/conv{block}/conv{block}_{i}", conv) for i in range(1, count + 1)]
        layers.append((f"{scope}/pool{block}", max_pool(kernel=2)))
    return network(scope, [*layers, *fully_connected(scope, 7, num_classes)], None)


def mobilenet_v1(num_classes: int | None = None, width: float = 1.0) -> SlimNet:
    """MobileNet-V1, with TF-Slim's end-points.

    Args:
        num_classes: size of the classifier; without it the network ends with `Conv2d_13_pointwise`.
        width: factor of the number of features, of which no layer has less than eight.

    Source:
        Howard et al. (2017), arXiv:1704.04861, table 1.

    Example:
        >>> from jaxrf.zoo import mobilenet_v1
        >>> mobilenet_v1().network
        'mobilenet_v1'
    """
    make = partial(ConvNorm, activation="relu6", epsilon=1e-3)
    inputs = max(8, int(32 * width))
    layers: list[tuple[str, Layer]] = [("Conv2d_0", partial(make, inputs, 3, 2))]
    for i, (stride, features) in enumerate(MOBILENET_LAYERS, start=1):
        layers.append((f"Conv2d_{i}_depthwise", partial(make, inputs, 3, stride, groups=0)))
        inputs = max(8, int(features * width))
        layers.append((f"Conv2d_{i}_pointwise", partial(make, inputs, 1)))
    return network("mobilenet_v1", layers, num_classes)


models.register("alexnet_v2")(Model(alexnet_v2, (224, 224, 3), "TF-Slim; Krizhevsky (2014), arXiv:1404.5997"))
for _scope in VGG_CONVOLUTIONS:
    models.register(_scope)(
        Model(partial(vgg, _scope), (224, 224, 3), "TF-Slim; Simonyan, Zisserman (2014), arXiv:1409.1556")
    )
for _name, _build in (("mobilenet_v1", mobilenet_v1), ("mobilenet_v1_075", partial(mobilenet_v1, width=0.75))):
    models.register(_name)(Model(_build, (224, 224, 3), "TF-Slim; Howard et al. (2017), arXiv:1704.04861"))
