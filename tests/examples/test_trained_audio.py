"""Networks that hear: their signals, how their arrays become variables, and what the page says of their fields."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest

from examples.trained import compare_fields, signals
from examples.trained.nets import basic_pitch, crepe, networks, silero_vad

DOCS = Path(__file__).parent.parent.parent / "docs"
AUDIO = ("basic-pitch", "crepe-full", "crepe-tiny", "silero-vad")


@pytest.mark.parametrize("draw", [signals.tones, signals.notes, signals.vowels])
def test_signals_are_always_the_same(draw):
    """More signals begin with the same ones; none is silent or louder than it should be."""
    two, three = draw(2, 3000, 16_000), draw(3, 3000, 16_000)
    np.testing.assert_array_equal(two, three[:2])
    assert three.shape == (3, 3000) and three.dtype == np.float32
    assert all(0.01 < one.std() < 2 for one in three)


def test_a_tone_has_its_pitch():
    """All power lies at multiples of the frequency."""
    power = np.abs(np.fft.rfft(signals.tone(np.random.default_rng(0), 500, 1600, 16_000))) ** 2
    assert power[50::50].sum() / power.sum() > 1 - 1e-9 and power[50:400:50].min() > 1e-4 * power.max()


def test_a_spectrogram_knows_pitches():
    """A sine of bin 84 stands there in all frames that do not see an end, from 0 to 1."""
    hertz = basic_pitch.LOWEST * 2 ** (84 / basic_pitch.PER_OCTAVE)
    found = basic_pitch.spectrograms(
        np.sin(2 * np.pi * hertz / basic_pitch.RATE * np.arange(basic_pitch.SAMPLES))[None]
    )
    assert found.shape == (1, 172, 309, 1) and found.min() == 0 and found.max() == 1
    assert (found[0, 20:-20, :, 0].argmax(1) == 84).all()


def made(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of small random numbers."""
    draw = np.random.default_rng(0)
    return {name: draw.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def nested(flat: dict[str, np.ndarray]) -> dict:
    """Variables of paths."""
    tree: dict = {}
    for path, leaf in flat.items():
        *above, last = path.split("/")
        at = tree
        for name in above:
            at = at.setdefault(name, {})
        at[last] = leaf
    return tree


def test_arrays_of_crepe_become_variables():
    """Names and shapes are those of the module; kernels are turned, and counters left out."""
    widths = (1, *crepe.WIDTHS["tiny"])
    shapes: dict[str, tuple[int, ...]] = {"classifier.weight": (360, 256), "classifier.bias": (360,)}
    for i, kernel in enumerate(crepe.KERNELS, 1):
        shapes[f"conv{i}.weight"], shapes[f"conv{i}.bias"] = (widths[i], widths[i - 1], kernel, 1), (widths[i],)
        shapes |= {f"conv{i}_BN.{kind}": (widths[i],) for kind in crepe.ARRAYS} | {
            f"conv{i}_BN.num_batches_tracked": ()
        }
    state = made(shapes)
    found = nested(crepe.renamed(state))
    needed = jax.eval_shape(crepe.Crepe("tiny").init, jax.random.key(0), np.zeros((1, 1024, 1), np.float32))
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, needed)
    assert found["params"]["conv2"]["kernel"][5, 7, 3] == state["conv2.weight"][3, 7, 5, 0]
    np.testing.assert_array_equal(found["params"]["conv2_BN"]["scale"], state["conv2_BN.weight"])
    np.testing.assert_array_equal(found["batch_stats"]["conv2_BN"]["var"], state["conv2_BN.running_var"])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def heard(state: dict[str, np.ndarray], signal: np.ndarray) -> np.ndarray:
    """Silero VAD in NumPy, window by window, with NumPy's Fourier transform and ONNX's LSTM."""
    hann = np.hanning(257)[:-1]
    padded, cell, hidden, found = np.pad(signal, (64, 0)), np.zeros(128), np.zeros(128), []
    ins, states, bias = (state[f"onnx::LSTM_{i}"][0] for i in (1, 2, 3))
    for start in range(0, len(signal), 512):
        window = np.pad(padded[start : start + 576], (0, 64), "reflect")
        x = np.stack([np.abs(np.fft.rfft(hann * window[at : at + 256])) for at in range(0, 385, 128)])
        for i, (_, stride) in enumerate(silero_vad.ENCODER):
            x = np.pad(x, ((1, 1), (0, 0)))
            taps = [x[at : at + 3] for at in range(0, len(x) - 2, stride)]
            x = np.maximum([np.einsum("ti,oit->o", tap, state[f"encoder.{i}.weight"]) for tap in taps], 0)
        gates = ins @ x[0] + states @ hidden + bias[:512] + bias[512:]
        put, out, forget, new = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(put) * np.tanh(new)
        hidden = sigmoid(out) * np.tanh(cell)
        found.append(sigmoid(state["output.weight"][0, :, 0] @ np.maximum(hidden, 0) + state["output.bias"]))
    return np.array(found)


def test_silero_vad_hears_as_its_definition_says():
    """Transform, mirrored ends, gates in the order of ONNX, and the state from window to window, against NumPy."""
    features = (129, *(width for width, _ in silero_vad.ENCODER))
    shapes: dict[str, tuple[int, ...]] = {"output.weight": (1, 128, 1), "output.bias": (1,)}
    for i, (before, after) in enumerate(pairwise(features)):
        shapes |= {f"encoder.{i}.weight": (after, before, 3), f"encoder.{i}.bias": (after,)}
    shapes |= {"onnx::LSTM_1": (1, 512, 128), "onnx::LSTM_2": (1, 512, 128), "onnx::LSTM_3": (1, 1024)}
    state = made(shapes) | {f"encoder.{i}.bias": np.zeros(n, np.float32) for i, n in enumerate(features[1:])}
    signal = signals.vowels(1, 3 * 512, 16_000)
    found = silero_vad.SileroVad().apply(nested(silero_vad.renamed(state)), signal[..., None])
    needed = heard(state, signal[0])
    assert np.ptp(needed) > 1e-3
    np.testing.assert_allclose(np.asarray(found)[0], needed, atol=1e-5)


class TestTable:
    """The measured fields, and what the page says of them."""

    ROWS = compare_fields.read(DOCS / "trained_audio.csv")

    def test_the_page_shows_the_table(self):
        """Every line of sigma stands in the page as it was measured."""
        page = (DOCS / "trained_audio.md").read_text()
        assert self.ROWS and all(line in page for line in compare_fields.lines(self.ROWS))

    def test_rows_are_of_networks_that_hear(self):
        """Layers are those that the table of networks names, each with all measures."""
        assert {row["network"] for row in self.ROWS} <= set(AUDIO)
        for name in {row["network"] for row in self.ROWS}:
            own = [(row["layer"], row["measure"]) for row in self.ROWS if row["network"] == name]
            assert own == [(stage, measure) for stage in networks[name].stages for measure in compare_fields.MEASURES]
