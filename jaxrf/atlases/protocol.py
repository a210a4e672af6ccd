"""What is asked of every network: one protocol, and the jobs that it makes, the cheapest first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jaxrf.atlases.photos import NAMES
from jaxrf.errors import InputError, unknown
from jaxrf.loading import words
from jaxrf.tasks.specification import Specification
from jaxrf.zoo.listing import listing

ERROR, CAP = 0.01, 4096
"""Relative standard error of sigma at which a row is done, and samples at which it ends in any case."""
WORK, LEAST = 1e11, 32
"""Multiply-adds of forward passes after which a row ends as well, and random networks that it has in any case."""
SIZES = ("usual", "half")
KINDS = ("noise", "photos")
ESTIMATORS = ("sign_averaged", "sampled")
"""The first that does not refuse is taken."""
MULTIPLE = 32
"""Sides of the half input are multiples of this, the stride of most networks."""


@dataclass(frozen=True)
class Job:
    """All stages of one network on one size of input and one kind of images.

    Attributes:
        network: its name in the zoo.
        input: shape of the input, as 224x224x3.
        images: "noise" or "photos".
        cost: multiply-adds for one image.
    """

    network: str
    input: str
    images: str
    cost: float

    def specification(self, layer: str, estimator: str, samples: int | None = None) -> Specification:
        """The sweep of one stage's last layer.

        Args:
            layer: its name.
            estimator: "sign_averaged" or "sampled".
            samples: how many exactly; None to stop at the atlas's error.
        """
        size = "x".join(self.input.split("x")[:2])
        inputs = "noise:1" if self.images == "noise" else f"jaxrf.atlases.photos:of_{size}[:{len(NAMES)}]"
        return Specification(
            model={"source": f"zoo:{self.network}"},
            input=self.input,
            inputs=inputs,
            layer=layer,
            estimator=estimator,
            seeds=f"0:{-(-(samples or self.cap) // self.images_per_seed)}",
            until={"error": ERROR, "cap": self.cap} if samples is None else None,
            measures=("sigma",),
        )

    @property
    def cap(self) -> int:
        """Samples at which a row ends in any case: the power of two that `WORK` pays for, within its limits."""
        paid = 2 ** int(math.log2(max(WORK / max(self.cost, 1.0), 1.0)))
        return min(max(paid, LEAST * self.images_per_seed), CAP)

    @property
    def images_per_seed(self) -> int:
        """How many images each random initialization is given."""
        return 1 if self.images == "noise" else len(NAMES)


def jobs(networks: Iterable[str] = (), sizes: Iterable[str] = SIZES, kinds: Iterable[str] = KINDS) -> list[Job]:
    """The jobs of the atlas: noise before photos, and the cheaper before the dearer.

    Networks whose inputs are not color images have none with photos.

    Args:
        networks: names in the zoo; all of them where there are none.
        sizes: "usual", the input that the zoo lists, and "half", about half of it on each side.
        kinds: "noise" and "photos".

    Raises:
        UnknownNameError: there is no such network, size or kind.

    Example:
        >>> [job.input for job in jobs(["resnet50"], kinds=["noise"])]
        ['128x128x3', '224x224x3']
    """
    entries = {entry.name: entry for entry in listing()}
    networks, sizes, kinds = tuple(networks) or tuple(entries), tuple(sizes), tuple(kinds)
    for kind, given, known in (
        ("zoo model", networks, entries),
        ("size", sizes, SIZES),
        ("kind of images", kinds, KINDS),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    found = []
    for name in networks:
        usual = words.shape(entries[name].input)
        for size in sizes:
            shape = usual if size == "usual" else half(usual)
            share = math.prod(shape) / math.prod(usual)
            own = [kind for kind in kinds if kind != "photos" or (len(shape) == 3 and shape[-1] == 3)]
            found += [Job(name, "x".join(map(str, shape)), kind, entries[name].multiply_adds * share) for kind in own]
    return sorted(found, key=lambda job: (KINDS.index(job.images), job.cost, job.network))


def job(network: str, input: str, images: str) -> Job:
    """The job with this network, input and kind of images.

    Raises:
        InputError: the atlas has no such input.
        UnknownNameError: there is no such network or kind.
    """
    own = jobs([network], kinds=[images])
    for found in own:
        if found.input == input:
            return found
    there = " and ".join(one.input for one in own) or "none"
    raise InputError(f"The atlas has no {network} on {input} with {images}. It has {there}.")


def half(shape: tuple[int, ...]) -> tuple[int, ...]:
    """About half of an input on each side, rounded up to what most networks divide.

    >>> half((299, 299, 3)), half((4096, 1))
    ((160, 160, 3), (2048, 1))
    """
    return (*(-(-side // (2 * MULTIPLE)) * MULTIPLE for side in shape[:-1]), shape[-1])
