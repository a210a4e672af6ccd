"""One layer, prepared: the program to run for its units, and how the maps are described."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxrf.adapters import Subject
from jaxrf.engine.batching import Batching
from jaxrf.engine.plan import Plan
from jaxrf.engine.run import Pullback
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.interpret.units import UnitAxes
from jaxrf.planning.options import Settled
from jaxrf.results.mapped import Mapped
from jaxrf.results.result import Result
from jaxrf.statistics import Gathered


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of one layer's maps before any weight or image is there.

    Attributes:
        subject: the model; its variables are those of whoever runs it, and are not kept here.
        options: what was asked for.
        pullback: the program and its batches.
        plan: how the batches were chosen.
        row: the layer's row of the table.
        axes: of the layer, and which of them are positions.
        units: (unit, axis), positions in the layer.
        shift: by how many positions the part of the image that is run begins behind the image; None for all of it.
        facts: JSON-able, for the provenance of results.
    """

    subject: Subject
    options: Settled
    pullback: Pullback
    plan: Plan
    row: Row
    axes: UnitAxes
    units: np.ndarray
    shift: tuple[int, ...] | None
    facts: dict[str, Any]

    @property
    def images_per_call(self) -> int:
        """Images per call of the compiled program."""
        return (
            self.pullback.program.image.shape[0]
            if self.pullback.images_interact
            else self.pullback.batching.images_per_call
        )

    @property
    def count(self) -> int:
        """Number of maps of an image."""
        return 1 if self.pullback.pool is not None else self.pullback.count // self.pullback.groups

    @property
    def map_bytes(self) -> int:
        """Bytes of the maps of one image, as the program gives them."""
        pull = self.pullback
        shape = pull.pool.shape if pull.pool is not None else pull.map_shape
        return np.dtype(pull.program.image.dtype).itemsize * self.count * math.prod(shape)

    def with_batching(self, numbers: Mapping[str, int]) -> Prepared:
        """The same in portions of these numbers, which decide the last bits of maps; itself where it has them."""
        batching = Batching(**numbers)
        if batching == self.pullback.batching:
            return self
        return replace(self, pullback=replace(self.pullback, batching=batching), plan=self.plan.with_batching(batching))

    def across(self, axis: str, size: int) -> Prepared:
        """The same with its units dealt over an axis of a mesh of that length.

        Raises:
            InputError: the units do not divide.
        """
        count = self.pullback.count
        if size < 1 or count % size:
            fit = [n for n in range(1, count + 1) if count % n == 0]
            words = ", ".join(map(str, fit if len(fit) < 16 else [*fit[:12], "...", fit[-1]]))
            raise InputError(
                f"{count} units of layer {self.row.name!r} cannot be dealt evenly over the mesh axis {axis!r} of length "
                f"{size}. Lengths that divide them are {words}; or prepare another number of units."
            )
        pull = self.pullback.across(axis, size)
        return replace(self, pullback=pull, plan=replace(self.plan, batching=pull.batching))

    def cropped(self, images: Any) -> Any:
        """The part of images (n, ...) that the program runs on."""
        if self.shift is None:
            return images
        whole = [slice(None)] * images.ndim
        for axis, lo in zip(self.subject.spatial_axes, self.shift):
            whole[axis] = slice(lo, lo + self.pullback.program.image.shape[axis])
        return images[tuple(whole)]

    def picked(self, value: np.ndarray, images: int) -> np.ndarray:
        """The units (image, unit, channel) out of the layer's value for so many images."""
        value = self.axes.by_image(value, images)
        kept = [a for a in range(1, value.ndim) if a - 1 not in self.axes.units]
        value = value.transpose(0, *(a + 1 for a in self.axes.units), *kept)
        return value[(slice(None), *self.units.T)].reshape(images, len(self.units), -1)

    def where(self, maps: int) -> tuple[np.ndarray, np.ndarray]:
        """Origins and units of the result's maps; units averaged into one are told by the center unit."""
        pool = self.pullback.pool
        if pool is not None:
            unit = self.row.center_unit
            middle = np.nan_to_num([self.row.center(unit)])  # no center: no unit sees anything, and the map is zero
            return np.floor(middle).astype(np.int64) - pool.middle, np.array([unit])
        origin = self.pullback.origin[:maps] + (np.array(self.shift) if self.shift is not None else 0)
        return origin, np.repeat(self.units, maps // len(self.units), axis=0)

    def mapped(self, maps: int) -> Mapped:
        """What a result of so many maps says besides its numbers."""
        origin, units = self.where(maps)
        pull, facts = self.pullback, {**self.facts, "plan": str(self.plan)}
        return Mapped(origin, units, self.row, pull.score, pull.channels, pull.images_interact, facts)

    def summarized(self, total: Gathered, facts: dict[str, Any], own: np.ndarray) -> Result:
        """What was gathered as a `Result`; see `Mapped.result`."""
        return self.mapped(len(total.dead)).result(total, own, facts)
