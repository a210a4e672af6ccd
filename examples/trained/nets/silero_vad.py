"""Silero VAD, which tells speech from the rest window by window of 32 ms, at 16 kHz.

In each window a short-time Fourier transform, four convolutions, and one step of an LSTM, which carries what it heard from
window to window. The whole network is mapped, on its samples; the transform has no trained weights.
"""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxrf
from examples.trained.formats import library, of_torch, read_onnx
from examples.trained.signals import vowels
from examples.trained.tables import Arrays, Network, Package, networks, packages

RATE = 16_000
WINDOW, BEFORE = 512, 64
"""Samples of a window, and how many of those before it are seen with it."""
WINDOWS = 24
TRANSFORM, HOP = 256, 128
ENCODER = ((128, 1), (64, 2), (64, 2), (128, 1))
"""Features and stride of each convolution."""
HIDDEN = 128


def fourier() -> np.ndarray:
    """The kernel of the transform, (256, 1, 258): real parts of its 129 frequencies, then imaginary parts."""
    place = np.arange(TRANSFORM)
    angle = 2 * np.pi / TRANSFORM * np.outer(place, np.arange(TRANSFORM // 2 + 1))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * place / TRANSFORM)
    return (window[:, None] * np.concatenate([np.cos(angle), -np.sin(angle)], 1))[:, None].astype(np.float32)


def uniform(fan_in: int, of: int = 1) -> nn.initializers.Initializer:
    """PyTorch's initializer: even between -1 and 1 over the root of `fan_in`; the sum of `of` such draws."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, (of, *shape), dtype, -bound, bound).sum(0)


def spectrum(x: jax.Array) -> jax.Array:
    """Magnitudes (n, windows, 4, 129) of signals (n, samples, 1)."""
    windows = x.reshape(len(x), -1, WINDOW, 1)
    before = jnp.pad(windows[:, :-1, -BEFORE:], ((0, 0), (1, 0), (0, 0), (0, 0)))
    mirrored = windows[:, :, -BEFORE - 1 : -1][:, :, ::-1]
    x = jax.lax.conv_general_dilated(
        jnp.concatenate([before, windows, mirrored], 2), fourier()[None], (1, HOP), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    real, imaginary = jnp.split(x, 2, -1)
    return jnp.sqrt(real**2 + imaginary**2)


class SileroVad(nn.Module):
    """Signals (n, samples, 1) to probabilities of speech (n, windows, 1), with the package's names.

    The number of samples is a multiple of 512. Initializers are PyTorch's, as the package was trained in it.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = jaxrf.tap(spectrum(x), "spectrum")
        for i, (features, stride) in enumerate(ENCODER, 1):
            draw, pads = uniform(3 * x.shape[-1]), [(0, 0), (1, 1)]
            conv = nn.Conv(features, (1, 3), (1, stride), pads, kernel_init=draw, bias_init=draw, name=f"conv{i}")
            x = nn.relu(conv(x))
        draw = uniform(HIDDEN)
        cell = nn.OptimizedLSTMCell(
            HIDDEN, kernel_init=draw, recurrent_kernel_init=draw, bias_init=uniform(HIDDEN, 2), name="lstm_cell"
        )
        x = nn.RNN(cell, name="lstm")(x[:, :, 0])
        return nn.sigmoid(nn.Dense(1, kernel_init=draw, bias_init=draw, name="final_conv")(nn.relu(x)))


def file_in(folder: Path) -> Path:
    """The model of ONNX that takes many windows; the package's `.safetensors` has the weights of another training."""
    return folder / "silero_vad" / "data" / "silero_vad_16k_sequence.onnx"


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    return renamed(read_onnx(file_in(folder)))


def renamed(state: Arrays) -> Arrays:
    """Variables of the module from the arrays of ONNX, whose LSTM has its gates in one array and a bias for each of two."""
    found = {}
    for i in range(len(ENCODER)):
        found[f"params/conv{i + 1}/kernel"] = of_torch(state[f"encoder.{i}.weight"])[None]
        found[f"params/conv{i + 1}/bias"] = state[f"encoder.{i}.bias"]
    ins, states, biases = (array[0] for name, array in state.items() if name.startswith("onnx::LSTM"))
    bias = biases.reshape(2, -1).sum(0)
    for path, array in {"i{}/kernel": ins.T, "h{}/kernel": states.T, "h{}/bias": bias}.items():
        for gate, part in zip("iofg", np.split(array, 4, -1), strict=True):
            found[f"params/lstm_cell/{path.format(gate)}"] = part
    found["params/final_conv/kernel"] = of_torch(state["output.weight"])[0]
    return {**found, "params/final_conv/bias": state["output.bias"]}


def inputs(count: int) -> np.ndarray:
    """Three quarters of a second of vowels."""
    return vowels(count, WINDOWS * WINDOW, RATE)[..., None]


def reference(folder: Path, signals: np.ndarray) -> list[np.ndarray]:
    """Probabilities of the package's model for whole signals, by ONNX Runtime, from a state of zeros."""
    runtime = library("onnxruntime", "An .onnx file")
    session = runtime.InferenceSession(str(file_in(folder)), providers=["CPUExecutionProvider"])
    found, state = [], np.zeros((1, 1, HIDDEN), np.float32)
    for signal in signals[..., 0]:
        windows = signal.reshape(-1, WINDOW)
        before = np.pad(windows[:-1, -BEFORE:], ((1, 0), (0, 0)))
        found.append(
            session.run(["speech_probs"], {"input": np.concatenate([before, windows], 1), "h": state, "c": state})[0]
        )
    return [np.reshape(found, (len(signals), -1, 1))]


packages.register("silero-vad")(
    Package(
        "pypi", "silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8", "MIT",
        "Trained by the Silero Team on speech in over 6000 languages.",
    )
)  # fmt: skip
networks.register("silero-vad")(
    Network(
        "silero-vad", "whether a window of 32 ms is speech", "https://github.com/snakers4/silero-vad, version 6",
        SileroVad, arrays, inputs, reference, ("conv1", "conv2", "conv4", "lstm"),
        "onnx onnxruntime",
    )
)  # fmt: skip
