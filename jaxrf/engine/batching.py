"""How many units and images are pulled back at once, and one behind the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Batching:
    """What one call of the compiled program takes, and in which portions.

    Other portions give the same maps but for the last bits.

    Attributes:
        units_per_batch: how many units are pulled back at once.
        images_at_once: how many images go through side by side, on all devices.
        sequential_passes: how often a call does that, with other images each time.
        batches_per_call: how many batches of units a call takes.
    """

    units_per_batch: int = 1
    images_at_once: int = 1
    sequential_passes: int = 1
    batches_per_call: int = 1

    @property
    def images_per_call(self) -> int:
        """Images that one call takes."""
        return self.images_at_once * self.sequential_passes

    def __str__(self) -> str:
        passes = f" in {self.sequential_passes} passes" if self.sequential_passes > 1 else ""
        return (
            f"{self.units_per_batch} units, {self.images_at_once} images side by side{passes}, "
            f"{self.batches_per_call} batches a call"
        )
