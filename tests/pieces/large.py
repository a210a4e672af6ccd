"""Runs a U-Net on 8192 x 8192 in tiles, and prints what it took; a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np

import jaxrf
from jaxrf import zoo


def main(folder: Path, side: int) -> None:
    net = zoo.unet(depth=2, width=4)
    image = np.memmap(folder / "image", np.float32, "w+", shape=(1, side, side, 1))
    rng = np.random.default_rng(0)
    for first in range(0, side, 512):
        image[:, first : first + 512] = rng.standard_normal((1, min(512, side - first), side, 1), np.float32)
    variables = net.init(jax.random.key(0), image[:, :64, :64])
    whole = jax.jit(net.apply).lower(variables, jax.ShapeDtypeStruct(image.shape, image.dtype)).compile()
    out = np.memmap(folder / "out", np.float32, "w+", shape=image.shape)
    jaxrf.tile(net, variables, image, 1024 if side > 1024 else side // 2, out=out)
    middle = side // 2 // 4 * 4
    cut = slice(middle - 128, middle + 128)
    part = np.asarray(net.apply(variables, image[:, cut, cut]))[:, 64:-64, 64:-64]
    inner = slice(middle - 64, middle + 64)
    found = {
        "error": float(np.abs(part - out[:, inner, inner]).max() / np.abs(part).max()),
        "resident": peak(),
        "whole": whole.memory_analysis().temp_size_in_bytes,
    }
    sys.stdout.write(json.dumps(found))


def peak() -> int:
    """Most bytes that this program had resident; what `getrusage` says is at least what its parent had when it began it."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
