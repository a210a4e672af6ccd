"""The data that networks are trained on: made tasks with a known need of context, and loaders for those on disk.

Every loader returns `Task`: float32 images (n, y, x, channels) and integer labels, (n,) or one per position (n, y, x).
Labels below zero do not count.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from jaxrf.errors import InputError

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts its files."""


@dataclass(frozen=True, eq=False)
class Task:
    """Images with labels, for training and for tests.

    Attributes:
        images, labels: to train on.
        test_images, test_labels: to measure on.
        classes: number of classes.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int


def made(reach: int, side: int = 25, train: int = 512, test: int = 64, seed: int = 0) -> Task:
    """Segmentation whose labels are decided at a known distance: the sign of the image's mean over a ring.

    The image is noise, smoothed over one position. The ring holds the positions whose distance from the labeled one
    rounds to `reach`; with a reach of zero that is the position itself. Images wrap around.

    Args:
        reach: radius of the ring, in positions.
        side: of the images.
        train, test: numbers of images.
        seed: of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    images = gaussian_filter(draw.normal(size=(train + test, side, side)), (0, 1, 1), mode="wrap")
    images /= images.std()
    distance = np.hypot(*np.indices((2 * reach + 1,) * 2) - reach)
    ring = (np.round(distance) == reach).astype(float)
    return split(images[..., None], convolve(images, ring[None], mode="wrap") > 0, test, 2)


def split(images: np.ndarray, labels: np.ndarray, test: int, classes: int) -> Task:
    """The last `test` images are for tests."""
    images, labels = images.astype(np.float32), labels.astype(np.int32)
    return Task(images[:-test], labels[:-test], images[-test:], labels[-test:], classes)


def cifar10(path: str | Path) -> Task:
    """CIFAR-10 from its Python pickles `data_batch_1` to `_5` and `test_batch` in the folder `path`.

    The pickles are read by a reader that makes nothing but arrays.

    Raises:
        InputError: a file is missing or is none of CIFAR-10.

    Source: Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    batches = sorted(Path(path).glob("data_batch_*"))
    if not batches:
        raise InputError(f"There is no data_batch_1 in {path}. Give the unpacked folder cifar-10-batches-py.")
    parts = [_cifar_batch(file) for file in [*batches, Path(path) / "test_batch"]]
    images, labels = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return split(images / 127.5 - 1, labels, len(parts[-1][1]), 10)


class _Arrays(pickle.Unpickler):
    """Unpickles arrays and plain values; a pickle that asks for anything else is refused."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype", "encode")

    def find_class(self, module: str, name: str) -> object:
        if name in self.ALLOWED and module.split(".")[0] in ("numpy", "_codecs"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _cifar_batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 32, 32, 3) and labels (n,) of one pickle."""
    try:
        with file.open("rb") as stream:
            held = _Arrays(stream, encoding="bytes").load()
        pixels = np.asarray(held[b"data"]).reshape(-1, 3, 32, 32)
        return pixels.transpose(0, 2, 3, 1), np.asarray(held[b"labels"])
    except (OSError, pickle.UnpicklingError, KeyError, ValueError, EOFError, TypeError) as error:
        raise InputError(f"{file} is not a batch of CIFAR-10: {error}. Give the folder cifar-10-batches-py.") from error


def camvid(path: str | Path, size: tuple[int, int] = (90, 120), classes: int = 12, void: int = 11) -> Task:
    """CamVid from the folders train, trainannot, test and testannot of PNG files in `path`, scaled to `size`.

    Labels are the numbers of the classes in the images of the `annot` folders; `void` does not count.

    Raises:
        InputError: a folder is missing, an image has no label image, or a label is not below `classes`.

    Source: Brostow, Fauqueur, Cipolla (2009), Semantic object classes in video, in the layout of SegNet's tutorial.
    """
    (images, labels), (test_images, test_labels) = (_camvid_part(Path(path), part, size) for part in ("train", "test"))
    top = max(labels.max(), test_labels.max())
    if top >= classes:
        raise InputError(f"A label image in {path} holds the class {top}; {classes} were expected, from 0 on.")
    labels, test_labels = (np.where(part == void, -1, part) for part in (labels, test_labels))
    return Task(images, labels, test_images, test_labels, classes)


def _camvid_part(root: Path, part: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, y, x, 3) in -1..1 and labels (n, y, x) of one part."""
    files = sorted((root / part).glob("*.png"))
    if not files:
        raise InputError(f"There are no PNG files in {root / part}. Give the folder that holds train and trainannot.")
    missing = [file.name for file in files if not (root / f"{part}annot" / file.name).is_file()]
    if missing:
        raise InputError(f"{root / part / missing[0]} has no label image in {part}annot; {len(missing)} have none.")
    height, width = size

    def scaled(file: Path, mode: str, how: Image.Resampling) -> np.ndarray:
        with Image.open(file) as image:
            return np.asarray(image.convert(mode).resize((width, height), how))

    images = [scaled(file, "RGB", Image.Resampling.BILINEAR) for file in files]
    # Numbers of classes must not be mixed, and a palette's index is the number.
    labels = [_labels(root / f"{part}annot" / file.name, size) for file in files]
    return np.stack(images).astype(np.float32) / 127.5 - 1, np.stack(labels).astype(np.int32)


def _labels(file: Path, size: tuple[int, int]) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode not in ("L", "P", "I"):
            raise InputError(f"{file} is an image of mode {image.mode}; a label image has one number per position.")
        return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST))


def fashion_mnist(path: str | Path = FASHION) -> Task:
    """Fashion-MNIST from the four gzipped files that Debian's package `dataset-fashion-mnist` installs.

    Raises:
        InputError: the files are not there, or are damaged.

    Source: Xiao, Rasul, Vollgraf (2017), arXiv:1708.07747.
    """
    folder = Path(path)
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        raise InputError(
            f"Fashion-MNIST is not in {folder}. Run: apt install dataset-fashion-mnist, or give the folder of its files."
        )
    parts = {
        part: [_idx(folder / f"{part}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
        for part in ("train", "t10k")
    }
    images, labels = (np.concatenate([parts["train"][k], parts["t10k"][k]]) for k in (0, 1))
    return split(images[..., None] / 127.5 - 1, labels, len(parts["t10k"][1]), 10)


def photographs(path: str | Path | None = None, small: bool = False) -> Task:
    """Fashion-MNIST, from the folder `path`; with `small` as many images as a test has the time for, and of noise.

    Raises:
        InputError: the files are not there, or are damaged.
    """
    if not small:
        return fashion_mnist(path or FASHION)
    draw = np.random.default_rng(0)
    return split(draw.normal(size=(80, 12, 12, 1)), draw.integers(10, size=80), 16, 10)


def digits(small: bool = False) -> Task:
    """The 1797 digits of 8 x 8 pixels that scikit-learn ships; with `small` as many images of noise as a test has time for.

    Raises:
        InputError: scikit-learn is not installed.

    Source: Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.
    """
    if small:
        draw = np.random.default_rng(0)
        return split(draw.normal(size=(80, 8, 8, 1)), draw.integers(10, size=80), 16, 10)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError("The digits are part of scikit-learn. Run: pip install scikit-learn.") from error
    images, labels = load_digits(return_X_y=True)
    return split(images.reshape(-1, 8, 8, 1) / 8 - 1, labels, 297, 10)


def halved(task: Task) -> Task:
    """The task on images of half the side, whose pixels are the means of two by two."""

    def smaller(images: np.ndarray) -> np.ndarray:
        count, height, width, features = images.shape
        return images.reshape(count, height // 2, 2, width // 2, 2, features).mean((2, 4))

    return replace(task, images=smaller(task.images), test_images=smaller(task.test_images))


def fewer_tests(task: Task, count: int) -> Task:
    """The task with the first `count` of its test images."""
    return replace(task, test_images=task.test_images[:count], test_labels=task.test_labels[:count])


def _idx(file: Path) -> np.ndarray:
    """An array in the format of MNIST: four bytes that say its axes, their lengths, the bytes."""
    try:
        data = gzip.decompress(file.read_bytes())
        axes = data[3]
        shape = np.frombuffer(data, ">u4", axes, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{file} is not a file in the format of MNIST: {error}. Install the package again.") from error


tasks: dict[str, Callable[..., Task]] = {"cifar10": cifar10, "camvid": camvid, "fashion-mnist": fashion_mnist}
"""Loaders by name; each takes the folder."""
