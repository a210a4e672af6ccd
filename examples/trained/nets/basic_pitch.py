"""Basic Pitch, which hears the notes that instruments play, from its spectrogram on.

Harmonics of a constant-Q spectrogram become features, and convolutions over time and frequency give contours of pitch, notes
and onsets. The transform in front of them, with its logarithm and normalization, has no trained weights and is not mapped:
fields are in frames of 11.6 ms and in bins of a third of a semitone.
"""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from examples.trained.formats import library, of_torch
from examples.trained.signals import notes
from examples.trained.tables import Arrays, Network, Package, networks, packages

RATE, HOP = 22_050, 256
SAMPLES = 2 * RATE - HOP
BINS, LOWEST, PER_OCTAVE = 309, 27.5, 36
"""Of the spectrogram; the first bin in Hz."""
CONTOURS = 264
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)


DRAW = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
"""The authors' initializer."""


def conv(features: int, kernel: tuple[int, int], name: str, stride: int = 1) -> nn.Conv:
    """A convolution over time and frequency, with a stride along the latter."""
    return nn.Conv(features, kernel, (1, stride), kernel_init=DRAW, name=name)


def stacked(x: jax.Array) -> jax.Array:
    """The harmonics of each bin as its features, zeros where there are none, (n, time, 264, 8)."""
    found = []
    for harmonic in HARMONICS:
        shift = round(PER_OCTAVE * np.log2(harmonic))
        lo, hi = max(shift, 0), min(shift + CONTOURS, x.shape[2])
        found.append(jnp.pad(x[:, :, lo:hi], ((0, 0), (0, 0), (lo - shift, shift + CONTOURS - hi), (0, 0))))
    return jnp.concatenate(found, -1)


class BasicPitch(nn.Module):
    """Spectrograms (n, time, 309, 1) to contours (n, time, 264, 1), notes and onsets (n, time, 88, 1).

    Normalizations are taken into the convolutions as in the package's files.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        x = stacked(nn.Dense(1, kernel_init=nn.initializers.ones, name="scale")(x))
        y = nn.relu(conv(8, (3, 39), "contour_conv")(x))
        contours = nn.sigmoid(conv(1, (5, 5), "contour")(y))
        y = nn.relu(conv(32, (7, 7), "note_conv", stride=3)(contours))
        played = nn.sigmoid(conv(1, (7, 3), "note")(y))
        y = nn.relu(conv(32, (5, 5), "onset_conv", stride=3)(x))
        onsets = nn.sigmoid(conv(1, (3, 3), "onset")(jnp.concatenate([played, y], -1)))
        return contours, played, onsets


KERNELS = {
    (8, 8, 3, 39): "contour_conv", (1, 8, 5, 5): "contour", (32, 1, 7, 7): "note_conv", (1, 32, 7, 3): "note",
    (32, 8, 5, 5): "onset_conv", (1, 33, 3, 3): "onset",
}  # fmt: skip
"""Convolutions by the shape of their kernels, each of which occurs once."""
SPECTROGRAM = "model_1/tf.expand_dims_1/ExpandDims"
"""The beginning of the name of the tensor at which the module begins."""


def file_in(folder: Path) -> Path:
    """The model of ONNX."""
    return folder / "basic_pitch" / "saved_models" / "icassp_2022" / "nmp.onnx"


def arrays(folder: Path) -> Arrays:
    """Variables of the module."""
    onnx = library("onnx", "An .onnx file")
    graph = onnx.load(file_in(folder)).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv" and (name := KERNELS.get(held[node.input[1]].shape)):
            found |= {
                f"params/{name}/kernel": of_torch(held[node.input[1]]),
                f"params/{name}/bias": held[node.input[2]],
            }
    scale = next(node for node in graph.node if node.op_type == "Mul" and node.input[0].startswith(SPECTROGRAM))
    shift = next(node for node in graph.node if node.op_type == "Add" and node.input[0] == scale.output[0])
    return {**found, "params/scale/kernel": held[scale.input[1]][None], "params/scale/bias": held[shift.input[1]]}


def spectrograms(signals: np.ndarray) -> np.ndarray:
    """Constant-Q spectrograms (n, frames, 309, 1) of signals (n, samples) at 22050 Hz, in decibels, from 0 to 1 in each.

    Hann's windows of 51 cycles about samples 256 apart; the signal is mirrored at its ends. The package's transform takes one
    octave after the other from a signal that it samples down, with filters of its own, which differs a little.
    """
    hertz = LOWEST * 2 ** (np.arange(BINS) / PER_OCTAVE)
    lengths = np.ceil(RATE / hertz / (2 ** (1 / PER_OCTAVE) - 1)).astype(int)
    frames, ahead = signals.shape[1] // HOP + 1, -(-lengths[0] // 2 // HOP)
    mirrored = np.pad(signals, ((0, 0), (ahead * HOP, ahead * HOP)), "reflect")
    size = 2 ** int(np.ceil(np.log2(mirrored.shape[1])))
    spectrum, found = np.fft.fft(mirrored, size), np.empty((len(signals), frames, BINS))
    for k, length in enumerate(lengths):
        place = np.arange(length) - length // 2
        kernel = np.zeros(size, complex)
        kernel[place] = np.hanning(length + 1)[:-1] * np.exp(2j * np.pi * hertz[k] / RATE * place)
        # Each 256th sample of the filtered signal is needed, whose spectrum is the whole one folded 256 times.
        folded = (spectrum * np.fft.fft(kernel).conj()).reshape(len(signals), HOP, -1).mean(1)
        found[:, :, k] = np.abs(np.fft.ifft(folded)[:, ahead : ahead + frames]) * np.sqrt(length) / np.abs(kernel).sum()
    decibels = 10 * np.log10(found**2 + 1e-10)
    decibels -= decibels.min((1, 2), keepdims=True)
    return (decibels / decibels.max((1, 2), keepdims=True))[..., None].astype(np.float32)


def inputs(count: int) -> np.ndarray:
    """Spectrograms of two seconds of notes."""
    return spectrograms(notes(count, SAMPLES, RATE))


def reference(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """Contours, notes and onsets of the package's model from its spectrogram on, by ONNX Runtime."""
    onnx, runtime = library("onnx", "An .onnx file"), library("onnxruntime", "An .onnx file")
    model = library("onnx.shape_inference", "An .onnx file").infer_shapes(onnx.load(file_in(folder)))
    start = next(name for node in model.graph.node for name in node.output if name.startswith(SPECTROGRAM))
    ends = sorted(one.name for one in model.graph.output)
    part = library("onnx.utils", "An .onnx file").Extractor(model).extract_model([start], ends)
    session = runtime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    each = [session.run(ends, {start: image[None]}) for image in images]
    return [np.concatenate(one)[..., None] for one in zip(*each, strict=True)]


packages.register("basic-pitch")(
    Package(
        "pypi", "basic-pitch", "0.4.0", "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0", "Apache-2.0",
        "Trained by Spotify on GuitarSet, iKala, MAESTRO, MedleyDB-Pitch and Slakh.",
    )
)  # fmt: skip
networks.register("basic-pitch")(
    Network(
        "basic-pitch", "notes that instruments play", "Bittner et al. (2022), arXiv:2203.09893, as the package builds it",
        BasicPitch, arrays, inputs, reference, ("onset_conv", "contour_conv", "contour", "note_conv", "note", "onset"),
        "onnx onnxruntime",
    )
)  # fmt: skip
