"""Equal depth, other layers: skips, sub-sampling, dilation, depthwise and separable convolutions; silent branches.

Untrained networks over random weights. The second part asks what it does to the field at initialization that the
last scale of each residual branch starts at zero, or at ConvNeXt's 1e-6.

    python docs/reproductions/architectures.py [--full]
"""

from __future__ import annotations

import flax.linen as nn
import jax
import numpy as np
from _common import Run, figure, interval, plus_minus, show_map

import jaxrf
from jaxrf import zoo
from jaxrf.results.result import Result

GAIN = jax.nn.initializers.he_normal()


class Stack(nn.Module):
    """Layers of 3x3 with a ReLU between each two of them; what they are stands in `kinds`, one word for each."""

    kinds: tuple[str, ...]
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, kind in enumerate(self.kinds):
            y = nn.relu(x) if i else x
            groups = y.shape[-1] if kind in ("depthwise", "separable") and i else 1
            features = y.shape[-1] if groups > 1 else self.width
            y = nn.Conv(
                features, (3, 3), 2 if kind == "stride" else 1, "SAME", 1, 2 if kind == "dilation" else 1, groups,
                use_bias=False, kernel_init=GAIN, name=f"conv_{i}",
            )(y)  # fmt: skip
            if kind == "separable" and groups > 1:
                y = nn.Conv(self.width, (1, 1), use_bias=False, kernel_init=GAIN, name=f"point_{i}")(y)
            x = x + y if kind == "skip" and i else y
        return x


def kinds(depth: int) -> dict[str, tuple[str, ...]]:
    """The stacks of one depth; two of the layers of the sub-sampled one have stride 2, half of the dilated one's dilation."""
    third, half = depth // 3, depth // 2
    strided = tuple("stride" if i in (third, 2 * third) else "plain" for i in range(depth))
    return {
        "plain": ("plain",) * depth,
        "skip": ("skip",) * depth,
        "sub-sampled": strided,
        "dilated": ("plain",) * half + ("dilation",) * (depth - half),
        "depthwise": ("depthwise",) * depth,
        "separable": ("separable",) * depth,
    }


def equal_depth(run: Run) -> None:
    """Size of all against plain, at the same seeds and images."""
    depth, width, seeds = run.sizes(3, 12, 20), run.sizes(4, 16, 32), run.sizes(4, 64, 400)
    stacks = kinds(depth)
    drawn, rows, plain = figure(7.2, 5.0), [], None
    axes = drawn.subplots(2, 3).ravel()
    side = jaxrf.trf(Stack(stacks["sub-sampled"], 1), (801, 801, 1))[-1].size[0]
    side += (1 - side) % 8  # a multiple of eight and one, so that strides meet the middle
    for ax, (name, kind) in zip(axes, stacks.items(), strict=True):
        result = jaxrf.erf(
            Stack(kind, width), inputs=jaxrf.noise(1), input_shape=(side, side, 3), seeds=seeds, average="normalized"
        )
        plain = plain or result
        sigma, size = interval(result, "sigma"), interval(result, "size_luo2016")
        change = jaxrf.compare(result, plain, measure="sigma").difference
        half = float((change.high - change.low).mean()) / 2
        theoretical = result.theoretical.size[0]
        rows.append((name, theoretical, plus_minus(*sigma), plus_minus(float(change.value.mean()), half),
                     plus_minus(*size, 1), f"{size[0] / theoretical:.2f}"))  # fmt: skip
        show_map(ax, placed(result), f"{name}, theoretical {theoretical}", run.sizes(8, 30, 45))
    head = ("layers", "theoretical", "sigma", "sigma − plain", "size", "size / theoretical")
    run.table(f"{depth} layers of 3x3, mean square over {seeds} networks", head, rows)
    run.save(drawn, "equal_depth")


def placed(result: Result) -> np.ndarray:
    """The first unit's map in a window with the unit's center in its middle."""
    map_, offset = result.mean[0], np.round(result.center[0] - result.origin[0]).astype(int)
    half = max(int(max(offset.max(), (np.array(map_.shape) - 1 - offset).max())), 45)
    window = np.zeros((2 * half + 1,) * 2)
    top, left = half - offset
    window[top : top + map_.shape[0], left : left + map_.shape[1]] = map_
    return window


def silent_branches(run: Run) -> None:
    """Residual networks whose branches start at nothing: at initialization the field is that of the rest."""
    seeds, stages, width = run.sizes(3, 24, 200), run.sizes(1, 2, 4), run.sizes(4, 32, 64)
    sides = run.sizes((65, 64), (225, 224), (449, 448))  # with these the strides of each family meet the middle
    resnet = zoo.resnet18(stages=stages, width=width)
    silent = {"*/conv2/norm/scale": jax.nn.initializers.zeros}
    cases = {
        "ResNet-18, all scales one": (resnet, sides[0], None),
        "ResNet-18, last scales zero": (resnet, sides[0], silent),
        "ConvNeXt-T, layer scale 1": (zoo.convnext_tiny(layer_scale=1.0, stages=stages), sides[1], None),
        "ConvNeXt-T, layer scale 1e-6": (zoo.convnext_tiny(layer_scale=1e-6, stages=stages), sides[1], None),
    }
    rows = []
    for name, (model, side, init) in cases.items():
        shape = (side, side, 3)
        result = jaxrf.erf(
            model, inputs=jaxrf.noise(1), input_shape=shape, seeds=seeds, init=init, average="normalized"
        )
        sigma, positions = interval(result, "sigma"), interval(result, "participation")
        rows.append((name, result.theoretical.size[0], plus_minus(*sigma), plus_minus(*positions, 0)))
    head = ("network, first stages", "theoretical", "sigma", "positions that share the map")
    run.table(f"Branches that start silent, {seeds} networks", head, rows)


if __name__ == "__main__":
    run = Run(__doc__)
    equal_depth(run)
    silent_branches(run)
