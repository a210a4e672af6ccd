"""The steps that random programs are made of, entered in a table.

A step takes and gives a `Grid`, and may transpose its array as it likes. It keeps the scale of numbers about what it is:
where a `tanh` or a softmax is saturated, derivatives are zero that have a path, and differences of maps are rounding.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.fuzz.grid import IMAGES, Grid, Weights, convolved, same, some

Step = Callable[[Grid, np.random.Generator, Weights], Grid]
STEPS: dict[str, Step] = {}
LOOSE = {"maximum"}
"""Steps that let only some of their paths through at a time, so that one derivative does not show the whole field."""


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


@step
def convolution(g, draw, weights):
    """Any stride, dilation of either side, padding and groups."""
    d, c = len(g.spatial), g.channels
    groups = int(draw.choice([1, 1, *(k for k in (2, 3) if c % k == 0)]))
    taps = some(draw, 1, 4, d)
    kernel = weights(draw, 2 * groups, c // groups, *taps, terms=c // groups * int(np.prod(taps)))
    return convolved(
        g, kernel, groups, window_strides=some(draw, 1, 4, d), padding=list(zip(some(draw, 0, 3, d), some(draw, 0, 3, d))),
        lhs_dilation=some(draw, 1, 4 if draw.random() < 0.4 else 2, d), rhs_dilation=some(draw, 1, 3, d),
    )  # fmt: skip


@step
def masked_kernel(g, draw, weights):
    """A kernel with zeros that are known, in no particular form, for all features alike or for each in another way."""
    taps = some(draw, 2, 4, len(g.spatial))
    mask = draw.random(((1, 1) if draw.random() < 0.5 else (2, g.channels)) + tuple(taps)) < 0.5
    mask.flat[draw.integers(mask.size)] = True
    kernel = weights(draw, 2, g.channels, *taps, terms=g.channels * int(np.prod(taps)))
    return convolved(g, kernel * mask.astype(g.array.dtype))


@step
def average(g, draw, weights):
    """Sums over windows, with strides and dilation."""
    window, strides, dilation, pads = ([1] * g.array.ndim for _ in range(4))
    pads = [(0, 0)] * g.array.ndim
    for a in g.spatial:
        window[a], strides[a], dilation[a], pads[a] = (
            *some(draw, 1, 4, 1),
            *some(draw, 1, 3, 1),
            1,
            tuple(some(draw, 0, 2, 2)),
        )
        dilation[a] = int(draw.integers(1, 3))
    return g.holding(
        lax.reduce_window(
            g.array, np.zeros((), g.array.dtype), lax.add, window, strides, pads, window_dilation=dilation
        )
    )


@step
def maximum(g, draw, weights):
    """A max-pool of values that are all different, since forward and backward derivatives treat ties in two ways."""
    shape = [1 if axis == IMAGES else n for axis, n in zip(g.axes, g.array.shape)]
    g = g.holding(g.array + draw.random(shape).astype(g.array.dtype))
    window, strides = [1] * g.array.ndim, [1] * g.array.ndim
    for a in g.spatial:
        window[a], strides[a] = int(draw.integers(1, 4)), int(draw.integers(1, 3))
    return g.holding(
        lax.reduce_window(g.array, np.array(-np.inf, g.array.dtype), lax.max, window, strides, str(draw.choice(["SAME", "VALID"])))
    )  # fmt: skip


@step
def padded(g, draw, weights):
    """All modes of padding."""
    mode = str(draw.choice(["constant", "edge", "reflect", "wrap", "symmetric", "linear_ramp", "mean"]))
    amounts = [(0, 0)] * g.array.ndim
    for a, n in zip(g.spatial, g.sizes):
        amounts[a] = tuple(some(draw, 0, min(3, n), 2))
    return g.holding(jnp.pad(g.array, amounts, mode))


@step
def spaced(g, draw, weights):
    """Zeros between positions, and ends cut off or added."""
    config = [(0, 0, 0)] * g.array.ndim
    for a, n in zip(g.spatial, g.sizes):
        config[a] = (*some(draw, -1 if n > 2 else 0, 2, 2), int(draw.integers(0, 3)))
    return g.holding(lax.pad(g.array, np.zeros((), g.array.dtype), config))


@step
def moved(g, draw, weights):
    """Slices, turns, rolls, repeats, indices, copies."""
    axis = int(draw.choice(g.spatial))
    n, ahead = g.array.shape[axis], (slice(None),) * axis
    x = g.array
    ways = [
        lambda: x[(*ahead, slice(int(draw.integers(0, max(1, n // 2))), None, int(draw.integers(1, 4))))],
        lambda: x[(*ahead, slice(None, None, -1))],
        lambda: jnp.roll(x, int(draw.integers(-3, 4)), axis),
        lambda: jnp.concatenate([x, x[(*ahead, slice(0, int(draw.integers(0, 3))))]], axis),
        lambda: jnp.repeat(x, int(draw.integers(1, 3)), axis),
        lambda: jnp.take(x, draw.integers(0, n, int(draw.integers(1, n + 2))), axis),
        lambda: x.at[(*ahead, slice(1, None))].add(x[(*ahead, slice(None, -1))]),
        lambda: x.at[(*ahead, 0)].set(2 * x[(*ahead, -1)]),
        lambda: jnp.concatenate(jnp.split(x, [int(draw.integers(0, n + 1))], axis)[::-1], axis),
    ]
    return g.holding(ways[draw.integers(len(ways))]())


@step
def resized(g, draw, weights):
    """Nearest, linear, cubic and Lanczos, up and down."""
    shape = list(g.array.shape)
    for a, n in zip(g.spatial, g.sizes):
        shape[a] = int(draw.integers(max(2, n // 2), 2 * n + 1))
    method = str(draw.choice(["nearest", "linear", "linear", "cubic", "lanczos3"]))
    return g.holding(jax.image.resize(g.array, shape, method, antialias=bool(draw.integers(2))))


@step
def residual(g, draw, weights):
    """A sum of two ways of different reach."""
    return g.holding(g.array + jnp.tanh(same(g, draw, weights).array))


@step
def gated(g, draw, weights):
    """A product of two ways of different reach."""
    return g.holding((g.array + 0.3) * jax.nn.sigmoid(same(g, draw, weights).array))


@step
def branches(g, draw, weights):
    """Two ways side by side as features, and mixed or not."""
    joined = g.holding(jnp.concatenate([same(g, draw, weights, 1).array, g.array], g.features))
    return same(joined, draw, weights, 2, most=2) if draw.random() < 0.7 else joined


@step
def parts(g, draw, weights):
    """Features taken apart, of which some, none or all are convolved."""
    first, second = jnp.split(g.array, [int(draw.integers(0, g.channels + 1))], g.features)
    if first.shape[g.features]:
        first = same(g.holding(first), draw, weights).array
    return g.holding(jnp.concatenate([second, first], g.features))


@step
def transposed(g, draw, weights):
    """The same array in another layout."""
    order = list(g.axes)
    draw.shuffle(order)
    if draw.random() < 0.7:  # images stay where they are
        order.remove(IMAGES)
        order.insert(g.axes.index(IMAGES), IMAGES)
    return g.ordered(*order)


@step
def deeper(g, draw, weights):
    """Space to depth along one axis, or depth to space; of several features, since one alone would leave none."""
    g = g.last() if g.channels > 1 else same(g.last(), draw, weights, 2)
    axis, block = int(draw.choice(g.spatial)), 2
    shape = list(g.array.shape)
    if draw.random() < 0.5 or shape[-1] % block:
        n = shape[axis] // block
        whole = lax.slice_in_dim(g.array, 0, n * block, axis=axis)
        apart = jnp.moveaxis(whole.reshape(*shape[:axis], n, block, *shape[axis + 1 :]), axis + 1, -2)
        return g.holding(apart.reshape(*shape[:axis], n, *shape[axis + 1 : -1], block * shape[-1]))
    apart = g.array.reshape(*shape[:-1], block, shape[-1] // block)
    apart = jnp.moveaxis(apart, -2, axis + 1)
    shape[axis], shape[-1] = shape[axis] * block, shape[-1] // block
    return g.holding(apart.reshape(shape))


@step
def tokens(g, draw, weights):
    """Positions as one list, mixed over features, or added up along it, and a grid again."""
    g = g.last()
    shape = g.array.shape
    x = g.array.reshape(shape[0], -1, shape[-1])
    x = (
        jnp.cumsum(x, 1) / x.shape[1]
        if draw.random() < 0.3
        else jnp.arctan(x @ weights(draw, shape[-1], shape[-1], terms=shape[-1]))  # 1 - tanh² is rounding far from zero
    )
    return g.holding(x.reshape(shape))


@step
def attention(g, draw, weights):
    """Attention between tokens, all of them or as a mask says that is known."""
    g = g.last()
    shape = g.array.shape
    n = int(np.prod(g.sizes))
    x = g.array.reshape(shape[0], n, shape[-1])
    q, k, v = (x @ weights(draw, shape[-1], shape[-1], terms=shape[-1]) for _ in range(3))
    scores = 3 * jnp.tanh(jnp.einsum("bnc,bmc->bnm", q, k))  # others would leave one token of each row
    mask = masks(draw, n)
    low = np.array(draw.choice([-np.inf, -1e9]), scores.dtype)
    ways = [
        lambda: jax.nn.softmax(jnp.where(mask, scores, low)),
        lambda: jax.nn.softmax(scores + np.where(mask, 0, low).astype(scores.dtype)),
        lambda: scores / n * mask,
        lambda: jax.nn.softmax(scores) * mask,
    ]
    mixed = jnp.einsum("bnm,bmc->bnc", ways[draw.integers(len(ways))](), v)
    return g.holding((x + mixed if draw.random() < 0.5 else mixed).reshape(shape))


def masks(draw: np.random.Generator, n: int) -> np.ndarray:
    """Bands, blocks, triangles, none, or any, (n, n) with at least two places in each row."""
    away = np.arange(n)[:, None] - np.arange(n)
    kind, width = draw.integers(5), int(draw.integers(1, 4))
    mask = [
        abs(away) <= width,
        np.arange(n)[:, None] // 3 == np.arange(n) // 3,
        (away >= 0) & (away <= width) if draw.random() < 0.5 else away >= 0,
        np.ones((n, n), bool),
        draw.random((n, n)) < 0.3,
    ][kind]
    return mask | (away == 0) | (away == (1 if n == 1 else np.where(np.arange(n)[:, None] == 0, 1 - n, 1)))


@step
def along(g, draw, weights):
    """Sums, means and products with a matrix along one axis."""
    axis = int(draw.choice(g.spatial))
    n, x = g.array.shape[axis], g.array
    band = np.tri(n, k=1) - np.tri(n, k=-2) if draw.random() < 0.5 else np.ones((n, n))
    letters = list(string.ascii_lowercase[: x.ndim])
    there = "".join("z" if i == axis else a for i, a in enumerate(letters))
    ways = [
        lambda: lax.cumsum(x, axis, reverse=bool(draw.integers(2))) / n,
        lambda: x + 2 * x.mean(axis, keepdims=True),
        lambda: jnp.einsum(
            f"{''.join(letters)},{letters[axis]}z->{there}", x, weights(draw, n, n, terms=n) * band.astype(x.dtype)
        ),
        lambda: x + 2 * x.mean(g.spatial, keepdims=True),
    ]
    return g.holding(ways[draw.integers(len(ways))]())


@step
def normalized(g, draw, weights):
    """A norm over features and positions of one image, or over features alone."""
    over = [g.features, *g.spatial] if draw.random() < 0.5 else [g.features]
    x = g.array
    middle = x.mean(over, keepdims=True)
    return g.holding(0.5 * x + (x - middle) * lax.rsqrt(((x - middle) ** 2).mean(over, keepdims=True) + 0.1))


@step
def holed(g, draw, weights):
    """Some positions are set to zero by a mask that is known."""
    shape = [n if a in g.spatial else 1 for a, n in enumerate(g.array.shape)]
    mask = draw.random(shape) < 0.7
    mask.flat[draw.integers(mask.size)] = True
    return g.holding(g.array * mask.astype(g.array.dtype) if draw.random() < 0.5 else jnp.where(mask, g.array, 0))


@step
def wrapped(g, draw, weights):
    """Another step inside of a `jit`, a `checkpoint`, a `scan`, or a `vmap` over the images."""
    way, axes = int(draw.integers(4)), g.axes

    def inner(x: jax.Array) -> jax.Array:
        return jnp.arctan(same(Grid(x, axes), np.random.default_rng(seed), weights).array)

    def one(x: jax.Array) -> jax.Array:
        grid = Grid(jnp.expand_dims(x, axes.index(IMAGES)), axes)
        return convolved(grid, kernel).array.squeeze(axes.index(IMAGES))

    seed = int(draw.integers(2**32))
    if way == 3:
        taps = some(draw, 1, 4, len(g.spatial))
        kernel = weights(draw, g.channels, g.channels, *taps, terms=g.channels * int(np.prod(taps)))
        return g.holding(jax.vmap(one, axes.index(IMAGES), axes.index(IMAGES))(g.array))
    if way == 2:
        taps = some(draw, 1, 4, len(g.spatial))
        kernels = weights(draw, 2, g.channels, g.channels, *taps, terms=g.channels * int(np.prod(taps)))
        return g.holding(
            lax.scan(lambda x, k: (jnp.arctan(convolved(g.holding(x), k).array), None), g.array, kernels)[0]
        )
    return g.holding([jax.jit, jax.checkpoint][way](inner)(g.array))
