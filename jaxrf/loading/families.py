"""Names of the arrays in files of PyTorch, by family of networks, as paths of the zoo's variables.

A family is a list of rules, tried in order: a pattern of a module's name, and the path of the module in the zoo.
What a module's arrays are called and how they lie follows from what they are: `weight` of four axes is a kernel
(out, in, y, x) that lies (y, x, in, out) in Flax, of two axes (out, in) one that lies (in, out), of one axis a scale.
One more family is one entry below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, listed
from jaxrf.loading.preprocessing import Preprocessing

Flat = dict[tuple[str, ...], np.ndarray]

ARRAYS = {"bias": ("params", "bias"), "running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var")}
NOT_NEEDED = ("num_batches_tracked", "relative_position_index")
OF_TORCHVISION = Preprocessing(crop=0.875)
"""Of most networks of torchvision: a side of 256, of which 224 are seen."""


@dataclass(frozen=True)
class Family:
    r"""Networks whose files have the same names.

    Attributes:
        rules: (pattern, path): a module's whole name, and its path in the zoo, in which `\1` and `{1+1}` stand for what
            the groups found, and for a number more than that.
        joined: the module, at the end of a path, whose kernel and bias hold those of several in the order of `parts`.
        parts: what takes the place of `joined`; the arrays of attention then get the shapes that Flax gives them.
        source: whose names these are.
        preprocessing: of photos for the weights that the library gives by default.
    """

    rules: tuple[tuple[str, str], ...]
    source: str
    joined: str = ""
    parts: tuple[str, ...] = ()
    preprocessing: Preprocessing = OF_TORCHVISION

    def converted(self, state: Mapping[str, np.ndarray], where: str) -> Flat:
        """The zoo's variables of a state_dict.

        Raises:
            InputError: some names are not those of the family.
        """
        found: Flat = {}
        strange = []
        for name, value in state.items():
            # PyTorch's own attention keeps two arrays that belong to no module.
            module, _, array = re.sub(r"\.in_proj_(weight|bias)$", r".in_proj.\1", name).rpartition(".")
            if array in NOT_NEEDED:
                continue
            path = self._path(module if array in ("weight", *ARRAYS) else name)
            if path is None:
                strange.append(name)
            elif array in ("weight", *ARRAYS):
                collection, leaf, laid_out = _laid_out(array, value)
                found |= self._split((collection, *path), leaf, laid_out)
            else:
                found["params", *path] = value.reshape(value.shape[:1]) if path[-1] == "scale" else value
        if strange:
            raise InputError(
                f"{where} has names that are not those of {self.source}: {listed(strange, 6)}. Choose the family it is of: "
                f"{', '.join(families)}."
            )
        return found

    def _split(self, path: tuple[str, ...], leaf: str, value: np.ndarray) -> Flat:
        if not self.joined or path[-1] != self.joined:
            return {(*path, leaf): value}
        values = np.split(value, len(self.parts), axis=-1)
        return {(*path[:-1], part, leaf): one for part, one in zip(self.parts, values, strict=True)}

    def _path(self, module: str) -> tuple[str, ...] | None:
        for pattern, path in self.rules:
            if match := re.fullmatch(pattern, module):
                filled = re.sub(r"\{(\d)\+(-?\d+)\}", lambda m: str(int(match[int(m[1])]) + int(m[2])), path)
                return tuple(match.expand(filled).split("/"))
        return None


families: Registry[Family] = Registry("family of checkpoints")


def _laid_out(array: str, value: np.ndarray) -> tuple[str, str, np.ndarray]:
    """Collection, name and layout in Flax of an array of a module."""
    if array != "weight":
        return *ARRAYS[array], value
    if value.ndim == 1:
        return "params", "scale", value
    return "params", "kernel", value.T if value.ndim == 2 else np.moveaxis(value, (0, 1), (-1, -2))


RESNET = (
    (r"conv1", "stem/conv1/conv"),
    (r"bn1", "stem/conv1/norm"),
    (r"layer(\d)\.(\d+)\.conv(\d)", r"layer\1/block_\2/conv\3/conv"),
    (r"layer(\d)\.(\d+)\.bn(\d)", r"layer\1/block_\2/conv\3/norm"),
    (r"layer(\d)\.(\d+)\.downsample\.0", r"layer\1/block_\2/downsample/conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", r"layer\1/block_\2/downsample/norm"),
    (r"fc", "head/dense"),
)
families.register("torchvision_resnet")(Family(RESNET, "ResNets of torchvision"))
families.register("timm_resnet")(
    Family(RESNET, "ResNets of timm", preprocessing=Preprocessing(crop=0.95, bicubic=True))
)
families.register("torchvision_mobilenet_v2")(
    Family(
        (
            (r"features\.0\.0", "stem/conv"),
            (r"features\.0\.1", "stem/norm"),
            (r"features\.1\.conv\.0\.0", "block_0/depthwise/conv"),
            (r"features\.1\.conv\.0\.1", "block_0/depthwise/norm"),
            (r"features\.1\.conv\.1", "block_0/project/conv"),
            (r"features\.1\.conv\.2", "block_0/project/norm"),
            (r"features\.18\.0", "conv_last/conv"),
            (r"features\.18\.1", "conv_last/norm"),
            (r"features\.(\d+)\.conv\.0\.0", r"block_{1+-1}/expand/conv"),
            (r"features\.(\d+)\.conv\.0\.1", r"block_{1+-1}/expand/norm"),
            (r"features\.(\d+)\.conv\.1\.0", r"block_{1+-1}/depthwise/conv"),
            (r"features\.(\d+)\.conv\.1\.1", r"block_{1+-1}/depthwise/norm"),
            (r"features\.(\d+)\.conv\.2", r"block_{1+-1}/project/conv"),
            (r"features\.(\d+)\.conv\.3", r"block_{1+-1}/project/norm"),
            (r"classifier\.1", "head/dense"),
        ),
        "MobileNet-V2 of torchvision",
    )
)
STARTS = (0, 1, 3, 6, 10, 13, 16)
"""Numbers of the first blocks of each stage of MobileNet-V2."""

families.register("timm_mobilenet_v2")(
    Family(
        (
            (r"conv_stem", "stem/conv"),
            (r"bn1", "stem/norm"),
            (r"blocks\.0\.0\.conv_dw", "block_0/depthwise/conv"),
            (r"blocks\.0\.0\.bn1", "block_0/depthwise/norm"),
            (r"blocks\.0\.0\.conv_pw", "block_0/project/conv"),
            (r"blocks\.0\.0\.bn2", "block_0/project/norm"),
            (r"conv_head", "conv_last/conv"),
            (r"bn2", "conv_last/norm"),
            (r"classifier", "head/dense"),
            *(
                (rf"blocks\.{stage}\.(\d+)\.{theirs}", f"block_{{1+{STARTS[stage]}}}/{ours}")
                for stage in range(1, 7)
                for theirs, ours in (
                    ("conv_pw", "expand/conv"),
                    ("bn1", "expand/norm"),
                    ("conv_dw", "depthwise/conv"),
                    ("bn2", "depthwise/norm"),
                    ("conv_pwl", "project/conv"),
                    ("bn3", "project/norm"),
                )
            ),
        ),
        "MobileNet-V2 of timm",
        preprocessing=Preprocessing(crop=0.875, bicubic=True),
    )
)
families.register("torchvision_convnext")(
    Family(
        (
            (r"features\.0\.0", "stem/conv"),
            (r"features\.0\.1", "stem/norm"),
            (r"classifier\.0", "head/norm"),
            (r"classifier\.2", "head/dense"),
            *(
                (rf"features\.{2 * stage - within}\.{theirs}", f"stage{stage}/{ours}")
                for stage in range(1, 5)
                for within, theirs, ours in (
                    (2, r"0", "downsample/norm"),
                    (2, r"1", "downsample/conv"),
                    (1, r"(\d+)\.block\.0", r"block_\1/depthwise"),
                    (1, r"(\d+)\.block\.2", r"block_\1/norm"),
                    (1, r"(\d+)\.block\.3", r"block_\1/expand"),
                    (1, r"(\d+)\.block\.5", r"block_\1/project"),
                    (1, r"(\d+)\.layer_scale", r"block_\1/scale"),
                )
            ),
        ),
        "ConvNeXts of torchvision",
        preprocessing=Preprocessing(crop=224 / 236),
    )
)
families.register("timm_convnext")(
    Family(
        (
            (r"stem\.0", "stem/conv"),
            (r"stem\.1", "stem/norm"),
            (r"stages\.(\d)\.downsample\.0", r"stage{1+1}/downsample/norm"),
            (r"stages\.(\d)\.downsample\.1", r"stage{1+1}/downsample/conv"),
            (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw", r"stage{1+1}/block_\2/depthwise"),
            (r"stages\.(\d)\.blocks\.(\d+)\.norm", r"stage{1+1}/block_\2/norm"),
            (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc1", r"stage{1+1}/block_\2/expand"),
            (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc2", r"stage{1+1}/block_\2/project"),
            (r"stages\.(\d)\.blocks\.(\d+)\.gamma", r"stage{1+1}/block_\2/scale"),
            (r"head\.norm", "head/norm"),
            (r"head\.fc", "head/dense"),
        ),
        "ConvNeXts of timm",
        preprocessing=Preprocessing(crop=0.95, bicubic=True),
    )
)
families.register("timm_vit")(
    Family(
        (
            (r"cls_token", "tokens/class_token"),
            (r"pos_embed", "tokens/position"),
            (r"patch_embed\.proj", "patch_embed"),
            (r"blocks\.(\d+)\.attn\.qkv", r"block_\1/attention/qkv"),
            (r"blocks\.(\d+)\.attn\.proj", r"block_\1/attention/out"),
            (r"blocks\.(\d+)\.norm(\d)", r"block_\1/norm\2"),
            (r"blocks\.(\d+)\.mlp\.fc1", r"block_\1/expand"),
            (r"blocks\.(\d+)\.mlp\.fc2", r"block_\1/project"),
            (r"norm", "norm"),
            (r"head", "head"),
        ),
        "ViTs of timm",
        joined="qkv",
        parts=("query", "key", "value"),
        preprocessing=Preprocessing(crop=0.9, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), bicubic=True),
    )
)
families.register("torchvision_vit")(
    Family(
        (
            (r"class_token", "tokens/class_token"),
            (r"encoder\.pos_embedding", "tokens/position"),
            (r"conv_proj", "patch_embed"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj", r"block_\1/attention/qkv"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj", r"block_\1/attention/out"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.ln_(\d)", r"block_\1/norm\2"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.0", r"block_\1/expand"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.3", r"block_\1/project"),
            (r"encoder\.ln", "norm"),
            (r"heads\.head", "head"),
        ),
        "ViTs of torchvision",
        joined="qkv",
        parts=("query", "key", "value"),
    )
)
