"""Random networks of known path counts: products and sums of the 0/1 matrices of their steps, with one channel.

A step is a linear function of (images, *positions, channels) that is made for any number of channels, each of which sees
all others, and whose coefficients are positive or known zeros. Its matrix says which position sees which, with zeros and
ones: JAX evaluates it on each position alone. Nothing here knows of the rules that count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Draw = np.random.Generator
Step = Callable[[jax.Array], jax.Array]
SHAPES = {1: (11,), 2: (5, 7), 3: (3, 5, 4)}
MOST = 300


def convolve(x, taps, **options):
    """A convolution by `taps` (*kernel) or (*kernel, in, out); the same taps for all pairs of channels."""
    d, n = x.ndim - 2, x.shape[-1]
    kernel = np.broadcast_to(taps.reshape(*taps.shape, 1, 1), (*taps.shape, n, n)) if taps.ndim == d else taps
    letters = "DHW"[3 - d :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    options = {"window_strides": [1] * d, "padding": "SAME"} | options
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), dimension_numbers=numbers, **options)


def some(draw: Draw, low: int, high: int, d: int) -> list[int]:
    return [int(v) for v in draw.integers(low, high, d)]


def convolution(draw: Draw, d: int) -> Step:
    """Any kernel, stride, dilation on both sides, padding; dense, grouped or depthwise."""
    k, groups = some(draw, 1, 4, d), int(draw.choice([1, 2, 4]))
    holes = some(draw, 1, 3, d) if draw.random() < 0.3 else [1] * d
    options = {
        "window_strides": some(draw, 1, 3, d), "rhs_dilation": some(draw, 1, 3, d), "lhs_dilation": holes,
        "padding": [(int(draw.integers(-1, 3)), int(draw.integers(0, 3))) for _ in range(d)],
    }  # fmt: skip

    def step(x):
        n = x.shape[-1]
        parts = min(groups, n)
        return convolve(x, np.ones((*k, n // parts, n), np.float32), feature_group_count=parts, **options)

    return step


def masked(draw: Draw, d: int) -> Step:
    """A kernel of which half is zero, in no particular form: for all pairs of channels alike, or for most in another way."""
    mask, apart = draw.random([3] * d) < 0.5, draw.random() < 0.5

    def step(x):
        n = x.shape[-1]
        kernel = np.broadcast_to(mask[..., None, None], (*mask.shape, n, n)).astype(np.float32)
        if apart and n > 1:
            kernel = kernel * (np.random.default_rng(0).random(kernel.shape) < 0.5)
            kernel[..., 0, :] = mask[..., None]
        return convolve(x, kernel)

    return step


def transposed(draw: Draw, d: int) -> Step:
    k, strides, padding = some(draw, 1, 4, d), some(draw, 1, 3, d), str(draw.choice(["SAME", "VALID"]))
    letters = "DHW"[3 - d :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    def step(x):
        kernel = np.ones((*k, x.shape[-1], x.shape[-1]), x.dtype)
        return lax.conv_transpose(x, kernel, strides, padding, dimension_numbers=numbers)

    return step


def channels_first(draw: Draw, d: int) -> Step:
    taps = np.ones(some(draw, 1, 4, d), np.float32)
    letters = "DHW"[3 - d :]
    numbers = (f"NC{letters}", f"OI{letters}", f"NC{letters}")

    def step(x):
        kernel = np.broadcast_to(taps, (x.shape[-1], x.shape[-1], *taps.shape)).astype(x.dtype)
        y = lax.conv_general_dilated(jnp.moveaxis(x, -1, 1), kernel, [1] * d, "SAME", dimension_numbers=numbers)
        return jnp.moveaxis(y, 1, -1)

    return step


def average(draw: Draw, d: int) -> Step:
    window, strides = tuple(some(draw, 1, 4, d)), tuple(some(draw, 1, 3, d))
    padding, counted = str(draw.choice(["SAME", "VALID"])), bool(draw.random() < 0.5)
    return lambda x: nn.avg_pool(x, window, strides, padding, count_include_pad=counted)


def padded(draw: Draw, d: int) -> Step:
    mode = str(draw.choice(["constant", "edge", "reflect", "wrap", "symmetric", "linear_ramp", "mean"]))
    amounts = [tuple(some(draw, 0, 3, 2)) for _ in range(d)]
    return lambda x: jnp.pad(x, ((0, 0), *amounts, (0, 0)), mode)


def resized(draw: Draw, d: int) -> Step:
    method = str(draw.choice(["nearest", "linear", "cubic", "lanczos3", "lanczos5"]))
    factors, antialias = draw.uniform(0.5, 2.2, d), bool(draw.random() < 0.5)

    def step(x):
        sizes = [max(1, int(n * f)) for n, f in zip(x.shape[1:-1], factors)]
        return jax.image.resize(x, (len(x), *sizes, x.shape[-1]), method, antialias=antialias)

    return step


def moved(draw: Draw, d: int) -> Step:
    """Gathers, sums, matrices and moves along one axis."""
    axis, seed = 1 + int(draw.integers(d)), int(draw.integers(2**31))

    def matrix(x):
        known = np.random.default_rng(seed).random((x.shape[axis], x.shape[axis])) < 0.5
        return jnp.moveaxis(jnp.tensordot(x, known.astype(x.dtype), ((axis,), (0,))), -1, axis)

    ways: list[Step] = [
        matrix,
        lambda x: jnp.roll(x, 2, axis),
        lambda x: jnp.flip(x, axis),
        lambda x: jnp.cumsum(x, axis),
        lambda x: jnp.repeat(x, 2, axis),
        lambda x: jnp.concatenate([x, jnp.flip(x, axis)], axis),
        lambda x: jnp.take(x, np.random.default_rng(seed).integers(0, x.shape[axis], x.shape[axis] + 1), axis),
        lambda x: lax.slice_in_dim(x, min(1, x.shape[axis] - 1), None, 2, axis),
        lambda x: jnp.broadcast_to(x.mean(axis, keepdims=True), x.shape),
    ]
    return ways[draw.integers(len(ways))]


def tokens(draw: Draw, d: int) -> Step:
    """All positions in a row, times a known matrix."""
    seed = int(draw.integers(2**31))

    def step(x):
        row = x.reshape(len(x), -1, x.shape[-1])
        known = np.random.default_rng(seed).random((row.shape[1], row.shape[1])) < 0.4
        return jnp.einsum("btc,tu->buc", row, known.astype(x.dtype)).reshape(x.shape)

    return step


def space_to_depth(draw: Draw, d: int) -> Step:
    """Blocks of two positions along each axis as channels, and a convolution of them."""
    taps = np.ones([int(draw.choice([1, 3]))] * d, np.float32)

    def step(x):
        even = [n // 2 * 2 for n in x.shape[1:-1]]
        x = x[(slice(None), *(slice(0, n) for n in even))]
        blocks = x.reshape(len(x), *(m for n in even for m in (n // 2, 2)), x.shape[-1])
        order = [0, *range(1, 2 * d, 2), *range(2, 2 * d + 1, 2), 2 * d + 1]
        y = blocks.transpose(order).reshape(len(x), *(n // 2 for n in even), 2**d * x.shape[-1])
        kernel = np.broadcast_to(taps[..., None, None], (*taps.shape, y.shape[-1], x.shape[-1]))
        return convolve(y, kernel)

    return step


def depth_to_space(draw: Draw, d: int) -> Step:
    """Two positions along each axis out of channels, in either order of the two, and a sum of neighbors."""
    taps, inner = np.ones([int(draw.choice([1, 3]))] * d, np.float32), bool(draw.random() < 0.5)

    def step(x):
        n, sizes = x.shape[-1], x.shape[1:-1]
        y = convolve(x, np.broadcast_to(taps[..., None, None], (*taps.shape, n, 2**d * n)))
        y = y.reshape(len(x), *sizes, *([*[2] * d, n] if inner else [n, *[2] * d]))
        first = d + 1 if inner else d + 2
        order = [0, *(a for i in range(d) for a in (1 + i, first + i)), 2 * d + 1 if inner else d + 1]
        y = y.transpose(order).reshape(len(x), *(2 * m for m in sizes), n)
        return convolve(y, np.ones([2] * d, np.float32), padding="VALID")

    return step


KINDS: list[Callable[[Draw, int], Step]] = [
    convolution, convolution, masked, transposed, channels_first, average, padded, padded, resized, moved, moved, tokens,
    space_to_depth, depth_to_space,
]  # fmt: skip
TAILS: list[Step] = [lambda x: x, nn.silu, lambda x: nn.LayerNorm(use_bias=False, use_scale=False).apply({}, x)]  # type: ignore


def matrix_of(step: Step, kind: Callable, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """How many paths join each position (column) to each result (row), by one channel; and the shape of the results."""
    size = int(np.prod(shape))
    with jax.enable_x64(True):  # where single precision cannot tell small weights from rounding
        seen = np.asarray(step(jnp.eye(size).reshape(size, *shape, 1)))
    found = seen.reshape(size, -1).T
    if kind is depth_to_space:  # two convolutions of ones, which have several paths to a position
        return np.rint(found).astype(int), seen.shape[1:-1]
    return (np.abs(found) > 1e-12 * np.abs(found).max(initial=0)).astype(int), seen.shape[1:-1]


@dataclass(frozen=True)
class Network:
    """A function of images, and how many paths join each position of `shape` to each unit of `out`: (*out, *shape)."""

    model: Step
    shape: tuple[int, ...]
    out: tuple[int, ...]
    counts: np.ndarray


def network(seed: int, d: int) -> Network:
    """Up to four steps one after the other, some beside a skip that is added or joined; elementwise functions between."""
    draw = np.random.default_rng(seed)
    now, counts = SHAPES[d], np.eye(int(np.prod(SHAPES[d])), dtype=int)
    made: list[tuple[str, Step, Step]] = []
    for _ in range(draw.integers(1, 5)):
        kind = KINDS[draw.integers(len(KINDS))]
        step = kind(np.random.default_rng(draw.integers(2**31)), d)
        matrix, new = matrix_of(step, kind, now)
        join, tail = str(draw.choice(["", "", "add", "concatenate"])), TAILS[draw.integers(len(TAILS))]
        if 0 in new or np.prod(new) > MOST:
            continue
        if new != now or np.array_equal(matrix, np.eye(len(matrix))):
            join = ""
        made.append((join, step, tail))
        counts, now = matrix @ counts + (counts if join else 0), new

    def model(x: jax.Array) -> jax.Array:
        for join, step, tail in made:
            y = step(x)
            if join == "add":
                y = x + y
            elif join:
                kernel = np.ones((*[1] * d, 2 * x.shape[-1], x.shape[-1]), np.float32)
                y = convolve(jnp.concatenate([x, y], -1), kernel)
            x = tail(y)
        return x

    return Network(model, SHAPES[d], tuple(now), counts.reshape(*now, *SHAPES[d]))
