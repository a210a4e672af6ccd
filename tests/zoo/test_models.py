"""Every model of the zoo: its parameters and its shapes. Shapes only; nothing is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrf import zoo
from tests.marks import mostly_slow

# Parameters with 1000 classes, trained ones only, from the model pages of torchvision, timm and Keras.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet152": 60_192_808,
    "resnet18_nnx": 11_689_512,
    "mobilenet_v2": 3_504_872,
    "convnext_tiny": 28_589_128,
    "vit_small_16": 22_050_664,
    "vgg_a": 132_863_336,
    "vgg_16": 138_357_544,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_075": 2_585_560,
    "inception_v3": 23_817_352,
    "inception_resnet_v2": 55_813_192,
    "resnet_v1_50": 25_557_032,
    "resnet_v1_200": 64_673_832,
    "resnet_v2_50": 25_568_360,
    "resnet_v2_101": 44_577_896,
    "resnet_v2_152": 60_236_904,
    "resnext50_32x4d": 25_028_904,
    "wide_resnet50_2": 68_883_240,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b4": 19_341_616,
    "efficientnet_v2_s": 21_458_488,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "regnet_y_400mf": 4_344_144,
    "regnet_y_800mf": 6_432_512,
    "regnet_y_3_2gf": 19_436_338,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "poolformer_s12": 11_915_176,
    "poolformer_s24": 21_388_968,
    "swin_tiny": 28_288_354,
    "swin_small": 49_606_258,
    "maxvit_tiny": 30_919_624,
    "deit_tiny": 5_717_416,
    "deit_small": 22_050_664,
    "deit_base": 86_567_656,
    "mixer_s16": 18_528_264,
    "mixer_b16": 59_880_472,
    "hrnet_w18": 21_299_004,
    "hrnet_w32": 41_232_680,
}

# Millions of them, rounded, where papers give no more digits.
ROUNDED = {
    "inception_next_tiny": (28.1, 1),  # arXiv:2303.16900, table 2
    "van_b0": (4.1, 1),  # arXiv:2202.09741, table 6
    "van_b1": (13.9, 1),
    "van_b2": (26.6, 1),
}

OFTEN = {
    "alexnet_v2", "vgg_a", "vgg_16", "inception_v2", "mobilenet_v1", "mobilenet_v1_075", "mobilenet_v2", "resnet18",
    "resnet18_nnx", "resnet34", "resnet50", "resnet_v1_50", "resnet_v2_50", "convnext_tiny", "vit_small_16", "unet",
    "conv_stack", "conv_stack_nnx", "vgg11", "mixer_s16", "poolformer_s12", "swin_tiny", "deit_tiny", "van_b1",
    "wavenet", "tcn", "unet_3d", "inception_next_tiny", "mobilenet_v3_small", "esrgan",
}  # fmt: skip
"""Networks whose shapes every run of the tests computes; those of the others are among the slow tests."""

# (*spatial, features) of the last map for the usual input.
MAPS = {
    "alexnet_v2": (5, 5, 256),
    "vgg_a": (7, 7, 512),
    "vgg_16": (7, 7, 512),
    "inception_v2": (7, 7, 1024),
    "inception_v3": (8, 8, 2048),
    "inception_v4": (8, 8, 1536),
    "inception_resnet_v2": (8, 8, 1536),
    "mobilenet_v1": (7, 7, 1024),
    "mobilenet_v1_075": (7, 7, 768),
    "mobilenet_v2": (7, 7, 1280),
    "resnet18": (7, 7, 512),
    "resnet18_nnx": (7, 7, 512),
    "resnet34": (7, 7, 512),
    "resnet50": (7, 7, 2048),
    "resnet101": (7, 7, 2048),
    "resnet152": (7, 7, 2048),
    "resnet_v1_50": (7, 7, 2048),
    "resnet_v1_101": (7, 7, 2048),
    "resnet_v1_152": (7, 7, 2048),
    "resnet_v1_200": (7, 7, 2048),
    "resnet_v2_50": (7, 7, 2048),
    "resnet_v2_101": (7, 7, 2048),
    "resnet_v2_152": (7, 7, 2048),
    "resnet_v2_200": (7, 7, 2048),
    "convnext_tiny": (7, 7, 768),
    "vit_small_16": (14, 14, 384),
    "unet": (64, 64, 1),
    "esrgan": (256, 256, 3),
    "conv_stack": (64, 64, 32),
    "conv_stack_nnx": (64, 64, 32),
    "resnext50_32x4d": (7, 7, 2048),
    "wide_resnet50_2": (7, 7, 2048),
    "vgg11": (7, 7, 512),
    "vgg13": (7, 7, 512),
    "vgg16": (7, 7, 512),
    "vgg19": (7, 7, 512),
    "densenet121": (7, 7, 1024),
    "densenet169": (7, 7, 1664),
    "densenet201": (7, 7, 1920),
    "efficientnet_b0": (7, 7, 1280),
    "mobilenet_v3_large": (7, 7, 960),
    "mobilenet_v3_small": (7, 7, 576),
    "regnet_y_400mf": (7, 7, 440),
    "regnet_y_800mf": (7, 7, 784),
    "regnet_y_3_2gf": (7, 7, 1512),
    "convnext_small": (7, 7, 768),
    "convnext_base": (7, 7, 1024),
    "replknet_31b": (7, 7, 1024),
    "replknet_13b": (7, 7, 1024),
    "slak_tiny": (7, 7, 998),
    "inception_next_tiny": (7, 7, 768),
    "poolformer_s12": (7, 7, 512),
    "poolformer_s24": (7, 7, 512),
    "swin_tiny": (7, 7, 768),
    "swin_small": (7, 7, 768),
    "maxvit_tiny": (7, 7, 512),
    "van_b0": (7, 7, 256),
    "van_b1": (7, 7, 512),
    "van_b2": (7, 7, 512),
    "efficientnet_b4": (12, 12, 1792),
    "efficientnet_v2_s": (12, 12, 1280),
    "deit_tiny": (14, 14, 192),
    "deit_small": (14, 14, 384),
    "deit_base": (14, 14, 768),
    "mixer_s16": (14, 14, 512),
    "mixer_b16": (14, 14, 768),
    "hrnet_w18": (56, 56, 18),
    "hrnet_w32": (56, 56, 32),
    "deeplab_v3": (65, 65, 21),
    "resnet50_fpn": (56, 56, 256),
    "wavenet": (4096, 256),
    "tcn": (4096, 10),
    "unet_3d": (44, 44, 28, 3),
}


@dataclass(frozen=True)
class Shapes:
    """What a model does with a batch of two of its usual images: shapes of the parameters, the rest, the output."""

    params: Any
    others: dict[str, Any]
    out: jax.ShapeDtypeStruct
    calls: tuple[tuple[str, str], ...]


@cache
def shapes(name: str, **options) -> Shapes:
    """The shapes of a model of the zoo, and the path and method of each call of a Linen module, by end of call."""
    entry = zoo.models[name]
    image = jax.ShapeDtypeStruct((2, *entry.input_shape), jnp.float32)
    if name.endswith("_nnx"):
        graph, state = nnx.split(nnx.eval_shape(lambda: entry(**options)))
        out = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, image)
        return Shapes(nnx.filter_state(state, nnx.Param), {}, out, ())
    calls = []

    def note(call, args, kwargs, context):
        out = call(*args, **kwargs)
        calls.append(("/".join(context.module.path), context.method_name))
        return out

    with nn.intercept_methods(note):
        out, variables = jax.eval_shape(entry(**options).init_with_output, jax.random.key(0), image)
    return Shapes(variables.pop("params"), variables, out, tuple(calls))


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, OFTEN))
def test_parameters_are_as_many_as_published(name):
    """With a classifier of 1000 classes the number of parameters is the published one, and so is the output."""
    model = shapes(name, num_classes=1000)
    assert count(model.params) == PUBLISHED[name]
    assert model.out.shape == (2, 1000)


@pytest.mark.parametrize("name", mostly_slow(ROUNDED, {"inception_next_tiny"}))
def test_parameters_are_as_many_as_published_when_rounded(name):
    """With a classifier of 1000 classes the number of parameters is the one that the paper rounds."""
    millions, digits = ROUNDED[name]
    model = shapes(name, num_classes=1000)
    assert round(count(model.params) / 1e6, digits) == millions
    assert model.out.shape == (2, 1000)


@pytest.mark.slow
def test_replknet_has_the_published_parameters():
    """79 million at the kernels 31, 29, 27, 13 without the small ones; what kernels add is their area."""
    sizes = {31: (31, 29, 27, 13), 13: (13, 13, 13, 13)}
    counts = {k: count(shapes("replknet_31b", num_classes=1000, small=None, kernels=sizes[k]).params) for k in sizes}
    assert counts[31] // 10**6 == 79  # arXiv:2203.06717, table 5
    features = zip((128, 256, 512, 1024), (2, 2, 18, 2), sizes[31], strict=True)
    assert counts[31] - counts[13] == sum(wide * deep * (k**2 - 13**2) for wide, deep, k in features)


@pytest.mark.slow
def test_slak_has_the_published_parameters_where_it_is_dense():
    """Three fifths of SLaK-T's weights are the 30 million that the paper keeps (table 1)."""
    assert round(0.6 * count(shapes("slak_tiny", num_classes=1000).params) / 1e6) == 30


def test_the_3d_unet_has_the_published_parameters():
    """The 19,069,955 parameters of section 3, without those of batch normalization."""
    assert count(shapes("unet_3d", norm=False).params) == 19_069_955


@pytest.mark.slow
def test_deeplab_has_the_published_parameters():
    """Torchvision's 42,004,074 without the auxiliary head that only training uses: a 3x3 to 256 and a 1x1 to 21."""
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    assert count(shapes("deeplab_v3").params) == 42_004_074 - auxiliary


@pytest.mark.slow
def test_feature_pyramids_have_the_parameters_of_their_parts():
    """A ResNet-50 without its classifier, and a 1x1 and a 3x3 convolution of 256 features for each of four maps."""
    backbone = PUBLISHED["resnet50"] - 2049 * 1000
    pyramid = sum(wide * 256 + 256 + 9 * 256 * 256 + 256 for wide in (256, 512, 1024, 2048))
    assert count(shapes("resnet50_fpn").params) == backbone + pyramid


def test_causal_networks_have_the_parameters_of_their_parts():
    """A TCN of eight levels of 25 features: two kernels of 7 each. It is the one of 70K in table 1 of its paper."""
    kernels = 7 * 25 + 15 * 7 * 25 * 25 + 16 * 25
    assert count(shapes("tcn").params) == kernels + (25 + 25) + (25 * 10 + 10)
    layer = 2 * 32 * 64 + 64 + 32 * 32 + 32 + 32 * 256 + 256
    assert count(shapes("wavenet").params) == 2 * 32 + 32 + 30 * layer + 2 * (256 * 256 + 256)


def test_inception_v4_has_the_published_parameters_but_for_scales():
    """The published count of Inception-V4 has one scale per normalized feature, which TF-Slim leaves out."""
    model = shapes("inception_v4", num_classes=1000)
    normalized = count(model.others["batch_stats"]) // 2
    assert count(model.params) + normalized == 42_679_816


def test_alexnet_has_the_parameters_of_its_layers():
    """AlexNet-V2: five convolutions and three full connections on a map of 5 by 5."""
    convolutions = [(121, 3, 64), (25, 64, 192), (9, 192, 384), (9, 384, 384), (9, 384, 256)]
    full = [(25, 256, 4096), (1, 4096, 4096), (1, 4096, 1000)]
    model = shapes("alexnet_v2", num_classes=1000)
    assert count(model.params) == sum(k * a * b + b for k, a, b in convolutions + full)
    assert model.out.shape == (2, 1000)


def test_the_generator_of_esrgan_has_the_published_parameters():
    """16,697,987 in the published weights of 23 blocks, for three channels and a factor of four."""
    assert count(shapes("esrgan").params) == 16_697_987


def test_unet_has_the_published_parameters():
    """Depth 4, width 64, one channel: the 31,030,593 parameters of the original with padding and one output."""
    model = zoo.unet(depth=4, width=64)
    assert count(jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 32, 1)))) == 31_030_593


@pytest.mark.parametrize("name", mostly_slow(zoo.models, OFTEN))
def test_models_give_their_last_map(name):
    """Without classes every model of the registry returns its last map."""
    out = shapes(name).out
    assert out.shape == (2, *MAPS[name])
    assert out.dtype == jnp.float32


@pytest.mark.parametrize("name", mostly_slow([name for name in zoo.models if not name.endswith("_nnx")], OFTEN))
def test_each_path_is_called_once(name):
    """Only whole modules are called, each once under a path of its own, the network itself last."""
    calls = shapes(name).calls
    assert {method for _, method in calls} == {"__call__"}
    paths = [path for path, _ in calls]
    assert len(paths) == len(set(paths)) > 1
    assert paths[-1] == ""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v1", "resnet_v2_50", "inception_v2"])
def test_train_mode_uses_the_batch(name):
    """With train=True every batch normalization of each family updates its averages."""
    entry, known = zoo.models[name], shapes(name)
    image = jax.ShapeDtypeStruct((2, *entry.input_shape), jnp.float32)
    variables = {"params": known.params, **known.others}
    _, updates = jax.eval_shape(partial(entry().apply, train=True, mutable=["batch_stats"]), variables, image)
    assert jax.tree.structure(updates["batch_stats"]) == jax.tree.structure(known.others["batch_stats"])


@pytest.mark.parametrize(
    ("rank", "extent", "padding", "expected"),
    [
        (1, (17,), "CAUSAL", (17,)),
        (1, (17,), "VALID", (13,)),
        (2, (11, 8), "CIRCULAR", (11, 8)),
        (2, (11, 8), "REFLECT", (11, 8)),
        (3, (9, 7, 6), "VALID", (5, 3, 2)),
    ],
)
@pytest.mark.parametrize("flavor", ["conv_stack", "conv_stack_nnx"])
def test_stacks_on_one_two_and_three_axes(flavor, rank, extent, padding, expected):
    """A stack of two layers on any number of axes and with any padding."""
    options = {"depth": 2, "width": 4, "rank": rank, "padding": padding}
    image = jax.ShapeDtypeStruct((1, *extent, 3), jnp.float32)
    if flavor == "conv_stack":
        out, _ = jax.eval_shape(zoo.conv_stack(**options).init_with_output, jax.random.key(0), image)
    else:
        out = jax.eval_shape(lambda x: zoo.conv_stack_nnx(**options)(x), image)
    assert out.shape == (1, *expected, 4)


@pytest.mark.parametrize("up", ["transposed", "nearest", "bilinear"])
@pytest.mark.parametrize(("pool", "extent"), [(1, (5,)), (2, (8, 12)), (3, (9, 18, 9))])
def test_unets_keep_their_extent(up, pool, extent):
    """A U-Net returns a map as large as its input, on any axes; `channels=None` leaves out the head."""
    model = zoo.unet(depth=2, width=2, up=up, pool=pool, channels=None)
    image = jax.ShapeDtypeStruct((1, *extent, 3), jnp.float32)
    out, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    assert out.shape == (1, *extent, 2)
    assert "head" not in variables["params"]


@pytest.mark.parametrize(("stages", "expected"), [(1, (10, 6, 8)), (2, (5, 3, 16)), (3, (3, 2, 32))])
@pytest.mark.parametrize("flavor", ["resnet18", "resnet18_nnx"])
def test_resnets_of_fewer_stages(flavor, stages, expected):
    """`stages` cuts a ResNet off and `width` scales it."""
    image = jax.ShapeDtypeStruct((1, 40, 23, 3), jnp.float32)
    if flavor == "resnet18":
        out, _ = jax.eval_shape(zoo.resnet18(stages=stages, width=8).init_with_output, jax.random.key(0), image)
    else:
        out = jax.eval_shape(lambda x: zoo.resnet18_nnx(stages=stages, width=8)(x), image)
    assert out.shape == (1, *expected)


def test_skips_are_added():
    """A stack with skips and zero kernels is the identity after its first layer."""
    model = zoo.conv_stack(depth=3, width=2, skip=True, kernel_init=nn.initializers.zeros)
    image = jnp.arange(70.0).reshape(1, 5, 7, 2)
    out, _ = model.init_with_output(jax.random.key(0), image)
    assert jnp.array_equal(out, image)


@pytest.mark.parametrize(
    ("name", "options"),
    [("conv_stack", {"depth": 2, "width": 4, "activation": "tanh"}), ("resnet18", {"stages": 2, "width": 4})],
)
def test_nnx_and_linen_agree(name, options):
    """With the parameters and averages of the NNX model, the Linen sibling gives the same map: layer names agree."""
    draw = np.random.default_rng(0)
    graph, state = nnx.split(nnx.eval_shape(lambda: zoo.models[f"{name}_nnx"](**options)))
    state = jax.tree.map(lambda leaf: jnp.asarray(draw.uniform(0.1, 0.3, leaf.shape), leaf.dtype), state)
    kinds = {"params": nnx.Param, "batch_stats": nnx.BatchStat}
    variables = {key: nnx.to_pure_dict(nnx.filter_state(state, kind)) for key, kind in kinds.items()}
    image = jnp.asarray(draw.normal(size=(1, 20, 13, 3)), jnp.float32)
    linen_map = jax.jit(zoo.models[name](**options).apply)(variables, image)
    nnx_map = jax.jit(lambda state, image: nnx.merge(graph, state)(image))(state, image)
    assert jnp.abs(linen_map).max() > 0.1
    assert jnp.allclose(linen_map, nnx_map, rtol=1e-5)
