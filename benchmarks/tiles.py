"""What do tiles cost, how near are they to the whole, and how much context and memory do they need?

Differences are the largest ones, as a share of the largest value of the layer. Rows of the table "Tiles" are also compared
with the model on the whole image in double precision: what tiles differ by is the rounding that the whole has too.
The row of the table "Memory" is a process of its own, whose most resident memory is read when it ends.

    python benchmarks/tiles.py --tables Tiles,Context,Memory
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from _common import Report, chosen_tables, parser, with_tables

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.adapters.values import layer_value

TABLES = ("Tiles", "Context", "Memory")


def networks(small: bool) -> dict[str, tuple[nn.Module, str | None, tuple[int, ...], int]]:
    """A model, the layer, the shape of one image, and the most positions of a tile, by the name of the row."""
    narrow = 2 if small else 8
    made: dict[str, Any] = {
        f"U-Net, depth {depth}": (zoo.unet(depth=depth, width=narrow), None, (8 * side, 4 * side, 1), 3 * side)
        for depth, side in ((1, 16), (2, 40), (3, 80), (4, 160))
    }
    made["ResNet-18, layer2"] = (zoo.resnet18(), "layer2", (256, 224, 3), 160)
    made["3-D U-Net, depth 1"] = (zoo.unet(depth=1, width=narrow), None, (56, 48, 52, 1), 36)
    made["ESRGAN, 23 blocks"] = (zoo.esrgan(width=4, growth=2), None, (1440, 8, 3), 800)
    if small:
        return {name: made[name] for name in ("U-Net, depth 1",)}
    return made


def drawn(model: nn.Module, shape: tuple[int, ...]) -> tuple[Any, np.ndarray]:
    """Weights and one image."""
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return jax.jit(model.init)(jax.random.key(0), image[:, : min(shape[0], 64)]), image


def whole(model: nn.Module, variables: Any, image: np.ndarray, layer: str | None) -> np.ndarray:
    """The layer on the whole image."""
    subject = adapt(model, image.shape[1:], variables=variables, dtype=image.dtype)
    return np.asarray(jax.jit(layer_value(subject, layer or "output"))(variables, image))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def tiles(report: Report, small: bool) -> None:
    """Tiled against the whole, both against double precision."""
    for name, (model, layer, shape, size) in networks(small).items():
        variables, image = drawn(model, shape)
        asked = [size if n > size else None for n in shape[:-1]]
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
            exact = whole(model, wide, image.astype(np.float64), layer)
            double = jaxrf.tile(model, wide, image.astype(np.float64), asked, layer=layer)
        single = whole(model, variables, image, layer)
        tiled = jaxrf.tile(model, variables, image, asked, layer=layer)
        row = jaxrf.trf(model, shape, dtype=np.float32)[layer or "output"]
        plan = jaxrf.tile_plan(row, shape[:-1], asked)
        columns = {
            "image": "x".join(map(str, shape[:-1])),
            "tiles": len(plan),
            "computed twice": f"{plan.waste:.0%}",
            "tiled from whole": f"{apart(tiled, single):.1e}",
            "whole from float64": f"{apart(single, exact):.1e}",
            "tiled from float64": f"{apart(tiled, exact):.1e}",
            "in float64": f"{apart(double, exact):.1e}",
        }
        report.add("Tiles", name, columns, {"plan": str(plan)})


def context(report: Report, small: bool) -> None:
    """How much context is enough for a tolerance."""
    model = zoo.esrgan(2 if small else 23, width=4, growth=2)
    shape = (256, 3) if small else (1792, 3)
    images = np.random.default_rng(0).normal(size=(1 if small else 2, *shape)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images[:, :64])
    for tolerance in (1e-2, 1e-3, 1e-4):
        began = time.process_time()
        found = jaxrf.halo(model, variables, images, tolerance)
        columns = {
            "theory": found.theoretical[0][0],
            "context": max(found.context[0]),
            "remains": f"{found.error:.1e}",
            "CPU s": time.process_time() - began,
        }
        report.add("Context", f"ESRGAN, tolerance {tolerance:g}", columns, {"halo": str(found)})


def memory(report: Report, small: bool) -> None:
    """An image from a memory map and into one."""
    side = 512 if small else 8192
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--image", folder, str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    columns = {
        "most resident GB": found["resident"] / 1e9,
        "whole, temporaries alone GB": found["whole"] / 1e9,
        "tiled from part of the whole": f"{found['error']:.1e}",
        "CPU s": found["seconds"],
    }
    report.add("Memory", f"U-Net of depth 2 on {side} x {side}", columns, found)


def run_image(folder: Path, side: int) -> dict[str, float]:
    """A U-Net on `side` x `side` positions in tiles; what it took."""
    net = zoo.unet(depth=2, width=4)
    image = np.memmap(folder / "image", np.float32, "w+", shape=(1, side, side, 1))
    rng = np.random.default_rng(0)
    for first in range(0, side, 512):
        image[:, first : first + 512] = rng.standard_normal((1, min(512, side - first), side, 1), np.float32)
    variables = net.init(jax.random.key(0), image[:, :64, :64])
    at_once = jax.jit(net.apply).lower(variables, jax.ShapeDtypeStruct(image.shape, image.dtype)).compile()
    out = np.memmap(folder / "out", np.float32, "w+", shape=image.shape)
    jaxrf.tile(net, variables, image, 1024 if side > 1024 else side // 2, out=out)
    middle = side // 2
    cut, inner = slice(middle - 128, middle + 128), slice(middle - 64, middle + 64)
    part = np.asarray(net.apply(variables, jnp.asarray(image[:, cut, cut])))[:, 64:-64, 64:-64]
    return {
        "error": apart(out[:, inner, inner], part),
        "resident": most_resident(),
        "whole": at_once.memory_analysis().temp_size_in_bytes,
        "seconds": time.process_time(),
    }


def most_resident() -> int:
    """Most bytes that this program had resident; what `getrusage` says is at least what its parent had when it began it."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def main() -> None:
    """Run the tables that are asked for."""
    made = with_tables(parser(__doc__), TABLES)
    made.add_argument("--image", nargs=2, metavar=("FOLDER", "SIDE"), help="run one image and print what it took")
    options = made.parse_args()
    if options.image:
        print(json.dumps(run_image(Path(options.image[0]), int(options.image[1]))))
        return
    report, asked = Report("tiles", options), chosen_tables(made, options, TABLES)
    for name, run in (("Tiles", tiles), ("Context", context), ("Memory", memory)):
        if name in asked:
            run(report, options.small)


if __name__ == "__main__":
    main()
