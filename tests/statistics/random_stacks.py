"""Linear stacks of random convolutions, pulled back in numpy: the law of their square maps is known exactly."""

from __future__ import annotations

import itertools

import numpy as np

CHANNELS = 32


def box(depth: int, d: int = 2) -> np.ndarray:
    """The n-fold convolution of a 3-wide box in d dimensions, of sum one."""
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3) / 3)
    return line if d == 1 else np.multiply.outer(line, line)


def maps(rng: np.random.Generator, count: int, depth: int, d: int = 2) -> np.ndarray:
    """Square maps (count, *spatial) of the center unit under independent networks, with a random probe of norm one.

    Weights are normal with a variance of one over 3^d times the channels, so that the expected map is `box(depth, d)`.
    """
    g = rng.choice(np.float32([-1, 1]), (count, *[1] * d, CHANNELS)) / np.float32(np.sqrt(CHANNELS))
    scale = np.float32(1 / np.sqrt(3**d * CHANNELS))
    for _ in range(depth):
        sizes = g.shape[1:-1]
        above = np.zeros((count, *(n + 2 for n in sizes), CHANNELS), np.float32)
        for tap in itertools.product(range(3), repeat=d):
            kernel = rng.standard_normal((count, *[1] * (d - 1), CHANNELS, CHANNELS), np.float32) * scale
            above[(slice(None), *(slice(k, k + n) for k, n in zip(tap, sizes)))] += g @ kernel
        g = above
    return np.square(g.astype(np.float64)).sum(-1)
