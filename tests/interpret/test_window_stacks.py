"""Stacks of attention in sliding and in shifted windows: the boxes of all units are the hulls of index sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from tests.interpret.token_models import into_windows, out_of_windows


def attended(x, mask=None):
    """One head over the tokens of x (n, token, feature)."""
    scores = jnp.einsum("nqc,nkc->nqk", x, x)
    return jnp.einsum("nqk,nkc->nqc", jax.nn.softmax(scores if mask is None else jnp.where(mask, scores, -1e9)), x)


def band(shape, before, after, step=1):
    """(token, token): keys from `before` ahead of a query to `after` behind it, along each axis, every `step`-th."""
    at = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))
    away = at[:, None, :] - at[:, :, None]
    near = (away >= -np.array(before)[:, None, None]) & (away <= np.array(after)[:, None, None]) & (away % step == 0)
    return near.all(0)


def sliding(shape, layers):
    """A stack of attention with bands for masks, and what each layer reads."""
    masks = [band(shape, *layer) for layer in layers]

    def net(x):
        x = x.reshape(len(x), -1, x.shape[-1])
        for mask in masks:
            x = x + attended(x, mask)
        return x.reshape(len(x), *shape, x.shape[-1])

    return shape, net, masks


def shifted(shape, side, layers):
    """Swin's blocks: the map is rolled by a shift, cut into windows, and parts that meet by rolling are masked."""
    rows, columns = (np.arange(n) for n in shape)

    def parts(shift):
        numbers = [(at >= n - side).astype(int) + (at >= n - shift) for at, n in zip((rows, columns), shape)]
        return numbers[0][:, None] * 3 + numbers[1] if shift else np.zeros(shape, int)

    def net(x):
        for shift in layers:
            part = into_windows(parts(shift)[None, ..., None], side)[..., 0]
            mask = jnp.tile(part[:, :, None] == part[:, None], (len(x), 1, 1))
            y = into_windows(jnp.roll(x, (-shift, -shift), (1, 2)), side)
            x = x + jnp.roll(out_of_windows(attended(y, mask), x.shape, side), (shift, shift), (1, 2))
        return x

    reads = []
    for shift in layers:
        window = (rows[:, None] // side) * (shape[1] // side) + columns // side
        label = np.roll(window * 9 + parts(shift), (shift, shift), (0, 1)).ravel()
        reads.append(label[:, None] == label)
    return shape, net, reads


STACKS = {
    "Longformer": sliding((24,), [((2,), (2,))] * 3),
    "causal, of growing windows": sliding((24,), [((1,), (0,)), ((3,), (0,)), ((7,), (0,))]),
    "dilated": sliding((30,), [((3,), (3,)), ((6,), (6,), 3)]),
    "one that looks ahead": sliding((20,), [((0,), (3,)), ((1,), (0,))]),
    "neighborhoods": sliding((9, 7), [((1, 1), (1, 1))] * 2),
    "neighborhoods of unlike axes": sliding((6, 8), [((2, 0), (0, 1)), ((1, 1), (1, 2))]),
    "Swin": shifted((8, 12), 4, [0, 2]),
    "two stages of Swin": shifted((12, 8), 4, [0, 2, 0, 2]),
    "small windows": shifted((6, 10), 2, [0, 1, 0]),
    "an uneven shift": shifted((9, 6), 3, [1, 0, 2]),
}


@pytest.mark.parametrize("name", STACKS)
def test_boxes_are_the_hulls_of_index_sets(name):
    """Each layer's reads as a relation of tokens; their product says which tokens a unit sees."""
    shape, net, reads = STACKS[name]
    sees = np.eye(len(reads[0]), dtype=bool)
    for one in reversed(reads):  # of the output first
        sees = sees @ (one | np.eye(len(one), dtype=bool))
    row = jaxrf.trf(net, (*shape, 3))[-1]
    assert row.unit_shape == shape and row.exact
    for number, unit in enumerate(np.ndindex(shape)):
        at = np.unravel_index(np.flatnonzero(sees[number]), shape)
        assert row.box(unit, clip=True) == tuple((int(a.min()), int(a.max()) + 1) for a in at), unit
