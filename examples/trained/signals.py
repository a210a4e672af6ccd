"""The signals that networks which hear are given here: tones, played notes and spoken vowels, drawn from fixed seeds.

Takes a number, a length and a rate; yields float32 arrays (n, samples) with a largest value of about one. What a network
makes of samples is its own.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

FORMANTS = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440), (570, 840, 2410),
    (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
)  # fmt: skip
"""Resonances in Hz of the vowels of men, as Peterson and Barney (1952) measured them."""
WIDTHS = (60, 90, 150)
"""Of the resonances, in Hz."""


def tone(draw: np.random.Generator, hertz: float, samples: int, rate: int) -> np.ndarray:
    """A tone of all harmonics below half the rate, at drawn phases; they fall by a drawn power of their number."""
    number = np.arange(1, int(rate / 2 / hertz) + 1)[:, None]
    heights, phases = number ** -draw.uniform(0.5, 2), draw.uniform(0, 2 * np.pi, number.shape)
    waves = heights * np.sin(2 * np.pi * hertz / rate * number * np.arange(samples) + phases)
    return waves.sum(0) / np.sqrt(np.square(heights).sum())


def tones(count: int, samples: int, rate: int) -> np.ndarray:
    """One tone each, from 55 to 880 Hz, with white noise some 30 dB below."""
    found = []
    for number in range(count):
        draw = np.random.default_rng((1, number))
        found.append(tone(draw, 55 * 2 ** draw.uniform(0, 4), samples, rate) + 0.03 * draw.normal(size=samples))
    return np.array(found, np.float32)


def notes(count: int, samples: int, rate: int) -> np.ndarray:
    """Twelve notes each from C2 to C6 at drawn times, a fifth to four fifths of a second long, which decay as strings do."""
    found = []
    for number in range(count):
        draw = np.random.default_rng((2, number))
        signal = 1e-3 * draw.normal(size=samples)
        for _ in range(12):
            hertz, start = 440 * 2 ** ((draw.integers(36, 85) - 69) / 12), draw.integers(samples)
            length = min(int(rate * draw.uniform(0.2, 0.8)), samples - start)
            decay = draw.uniform(0.3, 1) * np.exp(-np.arange(length) / (0.3 * rate))
            signal[start : start + length] += decay * tone(draw, hertz, length, rate)
        found.append(signal / np.abs(signal).max())
    return np.array(found, np.float32)


def vowels(count: int, samples: int, rate: int) -> np.ndarray:
    """Vowels in a row, each a fifth of a second of pulses at 90 to 180 Hz through three resonances, with pauses and noise."""
    found = []
    for number in range(count):
        draw = np.random.default_rng((3, number))
        parts: list[np.ndarray] = []
        while sum(map(len, parts)) < samples:
            parts += [_vowel(draw, rate), np.zeros(int(rate * draw.uniform(0.02, 0.08)))]
        signal = np.concatenate(parts)[:samples]
        found.append(signal / np.abs(signal).max() + 1e-3 * draw.normal(size=samples))
    return np.array(found, np.float32)


def _vowel(draw: np.random.Generator, rate: int) -> np.ndarray:
    """A drawn vowel, whose pitch falls by a tenth."""
    samples = int(rate * draw.uniform(0.15, 0.25))
    turns = np.cumsum(draw.uniform(90, 180) * np.linspace(1, 0.9, samples)) / rate
    signal = np.diff(np.floor(turns), prepend=0) + 0.01 * draw.normal(size=samples)
    signal = lfilter([1], [1, -0.95], signal)  # the pulses of a voice are rounded
    for hertz, width in zip(FORMANTS[draw.integers(len(FORMANTS))], WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / rate)
        signal = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * hertz / rate), radius**2], signal)
    return signal / np.abs(signal).max() * np.hanning(samples) ** 0.5
