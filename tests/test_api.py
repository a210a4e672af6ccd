"""The public functions: what they return, and what they say about bad input."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import jaxrf
from jaxrf.errors import InputError, UnknownNameError, UnknownPrimitiveError
from jaxrf.inputs import images as inputs
from jaxrf.inputs.images import Noise


class Net(nn.Module):
    """Two convolutions with a ReLU between."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(3, (3, 3), name="head")(nn.relu(nn.Conv(4, (3, 3), strides=2, name="stem")(x)))


IMAGES = np.random.default_rng(0).normal(size=(3, 9, 13, 2)).astype(np.float32)
VARIABLES = Net().init(jax.random.key(1), IMAGES)


def heads(x):
    y = jnp.sin(x)
    return {"logits": y.mean((1, 2)), "mask": y * 2}


def test_results():
    """A map per unit, with its error, its origin, its row, and what it was made of."""
    result = jaxrf.erf(Net(), VARIABLES, IMAGES, units=[[0, 0], [2, 3]])
    assert result.mean.shape == result.stderr.shape
    assert result.mean.dtype == np.float64
    assert result.mean.shape[0] == 2
    assert result.count == 3
    assert result.units.tolist() == [[0, 0], [2, 3]]
    assert result.theoretical.size == (7, 7)
    assert (result.score, result.channels, result.input_shape) == ("square", "probe", (9, 13))
    assert (result.mean.reshape(2, -1).sum(1) > 0).all()
    assert result.dead == result.nonfinite == 0


def test_mean_and_error_over_images():
    """Mean and standard error are those of the maps of single images."""
    options: dict[str, Any] = {"units": [[2, 3]], "channels": "sum"}
    together = jaxrf.erf(Net(), VARIABLES, IMAGES, **options)
    alone = np.stack([jaxrf.erf(Net(), VARIABLES, image[None], **options).mean[0] for image in IMAGES])
    np.testing.assert_allclose(together.mean[0], alone.mean(0), atol=1e-6 * alone.max())
    np.testing.assert_allclose(together.stderr[0], alone.std(0, ddof=1) / np.sqrt(3), atol=1e-6 * alone.max())


def test_seeds_draw_weights():
    """Without variables each seed is a draw of its own; a seed has the same map alone and among others."""
    options: dict[str, Any] = {"inputs": IMAGES[:1], "units": [[2, 3]]}
    pair = jaxrf.erf(Net(), seeds=[3, 5], **options)
    single = [jaxrf.erf(Net(), seeds=[seed], **options).mean for seed in (3, 5)]
    assert pair.count == 2
    np.testing.assert_allclose(pair.mean, (single[0] + single[1]) / 2, rtol=1e-5)
    assert abs(single[0] - single[1]).max() > 0.01 * pair.mean.max()


def test_noise_does_not_depend_on_batches():
    """Image i of `jaxrf.noise(n, seed)` is the same for every n."""
    few, many = jaxrf.noise(2, 7), jaxrf.noise(5, 7)
    args = ((4, 5, 1), np.float32)
    np.testing.assert_array_equal(few.images(0, 2, *args), many.images(0, 5, *args)[:2])
    assert abs(many.images(0, 5, *args) - jaxrf.noise(5, 8).images(0, 5, *args)).max() > 0.1


def test_little_noise_is_drawn_once_for_all_seeds(monkeypatch):
    """What is drawn anew for each seed, since there is more of it than is kept, gives the same maps."""
    drawn, draw = [], Noise.images
    monkeypatch.setattr(Noise, "images", lambda self, *args: drawn.append(args[:2]) or draw(self, *args))

    def mean() -> np.ndarray:
        drawn.clear()
        return jaxrf.erf(Net(), inputs=jaxrf.noise(2), input_shape=IMAGES.shape[1:], seeds=3).mean

    once = mean()
    assert drawn == [(0, 2)]
    monkeypatch.setattr(inputs, "KEPT", 0)
    np.testing.assert_array_equal(mean(), once)
    assert drawn == [(0, 2)] * 3


def test_methods_and_arguments():
    """A method, keyword arguments and the image's place among several arguments are passed on."""

    class Two(nn.Module):
        def setup(self):
            self.conv = nn.Conv(3, (5, 3))

        def encode(self, t, x, gain=1.0):
            return self.conv(x) * t * gain

    table = jaxrf.trf(Two(), (9, 13, 2), method="encode", args=(2.0, ...), apply_kwargs={"gain": 3.0})
    assert table[-1].size == (5, 3)
    result = jaxrf.erf(
        Two(), inputs=IMAGES, method="encode", args=(2.0, ...), apply_kwargs={"gain": 3.0}, channels=0, score="signed"
    )
    plain = jaxrf.erf(Two(), inputs=IMAGES, method="encode", args=(1.0, ...), channels=0, score="signed")
    np.testing.assert_allclose(result.mean, 6 * plain.mean, rtol=1e-5)


def test_outputs_are_chosen_by_name():
    """One of several outputs, and a layer whose units are not positions."""
    assert jaxrf.erf(heads, inputs=IMAGES, output="mask").theoretical.size == (1, 1)
    pooled = jaxrf.erf(heads, inputs=IMAGES, output="logits")
    assert pooled.mean.shape == (1, 9, 13)
    assert pooled.theoretical.global_axes == ("y", "x")


def test_dead_and_broken_maps_are_counted():
    """A unit without gradient is dead and counted, and so is a map that is not finite; both are said."""
    with pytest.warns(UserWarning, match="3 of 3 maps are zero everywhere"):
        assert jaxrf.erf(lambda x: nn.relu(x - 100), inputs=IMAGES).dead == 3
    with pytest.warns(UserWarning, match="3 of 3 maps hold NaN or infinity"):
        assert jaxrf.erf(lambda x: jnp.sqrt(x - x), inputs=IMAGES).nonfinite == 3


BAD_REQUESTS = {
    "layer": (
        {"layer": "stm"}, UnknownNameError,
        r"Unknown layer 'stm'. Did you mean 'stem'\? Known: 'head', 'output', 'stem'\."),
    "wrt": ({"wrt": "hed"}, UnknownNameError, "Unknown layer 'hed'.*Did you mean 'head'"),
    "order": ({"wrt": "head", "layer": "stem"}, InputError, "Layer 'stem' does not lie behind layer 'head'"),
    "score": ({"score": "sqare"}, UnknownNameError, "Unknown score 'sqare'.*Did you mean 'square'"),
    "rule": ({"channels": "prob"}, UnknownNameError, "Unknown rule for channels 'prob'.*Did you mean 'probe'"),
    "channel": ({"channels": 3}, InputError, "Channel 3 was asked for; layer 'output' has channels 0 to 2"),
    "channel type": ({"channels": True}, InputError, "channels=True does not fit. It is a word such as"),
    "unit": ({"units": [[2, 7]]}, InputError, r"Unit \(2, 7\) is outside of layer 'output', whose units are \(5, 7\)"),
    "negative unit": ({"units": [[-1, 0]]}, InputError, r"Unit \(-1, 0\) is outside"),
    "units of one axis": (
        {"units": [[1]]}, InputError, r"Units of shape \(1, 1\) and dtype int64.*whole numbers of shape \(n, 2\)"),
    "fractions": ({"units": [[1.5, 2]]}, InputError, "dtype float64 were given; layer 'output' needs whole numbers"),
    "no units": ({"units": np.zeros((0, 2), int)}, InputError, r"Units of shape \(0, 2\)"),
    "word": (
        {"units": "centre"}, UnknownNameError,
        r"Unknown choice of units 'centre'. Did you mean 'center'\? Known: 'all', 'center'"),
    "grid": ({"units": jaxrf.grid(6, 7)}, InputError, r"A grid of 6x7 does not fit a layer of units \(5, 7\)"),
    "output": ({"output": "logits"}, UnknownNameError, "Unknown output 'logits'"),
    "seeds": ({"seeds": 2}, InputError, "seeds draw random weights, but variables were given"),
    "none": ({"inputs": None}, InputError, "No inputs were given"),
    "rank": (
        {"inputs": IMAGES[0]}, InputError,
        "slides along the axis of images, in layer 'stem', called at test_api.*an axis is missing"),
    "vector": ({"inputs": np.ones(3, np.float32)}, InputError, r"Inputs of shape \(3,\) hold no images"),
    "integers": (
        {"inputs": (IMAGES * 100).astype(np.uint8)}, InputError, r"whole numbers \(uint8\) .*which have no derivative"),
    "no images": ({"inputs": IMAGES[:0]}, InputError, r"Inputs of shape \(0, 9, 13, 2\) hold no images"),
    "empty iterable": ({"inputs": iter([])}, InputError, "iterable of inputs is empty"),
    "a number": ({"inputs": 3.0}, InputError, "Inputs are a float; needed is an array"),
    "two shapes": ({"inputs": [IMAGES, IMAGES[:, 1:]]}, InputError, r"A batch of inputs has shape \(3, 8, 13, 2\)"),
    "two dtypes": ({"inputs": [IMAGES, IMAGES.astype(np.float16)]}, InputError, "dtype float16; the first had"),
    "noise": ({"inputs": jaxrf.noise(2)}, InputError, "Noise has no shape of its own. Pass input_shape"),
    "two sizes": (
        {"input_shape": (9, 9, 2)}, InputError,
        r"Inputs hold images of \(9, 13, 2\), but input_shape is \(9, 9, 2\)"),
    "channels": ({"inputs": IMAGES[..., :1]}, InputError, "The variables do not fit Net on inputs of shape .*stem/kernel"),
    "double": ({"inputs": IMAGES.astype(np.float64)}, InputError, "float64, which JAX would cut to float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_requests_that_do_not_fit(case):
    """Layers, units, channels and scores that are not there; inputs without images, or of another shape or kind."""
    options, error, message = BAD_REQUESTS[case]
    with pytest.raises(error, match=message):
        jaxrf.erf(Net(), VARIABLES, **{"inputs": IMAGES, **options})


def test_an_input_shape_without_an_axis():
    """The table says the same of an input shape that lacks an axis; models that mix images otherwise pass."""
    with pytest.raises(InputError, match=r"Net takes inputs of shape \(2, 13, 2\) for one image"):
        jaxrf.trf(Net(), (13, 2))
    assert jaxrf.trf(lambda x: x + jnp.roll(x, 1, 0), (13, 2))[-1].global_axes == ("batch",)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_noise_of_no_images(count):
    """Noise needs a whole count of at least one."""
    with pytest.raises(InputError, match=re.escape(f"noise({count}) makes no images")):
        jaxrf.noise(count)


@pytest.mark.parametrize("counts", [(), (0, 2), (1.5,)])
def test_grids_of_no_units(counts):
    """So do grids."""
    with pytest.raises(InputError, match="needs whole counts of at least 1"):
        jaxrf.grid(*counts)


@pytest.mark.parametrize("seeds", [[1, 1], [], 0, [-1, 2], [2**32]])
def test_seeds_that_are_no_samples(seeds):
    """Repeated seeds would count one network twice; none, negative ones and those beyond 32 bits are not seeds."""
    with pytest.raises(InputError, match="a count of at least 1, or different whole numbers from 0 to"):
        jaxrf.erf(Net(), inputs=IMAGES, seeds=seeds)


def test_variables_that_do_not_fit():
    """Weights that are missing, of another shape, or not finite are named."""
    kernel = VARIABLES["params"]["stem"]["kernel"]
    missing = {"params": {"stem": VARIABLES["params"]["stem"]}}
    with pytest.raises(InputError, match="'params/head/bias' is missing; needed is an array of shape"):
        jaxrf.erf(Net(), missing, IMAGES)
    head = VARIABLES["params"]["head"]
    broken = {"params": {"stem": {"kernel": kernel.at[0, 0, 0, 0].set(np.nan), "bias": jnp.zeros(4)}, "head": head}}
    with pytest.raises(InputError, match="'params/stem/kernel' has 1 NaN and 0 infinite values of 72"):
        jaxrf.erf(Net(), broken, IMAGES)
    with pytest.raises(InputError, match="reads? as .*needs variables"):
        jaxrf.erf(lambda w, x: x * w, inputs=IMAGES)


def test_models_of_several_outputs():
    """A dict of outputs needs a choice, and the message names the leaves."""
    with pytest.raises(
        InputError, match=r"not a single array: it has \['logits', 'mask'\]. Say which with output='logits'"
    ):
        jaxrf.erf(heads, inputs=IMAGES)
    with pytest.raises(UnknownNameError, match="Unknown output 'logit'.*Did you mean 'logits'"):
        jaxrf.erf(heads, inputs=IMAGES, output="logit")


def test_models_without_spatial_axes():
    """A model of feature vectors has no positions to map."""
    with pytest.raises(InputError, match=r"An input of shape \(5,\) has no spatial axes"):
        jaxrf.trf(lambda x: x * 2, (5,))
    with pytest.raises(InputError, match=r"spatial_axes=\(0, 3\) does not fit"):
        jaxrf.trf(lambda x: x * 2, (5, 7, 1), spatial_axes=(0, 3))


def looping(x):
    y = jnp.sin(x)
    y = lax.while_loop(lambda y: y.sum() > 3, lambda y: y * 0.5, y)
    return jaxrf.tap(y, "loop") + x[:, :1]


def test_operations_without_a_rule():
    """The error names primitive, layer and the user's line; on request they see everything, and the row says why."""
    line = looping.__code__.co_firstlineno + 2
    place = rf"primitive 'while', in layer 'loop', called at test_api\.py:{line} \(looping\)"
    with pytest.raises(UnknownPrimitiveError, match=f'No rule for {place}.*pass unknown="global"'):
        jaxrf.trf(looping, (5, 7, 1))
    row = jaxrf.trf(looping, (5, 7, 1), unknown="global")["loop"]
    assert row.size == (5, 7)
    assert not row.exact
    assert len(row.notes) == 1
    assert "while in layer 'loop'" in row.notes[0]
    assert "has no rule and counts as seeing everything" in row.notes[0]
    with pytest.raises(UnknownPrimitiveError, match="No rule for primitive 'while'"):
        jaxrf.erf(looping, inputs=IMAGES)


def test_unknown_takes_two_words():
    """Any other word for what to do with unknown operations is refused."""
    with pytest.raises(InputError, match="unknown='ignore' is neither"):
        jaxrf.trf(Net(), (9, 13, 2), unknown="ignore")
