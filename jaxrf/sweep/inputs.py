"""The inputs of a sweep by their words: how many they are, what is in them, and any stretch of them as an array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf import photos
from jaxrf.errors import InputError
from jaxrf.sweep.sources import files_hash

SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class Chunk:
    """Some inputs.

    Attributes:
        first, stop: which, before bad ones are left out.
        images: (n, *shape).
        bad: name and fault of each that cannot be read.
    """

    first: int
    stop: int
    images: np.ndarray
    bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Inputs as a specification names them: noise, photos, or an array on disk.

    Example:
        >>> found = Inputs("noise:5:7")
        >>> found.count, found.chunk(3, 5, (2, 3)).images.shape
        (5, (2, 2, 3))
    """

    words: str

    @cached_property
    def noise(self) -> tuple[int, int] | None:
        """Count and seed, where it is noise."""
        found = re.fullmatch(r"noise:(\d+)(?::(\d+))?", self.words)
        if found is None and self.words.startswith("noise:"):
            raise InputError(f"inputs = {self.words!r}: write noise:4, or with a seed noise:4:7.")
        if found and int(found[1]) < 1:
            raise InputError(f"inputs = {self.words!r} holds no images. Write noise:1 or more.")
        return (int(found[1]), int(found[2] or 0)) if found else None

    @cached_property
    def files(self) -> list[Path]:
        """Files of photos in the order of their names, or the one array."""
        path = Path(self.words).expanduser()
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f"The folder {path} holds no photos ({', '.join(SUFFIXES)}). Choose another one.")
            return found
        if not path.is_file():
            raise InputError(f"inputs = {self.words!r} is neither noise:COUNT nor a file or folder. Check the path.")
        return [path]

    @cached_property
    def array(self) -> np.ndarray | None:
        """The array (n, *shape), read from disk as it is needed, where one `.npy` file of such is named."""
        if self.noise or len(self.files) > 1 or self.files[0].suffix != ".npy" or Path(self.words).is_dir():
            return None
        try:
            array = np.load(self.files[0], mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{self.files[0]} cannot be read as an array: {error}. Use numpy.save.") from error
        if array.ndim < 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.floating):
            raise InputError(
                f"{self.files[0]} holds {array.dtype} of shape {array.shape}; needed are floating-point images "
                "(n, *shape). Scale and save them so, or put photos into a folder."
            )
        return array

    @property
    def count(self) -> int:
        """How many."""
        if self.noise:
            return self.noise[0]
        return len(self.files) if self.array is None else len(self.array)

    def digest(self) -> str:
        """A hash of what is in them."""
        return "noise" if self.noise else files_hash(self.files)

    def spans(self, size: int) -> list[tuple[int, int]]:
        """First and one past the last of each stretch of at most `size`.

        >>> Inputs("noise:5").spans(2)
        [(0, 2), (2, 4), (4, 5)]
        """
        return [(first, min(first + size, self.count)) for first in range(0, self.count, size)]

    def chunk(self, first: int, stop: int, shape: tuple[int, ...], strict: bool = False) -> Chunk:
        """The inputs from number `first` to before `stop`, of the shape that the model needs.

        Raises:
            InputError: they do not fit; none can be read; or one cannot, and `strict`.
        """
        if self.noise:
            from jaxrf.inputs import Noise

            return Chunk(first, stop, Noise(*self.noise).images(first, stop, shape, np.float32))
        if self.array is not None:
            if self.array.shape[1:] != shape:
                raise InputError(f"{self.words} holds images of {self.array.shape[1:]}; the model's input is {shape}.")
            return Chunk(first, stop, np.asarray(self.array[first:stop]))
        return self._photos(first, stop, shape, strict)

    def _photos(self, first: int, stop: int, shape: tuple[int, ...], strict: bool) -> Chunk:
        if len(shape) != 3 or shape[-1] != 3:
            raise InputError(f"Photos are inputs of the shape (y, x, 3), and this model's is {shape}. Use noise.")
        good, bad = [], []
        for file in self.files[first:stop]:
            try:
                good.append(photos.read(file, (shape[0], shape[1])))
            except InputError as error:
                if strict:
                    raise
                bad.append(f"{file.name}: {error}")
        if not good:
            raise InputError(f"None of the photos {first} to {stop - 1} can be read. The first: {bad[0]}")
        return Chunk(first, stop, np.stack(good), tuple(bad))


def ahead(inputs: Inputs, spans: list[tuple[int, int]], shape: tuple[int, ...], strict: bool) -> Iterator[Chunk]:
    """`inputs.chunk` for each span; a thread reads the next one meanwhile."""
    with ThreadPoolExecutor(1, "jaxrf-inputs") as reader:
        waiting: Any = None
        for first, stop in spans:
            following = reader.submit(inputs.chunk, first, stop, shape, strict)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
