"""A model fed in chunks gives what it gives on the whole signal."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError
from tests.pieces.models import Codec, Subsampling, WaveNet, drawn


class Tcn(nn.Module):
    """Residual blocks of dilated causal convolutions."""

    @nn.compact
    def __call__(self, x):
        for level in range(3):
            y = nn.relu(nn.Conv(4, (3,), kernel_dilation=2**level, padding="CAUSAL")(x))
            y = nn.relu(nn.Conv(4, (3,), kernel_dilation=2**level, padding="CAUSAL")(y))
            x = y + nn.Dense(4)(x)
        return x


def streamed(model, shape, chunk, parts, limit=1e-6, **options):
    """Streams a signal in parts, and compares; the stream, and what each push gave."""
    variables, signal = drawn(model, shape)
    whole = np.asarray(jax.jit(model.apply)(variables, signal))
    stream = jaxrf.stream(model, variables, chunk, input_shape=(None, *shape[1:]), **options)
    ends = np.cumsum(parts)
    assert ends[-1] == shape[0]
    found = list(stream(np.split(signal, ends[:-1], axis=1)))
    together = np.concatenate(found, 1)
    assert together.shape == whole.shape
    assert np.abs(together - whole).max() <= limit * np.abs(whole).max()
    return stream, [part.shape[1] for part in found]


def test_a_causal_stack_waits_for_nothing():
    """A WaveNet-like stack gives each sample as it arrives; parts may have any length."""
    stream, counts = streamed(WaveNet(), (150, 1), 1, [1, 0, 7, 92, 50])
    assert counts == [1, 0, 7, 92, 50, 0]
    assert stream.plan.row.look_ahead == stream.plan.row.latency == (0,) and stream.plan.latency == 0
    assert stream.plan.row.look_back == (63,) and stream.plan.window == 64


def test_chunks_are_waited_for():
    """A TCN in chunks of 16: what is left comes out at the end."""
    stream, counts = streamed(Tcn(), (100, 2), 16, [15, 1, 70, 14])
    assert counts == [0, 16, 64, 16, 4]
    assert stream.plan.latency == 15
    assert str(stream.plan).startswith(
        "Stream of layer 'output' in chunks of 16: windows of 44, 2.75 times what is new"
    )


def test_the_field_of_a_codec_and_the_halo_of_its_decoder():
    """A code of stride 512 sees 7978 samples; the decoder needs ten frames on each side."""
    shape = (40 * 512, 1)
    codes = jaxrf.trf(Codec(), shape)["codes"]
    assert codes.size == (7978,) and codes.stride == (512,)
    decoder = jaxrf.trf(Codec(), shape, wrt="codes")[-1]
    assert decoder.halo() == ((10, 10),) and decoder.stride == (Fraction(1, 512),)
    assert decoder.look_back == decoder.look_ahead == decoder.latency == (10,)


@pytest.mark.slow
def test_a_codec_of_stride_512_with_transposed_convolutions():
    """Encoder and decoder together move by frames of 512 and look ahead; what they need is waited for."""
    stream, _ = streamed(Codec(), (80 * 512, 1), 4096, [13000, 11000, 16960], limit=1e-5)
    row = stream.plan.row
    assert stream.plan.step == row.period[0] == 512 and row.stride == (1,)
    assert row.look_ahead == row.latency == (9001,) and stream.plan.latency >= 9001


def test_a_small_codec():
    """The same with strides of 2 and 4."""
    stream, _ = streamed(Codec((2, 4)), (1600, 1), 256, [700, 100, 800], limit=1e-5)
    assert stream.plan.step == stream.plan.row.period[0] == 8
    assert stream.plan.latency >= stream.plan.row.latency[0] == stream.plan.row.look_ahead[0] > 8


def test_a_front_that_subsamples_time_and_frequency():
    """Units along time alone, from an input of time and frequency; "VALID" leaves some samples unseen at the end."""
    stream, counts = streamed(Subsampling(), (131, 21, 1), 8, [60, 71])
    assert sum(counts) == 32 and stream.plan.step == 4
    assert stream.plan.row.unseen[0] == (stream.plan.window - 7) % 4


def test_a_signal_shorter_than_a_window_and_several_at_once():
    """What came so far is run whole when it ends; signals side by side are one batch."""
    model = Tcn()
    variables, signal = drawn(model, (9, 2))
    both = np.concatenate([signal, -signal])
    stream = jaxrf.stream(model, variables, 4, input_shape=(None, 2))
    for _ in range(2):  # a stream that is finished is as new
        found = np.concatenate([stream.push(both[:, :6]), stream.push(both[:, 6:]), stream.finish()], 1)
        np.testing.assert_allclose(found, model.apply(variables, both), atol=1e-6)
    assert stream.received == 0


def test_same_padding_that_depends_on_the_length_is_said():
    """With "SAME" and strides the first unit depends on where the signal ends."""
    model = nn.Conv(2, (3,), 2)
    variables, signal = drawn(model, (21, 1))
    stream = jaxrf.stream(model, variables, 4, input_shape=(None, 1))
    stream.push(signal)
    with pytest.raises(InputError, match="ends after 21 positions, 1 more than a multiple of 2.*Push 1 more.*CAUSAL"):
        stream.finish()
    explicit = nn.Conv(2, (3,), 2, padding=((1, 1),))
    streamed(explicit, (21, 1), 4, [21])


def attention(causal):
    mask = np.tri(64, dtype=bool) if causal else np.ones((64, 64), bool)
    return lambda x: jax.nn.dot_product_attention(x[:, :, None], x[:, :, None], x[:, :, None], mask=mask)[:, :, 0]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (attention(True), {}, "sees all of the signal that was before.*carry its state"),
        (attention(False), {}, "cannot be streamed.*causal or windowed attention"),
        (lambda x: jnp.cumsum(x, 1), {}, "it is causal, but no window"),
        (lambda x: x[:, ::-1], {}, "cannot be streamed"),
        (lambda x: x[:, 4:] + x[:, :-4], {"look_ahead": 0}, "looks 4 positions ahead.*look_ahead=4.*CAUSAL"),
        (lambda x: x[:, ::3], {"chunk": 4}, "chunk=4 is not a multiple of 3.*Use chunk=6"),
        (lambda x: x, {"chunk": 0}, "chunk=0 is not"),
        (lambda x: x, {"input_shape": (64, 2)}, "with None for its length"),
        (lambda x: x, {"input_shape": (64, None)}, "None on an axis of features"),
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_refused_with_what_would_work(model, options, message):
    options = {"chunk": 8, "input_shape": (None, 2), **options}
    with pytest.raises(InputError, match=message):
        jaxrf.stream(model, None, options.pop("chunk"), **options)


def test_samples_that_do_not_fit():
    stream = jaxrf.stream(lambda x: x * 2, None, 4, input_shape=(None, 2))
    with pytest.raises(InputError, match="no samples to finish"):
        stream.finish()
    with pytest.raises(InputError, match=r"shape \(1, 4\).*needed are \(n, any, 2\)"):
        stream.push(np.zeros((1, 4), np.float32))
    stream.push(np.zeros((1, 4, 2), np.float32))
    with pytest.raises(InputError, match=r"\(1, any, 2\) and float32"):
        stream.push(np.zeros((2, 4, 2), np.float32))
