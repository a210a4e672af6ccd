"""The zoo as a list: names, what an entry says of itself, and what is said of options and extents that do not fit."""

from __future__ import annotations

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxrf import zoo
from jaxrf.errors import InputError, UnknownNameError


def test_names_are_loaded_when_asked_for():
    """Importing the zoo loads no jax; its constructors are its attributes and are listed."""
    code = "import sys, jaxrf.zoo; assert not {'jax', 'flax'} & set(sys.modules); assert 'resnet50' in dir(jaxrf.zoo)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert zoo.resnet50 is zoo.models["resnet50"]
    assert zoo.resnet50.input_shape == (224, 224, 3)


@pytest.mark.parametrize("name", zoo.models)
def test_entries_are_documented(name):
    """Each entry names its source and describes each option in the docstring of its constructor."""
    entry = zoo.models[name]
    doc = inspect.getdoc(getattr(entry.build, "func", entry.build))
    assert entry.source
    assert "Source:" in doc
    assert "Example:" in doc
    for option in entry.options:
        assert f"    {option}: " in doc


def test_unknown_names_suggest_the_nearest():
    """A name that is not in the zoo is an error with the nearest one, from the registry and as an attribute."""
    with pytest.raises(UnknownNameError, match=r"Unknown zoo model 'resnet5O'.*Did you mean 'resnet50'"):
        zoo.models["resnet5O"]
    with pytest.raises(AttributeError, match=r"Did you mean 'resnet50'"):
        zoo.resnet5O  # noqa: B018


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet50", {"stages": 5}, r"stages=5 is not known. Use one of: 1, 2, 3, 4"),
        ("resnet50", {"padding": "same"}, r"padding='same' is not known. Use one of: 'symmetric', 'SAME'"),
        ("resnet18", {"width": 0}, r"width=0 does not fit. It must be an integer of at least 1\."),
        ("inception_v3", {"separable": False}, r"separable=False is not known. Use one of: True"),
        ("resnet18", {"dept": 3}, r"'resnet' has no option 'dept'. Its options are: stages, width"),
        ("resnet18_nnx", {"stages": 0}, r"stages=0 is not known"),
        ("inception_resnet_v2", {"padding": "same"}, r"padding='same' is not known. Use one of: 'VALID', 'SAME'"),
        ("convnext_tiny", {"stages": 5}, r"stages=5 is not known"),
        ("vit_small_16", {"width": 100, "heads": 3}, r"width=100 does not split evenly among heads=3"),
        ("unet", {"up": "cubic"}, r"up='cubic' is not known. Use one of: 'transposed', 'nearest', 'bilinear'"),
        ("unet", {"pool": 0}, r"pool=0 does not fit"),
        ("conv_stack", {"activation": "rely"}, r"activation='rely' is not known. Use one of: 'linear', 'relu'"),
        ("conv_stack", {"padding": "ZERO"}, r"padding='ZERO' is not known"),
        ("conv_stack", {"padding": "CAUSAL"}, r"is defined on one spatial axis, not on 2. Use rank=1"),
        ("conv_stack", {"rank": 4}, r"rank=4 is not known. Use one of: 1, 2, 3"),
        ("conv_stack", {"kernel": (3, 3, 3)}, r"kernel=\(3, 3, 3\) does not fit. .* 2: one per spatial axis"),
        ("conv_stack", {"kernel": 0}, r"kernel=0 does not fit"),
        ("conv_stack", {"depth": 2, "dilation": (1, 2, 4)}, r"dilation=\(1, 2, 4\) does not fit. .* 2: one per layer"),
        ("conv_stack", {"skip": True, "stride": 2}, r"skip=True needs layers that keep their size"),
        ("conv_stack_nnx", {"in_features": 0}, r"in_features=0 does not fit"),
        ("resnext50_32x4d", {"dilated": 5}, r"dilated=5 is not known. Use one of: 0, 1, 2, 3"),
        ("resnet18", {"dilated": 1}, r"dilated=1 is not known. Use one of: 0"),
        ("densenet121", {"growth": 0}, r"growth=0 does not fit"),
        ("swin_tiny", {"width": 100}, r"width=100 does not split evenly among heads=3"),
        (
            "maxvit_tiny",
            {"head_width": 48},
            r"widths=\(64, 128, 256, 512\) has 64, which is not a multiple of head_width=48",
        ),
        ("resnet50_fpn", {"level": 6}, r"level=6 is not known. Use one of: 2, 3, 4, 5"),
        ("wavenet", {"stacks": 0}, r"stacks=0 does not fit"),
        ("tcn", {"levels": 0}, r"levels=0 does not fit"),
    ],
)
def test_wrong_options_are_explained(name, options, message):
    """An option that is unknown or does not fit raises when the model is built, and says what is needed."""
    with pytest.raises(InputError, match=message):
        zoo.models[name](**options)


@pytest.mark.parametrize("classes", [0, 1.5, "ten"])
def test_every_classifier_has_a_whole_number_of_classes(classes):
    """Each constructor with `num_classes` says what is needed of it."""
    entries = [name for name, entry in zoo.models.items() if "num_classes" in entry.options]
    assert len(entries) > 40
    for name in entries:
        with pytest.raises(InputError, match=rf"num_classes={classes!r} does not fit. .* at least 1 or None"):
            zoo.models[name](num_classes=classes)


@pytest.mark.parametrize(
    ("name", "extent", "message"),
    [
        ("unet", (8, 12), r"depth 3 with pool=2 cannot take an input of \(8, 12\) positions. .* multiple of 8"),
        ("vit_small_16", (32, 40), r"patch 16 cannot take an input of \(32, 40\) positions. .* multiple of 16"),
        (
            "swin_tiny",
            (64, 64),
            r"map of \(16, 16\) positions is not a whole number of windows of 7x7. .* multiple of 28",
        ),
        ("unet_3d", (64, 64, 64), r"3-D U-Net of depth 3 cannot take an input of \(64, 64, 64\)"),
        ("unet_3d", (68, 68, 68), r"3-D U-Net of depth 3"),
    ],
)
def test_extents_that_do_not_divide_are_explained(name, extent, message):
    """An input that a network cannot halve or cut evenly raises and says which multiple is needed."""
    with pytest.raises(InputError, match=message):
        jax.eval_shape(zoo.models[name]().init, jax.random.key(0), jnp.zeros((1, *extent, 3)))
