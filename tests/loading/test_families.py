"""Names of PyTorch's libraries become those of the zoo, and their arrays are laid out as Flax has them."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError
from jaxrf.loading.families import families

STATES = json.loads((Path(__file__).parents[1] / "data" / "state_dicts.json").read_text())["names"]
NETS = {
    "torchvision_resnet": zoo.resnet50,
    "timm_resnet": zoo.resnet50,
    "torchvision_mobilenet_v2": zoo.mobilenet_v2,
    "timm_mobilenet_v2": zoo.mobilenet_v2,
    "torchvision_convnext": zoo.convnext_tiny,
    "timm_convnext": zoo.convnext_tiny,
    "timm_vit": zoo.vit_small_16,
    "torchvision_vit": zoo.vit_small_16,
}


@pytest.mark.parametrize("family", list(families))
def test_names_of_a_family_are_all_of_the_networks(family):
    """The names and shapes of a real state_dict give all variables of the zoo's network, each array in one place."""
    state = {name: np.full(shape, i, np.int32) for i, (name, shape) in enumerate(STATES[family].items())}
    flat = families[family].converted(state, "the file")
    net = NETS[family](num_classes=1000)
    needed = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    paths = {tuple(k.key for k in path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(needed)[0]}
    assert set(flat) == set(paths)
    assert all(flat[path].size == np.prod(leaf.shape) for path, leaf in paths.items())
    used = np.unique(np.concatenate([np.unique(value) for value in flat.values()]))
    assert len(used) == len([name for name in state if "num_batches_tracked" not in name])


def test_kernels_are_laid_out_as_flax_has_them():
    """(out, in, y, x) becomes (y, x, in, out), and (out, in) becomes (in, out)."""
    state = {"conv1.weight": np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7), "fc.weight": np.arange(6).reshape(2, 3)}
    flat = families["timm_resnet"].converted(state, "the file")
    assert flat["params", "stem", "conv1", "conv", "kernel"][4, 6, 2, 1] == state["conv1.weight"][1, 2, 4, 6]
    assert flat["params", "head", "dense", "kernel"][2, 1] == state["fc.weight"][1, 2]
    with pytest.raises(InputError, match=r"not those of ConvNeXts of timm: conv1.weight, fc.weight. Choose the family"):
        families["timm_convnext"].converted(state, "the file")


@pytest.mark.slow
@pytest.mark.parametrize("family", list(families))
def test_outputs_are_those_of_torch(family, tmp_path):
    """Random weights, saved by torch and loaded into the zoo, give the same logits to 1e-5 of the largest."""
    torch = pytest.importorskip("torch")
    library, name = family.split("_", 1)
    names = {"resnet": "resnet50", "mobilenet_v2": "mobilenet_v2", "convnext": "convnext_tiny"}
    of_timm = {"resnet": "resnet50", "mobilenet_v2": "mobilenetv2_100", "convnext": "convnext_tiny"}
    if library == "timm":
        timm = pytest.importorskip("timm")
        theirs = timm.create_model(of_timm.get(name, "vit_small_patch16_224")).eval()
    elif name == "vit":
        theirs = pytest.importorskip("torchvision").models.VisionTransformer(224, 16, 12, 6, 384, 1536).eval()
        torch.nn.init.normal_(theirs.heads.head.weight)  # zeros otherwise
    else:
        theirs = getattr(pytest.importorskip("torchvision").models, names[name])().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        right = theirs(torch.tensor(x).permute(0, 3, 1, 2)).numpy()
    net = NETS[family](num_classes=1000)
    found = jaxrf.load_variables(tmp_path / "a.pth", family=family, model=net, input_shape=x.shape[1:])
    np.testing.assert_allclose(net.apply(found, x), right, atol=1e-5 * np.abs(right).max())
