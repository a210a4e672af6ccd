"""Padding and the border: the field of units 0, 1, 2, ... positions from the border under zeros, wrapping, reflection.

For zeros there is an exact curve: of the paths of the expected square map, those that leave the image are lost.

    python docs/reproductions/padding.py [--full]
"""

from __future__ import annotations

import numpy as np
from _common import COLORS, Run, figure, mean_interval, plus_minus, show_map

import jaxrf
from jaxrf import zoo

PADDINGS = {"zero": "SAME", "circular": "CIRCULAR", "reflect": "REFLECT"}


def exact(depth: int, side: int, distance: int) -> np.ndarray:
    """Profile of the expected square map under zero padding: a walk of `depth` steps that ends at the border."""
    profile = np.zeros(side)
    profile[distance] = 1
    for _ in range(depth):
        profile = np.convolve(profile, np.full(3, 1 / 3), "same")
    return profile


def moments(profile: np.ndarray, distance: int, wrap: bool) -> tuple[float, float, float]:
    """Sum of a profile, mean offset from the unit, and standard deviation about that mean, in positions."""
    offset = np.arange(len(profile)) - distance
    if wrap:
        offset = (offset + len(profile) // 2) % len(profile) - len(profile) // 2
    mean = (profile * offset).sum() / profile.sum()
    return profile.sum(), mean, np.sqrt((profile * np.square(offset - mean)).sum() / profile.sum())


def profiles(
    run: Run, padding: str, depth: int, side: int, distances: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Profiles along x by (group of networks, unit, x), scaled to the unit in the middle, and the first unit's map."""
    groups, seeds, middle = 4, run.sizes(2, 48, 200), side // 2
    units = [(middle, d) for d in (*distances, middle)]
    model = zoo.conv_stack(depth=depth, width=run.sizes(4, 16, 32), padding=padding)
    maps = []
    for group in range(groups):
        result = jaxrf.erf(
            model, inputs=jaxrf.noise(1), input_shape=(side, side, 3), units=units,
            seeds=range(group * seeds, group * seeds + seeds),
        )  # fmt: skip
        whole = np.zeros((len(units), side, side))
        for unit, (map_, (top, left)) in enumerate(zip(result.mean, result.origin, strict=True)):
            rows, columns = np.indices(map_.shape) + np.array([top, left])[:, None, None]
            inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
            whole[unit, rows[inside], columns[inside]] = map_[inside]
        maps.append(whole / whole[-1].sum())
    return np.array(maps).sum(2)[:, :-1], np.mean(maps, 0)[0]


def main(run: Run) -> None:
    """Power, offset and width by distance from the border."""
    depth = run.sizes(2, 10, 20)
    side, distances = 4 * depth + 1, run.sizes((0, 1), (0, 1, 2, 4, 7, 12), (0, 1, 2, 4, 8, 12, 16, 24))
    drawn = figure(8.6, 5.2)
    above, below = drawn.subplots(2, 3)
    rows = []
    for (name, padding), ax, color in zip(PADDINGS.items(), above, COLORS, strict=False):
        lines, map_ = profiles(run, padding, depth, side, distances)
        show_map(ax, map_, f"{name}, unit at the border")
        found = [[moments(line, d, name == "circular") for line, d in zip(group, distances)] for group in lines]
        for k, (panel, label) in enumerate(zip(below, ("power / power inside", "offset inward", "sigma across"))):
            values, halves = np.array([mean_interval(by) for by in np.array(found)[:, :, k].T]).T
            panel.errorbar(distances, values, halves, fmt="o-", color=color, markersize=3, label=name)
            panel.set(title=label, xlabel="distance from the border")
            panel.title.set_fontsize(9)
            rows.append((name, label, *(plus_minus(v, h) for v, h in zip(values, halves, strict=True))))
    curves = np.array([moments(exact(depth, side, d), d, False) for d in distances]).T
    for panel, curve, label in zip(
        below, curves, ("power / power inside", "offset inward", "sigma across"), strict=True
    ):
        panel.plot(distances, curve, "--", color="black", linewidth=1, label="zero, exact")
        rows.append(("zero, exact", label, *(f"{value:.2f}" for value in curve)))
    below[2].legend(fontsize=8)
    run.table(f"{depth} layers of 3x3 with ReLU, {side} positions, mean square", ("padding", "", *distances), rows)
    run.save(drawn, "padding")


if __name__ == "__main__":
    main(Run(__doc__))
