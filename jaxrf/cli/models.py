"""The options of every command that works on a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxrf.cli import values
from jaxrf.cli.options import option, positional
from jaxrf.errors import InputError
from jaxrf.loading.models import Loaded, load


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The options of every command that works on a model."""

    model: str = positional(
        "module:attribute, file.py:attribute or zoo:name; PyTorch: timm:name, or torch: before one of the others",
        metavar="MODEL",
    )
    input: tuple[int, ...] | None = option(
        "shape of one input without the batch, as 224x224x3; models of the zoo have one of their own",
        parse=values.shape,
        metavar="SHAPE",
    )
    model_option: tuple[tuple[str, Any], ...] = option(
        "an option for the maker of the model, as depth=5; may be repeated",
        parse=values.pair,
        metavar="NAME=VALUE",
        repeat=True,
    )
    method: str | None = option("the method of the module to call", metavar="NAME")
    apply_kwarg: tuple[tuple[str, Any], ...] = option(
        "a keyword argument for the call, as train=false; may be repeated",
        parse=values.pair,
        metavar="NAME=VALUE",
        repeat=True,
    )
    spatial_axes: tuple[int, ...] | None = option(
        "the spatial axes of the batched input, as 2,3 for NCHW, which PyTorch models have without it",
        parse=values.position,
        metavar="AXES",
    )

    def load(self) -> tuple[Loaded, tuple[int, ...]]:
        """The model that is referred to, and the shape of one input.

        Raises:
            InputError: the reference cannot be followed, or there is no input shape.
            UnknownNameError: the attribute or the zoo's model does not exist.
        """
        loaded = load(self.model, dict(self.model_option))
        input_shape = self.input or loaded.input_shape
        if input_shape is None:
            raise InputError(f"{self.model} does not say what its input is. Give its shape, as --input 224x224x3.")
        return loaded, input_shape

    def call_arguments(self) -> dict[str, Any]:
        """The keyword arguments of `jaxrf.trf` and `jaxrf.erf` that say how the model is called."""
        return {
            "method": self.method,
            "apply_kwargs": dict(self.apply_kwarg) or None,
            "spatial_axes": self.spatial_axes,
        }
