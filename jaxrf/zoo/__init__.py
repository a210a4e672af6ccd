"""Reference architectures of the field, written in Flax.

`jaxrf.zoo.resnet50` is one entry of `jaxrf.zoo.models`. Call it to build the module; read its `input_shape` for the usual
image.

Comes in: options. Goes out: a Flax module.
Invariants, for every constructor that does not say otherwise: the module goes from (batch, *spatial, channels) to its last
feature map, which is what receptive fields are asked of, or, with `num_classes`, to (batch, num_classes). There is no
dropout, and batch normalization is in evaluation mode unless the module is called with `train=True`. An option that is
not known or does not fit raises an InputError that says what would. Importing `jaxrf.zoo` alone loads neither jax nor flax.
One more family is a file that registers its models; every file here is imported when the first name is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from jaxrf.base.registry import Registry
from jaxrf.errors import unknown
from jaxrf.zoo.model import Model
from jaxrf.zoo.model import models as _models

__all__ = ["Model", "models"]

models: Registry[Model]


def _load() -> Registry[Model]:
    """The registry, once every family has entered its models."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _models


def __getattr__(name: str) -> Any:
    if name == "models":
        return _load()
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _load():
        return _models[name]
    raise AttributeError(str(unknown("zoo model", name, _models)))


def __dir__() -> list[str]:
    return sorted({*globals(), "models", *_load()})
