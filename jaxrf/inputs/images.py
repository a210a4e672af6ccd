"""The images that a map is averaged over: an array, an iterable of arrays, or noise that is drawn when asked for."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.errors import InputError
from jaxrf.inputs import photos

LARGEST = 2**32
KEPT = 2**27
"""Bytes of noise up to which it is drawn once for all seeds, and not for each."""


@dataclass(frozen=True)
class Noise:
    """Standard normal images; image i is the same whatever the batch. Made by `jaxrf.noise`."""

    count: int
    seed: int = 0

    def images(self, start: int, stop: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The images `start` to `stop`, (n, *shape)."""
        root = jax.random.key(np.uint32(self.seed))
        draw = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(root, i), shape, dtype))
        return np.asarray(draw(np.arange(start, stop)))


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def noise(count: int, seed: int = 0) -> Noise:
    """`count` images of standard normal noise, drawn when they are needed.

    Image i depends on `seed` and i alone.

    Raises:
        InputError: a count below 1, or a seed that is not a whole number from 0 to 2**32 - 1.

    Example:
        >>> noise(4)
        Noise(count=4, seed=0)
    """
    if not _whole(count) or not 1 <= count <= LARGEST:
        raise InputError(f"noise({count!r}) makes no images; a whole count of at least 1 and at most 2**32 is needed.")
    if not _whole(seed) or not 0 <= seed < LARGEST:
        raise InputError(f"The seed {seed!r} of noise is not a whole number from 0 to 2**32 - 1.")
    return Noise(int(count), int(seed))


@dataclass(frozen=True, eq=False)
class Images:
    """Checked inputs: the shape and dtype of one image, and batches of them in order."""

    shape: tuple[int, ...]
    dtype: np.dtype
    source: Any
    first: int
    """How many images the first batch holds."""
    description: str

    @property
    def count(self) -> int | None:
        """How many there are; None for an iterable, which does not say."""
        return self.first if isinstance(self.source, Noise | np.ndarray) else None

    @property
    def drawn(self) -> int:
        """Bytes of noise that is drawn once for several runs; 0 where it is drawn for each."""
        size = self.source.count * math.prod(self.shape) * self.dtype.itemsize if isinstance(self.source, Noise) else 0
        return size if size <= KEPT else 0

    def repeatable(self) -> Images:
        """The same images, which can be asked for several times: an iterator is read to its end, a little noise drawn."""
        if isinstance(self.source, np.ndarray):
            return self
        if not isinstance(self.source, Noise):
            return replace(self, source=list(self.source))
        if not self.drawn:
            return self
        return replace(self, source=self.source.images(0, self.source.count, self.shape, self.dtype))

    def batches(self, size: int | None) -> Iterator[np.ndarray]:
        """Batches of at most `size` images; of the sizes they were handed in if None. Ids of tokens come as float32."""
        if isinstance(self.source, Noise):
            size = size or self.source.count
            for first in range(0, self.source.count, size):
                yield self.source.images(first, min(first + size, self.source.count), self.shape, self.dtype)
            return
        for batch in [self.source] if isinstance(self.source, np.ndarray) else self.source:
            array = self._checked(np.asarray(batch))
            for first in range(0, len(array), size or len(array)):
                yield array[first : first + (size or len(array))]

    def _checked(self, batch: np.ndarray) -> np.ndarray:
        if batch.shape[1:] != self.shape or batch.dtype != self.dtype or not len(batch):
            raise InputError(
                f"A batch of inputs has shape {batch.shape} and dtype {batch.dtype}; the first had images of {self.shape} "
                f"and dtype {self.dtype}. All batches need the same, and at least one image."
            )
        return batch.astype(np.float32) if np.issubdtype(self.dtype, np.integer) else batch


def as_images(inputs: Any, input_shape: Sequence[int] | None, dtype: Any = np.float32) -> Images:
    """Inputs as `Images`.

    Raises:
        InputError: no images, neither numbers nor ids, nothing at a path, or noise without `input_shape`.
    """
    if isinstance(inputs, Images):
        return inputs
    if isinstance(inputs, str | os.PathLike):
        inputs = _from_path(Path(inputs).expanduser(), input_shape)
    if inputs is None:
        raise InputError("No inputs were given. Pass an array (n, ...), an iterable of such, or jaxrf.noise(n).")
    if isinstance(inputs, Noise):
        if input_shape is None:
            raise InputError("Noise has no shape of its own. Pass input_shape=(224, 224, 3) beside it.")
        return Images(
            _shape(input_shape),
            np.dtype(dtype),
            inputs,
            inputs.count,
            f"noise(count={inputs.count}, seed={inputs.seed})",
        )
    if getattr(inputs, "is_deleted", bool)():
        raise InputError("The array of inputs was deleted: it was donated to another function. Pass another one.")
    source: Any = inputs
    if not hasattr(inputs, "ndim"):
        if not isinstance(inputs, Iterable):
            raise InputError(
                f"Inputs are a {type(inputs).__name__}; needed is an array (n, ...) or an iterable of such."
            )
        batches = iter(inputs)
        first = next(batches, None)
        if first is None:
            raise InputError("The iterable of inputs is empty; at least one batch of images is needed.")
        first = np.asarray(first)
        source = itertools.chain([first], batches)
    else:
        first = source = np.asarray(inputs)
    _check_shape(first.shape, first.dtype)
    if input_shape is not None and tuple(input_shape) != first.shape[1:]:
        raise InputError(f"Inputs hold images of {first.shape[1:]}, but input_shape is {tuple(input_shape)}. Give one.")
    description = "array" if isinstance(source, np.ndarray) else "iterable"
    return Images(first.shape[1:], first.dtype, source, len(first), f"{description} of images {first.shape[1:]}")


def _from_path(path: Path, input_shape: Sequence[int] | None) -> np.ndarray:
    """The photo, the photos in a folder, or the array (n, ...) at a path."""
    if not path.exists():
        raise InputError(f"There is nothing at {path}. Give an array, or the path of a photo or of a folder of photos.")
    if path.suffix == ".npy":
        try:
            array = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy has no common error of what it reads
            raise InputError(f"{path} cannot be read as an array: {error}. Write it with numpy.save.") from error
        if array.ndim > 3 or (input_shape is not None and array.ndim == len(input_shape) + 1):
            return np.asarray(array)
    size = None if input_shape is None else (int(input_shape[0]), int(input_shape[1]))
    return np.stack([photos.read(file, size) for file in photos.files(path)])


def shapes_only(inputs: Any) -> Images:
    """`Images` that know their shape and type and hold none, from an array or a `jax.ShapeDtypeStruct`.

    Raises:
        InputError: no shape, no images, or neither numbers nor ids.
    """
    shape, dtype = getattr(inputs, "shape", None), getattr(inputs, "dtype", None)
    if shape is None or dtype is None:
        raise InputError(
            f"A field has fixed shapes, and its inputs are a {type(inputs).__name__}. Pass an array (n, ...) or a "
            "jax.ShapeDtypeStruct; photos, noise and iterables are for jaxrf.erf."
        )
    _check_shape(shape, dtype)
    return Images(tuple(shape[1:]), np.dtype(dtype), None, shape[0], "arguments of the field")


def _shape(given: Any) -> tuple[int, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable) or not all(map(_whole, sizes := tuple(given))):
        raise InputError(f"input_shape={given!r} is not a shape. Write for instance (224, 224, 3), without the batch.")
    return tuple(map(int, sizes))


def _check_shape(shape: tuple[int, ...], dtype: Any) -> None:
    if len(shape) < 2 or 0 in shape:
        raise InputError(f"Inputs of shape {shape} hold no images; needed is (n, *image), with n at least 1.")
    if not (jnp.issubdtype(dtype, np.floating) or jnp.issubdtype(dtype, np.integer)):
        raise InputError(
            f"Inputs are of dtype {dtype}; a derivative needs a floating type, or ids of tokens. "
            "Cast them first, for instance inputs.astype(np.float32)."
        )
