"""Growth from stage to stage, and the ratio of effective to theoretical size, against one over the root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from _rows import COLOR, FAMILIES, MARK, family, interval, known, larger, panels, ratio, table, times, usual
from matplotlib.figure import Figure

from jaxrf.atlases.atlas import Atlas
from jaxrf.atlases.row import AtlasRow


def page(atlas: Atlas) -> str:
    """The page of growth: theoretical and effective sizes stage by stage, and their ratio over depth."""
    parts, slopes = [], []
    for name in FAMILIES:
        sections = []
        for network in (one for one in atlas.networks if family(one) == name):
            for input in dict.fromkeys(row.input for row in atlas[network]):
                rows = known(atlas[network].select(input=input, images="noise"))
                if rows:
                    sections.append(f"### {network}, {times(input)}\n\n" + _stages(rows))
                if (slope := exponent(rows)) is not None:
                    slopes.append([f"`{network}`", name, times(input), f"{len(inside(rows))}", f"{slope:.2f}"])
        if sections:
            parts.append(f"## {name.capitalize()}\n\n" + "\n".join(sections))
    every = table(("network", "family", "input", "stages", "exponent"), slopes, "|---|---|---|---:|---:|")
    return MARK + PAGE.format(slopes=every, families=_families(atlas), parts="\n".join(parts))


def inside(rows: Iterable[AtlasRow]) -> list[AtlasRow]:
    """The rows whose fields fit into the input."""
    return [row for row in rows if not larger(row) and row.stride != "-"]


def exponent(rows: Sequence[AtlasRow]) -> float | None:
    """K of `ratio = c * size**k` through stages whose fields fit into the input; None with fewer than three of these."""
    own = inside(rows)
    if len({row.mean_size for row in own}) < 3:
        return None
    size, share = np.log([row.mean_size for row in own]), np.log([ratio(row) for row in own])
    return float(np.polyfit(size, share, 1)[0])


def _families(atlas: Atlas) -> str:
    """The median exponent and its spread in each family."""
    found: dict[str, list[float]] = {}
    for network in dict.fromkeys(row.network for row in usual(atlas)):
        slope = exponent([row for row in usual(atlas) if row.network == network])
        if slope is not None:
            found.setdefault(family(network), []).append(slope)
    lines = [
        [name, f"{len(found[name])}", f"{np.median(found[name]):.2f}", f"{min(found[name]):.2f} to {max(found[name]):.2f}"]
        for name in FAMILIES if name in found
    ]  # fmt: skip
    return table(("family", "networks", "median exponent", "from, to"), lines, "|---|---:|---:|---|")


def figure(atlas: Atlas) -> Figure:
    """Sigma over the theoretical size, and the ratio over it, a line for each network."""
    drawn, axes = panels(2, 4.0)
    every = usual(atlas)
    drawn_rows = {
        network: [row for row in every if row.network == network and row.stride != "-" and row.mean_size > 1]
        for network in dict.fromkeys(row.network for row in every)
    }
    for network, rows in drawn_rows.items():
        size, color = [row.mean_size for row in rows], COLOR[family(network)]
        for ax, value in zip(axes, ([np.sqrt(12) * (row.sigma or 0) for row in rows], [ratio(row) for row in rows])):
            ax.plot(size, value, "-", color=color, linewidth=0.7, alpha=0.6)
            for at, one, row in zip(size, value, rows):
                ax.plot(at, one, "o", color=color, markersize=3, markerfacecolor="none" if larger(row) else color)
    line = np.array([3.0, 1e4])
    axes[0].plot(line, line, ":", color="0.5", linewidth=1)
    axes[1].plot(line, (line / line[0]) ** -0.5, ":", color="0.5", linewidth=1)
    axes[1].annotate("size$^{-1/2}$", (1.2e3, 0.065), color="0.4", fontsize=8)
    for ax, label in zip(axes, ("effective size, √12 σ", "effective / theoretical size")):
        ax.set(xscale="log", yscale="log", xlabel="theoretical size (input positions)", ylabel=label)
    names = dict.fromkeys(family(network) for network, rows in drawn_rows.items() if rows)
    marks = [axes[0].plot([], [], "-o", color=COLOR[name], markersize=3, label=name)[0] for name in names]
    drawn.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return drawn


def _stages(rows: Iterable[AtlasRow]) -> str:
    lines = [
        [f"`{row.layer}`", f"{row.mean_size:g}{'*' * larger(row)}", times(row.stride), interval(row, "sigma"),
         f"{100 * (row.sigma_error or 0):.1f} %", interval(row, "half_width"), f"{ratio(row):.3f}", row.estimator,
         f"{row.samples}"]
        for row in rows
    ]  # fmt: skip
    header = ("last layer", "theoretical size", "stride", "sigma", "its error", "half width", "ratio", "estimator", "samples")  # fmt: skip
    return table(header, lines, "|---|---:|---:|---|---:|---|---:|---|---:|")


PAGE = """\
# Growth from stage to stage

Center unit, noise, random weights, with intervals of 95 %. "*" marks theoretical fields that are larger than the input, where
the effective one is cut as well.

The ratio is sigma over that of a flat map on the whole theoretical field, size/√12; it is 1 where the field is flat.

![Effective size and its ratio to the theoretical size, over the theoretical size](growth.svg)

Lines join the stages of a network; hollow marks are fields larger than the input. Not drawn are layers whose units all see the whole image,
as behind attention, whose theoretical size is that of the image at every depth.

## Over depth

In a stack of n equal layers the theoretical size grows as n and the effective one as √n (Luo et al., 2016), so that the ratio
falls as size to the power of −1/2, the dotted line on the right. These are the exponents of lines through the stages of each
network, on logarithmic axes, where at least three stages have fields that fit into the input. Strides, skips and large kernels change
them.

{families}
{slopes}
{parts}"""
