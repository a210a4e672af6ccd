"""Luo et al. (2016), figure 1 and its neighbors: maps of stacks by depth, weights and activation.

Left to right: 5, 10, 20 and 40 layers of 3x3. Top to bottom: equal weights, random weights, random weights and ReLU.
Then ReLU, tanh and sigmoid at 20 layers, over random weights and inputs: one network each, and the average.

    python docs/reproductions/luo_maps.py [--full]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import Run, box_power, figure, interval, luo_size, plus_minus, show_map

import jaxrf
from jaxrf import zoo

CASES = {"uniform": ("linear", "uniform"), "random": ("linear", "random"), "random + ReLU": ("relu", "random")}


def stack(depth: int, width: int, activation: str):
    """A stack without biases."""
    return zoo.conv_stack(depth=depth, width=width, activation=activation)


def by_depth(run: Run) -> None:
    """Figure 1: the magnitude of the gradient of one channel, averaged over 20 networks, as the protocol says."""
    depths, width, seeds = (
        run.sizes((2, 3), (5, 10, 20, 40), (5, 10, 20, 40)),
        run.sizes(2, 16, 32),
        run.sizes(4, 20, 100),
    )
    drawn, rows = figure(1.9 * len(depths), 6.2), []
    axes = drawn.subplots(len(CASES), len(depths), squeeze=False)
    for row, (name, (activation, init)) in enumerate(CASES.items()):
        for column, depth in enumerate(depths):
            side = 2 * depth + 1
            equal = init == "uniform"
            result = jaxrf.erf(
                stack(depth, 1 if equal else width, activation), inputs=jaxrf.noise(1), input_shape=(side, side, 1),
                init={"*/kernel": init}, seeds=2 if equal else seeds, protocol="luo2016",
            )  # fmt: skip
            show_map(axes[row, column], result.mean[0], f"{depth} layers, {name}" if equal else f"{depth}, {name}")
            profile = box_power(depth)
            rms = np.sqrt(profile)
            theory = profile if equal else rms
            sigma = np.sqrt((theory * np.square(np.arange(side) - depth)).sum() / theory.sum())
            size, spread = interval(result, "size_luo2016"), interval(result, "sigma")
            exact = np.abs(result.mean[0] / result.mean.sum() - np.outer(profile, profile)).max() if equal else None
            note = f"differs from the exact map by {exact:.0e}" if equal else f"{seeds} networks"
            rows.append((name, depth, side, plus_minus(*size, 1), f"{luo_size(theory):.1f}", plus_minus(*spread),
                         f"{sigma:.2f}", note))  # fmt: skip
    head = ("weights", "layers", "theoretical", "size", "size in theory", "sigma", "sigma in theory", "")
    run.table("Mean magnitude of one channel's gradient", head, rows)
    run.save(drawn, "luo_maps")


def by_activation(run: Run) -> None:
    """Twenty layers with three activations: single networks differ, expected squares have one width."""
    depth, width, seeds = run.sizes(3, 20, 20), run.sizes(2, 16, 32), run.sizes(4, 48, 200)
    names = ("linear", "relu", "tanh", "sigmoid")
    drawn, rows = figure(1.9 * len(names), 4.3), []
    axes = drawn.subplots(2, len(names), squeeze=False)
    call: dict[str, Any] = {
        "inputs": jaxrf.noise(2),
        "input_shape": (2 * depth + 1, 2 * depth + 1, 3),
        "average": "normalized",
    }
    for column, name in enumerate(names):
        gain = {"*/kernel": jaxrf.init.random(2.0 if name == "relu" else 1.0)}
        model = stack(depth, width, name)
        result = jaxrf.erf(model, seeds=seeds, init=gain, **call)
        single = jaxrf.erf(model, seeds=1, init=gain, **{**call, "inputs": jaxrf.noise(1)})
        show_map(axes[0, column], np.sqrt(single.mean[0]), f"{name}: one network", depth)
        show_map(axes[1, column], np.sqrt(result.mean[0]), f"{result.count} samples", depth)
        alone, positions = float(single.measure("participation")[0]), interval(result, "participation")
        rows.append((name, plus_minus(*interval(result, "sigma")), f"{np.sqrt(2 * depth / 3):.2f}",
                     f"{alone:.0f}", plus_minus(*positions, 0)))  # fmt: skip
    head = ("activation", "sigma of the mean square", "exact, linear", "positions of one map", "positions of the mean")
    run.table(f"{depth} layers, squared gradient, maps that each sum to one", head, rows)
    run.save(drawn, "luo_activations")


if __name__ == "__main__":
    run = Run(__doc__)
    by_depth(run)
    by_activation(run)
