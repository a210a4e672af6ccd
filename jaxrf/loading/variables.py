"""A model's variables from a checkpoint, checked against the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from jaxrf.adapters import adapt
from jaxrf.errors import InputError
from jaxrf.loading.checkpoints import read_variables


def load_variables(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    input_shape: Sequence[int] | None = None,
    family: str | None = None,
    step: int | None = None,
    average: bool = False,
    **call: Any,
) -> dict[str, Any]:
    """A model's variables from a checkpoint, as a dict of collections of NumPy arrays.

    Reads Orbax folders (one checkpoint, or one with a folder for each step), flax `.msgpack`, `.npz` with names such as
    `params/conv/kernel`, `.safetensors`, and PyTorch state_dicts. Nothing that a file brings along is run. Training states
    give their parameters and statistics, and no optimizer; NNX states the values of their leaves. Half precision is kept
    as it is saved; with `model`, types become the model's.

    Args:
        path: of the checkpoint.
        model: whose variables they are: names and shapes are compared, and all that differs is listed.
        input_shape: of one image of the model; needed with `model`.
        family: whose names the arrays of a state_dict have, "torchvision_resnet", "timm_resnet", "torchvision_mobilenet_v2",
            "timm_mobilenet_v2", "torchvision_convnext", "timm_convnext" or "timm_vit": they become those of the zoo's network
            of that kind, with the number of classes of the file.
        step: of a folder with several; None for the newest that is complete.
        average: take the running average of the parameters (such as `ema_params`) in their place.
        **call: how the model is called: `method`, `apply_kwargs`, `args`, `spatial_axes`, `dtype`, as for `trf`.

    Raises:
        InputError: nothing is there, it is of no known kind or damaged, has no such step, is of another family, or not
            of this model.
        UnknownNameError: there is no such family.

    Example:
        >>> import jaxrf, os, tempfile
        >>> import numpy as np
        >>> file = os.path.join(tempfile.mkdtemp(), "weights.npz")
        >>> np.savez(file, **{"params/conv/kernel": np.ones((3, 3, 1, 2))})
        >>> jaxrf.load_variables(file)["params"]["conv"]["kernel"].shape
        (3, 3, 1, 2)
    """
    if (model is None) != (input_shape is None):
        raise InputError("The shapes of a model's variables follow from it and its input. Pass model and input_shape.")
    if family is not None and model is None:
        raise InputError(
            f"family={family!r} turns names into those of a network of the zoo. Pass it: model=zoo.resnet50()."
        )
    like = None
    if model is not None:
        assert input_shape is not None
        like = adapt(model, input_shape, **call).abstract
    return read_variables(path, like=like, family=family, step=step, average=average)
