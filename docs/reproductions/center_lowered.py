"""Lower weights at the kernel's center: do they enlarge the field, and is training faster?

The field of untrained stacks against He's initialization; then both are trained on a segmentation task that
needs a ring at distance 5, with the same images in the same order.

    python docs/reproductions/center_lowered.py [--full]
"""

from __future__ import annotations

import jax
import numpy as np
from _common import COLORS, Run, figure, mean_interval, plus_minus
from _data import made
from _training import Net, train

import jaxrf
from jaxrf import zoo

INITS = {"He normal": jax.nn.initializers.he_normal(), "center lowered": jaxrf.init.center_lowered()}


def enlarged(run: Run) -> None:
    """Sigma of both, and of their ratio what the variance of one kernel says."""
    rows = []
    for depth in run.sizes((2,), (5, 10, 20), (5, 10, 20, 40)):
        model, side = zoo.conv_stack(depth=depth, width=run.sizes(4, 16, 32)), 2 * depth + 1
        he, lowered = (
            jaxrf.erf(model, inputs=jaxrf.noise(1), input_shape=(side, side, 3), seeds=run.sizes(4, 32, 200),
                      init={"*/kernel": init}, average="normalized", estimator="sign_averaged")
            for init in INITS.values()
        )  # fmt: skip
        found = jaxrf.compare(lowered, he, measure="sigma")
        a, b, half = found.a.mean(), found.b.mean(), float((found.difference.high - found.difference.low).mean() / 2)
        rows.append((depth, f"{b:.3f}", f"{a:.3f}", plus_minus(a - b, half, 3), plus_minus(a / b, half / b, 3)))
    head = ("layers", "sigma, He", "sigma, center lowered", "difference", "ratio (1.097 expected)")
    run.table("Untrained ReLU stacks, sign-averaged", head, rows)


def faster(run: Run) -> None:
    """Losses of both along training, paired by seed."""
    depth, width, seeds, steps = run.sizes((2, 4, 2, 6), (12, 12, 5, 250), (12, 32, 10, 2000))
    count = run.sizes({"train": 16, "test": 8}, {"train": 512, "test": 64}, {"train": 4096, "test": 256})
    task = made(reach=5, **count)
    losses, accuracy = {}, {}
    drawn = figure(5.2, 3.4)
    ax = drawn.subplots()
    for (name, init), color in zip(INITS.items(), COLORS, strict=False):
        trained = [train(Net(depth, width, 2, init), task, seed, steps) for seed in range(seeds)]
        losses[name] = np.array([network.losses for network in trained])
        accuracy[name] = np.array([network.accuracy for network in trained])
        window = max(steps // 25, 1)
        smooth = np.array([np.convolve(line, np.full(window, 1 / window), "valid") for line in losses[name]])
        ax.plot(smooth.T, color=color, linewidth=0.5, alpha=0.6)
        ax.plot(smooth.mean(0), color=color, linewidth=2, label=name)
    ax.set(xlabel="step", ylabel="training loss")
    ax.legend()
    he, lowered = INITS
    rows = []
    for label, part in parts(steps).items():
        means = {name: found[:, part].mean(1) for name, found in losses.items()}
        change = mean_interval(means[lowered] - means[he])
        rows.append((label, f"{means[he].mean():.3f}", f"{means[lowered].mean():.3f}", plus_minus(*change, 3)))
    change = mean_interval(accuracy[lowered] - accuracy[he])
    rows.append(
        ("test accuracy", f"{accuracy[he].mean():.3f}", f"{accuracy[lowered].mean():.3f}", plus_minus(*change, 3))
    )
    run.table(f"Training of {seeds} networks each, {steps} steps", ("mean", he, lowered, "paired difference"), rows)
    run.save(drawn, "center_lowered")


def parts(steps: int) -> dict[str, slice]:
    """Thirds of the training."""
    third = steps // 3
    return {"loss, first third": slice(0, third), "loss, second third": slice(third, 2 * third),
            "loss, last third": slice(2 * third, steps)}  # fmt: skip


if __name__ == "__main__":
    run = Run(__doc__)
    enlarged(run)
    faster(run)
