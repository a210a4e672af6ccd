"""The inputs of a sweep by their words: how many they are, what is in them, and any stretch of them as an array."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.inputs import photos
from jaxrf.inputs.streams import Stream
from jaxrf.loading.sources import files_hash, source_hash
from jaxrf.store.array_file import dtype_of, is_zarr, open_zarr


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

    @property
    def digest(self) -> str:
        """A hash of the images."""
        return hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Inputs:
    """Inputs as a specification names them: noise, photos, an array on disk, or Python that gives images.

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
    def stream(self) -> Stream | None:
        """Where it is an import string with a count, `file.py:attribute[:64]`."""
        found = re.fullmatch(r"(.+:[\w.]+)\[:(\d+)\]", self.words)
        if found and int(found[2]) < 1:
            raise InputError(f"inputs = {self.words!r} holds no images. Write [:1] or more.")
        return Stream(found[1], int(found[2])) if found else None

    @cached_property
    def files(self) -> list[Path]:
        """Files of photos in the order of their names, or the one array."""
        path = Path(self.words).expanduser()
        if path.is_dir() and not is_zarr(path):
            return photos.files(path)
        if not path.exists():
            raise InputError(
                f"inputs = {self.words!r} is neither noise:COUNT, nor a file or folder, nor module:attribute[:COUNT]. "
                "Check the path."
            )
        return [path]

    @cached_property
    def array(self) -> Any:
        """The array (n, *shape), read from disk as it is needed, where one `.npy` file or Zarr array of such is named."""
        path = Path(self.words).expanduser()
        if self.noise or self.stream or not (is_zarr(self.files[0]) or path.suffix == ".npy"):
            return None
        try:
            array = open_zarr(path) if path.is_dir() else np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy has no common error of what it reads
            raise InputError(
                f"{path} cannot be read as an array: {error}. Use numpy.save, or zarr.save_array."
            ) from error
        dtype = dtype_of(array)
        if array.ndim < 2 or 0 in array.shape or not np.issubdtype(dtype, np.floating):
            raise InputError(
                f"{path} holds {dtype} of shape {tuple(array.shape)}; needed are floating-point images "
                "(n, *shape). Scale and save them so, or put photos into a folder."
            )
        return array

    @property
    def count(self) -> int:
        """How many."""
        if self.noise:
            return self.noise[0]
        if self.stream:
            return self.stream.count
        return len(self.files) if self.array is None else int(self.array.shape[0])

    def digest(self) -> str:
        """A hash of what is in them, after a look whether it can be read; of the source of Python that makes them."""
        _ = self.count
        if self.stream:
            return source_hash(self.stream.reference)
        return "noise" if self.noise else files_hash(self.files)

    def chunk(self, first: int, stop: int, shape: tuple[int, ...], strict: bool = False) -> Chunk:
        """The inputs from number `first` to before `stop`, of the shape that the model needs.

        Raises:
            InputError: they do not fit; or a photo cannot be read, and `strict`.
        """
        if self.noise:
            from jaxrf.inputs.images import Noise

            return Chunk(first, stop, Noise(*self.noise).images(first, stop, shape, np.float32))
        if self.stream:
            return Chunk(first, stop, self.stream.images(first, stop, shape))
        if self.array is not None:
            found = tuple(self.array.shape[1:])
            if found != shape:
                raise InputError(f"{self.words} holds images of {found}; the model's input is {shape}.")
            return Chunk(first, stop, np.asarray(self.array[first:stop]))
        return self._photos(first, stop, shape, strict)

    def first_readable(self, size: int, shape: tuple[int, ...], strict: bool = False) -> Chunk:
        """The first `size` inputs, or the next so many, of which something can be read.

        Raises:
            InputError: nothing can be read.
        """
        bad = ""
        for first in range(0, self.count, size):
            chunk = self.chunk(first, min(first + size, self.count), shape, strict)
            if len(chunk.images):
                return chunk
            bad = bad or chunk.bad[0]
        raise InputError(f"None of the {self.count} photos of {self.words} can be read. The first: {bad}")

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
        images = np.stack(good) if good else np.zeros((0, *shape), np.float32)
        return Chunk(first, stop, images, tuple(bad))


class Given(Inputs):
    """An array in memory, named by a hash of it.

    >>> Given(np.zeros((3, 5, 7, 2), np.float32)).chunk(1, 3, (5, 7, 2)).images.shape
    (2, 5, 7, 2)
    """

    def __init__(self, images: Any):
        try:
            array = np.asarray(images)
        except Exception as error:  # NumPy has no common error: ragged lists, arrays that were deleted
            raise InputError(f"The inputs are not an array: {error}") from error
        if array.dtype == object:
            raise InputError(
                f"The inputs are a {type(images).__name__}; needed are an array of floating-point images (n, *shape), "
                'jaxrf.noise(4), or words as in a sweep\'s file: "noise:4", a folder of photos.'
            )
        if array.ndim < 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.floating):
            raise InputError(
                f"The inputs are {array.dtype} of shape {array.shape}; needed are floating-point images (n, *shape)."
            )
        text = hashlib.sha256(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        super().__init__(f"array:{text.hexdigest()[:16]}")
        vars(self).update(array=array, noise=None, stream=None)  # in place of what the words would be read as

    def digest(self) -> str:
        """The hash in its name."""
        return self.words.removeprefix("array:")


def ahead(inputs: Inputs, spans: Iterable[tuple[int, int]], shape: tuple[int, ...], strict: bool) -> Iterator[Chunk]:
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
