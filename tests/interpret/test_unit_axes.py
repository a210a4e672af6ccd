"""Which axes of a layer are units, and in which order, wherever the model puts images, positions and features."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.interpret.origins import _split
from jaxrf.planning.programs import Programs


def axes(model, shape, **call):
    """(unit axes, batch axis) of every layer, by name."""
    subject = adapt(model, shape, **call)
    found = Programs(subject).geometry.units
    return {name: (one.units, one.batch) for name, one in found.items()}


def split_heads(x):
    """Heads on an axis of their own, in the batch, and their scores."""
    b, n, _ = x.shape
    q = jaxrf.tap(x.reshape(b, n, 2, 3), "heads")
    q = jaxrf.tap(q.transpose(0, 2, 1, 3).reshape(b * 2, n, 3), "in the batch")
    scores = jaxrf.tap(jnp.einsum("bnc,bmc->bnm", q, q), "scores")
    y = jaxrf.tap(jnp.tanh(scores) @ q, "mixed")
    return y.reshape(b, 2, n, 3).transpose(2, 0, 1, 3).reshape(n, b, 6)


def test_heads_are_features():
    """Heads are not units, on an axis of their own or beside the images; scores have pairs of positions."""
    expected = {
        "heads": ((1,), 0), "in the batch": ((1,), 0), "scores": ((1, 2), 0), "mixed": ((1,), 0), "output": ((0,), 1),
    }  # fmt: skip
    assert axes(split_heads, (5, 6)) == expected


def swin(x):
    """Windows beside the images, and back on the axes of the image, which are turned."""
    b, h, w, c = x.shape
    y = x.reshape(b, h // 2, 2, w // 3, 3, c)
    y = jaxrf.tap(y.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 6, c), "windows")
    y = y + y.sum(1, keepdims=True)
    return y.reshape(b, h // 2, w // 3, 2, 3, c).transpose(5, 2, 4, 1, 3, 0).reshape(c, w, h, b)


def test_axes_are_known_again_behind_windows():
    """What was merged with the images and split again comes from rows and columns, however it is turned."""
    assert axes(swin, (4, 9, 2)) == {"windows": ((0, 1), 0), "output": ((2, 1), 3)}
    row = jaxrf.trf(swin, (4, 9, 2))[-1]
    assert (row.unit_shape, row.shape, row.size, row.stride) == ((4, 9), (2, 9, 4), (2, 3), (1, 1))


class Mixer(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.Dense(5, name="between tokens")(x.transpose(0, 2, 1))
        y = nn.Dense(7, name="back")(nn.gelu(y))
        return nn.Dense(4, name="channels")(x + y.transpose(0, 2, 1))


class Autoencoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(3, name="code")(x.reshape(len(x), -1))
        x = nn.Dense(4 * 5 * 2, name="wide")(x).reshape(-1, 2, 5, 4).transpose(0, 2, 3, 1)
        return nn.ConvTranspose(1, (3, 3), strides=(2, 2), name="map")(x)


class Recurrent(nn.Module):
    major: bool

    @nn.compact
    def __call__(self, x):
        x = x.transpose(1, 0, 2) if self.major else x
        return nn.RNN(nn.SimpleCell(4), time_major=self.major, name="rnn")(x)


def shuffled(x):
    """Depth to space of channels first, to a single channel."""
    b, _, h, w = x.shape
    return x.reshape(b, 2, 3, h, w).transpose(0, 3, 1, 4, 2).reshape(b, 1, 2 * h, 3 * w)


def packed(x):
    """Space to depth of channels last; of few positions one row is left."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, -1)


@pytest.mark.parametrize(
    ("model", "shape", "call", "expected"),
    [
        (Mixer(), (7, 4), {}, {"between tokens": ((2,), 0), "back": ((2,), 0), "channels": ((1,), 0)}),
        (Autoencoder(), (6, 7, 1), {}, {"code": ((), 0), "wide": ((), 0), "map": ((1, 2), 0)}),
        (Recurrent(True), (5, 3), {}, {"rnn": ((0,), 1)}),
        (Recurrent(False), (5, 3), {}, {"rnn": ((1,), 0)}),
        (shuffled, (6, 4, 5), {"spatial_axes": (2, 3)}, {"output": ((2, 3), 0)}),
        (packed, (6, 2, 3), {}, {"output": ((1, 2), 0)}),
        (lambda x: x.mean((2, 3), keepdims=True), (6, 4, 5), {"spatial_axes": (2, 3)}, {"output": ((2, 3), 0)}),
        (lambda x: x.reshape(len(x), -1), (4, 5, 3), {}, {"output": ((), 0)}),
        (lambda x: (x @ jnp.ones((3, 1)))[..., 0], (4, 5, 3), {}, {"output": ((1, 2), 0)}),
        (lambda x: x[..., None] * 2, (4, 5), {"spatial_axes": (1, 2)}, {"output": ((1, 2), 0)}),
        (lambda x: jnp.tanh(x).mean((0, 1, 2)), (4, 5, 2), {}, {"output": ((), None)}),
        (lambda x: jnp.fft.ifft(jnp.fft.fft(x, axis=1), axis=1).real, (5, 3), {}, {"output": ((1,), 0)}),
        (lambda x: lax.map(lambda image: jnp.tanh(image.T), x), (5, 3), {}, {"output": ((2,), 0)}),
        (lambda x: x.transpose(4, 3, 0, 1, 2), (3, 4, 5, 2), {}, {"output": ((3, 4, 1), 2)}),
        (lambda x: jnp.repeat(x, 3, 0), (5, 3), {}, {"output": ((0, 1), 0)}),
        (lambda x: x + x.transpose(0, 2, 1, 3), (5, 5, 2), {}, {"output": ((1, 2), 0)}),
        (lambda x: jnp.einsum("btc,tu->buc", x.reshape(-1, 10, 3), jnp.ones((10, 10))), (5, 6), {}, {"output": ((1,), 0)}),
        (lambda x: packed(x)[..., None, :] @ jnp.ones((12, 12)), (6, 4, 3), {}, {"output": ((1, 2), 0)}),
    ],
    ids=["mixer", "decoder", "time first", "time last", "shuffled", "packed", "pooled", "flattened", "no features left",
         "features of the model's own", "over images", "transform", "image by image", "volume", "copies of images", "symmetric",
         "positions behind depth to space mixed", "packed positions mixed"],
)  # fmt: skip
def test_axes_follow_the_positions(model, shape, call, expected):
    """Units are the axes that come from positions of the image, are mixed with them, or are made as such."""
    found = axes(model, shape, **call)
    assert {name: found[name] for name in expected} == expected


def test_factors_are_cut_where_they_must_be():
    """Axes that end where no factor does, and cannot be cut there, may hold any of the factors."""
    rows, columns = (6, frozenset({1})), (5, frozenset({2}))
    assert _split([rows, columns], [2, 15]) == [((2, rows[1]),), ((3, rows[1]), columns)]
    assert _split([rows, columns], [5, 6]) == [((5, rows[1] | columns[1]),), ((6, rows[1] | columns[1]),)]
    images = (2, frozenset({0}))
    assert _split([images, rows, columns], [4, 5, 3])[0] == (images, (2, rows[1]))


def test_attention_of_flax_has_tokens_for_units():
    """Query, key and value of a `MultiHeadDotProductAttention` have a row per token, with the box of its patch."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(6, (2, 3), strides=(2, 3), padding="VALID", name="patch")(x)
            return nn.MultiHeadDotProductAttention(2, name="mha")(x.reshape(len(x), -1, 6))

    row = jaxrf.trf(Net(), (4, 9, 3))["mha/query"]
    assert (row.unit_shape, row.shape, row.box(4)) == ((6,), (6, 2, 3), ((2, 4), (3, 6)))


def test_a_layer_without_an_axis_of_images_has_a_map_of_one_image():
    """What a model makes of a whole batch is made of the image alone where that is the batch."""
    model, x = lambda x: jnp.tanh(x).sum(), np.random.default_rng(0).normal(size=(1, 3, 4, 1)).astype(np.float32)
    found = jaxrf.erf(model, None, x, channels=0, score="signed")
    np.testing.assert_allclose(found.mean[0], jax.grad(model)(x)[0, ..., 0], rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "mean"])
def test_padding_of_any_mode_keeps_the_axes(mode, channels):
    """The parts that padding is put together from, some without elements and some of one, change no axis."""

    def net(x):
        return jnp.pad(x, ((0, 0), (2, 1), (1, 0), (0, 0)), mode)

    assert jaxrf.trf(net, (6, 5, channels))[-1].unit_shape == (9, 6)
    assert jaxrf.paths(net, (6, 5, channels), unit=(4, 3)).counts.shape == (1, 1)
