"""What the values of flags mean: name=value pairs, counts, and what `jaxrf.loading.words` reads.

Each function takes the text of one value and returns plain Python; `InputError` says what the text should look like.
"""

from __future__ import annotations

from typing import Any

from jaxrf.errors import InputError
from jaxrf.loading.words import GridSpec, literal, position, shape, units

__all__ = ["GridSpec", "count", "index_or_name", "literal", "numbers", "pair", "position", "shape", "units"]


def pair(text: str) -> tuple[str, Any]:
    """A name and a value, which is a Python literal, true, false, none, or else a string.

    >>> pair("depth=5"), pair("train=false"), pair("activation=relu")
    (('depth', 5), ('train', False), ('activation', 'relu'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise InputError(f"{text!r} is not NAME=VALUE. Write for example depth=5.")
    return name.strip(), literal(value.strip())


def index_or_name(text: str) -> int | str:
    """An integer where the text is one, else the text.

    >>> index_or_name("7"), index_or_name("probe")
    (7, 'probe')
    """
    return int(text) if text.lstrip("-").isdigit() else text


def count(text: str) -> int:
    """A number of things, at least one.

    >>> count("16")
    16
    """
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"{text!r} is not a count. Write an integer of at least 1.")
    return int(text)


def numbers(text: str) -> float | tuple[float, ...]:
    """One number, or one per axis.

    >>> numbers("0.5"), numbers("0.5x0.5x2")
    (0.5, (0.5, 0.5, 2.0))
    """
    try:
        found = tuple(float(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"{text!r} is not a number, or one per axis. Write for example 0.5 or 0.5x0.5x2.") from None
    return found if len(found) != 1 else found[0]
