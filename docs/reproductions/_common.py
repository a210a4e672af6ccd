"""What all reproductions share: their options, the exact maps of theory, slopes and means with intervals, figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy import stats

from jaxrf.errors import InputError
from jaxrf.results.result import Result

IMAGES = Path(__file__).parent.parent / "images" / "reproductions"
# Colors of Okabe and Ito (2008), which stay apart for color-blind readers.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Sizes:
    """Which of its sizes a script runs at: "small", "default" or "full"."""

    level: str

    def __call__(self, small: Any, default: Any, full: Any) -> Any:
        """The value for this level."""
        return {"small": small, "default": default, "full": full}[self.level]


class Run:
    """The options of a script, and where its tables and figures go."""

    def __init__(self, description: str | None, add: Any = None):
        parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--full", action="store_true", help="more networks and larger ones; many minutes")
        how.add_argument("--small", action="store_true", help="tiny sizes: whether the script runs, not what it finds")
        parser.add_argument("--out", type=Path, help="folder of the figures; default: docs/images/reproductions")
        if add is not None:
            add(parser)
        self.options = parser.parse_args()
        self.sizes = Sizes("full" if self.options.full else "small" if self.options.small else "default")
        self.out: Path = self.options.out or IMAGES
        if self.options.small and self.options.out is None:
            parser.error("--small makes figures that show nothing. Say with --out where they may lie.")
        self._start = time.perf_counter()
        # Many maps are of one network with other weights: what was compiled for the first serves all.
        jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir()) / "jaxrf-reproductions"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

    def table(self, title: str, head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table as Markdown."""
        print(f"\n{title}\n")
        print("| " + " | ".join(map(str, head)) + " |\n|" + "---|" * len(head))
        for row in rows:
            print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)

    def save(self, figure: Figure, name: str) -> None:
        """Write the figure, and say how long the script took so far."""
        self.out.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.out / f"{name}.png", dpi=90)
        print(f"\n{self.out / name}.png after {time.perf_counter() - self._start:.0f} s")


def start(main: Callable[[Run], None], description: str | None, add: Any) -> None:
    """Run a script that needs something that may not be here: what is missing is said in a line."""
    run = Run(description, add)
    try:
        main(run)
    except InputError as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def show_map(ax: Axes, values: np.ndarray, title: str, half: int | None = None) -> None:
    """Draw a map over its peak; with `half`, only so many positions to each side of the middle."""
    if half is not None:
        values = values[tuple(slice(max(n // 2 - half, 0), n // 2 + half + 1) for n in values.shape)]
    # A few bright speckles must not leave the rest in the dark.
    ax.imshow(values, cmap="inferno", vmin=0, vmax=np.quantile(values, 0.999) or 1, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])


def box_power(depth: int, kernel: int = 3) -> np.ndarray:
    """The profile of a stack of uniform kernels: the `depth`-fold convolution of a box with itself; it sums to one."""
    profile = np.ones(1)
    for _ in range(depth):
        profile = np.convolve(profile, np.full(kernel, 1 / kernel))
    return profile


def luo_size(profile: np.ndarray) -> float:
    """Luo's size of the plane map that is the outer product of a profile with itself."""
    plane = np.outer(profile, profile)
    return float(np.sqrt((plane > (1 - 0.9545) * plane.max()).sum()))


def interval(result: Result, measure: str, **options: Any) -> tuple[float, float]:
    """A measure of the first unit's map, averaged over axes where it has one per axis, and the half of its 95 %."""
    found = result.interval(measure, **options)
    value, low, high = (np.asarray(part)[0].mean() for part in (found.value, found.low, found.high))
    return float(value), float(high - low) / 2


def plus_minus(value: float, half: float, digits: int = 2) -> str:
    """A number with the half width of its interval; alone where it has none, as Luo's size."""
    return f"{value:.{digits}f} ± {half:.{digits}f}" if np.isfinite(half) else f"{value:.{digits}f}"


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Mean of independent numbers, and the half width of Student's 95 % interval."""
    given = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(given) - 1) * given.std(ddof=1) / np.sqrt(len(given))
    return float(given.mean()), float(half)


def slope(x: ArrayLike, y: ArrayLike, halves: ArrayLike | None = None) -> tuple[float, float]:
    """Slope of log y over log x by least squares, and its half width from those of y; 0 without them."""
    values, log = np.asarray(y, float), np.log(np.asarray(x, float))
    weights = (log - log.mean()) / np.square(log - log.mean()).sum()
    relative = np.zeros(len(values)) if halves is None else np.asarray(halves) / values
    return float(weights @ np.log(values)), float(np.sqrt(np.square(weights) @ np.square(relative)))
