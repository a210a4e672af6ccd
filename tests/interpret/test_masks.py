"""Fields behind masks of attention: bands, heads, windows, neighborhoods, state spaces; closed forms and dense Jacobians."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf


def away(n: int) -> np.ndarray:
    """How far each key stands before each query."""
    return np.arange(n)[:, None] - np.arange(n)


class Stack(nn.Module):
    """Layers of attention over tokens with one mask."""

    mask: np.ndarray
    layers: int = 1
    residual: bool = True

    @nn.compact
    def __call__(self, x):
        mask = jnp.asarray(self.mask).reshape(1, -1, *self.mask.shape[-2:])
        for i in range(self.layers):
            y = nn.MultiHeadDotProductAttention(2, name=f"attention{i}")(x, mask=mask)
            x = x + y if self.residual else y
        return x


@pytest.mark.parametrize(
    ("n", "before", "behind", "layers"), [(24, 4, 0, 3), (23, 2, 1, 2), (16, 6, 0, 4), (13, 1, 3, 5)]
)
@pytest.mark.parametrize("residual", [True, False])
def test_bands_add_up(n, before, behind, layers, residual):
    """Each layer of a band adds its reach, also where the field is larger than the input."""
    mask = (away(n) <= before) & (away(n) >= -behind)
    row = jaxrf.trf(Stack(mask, layers, residual), (n, 4))[-1]
    size = layers * (before + behind) + 1
    assert row.exact and (row.size, row.stride, row.padding) == ((size,), (1,), (layers * before,))
    assert row.halo() == ((layers * before, layers * behind),)
    for unit in range(0, n, 3):
        lo, hi = unit - layers * before, unit + layers * behind + 1
        assert row.box((unit,)) == ((lo, hi),)
        assert row.box((unit,), clip=True) == ((max(lo, 0), min(hi, n)),)


def test_a_causal_mask_has_no_stride():
    """A unit sees all before it: the field does not repeat, and ends at the unit."""
    row = jaxrf.trf(Stack(away(11) >= 0, 2), (11, 4))[-1]
    assert row.exact and (row.size, row.stride) == ((11,), (None,))
    assert [row.box((u,), clip=True) for u in (0, 5, 10)] == [((0, 1),), ((0, 6),), ((0, 11),)]


def test_heads_with_bands_of_their_own():
    """Behind the heads the wider band counts; each head has its own."""
    masks = np.stack([(away(17) >= 0) & (away(17) < w) for w in (3, 6)])
    table = jaxrf.trf(Stack(masks), (17, 4))
    assert (table[-1].size, table[-1].stride, table[-1].padding) == ((6,), (1,), (5,))

    def heads(x):
        y = x.reshape(-1, 17, 2, 2)
        return jaxrf.tap(jax.nn.dot_product_attention(y, y, y, mask=jnp.asarray(masks)[None]), "heads").sum((2, 3))[
            ..., None
        ]

    assert jaxrf.trf(heads, (17, 4))[-1].box((9,), clip=True) == ((4, 10),)


class Causal(nn.Module):
    """Flax's own causal mask."""

    @nn.compact
    def __call__(self, x):
        return nn.MultiHeadDotProductAttention(2)(x, mask=nn.make_causal_mask(x[..., 0]))


@pytest.mark.parametrize(
    ("call", "box"),
    [
        ({"is_causal": True}, (0, 8)),
        ({"is_causal": True, "local_window_size": (2, 0)}, (5, 8)),
        ({"local_window_size": (3, 1)}, (4, 9)),
        ({"mask": np.tri(12, k=-7, dtype=bool)[None, None] | np.eye(12, dtype=bool)}, (0, 8)),
        ({"bias": -3.0 * abs(away(12)).astype(np.float32)[None, None]}, (0, 12)),
        ({"bias": -30.0 * abs(away(12)).astype(np.float32)[None, None], "is_causal": True}, (0, 8)),
    ],
)
def test_the_attention_of_jax(call, box):
    """What `jax.nn.dot_product_attention` masks is not seen; slopes of ALiBi are not a mask."""

    def model(x):
        y = x.reshape(-1, 12, 2, 2)
        return x + jax.nn.dot_product_attention(y, y, y, **call).reshape(x.shape)

    row = jaxrf.trf(model, (12, 4))[-1]
    assert row.exact and row.box((7,), clip=True) == (box,)


def test_the_causal_mask_of_flax():
    """It is made of the shape of the input alone."""
    row = jaxrf.trf(Causal(), (9, 4))[-1]
    assert row.exact and row.box((3,), clip=True) == ((0, 4),)


def test_a_mask_given_as_an_argument():
    """It is a constant of the call."""
    row = jaxrf.trf(
        nn.MultiHeadDotProductAttention(2), (9, 4), apply_kwargs={"mask": np.tri(9, dtype=bool)[None, None]}
    )[-1]
    assert row.exact and row.box((3,), clip=True) == ((0, 4),)


def test_a_mask_made_of_the_image_is_not_followed():
    """The box holds everything, and the row says why it is not tight."""

    def model(x):
        keep = (x.sum(-1) > 0)[:, None]
        return jax.nn.softmax(jnp.where(keep, jnp.einsum("bic,bjc->bij", x, x), -1e9)) @ x

    row = jaxrf.trf(model, (6, 3))[-1]
    assert not row.exact and "masked logits" in row.notes[0] and row.box((2,), clip=True) == ((0, 6),)


def test_neighborhoods_on_a_grid():
    """A mask of neighbors among tokens: a field per image axis, and a stride where it repeats."""
    height, width = 6, 15
    y, x = np.divmod(np.arange(height * width), width)
    near = (abs(y[:, None] - y) <= 1) & (abs(x[:, None] - x) <= 2)

    class Grid(nn.Module):
        @nn.compact
        def __call__(self, image):
            tokens = Stack(near, 2)(image.reshape(-1, height * width, 4))
            return tokens.reshape(-1, height, width, 4)

    row = jaxrf.trf(Grid(), (height, width, 4))[-1]
    assert row.exact and (row.size, row.stride, row.padding) == ((5, 9), (1, 1), (2, 4))
    assert row.box((1, 12), clip=True) == ((0, 4), (8, 15))


def swin(x, shift=2, size=4):
    """Two blocks of windowed attention, the second one shifted, with Swin's mask."""
    height, width, channels = x.shape[1:]

    def windows(a):
        a = a.reshape(-1, height // size, size, width // size, size, a.shape[-1])
        return a.transpose(0, 1, 3, 2, 4, 5).reshape(-1, size**2, a.shape[-1])

    at = np.arange(height)[:, None], np.arange(width)
    part = sum(b * ((i >= n - size).astype(int) + (i >= n - shift)) for i, n, b in zip(at, (height, width), (3, 1)))
    part = windows(part[None, ..., None])[..., 0]
    mask = np.where(part[:, :, None] != part[:, None], -100.0, 0.0)
    for step in (0, shift):
        h = windows(jnp.roll(x, (-step, -step), (1, 2)))
        scores = jnp.einsum("wic,wjc->wij", h, jnp.sin(h))
        if step:
            scores = (scores.reshape(-1, *mask.shape) + mask).reshape(scores.shape)
        h = (jax.nn.softmax(scores) @ h).reshape(-1, height // size, width // size, size, size, channels)
        x = x + jnp.roll(h.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape), (step, step), (1, 2))
    return x


def mamba(x):
    """A state space as attention: exponentials of masked sums of segments, two heads."""
    n, (decay, b, c) = x.shape[1], (np.random.default_rng(k).normal(size=(4, 2)) for k in range(3))
    log = -jax.nn.softplus(x @ decay).transpose(0, 2, 1)
    segments = jnp.cumsum(jnp.where(np.tri(n, k=-1, dtype=bool), log[..., None].repeat(n, -1), 0), -2)
    passed = jnp.exp(jnp.where(np.tri(n, dtype=bool), segments, -jnp.inf))
    y = jnp.einsum("bln,bsn,bhls,bshp->blhp", x @ c, x @ b, passed, x.reshape(-1, n, 2, 2))
    return y.reshape(x.shape)


def apart(x):
    """Neighborhoods over two axes of keys and two of queries, that are never merged."""
    y, z = away(x.shape[1]), away(x.shape[2])
    mask = ((abs(y) <= 1)[:, None, :, None] & ((z >= 0) & (z < 3))[None, :, None, :])[None]
    scores = jnp.exp(jnp.where(mask, jnp.einsum("byxc,bijc->byxij", x, jnp.sin(x)), -jnp.inf))
    return jnp.einsum("byxij,bijc->byxc", scores / scores.sum((3, 4), keepdims=True), x)


def chunks(x, size=4):
    """Causal attention whose keys come chunk by chunk, with maxima and sums that run along."""
    n = x.shape[1]

    def step(state, i):
        top, total, y = state
        keys = jax.lax.dynamic_slice_in_dim(x, i * size, size, 1)
        scores = jnp.where(
            jnp.arange(n)[:, None] >= i * size + jnp.arange(size), jnp.einsum("bic,bjc->bij", x, keys), -1e30
        )
        higher = jnp.maximum(top, scores.max(-1))
        weights, old = jnp.exp(scores - higher[..., None]), jnp.exp(top - higher)
        return (higher, total * old + weights.sum(-1), y * old[..., None] + weights @ keys), None

    zero = x[..., 0] * 0
    (_, total, y), _ = jax.lax.scan(step, (zero - 1e30, zero, x * 0), jnp.arange(n // size))
    return y / total[..., None]


def pooled_keys(x):
    """Fewer keys than queries, each of two positions."""
    keys = x.reshape(x.shape[0], -1, 2, x.shape[2]).mean(2)
    d = np.arange(x.shape[1])[:, None] // 2 - np.arange(keys.shape[1])
    return jax.nn.softmax(jnp.where((d >= 0) & (d < 3), jnp.einsum("bic,bjc->bij", x, keys), -1e9)) @ keys


def shifted(x):
    """Scores by relative places, made by padding and reshaping, behind a causal mask."""
    n = x.shape[1]
    s = jnp.einsum("bic,jc->bij", x, jnp.asarray(np.random.default_rng(0).normal(size=(n, x.shape[2]))))
    s = jnp.pad(s, ((0, 0), (0, 0), (1, 0))).reshape(-1, n + 1, n)[:, 1:]
    return jax.nn.softmax(jnp.where(away(n) >= 0, s + jnp.einsum("bic,bjc->bij", x, jnp.sin(x)), -1e30)) @ x


def retention(x):
    """Scores times a decay below the diagonal, with no softmax."""
    n = x.shape[1]
    return (jnp.einsum("bnc,bmc->bnm", x, jnp.sin(x)) * np.where(away(n) > 0, 0.5 ** away(n).clip(0), 0)) @ x


CASES = {
    swin: (8, 12, 2),
    mamba: (7, 4),
    apart: (5, 7, 2),
    retention: (6, 3),
    chunks: (12, 4),
    pooled_keys: (14, 3),
    shifted: (7, 3),
}


@pytest.mark.parametrize(("model", "shape"), CASES.items(), ids=[model.__name__ for model in CASES])
def test_boxes_are_hulls_of_jacobians(model, shape):
    """Every box is exact."""
    space = shape[:-1]
    with jax.enable_x64(True):
        row = jaxrf.trf(model, shape, dtype=np.float64)[-1]
        x = np.random.default_rng(1).normal(size=(1, *shape))
        jacobian = np.asarray(jax.jit(jax.jacfwd(model))(x)).reshape(*space, shape[-1], *space, shape[-1])
    seen = abs(jacobian).sum((len(space), -1))
    seen = seen > 1e-13 * seen.max()
    assert row.exact, row.notes
    for unit in np.ndindex(*space):
        at = np.argwhere(seen[unit])
        right = tuple((int(a.min()), int(a.max()) + 1) for a in at.T) if len(at) else ((0, 0),) * len(space)
        assert row.box(unit, clip=True) == right


def test_paths_follow_masks():
    """A position outside of the band has no path: a band with holes leaves holes."""
    n = 11
    mask = (away(n) % 2 == 0) & (abs(away(n)) <= 4)
    counts = jaxrf.paths(
        lambda x: jax.nn.softmax(jnp.where(mask, x @ x.transpose(0, 2, 1), -1e9)) @ x, (n, 3), unit=(5,)
    )
    assert (np.array(counts.counts, float) > 0).tolist() == [True, False] * 4 + [True]


def conv(x):
    kernel = np.ones((3, x.shape[-1], x.shape[-1]), np.float32)
    return lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


def padded(x, n: int = 1):
    return jnp.pad(x, ((0, 0), (n, n), (0, 0)))


@pytest.mark.parametrize("channels", [1, 2])
def test_zeros_between_positions_attend_to_nothing(channels):
    """Their scores are zero, and so are the derivatives of these: a band behind the softmax is all that they see."""

    def model(x):
        y = lax.pad(x, np.float32(0), ((0, 0, 0), (0, 0, 1), (0, 0, 0)))  # positions 0, 2, 4, ...
        weights = jax.nn.softmax(jnp.einsum("bnc,bmc->bnm", y, y)) * (np.abs(away(13)) <= 1)
        return jnp.einsum("bnm,bmc->bnc", weights, y)

    row = jaxrf.trf(model, (7, channels))[-1]
    assert row.exact and row.unit_shape == (13,)
    assert [row.box((u,), clip=True) for u in (4, 5, 11)] == [((0, 7),), ((2, 4),), ((5, 7),)]


GATED = {
    "by itself": (lambda x: conv(jax.nn.silu(padded(x))), 3),
    "by what is around it": (lambda x: conv(padded(x) * jax.nn.sigmoid(conv(padded(x)))), 5),
    "held constant": (lambda x: conv(lax.stop_gradient(padded(x)) * conv(padded(x))), 5),
    "and cropped": (lambda x: (padded(x) * conv(padded(x)))[:, 1:-1], 3),
}


@pytest.mark.parametrize("name", GATED)
@pytest.mark.parametrize("n", [4, 9, 24])
def test_zeros_of_a_padding_are_its_border_alone(name, n):
    """Products with a padded array have the size and stride that they have inside, however short the array is."""
    model, size = GATED[name]
    row = jaxrf.trf(model, (n, 2))[-1]
    assert row.exact and (row.size, row.stride) == ((size,), (1,))


@pytest.mark.parametrize("stride, first", [(1, 2), (2, 1)])
def test_zeros_are_seen_behind_a_convolution(stride, first):
    """Windows that hold nothing but a padding of three give zeros, and what is multiplied with these has no field."""

    def model(x):
        kernel = np.ones((3, 2, 2), np.float32)
        y = lax.conv_general_dilated(padded(x, 3), kernel, (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
        return lax.stop_gradient(y) * jnp.broadcast_to(x.sum(1, keepdims=True), y.shape)

    row = jaxrf.trf(model, (7, 2))[-1]
    units = range(row.unit_shape[0])
    seen = [all(lo < hi for lo, hi in row.box((u,), clip=True)) for u in units]
    there = np.asarray(model(jnp.ones((1, 7, 2))))[0, :, 0] != 0
    assert seen == there.tolist() and seen.index(True) == first and row.exact
