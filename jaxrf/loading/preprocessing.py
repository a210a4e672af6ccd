"""How photos become the inputs of a family of networks, as numbers; `inputs/photos.py` does it."""

from __future__ import annotations

from dataclasses import dataclass

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """What a photo goes through before a network that was trained so.

    Attributes:
        size: height and width that the networks are made for; they take others.
        crop: the part of a photo's covering square that is seen: it is scaled until it covers `size / crop`, and the middle
            is cut out.
        mean, std: that are taken from values of 0 to 1 and divided by, for each of three channels.
        bicubic: whether photos are scaled by cubic interpolation; else it is linear.
    """

    size: tuple[int, int] = (224, 224)
    crop: float = 1.0
    mean: Three = (0.485, 0.456, 0.406)
    std: Three = (0.229, 0.224, 0.225)
    bicubic: bool = False


PLAIN = Preprocessing()
"""All of a photo, with mean and deviation per channel of ImageNet's training photos, as most published models expect them."""
