"""Color scales of maps: what a color means, found by name.

A scale takes views, whose values are maps over their peaks, and gives what is drawn and how it becomes a color.
One more scale is one function here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.report.view import View

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

DECADES = 4
"""Of a logarithmic scale; what lies below has the darkest color."""
BRIGHT = 0.999
"""Share of the positive values below the end of the linear scale: a few bright speckles must not leave the rest dark."""


@dataclass(frozen=True)
class Scale:
    """How values become colors.

    Attributes:
        label: what the color bar says.
        norm: from all views of a figure to a `Normalize` of what is drawn.
        drawn: from a view to what is drawn in place of its values.
    """

    label: str
    norm: Callable[[Sequence[View]], Normalize]
    drawn: Callable[[View], np.ndarray] = lambda view: view.values


scales: Registry[Scale] = Registry("scale")


def norm_of(scale: Scale, views: Sequence[View]) -> Normalize:
    """Colors of all views of a figure; maps with signs have colors about zero."""
    from matplotlib.colors import Normalize

    return Normalize(-1, 1) if any(view.signed for view in views) else scale.norm(views)


def _log(views: Sequence[View]) -> Normalize:
    from matplotlib.colors import LogNorm

    return LogNorm(10.0**-DECADES, 1, clip=True)


def _linear(views: Sequence[View]) -> Normalize:
    from matplotlib.colors import Normalize

    positive = np.concatenate([view.values[view.values > 0] for view in views])
    return Normalize(0, float(np.quantile(positive, BRIGHT)) if positive.size else 1)


def _whole(views: Sequence[View]) -> Normalize:
    from matplotlib.colors import Normalize

    return Normalize(0, 1)


def _power(exponent: float) -> Callable[[Sequence[View]], Normalize]:
    def norm(views: Sequence[View]) -> Normalize:
        from matplotlib.colors import PowerNorm

        return PowerNorm(exponent, 0, 1)

    return norm


def _log_of_one_more(view: View) -> np.ndarray:
    """`log10(map + 1)` over its peak, which depends on the scale of the map."""
    return np.log1p(view.values * view.peak) / np.log1p(view.peak) if view.peak > 0 else view.values


scales.register("log")(Scale("mean score / peak", _log))
scales.register("linear")(Scale("mean score / peak", _linear))
scales.register("power_0.2")(Scale("mean score / peak, colors by its power 0.2", _power(0.2)))
scales.register("power_0.25")(Scale("mean score / peak, colors by its power 0.25", _power(0.25)))
scales.register("luo2016")(Scale("mean score / peak", _whole))
scales.register("replknet2022")(Scale("log10(mean score + 1) / its peak", _whole, _log_of_one_more))
