"""Random small networks whose axes are transposed at random places, beside the same networks with axes left alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf import tap

LETTERS = {1: "H", 2: "HW", 3: "DHW"}


def network(seed: int, turns: bool) -> Callable[[jax.Array], jax.Array]:
    """Three to five taps, on one to three axes; with `turns`, each behind a transpose that is drawn apart."""
    letters, _ = drawn_shape(seed)

    def f(x: jax.Array) -> jax.Array:
        draw, turn = np.random.default_rng(seed), np.random.default_rng([seed, 1])
        layout = f"N{letters}C"
        for step in range(draw.integers(3, 6)):
            if turns:
                order = turn.permutation(len(layout))
                x, layout = x.transpose(order), "".join(layout[a] for a in order)
            operation = OPERATIONS[draw.integers(len(OPERATIONS))]
            x = tap(operation(x, layout, np.random.default_rng([seed, step, 2])), f"{operation.__name__}{step}")
        return x

    return f


def drawn_shape(seed: int) -> tuple[str, tuple[int, ...]]:
    """The letters of the positions of a network, and the shape of an image."""
    draw = np.random.default_rng([seed, 3])
    letters = LETTERS[1 + seed % 3]
    largest = {1: 18, 2: 12, 3: 7}[len(letters)]
    return letters, (*(int(n) for n in draw.permutation(np.arange(5, largest + 1))[: len(letters)]), 2)


def positions(layout: str) -> str:
    """Letters of the positions, in the order of the image."""
    return "".join(sorted(set(layout) - {"N", "C"}))


def conv(x, layout, draw):
    """Any kernel, stride, dilation and padding."""
    d, letters, channels = len(layout) - 2, positions(layout), x.shape[layout.index("C")]
    kernel = draw.normal(size=(*draw.integers(1, 4, d), channels, 3)) / 3
    return lax.conv_general_dilated(
        x, kernel.astype(x.dtype), draw.integers(1, 3, d).tolist(), [(2, 1)] * d,
        rhs_dilation=draw.integers(1, 3, d).tolist(), dimension_numbers=(layout, f"{letters}IO", layout),
    )  # fmt: skip


def residual(x, layout, draw):
    d, letters, channels = len(layout) - 2, positions(layout), x.shape[layout.index("C")]
    kernel = draw.normal(size=(*(3,) * d, channels, channels)).astype(x.dtype)
    y = lax.conv_general_dilated(x, kernel, (1,) * d, "SAME", dimension_numbers=(layout, f"{letters}IO", layout))
    return x + jnp.tanh(y)


def pool(x, layout, draw):
    size = {letter: int(draw.integers(1, 4)) for letter in positions(layout)}
    window = [size.get(letter, 1) for letter in layout]
    step = [2 if size.get(letter) == 2 else 1 for letter in layout]
    return lax.reduce_window(x, 0.0, lax.add, window, step, "SAME")


def upsample(x, layout, draw):
    """Twice as many positions along one axis, by indices and weights."""
    axis = layout.index(draw.choice(list(positions(layout))))
    n = x.shape[axis]
    at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
    first = np.floor(at).astype(int)
    share = (at - first).astype(x.dtype).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return jnp.take(x, first, axis) * (1 - share) + jnp.take(x, np.minimum(first + 1, n - 1), axis) * share


def flip(x, layout, draw):
    return jnp.flip(x, layout.index(draw.choice(list(positions(layout)))))


def center(x, layout, draw):
    """Without the mean along one axis."""
    return jnp.tanh(x - x.mean(layout.index(draw.choice(list(positions(layout)))), keepdims=True))


def attend(x, layout, draw):
    """Every position sees all others, as tokens in the order of the image."""
    order = [layout.index(letter) for letter in f"N{positions(layout)}C"]
    rows = x.transpose(order)
    tokens = tap(rows.reshape(len(rows), math.prod(rows.shape[1:-1]), -1), "tokens")
    mixed = jax.nn.softmax(jnp.einsum("nic,njc->nij", tokens, tokens)) @ tokens
    return x + mixed.reshape(rows.shape).transpose(np.argsort(order))


OPERATIONS = [conv, conv, conv, residual, pool, upsample, flip, center, attend]
