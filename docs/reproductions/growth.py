"""Growth with depth: the size of the effective field, and its ratio to the theoretical one, for 5 to 80 layers.

Equal weights and random weights as the paper has them, beside the exact curves, and the slopes of both on log axes.
The last case takes the same random ReLU networks without the noise: the root of the sign-averaged mean square.

    python docs/reproductions/growth.py [--full]
"""

from __future__ import annotations

import numpy as np
from _common import COLORS, Run, box_power, figure, interval, luo_size, mean_interval, plus_minus, slope

import jaxrf
from jaxrf import zoo
from jaxrf.statistics.measures import measures

CASES = {"uniform": ("linear", "uniform"), "random": ("linear", "random"), "random + ReLU": ("relu", "random")}


def exact(depths: tuple[int, ...], root: bool) -> list[float]:
    """Luo's sizes of the exact maps, or of their roots: what random weights give in the mean."""
    return [luo_size(np.sqrt(box_power(n)) if root else box_power(n)) for n in depths]


def measured(run: Run, depths: tuple[int, ...], activation: str, init: str) -> list[tuple[float, float]]:
    """Luo's size with its half interval at every depth, under the protocol."""
    width, seeds = (1, 2) if init == "uniform" else (run.sizes(2, 8, 32), run.sizes(4, 20, 100))
    found = []
    for depth in depths:
        model = zoo.conv_stack(depth=depth, width=width, activation=activation)
        result = jaxrf.erf(
            model, inputs=jaxrf.noise(1), input_shape=(2 * depth + 1, 2 * depth + 1, 1), seeds=seeds,
            init={"*/kernel": init}, protocol="luo2016",
        )  # fmt: skip
        found.append(interval(result, "size_luo2016"))
    return found


def averaged(run: Run, depths: tuple[int, ...]) -> list[tuple[float, float]]:
    """Luo's size of the root of the mean square, sign-averaged; the half interval is from four groups of networks."""
    width, seeds = run.sizes(2, 8, 32), run.sizes(2, 8, 25)
    found = []
    for depth in depths:
        model, sizes = zoo.conv_stack(depth=depth, width=width), []
        for group in range(4):
            result = jaxrf.erf(
                model, inputs=jaxrf.noise(1), input_shape=(2 * depth + 1, 2 * depth + 1, 1), average="normalized",
                seeds=range(group * seeds, group * seeds + seeds), estimator="sign_averaged",
            )  # fmt: skip
            sizes.append(float(measures["size_luo2016"](np.sqrt(result.mean), center=result.center - result.origin)[0]))
        found.append(mean_interval(sizes))
    return found


def main(run: Run) -> None:
    """Sizes and ratios, their slopes, and the figure."""
    depths = run.sizes((2, 3, 5), (5, 10, 20, 40, 80), (5, 7, 10, 14, 20, 28, 40, 57, 80))
    theoretical = np.array([2 * n + 1 for n in depths])
    drawn = figure(8.4, 3.6)
    left, right = drawn.subplots(1, 2)
    sizes, slopes = [], []
    cases = {name: measured(run, depths, *how) for name, how in CASES.items()}
    cases["random + ReLU, sign-averaged"] = averaged(run, depths)
    for (name, found), color in zip(cases.items(), COLORS, strict=False):
        values, halves = np.array(found).T
        curve = np.array(exact(depths, root=name != "uniform"))
        for ax, scale in ((left, 1), (right, 1 / theoretical)):
            ax.errorbar(depths, values * scale, halves * scale, fmt="o", color=color, markersize=4, label=name)
            ax.plot(depths, curve * scale, color=color, linewidth=1)
        sizes.append((name, *(plus_minus(*pair, 1) for pair in found)))
        if name in ("uniform", "random"):
            sizes.append((f"{name}, exact", *(f"{value:.1f}" for value in curve)))
        slopes.append((
            name,
            plus_minus(*slope(depths, values, halves), 3), f"{slope(depths, curve)[0]:.3f}",
            plus_minus(*slope(depths, values / theoretical, halves / theoretical), 3),
            f"{slope(depths, curve / theoretical)[0]:.3f}",
        ))  # fmt: skip
    for ax, power, label in ((left, 0.5, "size (input positions)"), (right, -0.5, "size / theoretical size")):
        start = ax.get_lines()[-1].get_ydata()[0]
        ax.plot(depths, start * (np.array(depths) / depths[0]) ** power, ":", color="gray", label=f"n^{power}")
        ax.set(xscale="log", yscale="log", xlabel="layers", ylabel=label)
        ax.set_xticks(depths, [str(n) for n in depths], fontsize=8)
        ticks = (4, 8, 12, 16, 24, 32, 48) if power > 0 else (0.2, 0.3, 0.4, 0.6, 0.8, 1)
        ax.set_yticks(ticks, [str(tick) for tick in ticks], fontsize=8)
        ax.minorticks_off()
    left.legend(fontsize=8)
    run.table("Size", ("weights", *(f"{n} layers" for n in depths)), sizes)
    run.table("Slope on log axes", ("weights", "size", "size, exact", "ratio", "ratio, exact"), slopes)
    run.save(drawn, "growth")


if __name__ == "__main__":
    main(Run(__doc__))
