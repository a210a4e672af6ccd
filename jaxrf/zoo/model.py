"""An entry of the zoo: how to build a network, and the image that it is usually given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError


@dataclass(frozen=True)
class Model:
    """A named architecture; calling it with options builds the Flax module.

    Attributes:
        build: the constructor; its signature documents the options.
        input_shape: shape of the usual input, without the batch axis, channels last.
        source: the paper, or the code whose numbers it reproduces.

    Raises:
        InputError: when called with an option that the constructor does not have.

    Example:
        >>> import jaxrf.zoo
        >>> jaxrf.zoo.resnet50.input_shape
        (224, 224, 3)
        >>> type(jaxrf.zoo.resnet50(stages=2)).__name__
        'ResNet'
    """

    build: Callable[..., Any]
    input_shape: tuple[int, ...]
    source: str

    def __repr__(self) -> str:
        constructor = getattr(getattr(self.build, "func", self.build), "__name__", "model")
        return f"Model({constructor}, input {'x'.join(map(str, self.input_shape))}, {self.source})"

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that the constructor takes."""
        return tuple(inspect.signature(self.build).parameters)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        for name in options:
            if name not in self.options:
                constructor = getattr(self.build, "func", self.build).__name__
                raise InputError(
                    f"The zoo's {constructor!r} has no option {name!r}. Its options are: {', '.join(self.options)}."
                )
        return self.build(*arguments, **options)


models: Registry[Model] = Registry("zoo model")


def choose(option: str, value: Any, known: tuple[Any, ...]) -> None:
    """Raise an InputError unless `value` is among the `known` ones, which it lists."""
    if value not in known:
        raise InputError(f"The option {option}={value!r} is not known. Use one of: {', '.join(map(repr, known))}.")


def at_least(option: str, value: int | None, least: int, *, optional: bool = False) -> None:
    """Raise an InputError unless `value` is an integer of at least `least`, or None where it is `optional`."""
    if optional and value is None:
        return
    if not isinstance(value, int) or value < least:
        allowed = " or None" if optional else ""
        raise InputError(
            f"The option {option}={value!r} does not fit. It must be an integer of at least {least}{allowed}."
        )
