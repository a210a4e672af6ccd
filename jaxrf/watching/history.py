"""What was recorded of a training, read while it goes on or when it is over. Runs no model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrf.errors import InputError, unknown
from jaxrf.report.grid import plot_grid
from jaxrf.results.result import Result
from jaxrf.store.growing import Growing
from jaxrf.watching import entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "jaxrf-watch"


@dataclass(frozen=True, eq=False)
class History:
    """Fields of layers over the steps of a training.

    Attributes:
        group: on disk; what is there is read when it is asked for.
        layers: folders in it by names of layers.
    """

    group: Growing
    layers: dict[str, str]

    @property
    def steps(self) -> list[int]:
        """The steps that were recorded, ascending."""
        return [int(step) for step in self.group.steps]

    def result(self, layer: str, step: int) -> Result:
        """The result of a layer at a step, with intervals over the images.

        Raises:
            UnknownNameError: that layer was not watched.
            InputError: that step was not recorded.
        """
        folder, steps = self._folder(layer), self.steps
        if step not in steps:
            some = ", ".join(map(str, steps[:6])) + (f", ... {steps[-1]}" if len(steps) > 6 else "")
            raise InputError(f"Step {step} was not recorded in {self.group.path}. Recorded: {some or 'none yet'}.")
        names = [name for name in self.group.arrays if name.startswith(f"{folder}/")]
        arrays = {name.partition("/")[2]: self.group.read(name, steps.index(step)) for name in names}
        return entry.restored(self.group.said(folder), arrays)

    def numbers(self, layer: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Values and standard errors (step, unit, ...) of sigma, size and area ratio.

        Raises:
            UnknownNameError: that layer was not watched.
        """
        folder = self._folder(layer)
        return {
            name: (self.group.read(f"{folder}/{name}"), self.group.read(f"{folder}/{name}_error"))
            for name in entry.MEASURES
        }

    def plot(self, layer: str, *, count: int = 8, **options: Any) -> Figure:
        """A strip of maps over steps, as many as `count`, evenly spaced; those that are not finite are left out.

        Args:
            layer: its name.
            count: of maps, at most.
            options: of `jaxrf.plot_grid`.

        Raises:
            UnknownNameError: that layer was not watched.
            InputError: no step was recorded, or none with a finite map.
        """
        maps = self.group.read(f"{self._folder(layer)}/mean")
        steps = [step for step, one in zip(self.steps, maps) if np.isfinite(one).all()]
        if not steps:
            raise InputError(f"{self.group.path} holds no step with a finite map of {layer!r}, of {len(maps)} steps.")
        places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
        results = {f"step {steps[i]}": self.result(layer, steps[i]) for i in places}
        return plot_grid(results, columns=len(results), **options)

    def _folder(self, layer: str) -> str:
        if layer not in self.layers:
            raise unknown("watched layer", layer, self.layers)
        return self.layers[layer]

    def __repr__(self) -> str:
        steps = self.steps
        return f"History: {len(steps)} steps of {', '.join(map(repr, self.layers))}" + (
            f", {steps[0]} to {steps[-1]}" if steps else ""
        )


def history(path: str | os.PathLike[str]) -> History:
    """What `jaxrf.watch` recorded at `path`, while it goes on or when it is over.

    Raises:
        StoreError: nothing that `jaxrf.watch` wrote is there, or it is damaged.
    """
    group = Growing.open(Path(path).expanduser().resolve(), KIND)
    return History(group, dict(group.facts["layers"]))
