"""What a case is, and what the cases share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """A function of one array of `shape` (axis 0: images).

    `draws` is how many inputs it takes until every path has shown, where values choose between paths.
    `reverse` says whether JAX can differentiate it in reverse mode.
    """

    name: str
    fn: Callable[[Array], Array]
    shape: tuple[int, ...]
    draws: int = 1
    reverse: bool = True


def case(name: str, shape: tuple[int, ...], fn: Callable[[Array], Array], draws: int = 1, reverse: bool = True) -> None:
    assert name not in CASES
    CASES[name] = Case(name, fn, shape, draws, reverse)


def positive(*shape: int) -> np.ndarray:
    """Numbers between 0.5 and 1.5, the same on every call."""
    return np.random.default_rng(len(shape) + sum(shape)).uniform(0.5, 1.5, shape)
