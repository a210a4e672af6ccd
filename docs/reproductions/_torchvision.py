"""MobileNet-V2's weights in torchvision's file, as variables of the zoo's network.

Convolutions are taken in their order in the file, which is that of the network, and shapes are compared at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrf.errors import InputError

Arrays = Mapping[str, np.ndarray]


def layers(state: Arrays) -> Iterator[dict[str, np.ndarray]]:
    """Convolutions with their normalization, in the order of the network, as Flax names and lays out the arrays."""
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight") and state[name].ndim == 4]
    for name in names:
        head, _, last = name.rpartition(".")
        norm = f"{head}.{int(last) + 1}"
        yield {
            "kernel": state[f"{name}.weight"].transpose(2, 3, 1, 0),
            "scale": state[f"{norm}.weight"],
            "bias": state[f"{norm}.bias"],
            "mean": state[f"{norm}.running_mean"],
            "var": state[f"{norm}.running_var"],
        }


def converted(state: Arrays, abstract: Any) -> Any:
    """The variables of `zoo.mobilenet_v2(num_classes=1000)`.

    Raises:
        InputError: the file holds another network.
    """
    paths: list[tuple[str, ...]] = [("stem",)]
    for i in range(17):
        parts = ("expand", "depthwise", "project")[i == 0 :]
        paths += [(f"block_{i}", part) for part in parts]
    found = list(layers(state))
    if len(found) != len(paths) + 1 or "classifier.1.weight" not in state:
        raise InputError(
            f"The weights hold {len(found)} convolutions; a MobileNet-V2 of torchvision has {len(paths) + 1}."
        )
    params: dict[str, Any] = {}
    means: dict[str, Any] = {}
    for path, layer in zip([*paths, ("conv_last",)], found, strict=True):
        at, stat = params, means
        for name in path:
            at, stat = at.setdefault(name, {}), stat.setdefault(name, {})
        at["conv"] = {"kernel": layer["kernel"]}
        at["norm"] = {"scale": layer["scale"], "bias": layer["bias"]}
        stat["norm"] = {"mean": layer["mean"], "var": layer["var"]}
    params["head"] = {"dense": {"kernel": state["classifier.1.weight"].T, "bias": state["classifier.1.bias"]}}
    variables = {"params": params, "batch_stats": means}
    shapes = [jax.tree.map(np.shape, tree) for tree in (variables, abstract)]
    if shapes[0] != shapes[1]:
        raise InputError("The weights are not those of a MobileNet-V2 of width 1 with 1000 classes.")
    return variables


def read(file: Path, abstract: Any) -> Any:
    """The variables in a file of torchvision."""
    if not file.is_file():
        raise InputError(f"There are no weights at {file}.")
    try:
        import torch
    except ImportError as error:
        raise InputError("The file of weights is read by torch. Run: pip install torch") from error
    state = torch.load(file, map_location="cpu", weights_only=True)
    return converted({name: np.asarray(value) for name, value in state.items()}, abstract)
