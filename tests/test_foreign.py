"""Models by others: their fields against published numbers, and against dense Jacobians at small sizes.

Each test is left out where its library is not installed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf

os.environ.setdefault("KERAS_BACKEND", "jax")
PUBLISHED = {
    (row["network"], row["style"], row["after"]): tuple(int(row[k]) for k in ("size", "stride", "padding"))
    for row in csv.DictReader(
        line for line in (Path(__file__).parent / "data" / "resnets.csv").read_text().splitlines() if line[0] != "#"
    )
}


def numbers(row: Any) -> tuple[int, int, int]:
    """Size, stride, padding, which are the same on both axes."""
    return tuple(one for one, other in (row.size, row.stride, row.padding) if one == other)  # type: ignore[return-value]


def check_support(model: Callable[[Any], Any], shape: tuple[int, ...], **options: Any) -> None:
    """The clipped box of every unit is the hull of the derivatives that are not zero for some of a few inputs."""
    row = jaxrf.trf(model, shape, **options)[-1]
    axes = options.get("spatial_axes") or tuple(range(1, len(shape)))
    draws = np.random.default_rng(0).uniform(0.5, 1.5, (4, 1, *shape)).astype(np.float32)
    back = jax.jit(jax.jacrev(model))
    support = np.any([np.asarray(back(x)) != 0 for x in draws], axis=0)
    rank = support.ndim - 1 - len(shape)
    kept = (*axes, *(rank + a for a in axes))
    support = support.any(axis=tuple(a for a in range(support.ndim) if a not in kept))
    assert row.exact
    for unit in np.ndindex(*row.unit_shape):
        for axis, (lo, hi) in enumerate(row.box(unit, clip=True)):
            seen = np.flatnonzero(support[unit].any(axis=tuple(a for a in range(len(axes)) if a != axis)))
            assert (lo, hi) == (seen[0], seen[-1] + 1), (unit, axis)


@pytest.mark.parametrize(("network", "ends"), [("resnet18", [1, 3, 5, 7, 9]), ("resnet50", [1, 4, 8, 14, 17])])
def test_jax_resnet(network, ends):
    """Linen ResNets of jax-resnet have the published fields after each stage."""
    models = pytest.importorskip("jax_resnet")
    model = {"resnet18": models.ResNet18, "resnet50": models.ResNet50}[network](n_classes=10)
    table = jaxrf.trf(model, (224, 224, 3), apply_kwargs={"mutable": False})
    for stage, end in enumerate(ends[1:], start=1):
        row = table[f"layers_{end}"]
        assert numbers(row) == PUBLISHED[network, "torchvision", f"layer{stage}"]
        assert row.exact and row.aligned


@pytest.mark.slow
def test_jax_resnet_with_attention_over_channels():
    """The blocks of ResNeSt weigh channels by pooled statistics: they see everything, and the table names the axes."""
    models = pytest.importorskip("jax_resnet")
    table = jaxrf.trf(models.ResNeSt50Fast(n_classes=10), (64, 64, 3), apply_kwargs={"mutable": False})
    row = table["layers_4"]
    assert row.global_axes == ("y", "x") and row.exact


@pytest.mark.parametrize("network", ["resnet18", "resnet50"])
def test_flaxmodels(network):
    """Linen ResNets of flaxmodels, which return their activations, have the published fields too."""
    models = pytest.importorskip("flaxmodels")
    model = {"resnet18": models.ResNet18, "resnet50": models.ResNet50}[network](output="activations", pretrained=None)
    table = jaxrf.trf(model, (224, 224, 3), apply_kwargs={"train": False})
    last = {"resnet18": [1, 1, 1, 1], "resnet50": [2, 3, 5, 2]}[network]
    for stage, block in enumerate(last, start=1):
        assert numbers(table[f"output/block{stage}_{block}"]) == PUBLISHED[network, "torchvision", f"layer{stage}"]


def test_flaxmodels_vgg():
    """VGG-16 by hand: the field grows by 2 strides with every convolution, by one with every pool."""
    models = pytest.importorskip("flaxmodels")
    model = models.VGG16(output="activations", include_head=False, pretrained=None)
    table = jaxrf.trf(model, (224, 224, 3), apply_kwargs={"train": False})
    size, stride = 1, 1
    for stage, convolutions in enumerate([2, 2, 3, 3, 3], start=1):
        for k in range(1, convolutions + 1):
            size += 2 * stride
            assert numbers(table[f"output/relu{stage}_{k}"])[:2] == (size, stride)
        size, stride = size + stride, 2 * stride


def test_jax_models():
    """ConvMixer-512/12 of jax_models: patches of 7, and kernels of 8 on them, one per layer."""
    models = pytest.importorskip("jax_models")
    mixer = models.load_model("convmixer-512-12", attach_head=True, num_classes=10)
    table = jaxrf.trf(mixer, (224, 224, 3), apply_kwargs={"deterministic": True})
    for depth in (0, 2, 5):
        row = table[f"ConvMixerLayer_{depth}"]
        assert numbers(row)[:2] == (7 + 7 * 7 * (depth + 1), 7) and row.exact


def test_haiku():
    """A Haiku ResNet-18; its SAME padding misaligns every block that down-samples."""
    hk = pytest.importorskip("haiku")
    net = hk.transform_with_state(lambda x, train: hk.nets.ResNet18(10)(x, is_training=train))
    shapes = jax.eval_shape(lambda key: net.init(key, jnp.ones((1, 224, 224, 3)), True), jax.random.key(0))
    table = jaxrf.trf(net, (224, 224, 3), variables=shapes, apply_kwargs={"train": False})
    for group, (size, stride) in enumerate([(43, 4), (99, 8), (211, 16), (435, 32)]):
        row = table[f"res_net18/~/block_group_{group}"]
        assert numbers(row)[:2] == (size, stride) and row.exact and row.aligned == (group == 0)
    assert table[-1].global_axes == ("y", "x")


def positive(model: Any) -> Any:
    """The model with all its arrays made positive."""
    return jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.1 if isinstance(leaf, jax.Array) else leaf, model)


def test_equinox_convolutions():
    """Strided, dilated, transposed and pooled, channels first: boxes are the hulls of the Jacobian."""
    nn = pytest.importorskip("equinox.nn")
    keys = jax.random.split(jax.random.key(0), 4)
    net = positive(nn.Sequential([
        nn.Conv2d(2, 3, 3, 2, padding=1, key=keys[0]),
        nn.Lambda(jax.nn.softplus),
        nn.Conv2d(3, 4, 3, padding=2, dilation=2, groups=1, key=keys[1]),
        nn.ConvTranspose2d(4, 2, 3, 2, key=keys[2]),
        nn.AvgPool2d(3, 2),
        nn.Conv2d(2, 2, 2, padding="SAME", key=keys[3]),
    ]))  # fmt: skip
    check_support(jax.vmap(net), (2, 11, 9), spatial_axes=(2, 3))


def test_equinox_pooling_to_a_size():
    """Adaptive pooling to a size that does not divide: windows of two sizes."""
    nn = pytest.importorskip("equinox.nn")
    check_support(jax.vmap(nn.AdaptiveAvgPool2d((4, 3))), (2, 10, 7), spatial_axes=(2, 3))


def test_equinox_attention():
    """Attention sees all tokens; behind a mask those that it leaves: unit 4 sees 0 to 4."""
    nn = pytest.importorskip("equinox.nn")
    attention = nn.MultiheadAttention(2, 8, key=jax.random.key(0))
    free = jaxrf.trf(lambda x: jax.vmap(lambda a: attention(a, a, a))(x), (7, 8))[-1]
    mask = np.tri(7, dtype=bool)
    masked = jaxrf.trf(lambda x: jax.vmap(lambda a: attention(a, a, a, mask=mask))(x), (7, 8))[-1]
    assert free.exact and free.global_axes == ("x",)
    assert masked.exact and masked.box((4,), clip=True) == ((0, 5),)


@pytest.mark.slow
def test_keras_resnet():
    """Keras's ResNet-50 puts the stride into the first 1x1 convolution, which gives 483 instead of 427."""
    keras = pytest.importorskip("keras")
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(224, 224, 3))
    table = jaxrf.trf(model, (224, 224, 3))
    row = table[-1]
    assert len(table.rows) > 100 and numbers(table["conv1_conv"]) == (7, 2, 3)
    assert numbers(row) == (483, 32, 241) and row.exact and row.aligned


def test_keras_layers():
    """Padding, separable convolution, pooling, cropping and upsampling of Keras against the Jacobian."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential([
        layers.ZeroPadding2D(((1, 0), (2, 1))),
        layers.SeparableConv2D(3, 3, strides=2, depthwise_initializer="ones", pointwise_initializer="ones"),
        layers.AveragePooling2D(2, 1, padding="same"),
        layers.Conv2DTranspose(2, 3, strides=2, kernel_initializer="ones"),
        layers.Cropping2D(((1, 1), (0, 2))),
        layers.UpSampling2D(2, interpolation="bilinear"),
    ])  # fmt: skip
    model.build((None, 8, 9, 2))
    check_support(lambda x: model(x), (8, 9, 2))
