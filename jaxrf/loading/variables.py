"""A model's variables from a checkpoint, checked against the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax

from jaxrf.adapters import Subject, adapt
from jaxrf.adapters.tap import recording
from jaxrf.errors import InputError, unknown
from jaxrf.loading.checkpoints import read_variables

MATCHES = ("names", "order")


def load_variables(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    input_shape: Sequence[int] | None = None,
    family: str | None = None,
    step: int | None = None,
    average: bool = False,
    match: str = "names",
    **call: Any,
) -> Any:
    """A model's variables from a checkpoint: a dict of collections of NumPy arrays, or with `model` a tree like its own.

    Reads Orbax folders (one checkpoint, or one with a folder for each step), flax `.msgpack`, `.npz` with names such as
    `params/conv/kernel`, `.safetensors`, and PyTorch state_dicts, each on this machine or at a URL that fsspec opens (`gs://`
    with gcsfs, `s3://` with s3fs). Nothing that a file brings along is run. Training states give their parameters and
    statistics, and no optimizer; NNX states the values of their leaves. Half precision is kept as it is saved; with `model`,
    types become the model's, which a warning says.

    Args:
        path: of the checkpoint, or its URL.
        model: whose variables they are: names and shapes are compared, and all that differs is listed.
        input_shape: of one image of the model; needed with `model`.
        family: whose names the arrays of a state_dict have, "torchvision_resnet", "timm_resnet", "torchvision_mobilenet_v2",
            "timm_mobilenet_v2", "torchvision_convnext", "timm_convnext", "torchvision_vit" or "timm_vit": they become those
            of the zoo's network of that kind, with the number of classes of the file.
        step: of a folder with several; None for the newest that is complete.
        average: take the running average of the parameters (such as `ema_params`) in their place.
        match: "names", or "order": the first array of a kind (kernel, bias, scale, mean, variance) and shape becomes the first
            variable of that kind and shape, in the order in which the model calls its modules. A warning,
            `MatchedByOrder`, prints the table; look at it, for nothing else says whether it is right.
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
    if match not in MATCHES:
        raise unknown("way to match", match, MATCHES)
    if match == "order" and (model is None or family is not None):
        raise InputError('match="order" compares a file with a model, without names. Pass model, and no family.')
    like = order = None
    if model is not None:
        assert input_shape is not None
        subject = adapt(model, input_shape, **call)
        like = subject.abstract
        order = _called(subject) if match == "order" else None
    return read_variables(path, like=like, family=family, step=step, average=average, order=order)


def _called(subject: Subject) -> list[str]:
    """The modules of a model in the order in which their first calls end, as their variables name them."""
    with recording() as record:
        jax.eval_shape(lambda variables, images: subject.fn(variables, images), subject.abstract, subject.images())
    return [name.replace(".", "/") for name in record.taps]
