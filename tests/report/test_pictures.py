"""Figures beside stored pictures of them; `python tests/report/test_pictures.py` draws these anew. Look at them then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxrf.report.curves import plot_measure, plot_profiles
from jaxrf.report.figures import plot
from jaxrf.report.geometry_figures import plot_boxes, plot_size_over_depth
from jaxrf.report.grid import plot_grid
from tests.report.test_figures import result_of

PICTURES = Path(__file__).parent / "pictures"
BLOCK = 6
"""Pixels of the blocks whose means are compared: letters of another version of a font have the same."""
NEAR, FAR = 24, 3.0
"""How far blocks may differ, of 255: the worst 1 % of them, and on the average."""


def narrow():
    result = result_of()
    return replace(result, mean=result.mean**3, stderr=result.stderr**3)


def rows():
    row = result_of().theoretical
    return [replace(row, name=f"layer {i}") for i in range(4)]


FIGURES: dict[str, Callable[[], Any]] = {
    "map": lambda: plot(result_of()),
    "map_over_photo": lambda: plot(result_of(), photo=np.linspace(0, 1, 20 * 28).reshape(20, 28)),
    "map_signed": lambda: plot(replace(result_of(), mean=result_of().mean * np.cos(np.arange(28)))),
    "line": lambda: plot(result_of(1)),
    "volume": lambda: plot(result_of(3)),
    "grid": lambda: plot_grid({"wide": result_of(), "narrow": narrow()}, sizes=False),
    "profiles": lambda: plot_profiles({"wide": result_of(), "narrow": narrow()}).figure,
    "measure": lambda: plot_measure({1: narrow(), 2: result_of(), 4: result_of(seed=1)}, xlabel="depth").figure,
    "boxes": lambda: plot_boxes(rows()[:1], [(2, 3), (0, 6)]).figure,
    "sizes": lambda: plot_size_over_depth(rows()).figure,
}


def drawn(figure: Figure) -> np.ndarray:
    """A figure as gray pixels with three colors, small."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(50)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def blocks(pixels: np.ndarray) -> np.ndarray:
    height, width = (n // BLOCK * BLOCK for n in pixels.shape[:2])
    whole = pixels[:height, :width].astype(float)
    return whole.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean((1, 3))


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The 99th percentile and the mean of the differences of blocks."""
    far = np.abs(blocks(one) - blocks(other)).max(-1)
    return float(np.quantile(far, 0.99)), float(far.mean())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in ("volume", "map_over_photo", "map_signed") else ())
        for n in FIGURES
    ],
)
def test_a_figure_looks_as_it_did(name):
    """Blocks of pixels have the means that they have in the stored picture."""
    now, before = drawn(FIGURES[name]()), np.asarray(Image.open(PICTURES / f"{name}.png").convert("RGB"))
    assert now.shape == before.shape
    worst, mean = apart(now, before)
    assert worst < NEAR and mean < FAR, f"{name}: {worst:.1f}, {mean:.2f}. If it should, draw the pictures anew"


def test_a_small_change_is_seen():
    """Another color scale, a box elsewhere, a missing contour, or the other panel first, is beyond the tolerance."""
    before = drawn(FIGURES["map"]())
    moved = replace(result_of(), units=np.array([[2, 2]]))
    for changed in (plot(result_of(), scale="linear"), plot(moved), plot(result_of(), shares=(0.95,))):
        worst, mean = apart(drawn(changed), before)
        assert worst > NEAR or mean > FAR
    turned = drawn(plot_grid({"narrow": narrow(), "wide": result_of()}, sizes=False))
    assert apart(turned, drawn(FIGURES["grid"]()))[0] > NEAR


def test_there_is_no_picture_of_nothing():
    """Each stored picture belongs to a figure."""
    assert {file.stem for file in PICTURES.glob("*.png")} == set(FIGURES)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for each, make in FIGURES.items():
        Image.fromarray(drawn(make())).quantize(96).save(PICTURES / f"{each}.png", optimize=True)
