"""Images out of a user's own Python: a sequence, an iterable, or a data loader, found by its import string."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.loading.models import find


class Stream:
    """The first `count` images of what `module:attribute` or `file.py:attribute` names.

    That is a sequence (with `len` and `[i]`, as data sources of grain are), an iterable, or a function without
    arguments that makes one; it is called again for each pass. Its items are images or batches of images: arrays, or
    dicts with an entry "image", or tuples that start with one. They must be the same, in the same order, each time.

    Args:
        reference: the import string.
        count: how many images.
    """

    def __init__(self, reference: str, count: int):
        self.reference, self.count = reference, count
        self._lock = threading.Lock()  # devices that share a task read the same stream
        self._images: Iterator[np.ndarray] = iter(())
        self._at = count

    @cached_property
    def _thing(self) -> Any:
        return find(self.reference)

    def images(self, first: int, stop: int, shape: tuple[int, ...]) -> np.ndarray:
        """The images `first` to `stop - 1`, (n, *shape).

        Raises:
            InputError: there are fewer, or they are of another shape or no floating type.
        """
        with self._lock:
            if first < self._at:  # the start again, which the first read is as well
                self._images, self._at = self._pass(shape), 0
            found = list(itertools.islice(self._images, first - self._at, stop - self._at))
            self._at = stop
        if len(found) < stop - first:
            raise InputError(
                f"{self.reference} ended before image {stop}, and [:{self.count}] asks for {self.count}. Ask for fewer, "
                "or, where it gives its images only once, name a function that makes it."
            )
        return np.stack(found)

    def _pass(self, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        made: Any = self._thing
        if not _has_items(made) and callable(made):
            made = made()
        if not _has_items(made):
            raise InputError(
                f"{self.reference} is of type {type(made).__name__}. Name a sequence or iterable of images, or a function "
                "without arguments that makes one."
            )
        for item in made:
            yield from self._taken_apart(item, shape)

    def _taken_apart(self, item: Any, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """One image, or those of a batch."""
        if isinstance(item, Mapping):
            item = item.get("image")
        array = np.asarray(item[0] if isinstance(item, tuple) else item)
        if not np.issubdtype(array.dtype, np.floating) or shape not in (array.shape, array.shape[1:]):
            raise InputError(
                f"{self.reference} gave {array.dtype} of shape {array.shape}; needed are floating-point images {shape}, or "
                "batches of them. Scale and resize them there."
            )
        yield from [array] if array.shape == shape else array


def _has_items(thing: Any) -> bool:
    return hasattr(thing, "__iter__") or hasattr(thing, "__getitem__")
