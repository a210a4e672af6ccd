"""What skips, dilation, large kernels, attention and initializers do at equal depth: `python docs/atlas/equal_depth.py`.

Maps stacks of twelve layers, writes `equal_depth.csv` beside itself; the page is made from that. Takes some minutes.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _rows import FOLDER, MARK, panels, read, table
from matplotlib.figure import Figure

FILE = FOLDER / "equal_depth.csv"
HEADER = ("part", "layers", "theoretical", "sigma", "low", "high", "samples", "estimator")
DEPTH, WIDTH, SIDE = 12, 16, 97
FOR_TOKENS = 13
"""Side of the input where each position is a token, which attends to all others."""


@dataclass(frozen=True)
class Case:
    """One kind of layers.

    Attributes:
        part: of the page, as "skips".
        layers: its name in it.
        options: of `jaxrf.zoo.conv_stack`; of `vit_small_16` for attention.
        init: initializers by patterns of parameters.
        attention: whether the layers are encoder blocks on single positions.
    """

    part: str
    layers: str
    options: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, str] = field(default_factory=lambda: {"*/kernel": "he_normal"})
    attention: bool = False


OWN = {}  # as the network is published
HALF = DEPTH // 2
CASES = (
    Case("skips", "none"),
    Case("skips", "around each layer", {"skip": True}),
    Case("dilation", "none"),
    Case("dilation", "2 in the second half", {"dilation": (1,) * HALF + (2,) * (DEPTH - HALF)}),
    Case("dilation", "2 in all", {"dilation": 2}),
    Case("kernels", "3×3"),
    Case("kernels", "5×5", {"kernel": 5}),
    Case("kernels", "7×7", {"kernel": 7}),
    Case("initializers", "He, normal"),
    Case("initializers", "Glorot, uniform", init={"*/kernel": "glorot_uniform"}),
    Case("initializers", "orthogonal", init={"*/kernel": "orthogonal"}),
    Case("initializers", "center lowered", init={"*/kernel": "center_lowered"}),
    Case("initializers", "all weights equal", init={"*/kernel": "uniform"}),
    Case("attention", "encoder blocks, as published", init=OWN, attention=True),
    Case("attention", "encoder blocks, LeCun's scale", init={"*/kernel": "lecun_normal"}, attention=True),
)


def measured(case: Case, seeds: int, depth: int = DEPTH) -> list[str]:
    """The line of a case."""
    import jaxrf
    from jaxrf import zoo
    from jaxrf.errors import InputError

    options = dict(case.options)
    if case.attention:
        model, layer, side = zoo.vit_small_16(depth, width=4 * WIDTH, heads=4, patch=1), None, FOR_TOKENS
    else:
        options = {k: v[:depth] if isinstance(v, tuple) else v for k, v in options.items()}
        model, layer, side = zoo.conv_stack(depth, width=WIDTH, **options), None, SIDE
    call: dict[str, Any] = {"inputs": jaxrf.noise(1), "input_shape": (side, side, 3), "layer": layer, "seeds": seeds}
    try:
        result = jaxrf.erf(model, **call, init=dict(case.init) or None, estimator="sign_averaged")
        estimator = "sign_averaged"
    except InputError:  # says of attention, and of weights that have a mean, that signs cannot be averaged over
        result = jaxrf.erf(model, **call, init=dict(case.init) or None)
        estimator = "sampled"
    found = result.interval("sigma")
    numbers = [float(one.mean()) for one in (found.value, found.low, found.high)]
    return [case.part, case.layers, f"{result.theoretical.size[0]}", *(f"{one:.5g}" for one in numbers),
            f"{result.count}", estimator]  # fmt: skip


def page(lines: Iterable[Mapping[str, str]]) -> str:
    """The page, from the lines of the file."""
    rows = [
        [line["part"], line["layers"], line["theoretical"], _interval(line), f"{ratio(line):.3f}", line["samples"],
         line["estimator"]]
        for line in lines
    ]  # fmt: skip
    header = ("", "layers", "theoretical size", "sigma", "ratio", "networks", "estimator")
    return MARK + PAGE.format(depth=DEPTH, width=WIDTH, side=SIDE, tokens=FOR_TOKENS,
                              table=table(header, rows, "|---|---|---:|---|---:|---:|---|"))  # fmt: skip


def ratio(line: Mapping[str, str]) -> float:
    """Sigma over that of a flat map on the theoretical field."""
    return math.sqrt(12) * float(line["sigma"]) / float(line["theoretical"])


def figure(lines: Iterable[Mapping[str, str]]) -> Figure:
    """Effective size and its ratio to the theoretical one, with intervals, a line for each case."""
    lines = list(lines)
    drawn, axes = panels(2, 0.24 * len(lines) + 1.0)
    at, names = range(len(lines))[::-1], [f"{line['part']}: {line['layers']}" for line in lines]
    for ax, scales, label in (
        (axes[0], [math.sqrt(12)] * len(lines), "effective size, √12 σ (input positions)"),
        (axes[1], [math.sqrt(12) / float(line["theoretical"]) for line in lines], "effective / theoretical size"),
    ):
        for y, line, scale in zip(at, lines, scales):
            value, low, high = (scale * float(line[key]) for key in ("sigma", "low", "high"))
            ax.errorbar(value, y, xerr=[[value - low], [high - value]], fmt="o", color="#0072b2", markersize=4, capsize=2.5)  # fmt: skip
        ax.set_yticks(at, names if ax is axes[0] else [""] * len(lines), fontsize=8)
        ax.set_xlabel(label)
        ax.set_xlim(left=0)
    return drawn


def _interval(line: Mapping[str, str]) -> str:
    low, high = (f"{float(line[key]):.4g}" for key in ("low", "high"))
    return f"{float(line['sigma']):.4g}" + ("" if "nan" in low + high else f" [{low}, {high}]")


PAGE = """\
# At equal depth

Stacks of {depth} layers that differ in one thing: {width} features, ReLU, stride 1, random weights, on noise of {side}×{side}; the center
unit of the last layer. Attention has {depth} encoder blocks on single positions of {tokens}×{tokens}, so that its theoretical
field is that input. Intervals of 95 % are for other random networks.

![Effective size and its ratio to the theoretical size](equal_depth.svg)

{table}
The ratio is that of √12 sigma to the theoretical size, as in [growth](growth.md). Written by `docs/atlas/equal_depth.py`; a stack
of 3×3 layers with He's weights stands in several parts, for comparison.
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", type=int, default=64, help="random networks for each kind of layers")
    parser.add_argument("--out", type=Path, default=FILE, help="the file")
    parser.add_argument("--part", help="measure this part alone, and keep the lines of the others")
    given = parser.parse_args()
    kept = {(line["part"], line["layers"]): list(line.values()) for line in read(given.out)} if given.part else {}
    lines = []
    for case in CASES:
        again = given.part in (None, case.part)
        lines.append(measured(case, given.networks) if again else kept[case.part, case.layers])
    with given.out.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *lines])


if __name__ == "__main__":
    main()
