"""Writers of scalars and images as training loops have them, told apart by the methods that they have.

`write_scalars` and `write_images` (CLU), `add_scalar` and `add_image` (TensorBoard), or `log` (Weights & Biases).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrf.errors import InputError


def check_writer(writer: Any) -> None:
    """Raise for something that is not a writer.

    Raises:
        InputError: it has none of the methods.
    """
    if writer is not None and not any(hasattr(writer, name) for name in ("write_scalars", "add_scalar", "log")):
        raise InputError(
            f"writer= is {type(writer).__name__}, without write_scalars (CLU), add_scalar (TensorBoard) or log (Weights "
            "& Biases). Give one of those, or an object with write_scalars(step, dict)."
        )


def write(writer: Any, step: int, scalars: Mapping[str, float], images: Mapping[str, np.ndarray]) -> None:
    """Hand numbers, and images (y, x, 1) from 0 to 1, to a writer; images where it takes them."""
    if writer is None:
        return
    if hasattr(writer, "write_scalars"):
        writer.write_scalars(step, dict(scalars))
        if images and hasattr(writer, "write_images"):
            writer.write_images(step, {name: image[None] for name, image in images.items()})
    elif hasattr(writer, "add_scalar"):
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
        for name, image in images.items() if hasattr(writer, "add_image") else ():
            writer.add_image(name, image, step, dataformats="HWC")
    else:
        shown = getattr(sys.modules.get("wandb"), "Image", None)  # its images are of its own kind
        drawn = {} if shown is None else {name: shown(image[..., 0]) for name, image in images.items()}
        writer.log({**scalars, **drawn}, step=step)
