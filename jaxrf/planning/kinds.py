"""What kind of value each option takes, checked before anything is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from jaxrf.errors import InputError

PRECISIONS = ("default", "high", "highest", "bfloat16", "tensorfloat32", "float32")
LARGEST = 2**32
"""Seeds lie below this, and there are no more of them in a call."""


def whole(value: Any) -> bool:
    """Whether a value is a whole number; True and 2.0 are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _words(value: Any) -> bool:
    return not isinstance(value, str | Mapping) and _all(value, lambda one: isinstance(one, str))


def _all(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, Iterable) and all(map(of, value))


def _seeds(value: Any) -> bool:
    if whole(value):
        return 1 <= value <= LARGEST
    return not isinstance(value, str | Mapping | set) and _all(value, lambda one: whole(one) and 0 <= one < LARGEST)


def _devices(value: Any) -> bool:
    if isinstance(value, str) or not _all(value, lambda one: hasattr(one, "platform") and hasattr(one, "id")):
        return False
    found = list(value)
    return bool(found) and len({(one.platform, one.id) for one in found}) == len(found)


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "layer": (lambda v: isinstance(v, str) or _words(v), "the name of a layer, or a list of such"),
    "wrt": (lambda v: isinstance(v, str), "the name of a layer"),
    "channels": (lambda v: isinstance(v, str) or whole(v), 'a word such as "probe", or the number of a channel'),
    "treat_as_constant": (_words, "a list of names of layers"),
    "method": (lambda v: isinstance(v, str) or callable(v), "the name of a method, or a function"),
    "init": (lambda v: isinstance(v, Mapping), 'a dict such as {"*kernel": "lecun_normal"}'),
    "seeds": (_seeds, "a count of at least 1, or different whole numbers from 0 to 2**32 - 1"),
    "until": (lambda v: _number(v) or hasattr(v, "stops"), "a positive number such as 0.01, or a jaxrf.Until"),
    "certify": (lambda v: isinstance(v, bool), "True or False"),
    "pool_units": (lambda v: isinstance(v, bool), "True or False"),
    "progress": (callable, "a function of two numbers"),
    "crop": (lambda v: isinstance(v, bool), "True or False"),
    "devices": (_devices, "a list of different devices, such as jax.devices()[:2]"),
    "precision": (lambda v: v in PRECISIONS, f"one of {', '.join(map(repr, PRECISIONS))}"),
}
"""Of each option a test of its values, and what they are; None is for those that may be left out."""


def check_kinds(options: Mapping[str, Any], required: Iterable[str] = ("precision", "certify", "crop")) -> None:
    """Raise for the first option that is of another kind.

    Raises:
        InputError: says the option, its value, and what is needed.
    """
    for name, (fits, needed) in KINDS.items():
        value = options.get(name)
        if (value is not None or (name in options and name in required)) and not fits(value):
            raise InputError(f"{name}={_shown(value)} does not fit. It is {needed}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."
