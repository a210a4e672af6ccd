"""`jaxrf.check` is silent on a right engine and raises on a wrong one."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxrf
from jaxrf.engine import run
from jaxrf.errors import CheckError, InputError
from jaxrf.primitives import rules
from jaxrf.primitives.convolution import Convolution


class Net(nn.Module):
    """Convolutions, a max-pool, dropout and batch normalization."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, name="stem")(x))
        x = nn.max_pool(x, (2, 2), (2, 2), "SAME")
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Conv(3, (3, 2), name="head")(x)


IMAGES = np.random.default_rng(0).normal(size=(2, 13, 11, 2)).astype(np.float32)


def layouts(x, norm=True):
    """Tokens before images, heads beside images, windows beside images, and features first with turned axes."""
    n = len(x)
    draw = np.random.default_rng(1)
    y = jnp.tanh(x.reshape(n, 2, 2, 3, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2, 3, 8) @ draw.normal(size=(8, 6)))
    y = y - y.mean((0, 1, 2)) * y[..., :1] if norm else y
    t = jaxrf.tap(y.reshape(n, 6, 6).transpose(1, 0, 2), "tokens first")
    q = jaxrf.tap(t.transpose(1, 0, 2).reshape(n, 6, 2, 3) * draw.normal(size=(2, 3)), "heads")
    q = jaxrf.tap(q.transpose(0, 2, 1, 3).reshape(n * 2, 6, 3), "beside images")
    q = (jax.nn.softmax(q @ q.transpose(0, 2, 1)) @ q).reshape(n, 2, 2, 3, 3).transpose(0, 2, 3, 1, 4)
    w = jaxrf.tap(jnp.tanh(q.transpose(0, 2, 1, 3, 4).reshape(n * 3, 2, 6)), "windows")
    return jaxrf.tap(w.reshape(n, 3, 2, 6).transpose(3, 1, 2, 0), "turned")


@pytest.mark.parametrize(
    ("layer", "wrt", "norm"),
    [("tokens first", None, True), ("beside images", None, True), ("windows", "beside images", True),
     ("turned", "tokens first", True), ("turned", "windows", False), ("heads", None, False)],
)  # fmt: skip
def test_every_layout_has_its_map(layer, wrt, norm):
    """Units and maps on any axes are right, with images that see each other or not, on the image or an inner layer."""
    jaxrf.check(functools.partial(layouts, norm=norm), None, IMAGES[:, :4, :6], layer=layer, wrt=wrt)


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.slow), pytest.param({"layer": "norm", "units": "all"}, marks=pytest.mark.slow),
     {"layer": "output", "units": [[0, 1]]}, {"wrt": "stem", "channels": "sum", "score": "signed"},
     {"apply_kwargs": {"train": True}, "channels": 1, "score": "abs"},
     pytest.param({"apply_kwargs": {"train": True}, "layer": "norm", "units": [[0, 1], [2, 0]]}, marks=pytest.mark.slow)],
    ids=["output", "layer", "output as a layer", "layer to layer", "train mode", "probes in train mode"],
)  # fmt: skip
def test_silent_when_right(options):
    """Random weights, layers, layer to layer, and a batch whose images see each other."""
    jaxrf.check(Net(), inputs=IMAGES, **options)


def test_silent_in_double_precision():
    """In float64 the default tolerance is 1e-9."""
    with jax.enable_x64(True):
        jaxrf.check(lambda x: jnp.sin(x[:, 1:] * x[:, :-1]), inputs=IMAGES.astype(np.float64))


def test_silent_on_an_nnx_module():
    """An NNX module is checked with its own state."""
    jaxrf.check(nnx.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0)), inputs=IMAGES, units=jaxrf.grid(3, 2))


def product(x):
    return jnp.sin(x[:, 1:])


def test_raises_on_wrong_values(monkeypatch):
    """A rule that is off by one per cent is found; the message names unit, layer and difference."""
    right = type(rules["mul"]).pull
    monkeypatch.setattr(type(rules["mul"]), "pull", lambda *args: right(*args) * 1.01)
    with pytest.raises(
        CheckError, match=r"map of unit \(5, 5\) of layer 'output' differs .*which is 0\.020\d* of its peak"
    ):
        jaxrf.check(product, inputs=IMAGES)
    jaxrf.check(product, inputs=IMAGES, tolerance=0.1)


def test_the_test_of_values_itself():
    """Without the wrong rule the same call is silent."""
    jaxrf.check(product, inputs=IMAGES)


def test_raises_on_a_wrong_box(monkeypatch):
    """A geometry that forgets the last tap of a kernel is found: the oracle sees more than the box."""
    right = Convolution.windows
    monkeypatch.setattr(
        Convolution, "windows", lambda *args: [replace(w, offsets=w.offsets[:-1] or w.offsets) for w in right(*args)]
    )
    with pytest.raises(CheckError, match="not zero outside of its theoretical box"):
        jaxrf.check(Net(), inputs=IMAGES, layer="stem", units=[[2, 2]], crop=False)


def test_what_cannot_be_checked():
    """Rules that are made of others, and averages over units, have no single map of the oracle."""
    with pytest.raises(InputError, match=re.escape('check compares channels "probe", "sum" or an index')):
        jaxrf.check(Net(), inputs=IMAGES, channels="each")
    with pytest.raises(InputError, match="leave pool_units out"):
        jaxrf.check(Net(), inputs=IMAGES, pool_units=True, units="all", layer="stem")


@pytest.mark.parametrize("dtype, limit", [("float32", 1e-2), ("float64", 1e-9)])
def test_a_forward_pass_that_is_off_is_no_run(monkeypatch, dtype, limit):
    """Values of the engine that are off by twice the limit end a run before its first map; by half of it, they do not."""
    right, off = run.lower, [0.0]

    def wrong(primitive, params, operands):
        found = right(primitive, params, operands)
        if primitive != "conv_general_dilated":
            return found
        found = found or [lax.conv_general_dilated_p.bind(*operands, **params)]
        return [value * (1 + off[0]) for value in found]

    monkeypatch.setattr(run, "lower", wrong)
    with jax.enable_x64(dtype == "float64"):
        kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 3)).astype(dtype)

        def net(x):
            return lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

        off[0] = limit / 2
        certificate = jaxrf.erf(net, inputs=IMAGES.astype(dtype)).provenance["certificate"]
        assert limit / 4 < certificate < limit
        off[0] = 2 * limit
        with pytest.raises(CheckError, match="forward value of layer 'output' differs from the model's own by"):
            jaxrf.erf(net, inputs=IMAGES.astype(dtype))


def narrow(act, bias=0.0):
    """`f(w, x)`: one-dimensional convolutions with an activation behind each."""

    def f(w, x):
        for kernel in w:
            y = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))
            x = act(y + bias)
        return x

    return f


@pytest.mark.slow
def test_values_too_small_for_their_type_are_told_where_they_decide():
    """A ReLU on values that underflow closes, and the map of a part of an image is wrong without a NaN or a dead unit.

    Zeros, values with a bias beside them, smooth functions of small values and sums that cancel decide nothing.
    """
    draw = np.random.default_rng(0)
    w = [(0.01 * draw.normal(size=(3, 4, 4))).astype(np.float32) for _ in range(2)]
    x = draw.normal(size=(1, 15, 4)).astype(np.float32)
    dark, black, flat = (np.concatenate([x[:, :9] * f + g, x[:, 9:]], 1) for f, g in ((1e-37, 0), (0, 0), (0, 1)))
    relu, given = jax.nn.relu, {"units": [[7]], "channels": 1}
    with pytest.raises(CheckError, match=r"too small for float32 decide .*% of a coefficient .* layer 'output'"):
        jaxrf.check(narrow(relu), w, dark, **given)
    single = jaxrf.erf(narrow(relu), w, dark, **given)
    with jax.enable_x64(True):
        wide = jaxrf.erf(narrow(relu), [a.astype(float) for a in w], dark.astype(float), **given)
    assert single.dead == single.nonfinite == 0 and np.abs(single.mean - wide.mean).max() > 0.1 * wide.mean.max()
    edges = [a - a.mean(0) for a in w]
    for f, kernels, image in (
        (narrow(relu), w, black), (narrow(relu, 0.1), w, dark), (narrow(jax.nn.silu), w, dark), (narrow(relu), edges, flat),
    ):  # fmt: skip
        jaxrf.check(f, kernels, image, **given)
