"""Draws tokens.png: `python docs/images/draw_tokens.py`, some seconds on two cores."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import numpy as np
from flax import linen as nn

import jaxrf
from jaxrf.report.canvas import new_figure


class Net(nn.Module):
    """Two blocks of attention with skips, of large weights, so that tokens choose whom they attend to."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (8, 8), 8, padding="VALID", name="patch")(x)
        x = x.reshape(x.shape[0], -1, 16)
        for i in range(2):
            y = nn.LayerNorm(name=f"norm_{i}")(x)
            attention = nn.MultiHeadDotProductAttention(
                2, kernel_init=nn.initializers.normal(0.5), name=f"attention_{i}"
            )
            x = jaxrf.tap(x + attention(y), f"block_{i}")
        return x


def main() -> None:
    """Maps of one token with random weights, and its score by distance."""
    call = {"inputs": jaxrf.noise(1), "input_shape": (56, 56, 3), "seeds": 8, "average": "normalized"}
    results = {
        "local path: the patch": jaxrf.erf(Net(), layer="patch", units=[(3, 3)], **call),
        "one block, weights constant": jaxrf.erf(
            Net(), layer="block_0", units=[(24,)], treat_as_constant=["attention_0"], **call
        ),
        "one block": jaxrf.erf(Net(), layer="block_0", units=[(24,)], **call),
        "two blocks": jaxrf.erf(Net(), layer="block_1", units=[(24,)], **call),
    }
    figure = new_figure(12.5, 3.2)
    axes = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.3])
    for ax, (name, result) in zip(axes, results.items(), strict=False):
        result.plot(ax=ax, zoom=False, shares=())
        ax.set_title(name, fontsize=9)
        far = result.by_distance("token")
        some = np.nan_to_num(far.mean.value[0]) > 0
        axes[-1].semilogy(far.distance[some], far.mean.value[0][some], marker="o", markersize=4, label=name)
    axes[-1].set_xlabel("distance from the token (tokens)")
    axes[-1].set_ylabel("mean score")
    axes[-1].spines[["top", "right"]].set_visible(False)
    axes[-1].legend(frameon=False, fontsize=7)
    figure.savefig(Path(__file__).parent / "tokens.png", dpi=100)


if __name__ == "__main__":
    main()
