"""Photos from disk as inputs of models, and inputs of models as photos.

Reads PNG, JPEG and whatever else Pillow reads, and `.npy` arrays; numbers in, numbers out, no model and no JAX.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from jaxrf.errors import InputError
from jaxrf.loading.preprocessing import PLAIN, Preprocessing

SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


def read(
    path: str | os.PathLike[str], size: tuple[int, int] | None = None, how: Preprocessing = PLAIN
) -> Float32[np.ndarray, "y x 3"]:
    """The photo at `path`, normalized as ImageNet, or as the networks were trained that it is for.

    A photo is turned as its camera says (EXIF), and scaled (anti-aliased, keeping its proportions) until it just covers
    `size / how.crop`. Then its middle is cut out.
    An integer `.npy` array (y, x, 3) is a photo with values in 0..255.
    A floating-point one is taken as it is, neither scaled nor normalized, and must have that size.

    Args:
        path: an image file, or a `.npy` file.
        size: (height, width) in pixels; None keeps the photo's own.
        how: crop, interpolation, mean and deviation, such as those of `jaxrf.loading.families.families[name]`.

    Returns:
        float32, with mean 0 and deviation 1 over the channels of the photos that the networks were trained on.

    Raises:
        InputError: there is no such file, it is no photo, or an array has an unfit shape.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "gray.npy"
        >>> np.save(file, np.full((20, 30, 3), 128, np.uint8))
        >>> read(file, (5, 7)).shape
        (5, 7, 3)
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no photo at {path}. Give the path of a PNG, JPEG or .npy file.")
    pixels = _read_array(path) if path.suffix == ".npy" else _read_image(path)
    if np.issubdtype(pixels.dtype, np.floating):
        if size is not None and pixels.shape[:2] != size:
            raise InputError(
                f"The floating-point array in {path} is {pixels.shape}; the input needs {(*size, 3)}. "
                "Save it in that size, or as uint8 (y, x, 3), which is scaled."
            )
        return pixels.astype(np.float32)
    return normalize(fit(pixels, size, how) if size is not None else pixels, how)


def files(path: Path) -> list[Path]:
    """The photos in a folder in the order of their names, or the one file.

    Raises:
        InputError: there are none.
    """
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not found:
        raise InputError(f"The folder {path} holds no photos ({', '.join(SUFFIXES)}). Choose another one.")
    return found


def fit(pixels: np.ndarray, size: tuple[int, int], how: Preprocessing = PLAIN) -> np.ndarray:
    """The middle of uint8 `pixels` (y, x, 3), scaled so that all of it just covers `size` = (height, width) over `how.crop`.

    >>> fit(np.zeros((40, 20, 3), np.uint8), (5, 7)).shape
    (5, 7, 3)
    """
    from PIL import Image

    height, width = size
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    covered_y, covered_x = height / scale * how.crop, width / scale * how.crop
    top, left = (pixels.shape[0] - covered_y) / 2, (pixels.shape[1] - covered_x) / 2
    box = (left, top, left + covered_x, top + covered_y)
    filtered = Image.Resampling.BICUBIC if how.bicubic else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((width, height), filtered, box=box))


def normalize(pixels: np.ndarray, how: Preprocessing = PLAIN) -> Float32[np.ndarray, "y x 3"]:
    """`pixels` in 0..255 as the input of a model that was trained so, on ImageNet if nothing is said."""
    return (pixels.astype(np.float32) / 255 - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)


def displayable(photo: Float[np.ndarray, "y x 3"], how: Preprocessing = PLAIN) -> Float32[np.ndarray, "y x 3"]:
    """The values in [0, 1] that a normalized `photo` was made from.

    >>> bool(np.allclose(displayable(normalize(np.full((5, 7, 3), 51.0))), 0.2))
    True
    """
    return np.clip(photo * np.asarray(how.std, np.float32) + np.asarray(how.mean, np.float32), 0, 1).astype(np.float32)


def _read_image(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode == "F" or turned.mode.startswith("I"):
                return _of_many_bits(path, np.asarray(turned))
            return np.asarray(turned.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # Pillow has no common error of what it reads
        raise InputError(f"{path} cannot be read as a photo: {error}. Give a PNG, JPEG or .npy file.") from error


def _of_many_bits(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Gray values of 16 bits as uint8 (y, x, 3); Pillow would clip them."""
    if pixels.dtype.kind == "f" or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535:
        raise InputError(
            f"{path} holds {'floating-point numbers' if pixels.dtype.kind == 'f' else 'integers outside of 0..65535'}, "
            "whose scale is not known. Scale them, and save uint8, or normalized float32 as .npy (y, x, 3)."
        )
    return np.repeat(np.round(pixels / 257).astype(np.uint8)[..., None], 3, axis=-1)


def _read_array(path: Path) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # what is declared need not be there
    except Exception as error:  # NumPy has no common error of what it reads
        raise InputError(f"{path} cannot be read as a numpy array: {error}. Write it with numpy.save.") from error
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(f"The array in {path} has the shape {array.shape}; a photo needs (y, x, 3).")
    if np.issubdtype(array.dtype, np.floating):
        return np.asarray(array)
    if array.dtype.kind not in "ui" or array.min() < 0 or array.max() > 255:
        raise InputError(f"The array in {path} is {array.dtype} outside of 0..255. Save uint8, or normalized float32.")
    return array.astype(np.uint8)
