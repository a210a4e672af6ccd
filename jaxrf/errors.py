"""Every error that jaxrf raises on purpose, and the sentence that suggests a name.

Each message says what was found, where, what is needed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class JaxrfError(Exception):
    """Base of all errors raised by jaxrf."""


class InputError(JaxrfError, ValueError):
    """An argument does not fit: a shape, a dtype, an option, a file."""


class UnknownNameError(JaxrfError, LookupError):
    """A name that is not in a table, a registry or a model."""


class UnknownPrimitiveError(JaxrfError, NotImplementedError):
    """The model differentiates through an operation for which there is no rule."""


class TraceError(JaxrfError, RuntimeError):
    """The model could not be traced; the cause is chained."""


class PlanError(JaxrfError, RuntimeError):
    """What was asked for does not fit into memory, or has no plan."""


class EngineError(JaxrfError, RuntimeError):
    """The workers of a sweep are gone; what was written is sound."""


class StoreError(JaxrfError, OSError):
    """A result on disk is missing, foreign, damaged or cannot be written."""


class CheckError(JaxrfError, AssertionError):
    """The engine and the dense oracle disagree."""


def visible(text: str) -> str:
    r"""A text in which characters that a terminal would obey, and not show, are written as escapes.

    >>> print(visible("a\nb\x1b[31m"))
    a\nb\x1b[31m
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def cell(text: str) -> str:
    """A text as a cell of a table that programs read: visible, and never a formula of a spreadsheet.

    >>> cell("=1+1"), cell("conv")
    ("'=1+1", 'conv')
    """
    return visible(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)


def listed(names: Sequence[object], most: int = 3, between: str = ", ") -> str:
    """The first names, and how many more there are.

    >>> listed("abcde"), listed("ab")
    ('a, b, c and 2 more', 'a, b')
    """
    shown = between.join(map(str, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def unknown(kind: str, name: object, known: Iterable[str], *, hint: str = "") -> UnknownNameError:
    """The error for a `name` that is not among `known`, with the nearest known name.

    >>> str(unknown("score", "sqare", ["square", "abs"]))
    "Unknown score 'sqare'. Did you mean 'square'? Known: 'abs', 'square'."
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    shown = listed([repr(n) for n in names], 30)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{suggestion} Known: {shown or 'none'}.{hint and f' {hint}'}")
