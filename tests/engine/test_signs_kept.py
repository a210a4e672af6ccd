"""Which products are averaged over the signs of their weights, and behind which of them signs are drawn."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.engine.signs import Signs, make_signs
from jaxrf.engine.windows import windows
from jaxrf.planning.programs import Programs
from tests.engine.models import average_pool, conv, max_pool, weights
from tests.engine.random_networks import Net, erf, layer, open_run, overlapping_pools

pytestmark = pytest.mark.usefixtures("quick")


def signs_of(f) -> Signs:
    """Of `f(weights, x)`, three convolutions."""
    geometry = Programs(adapt(f, (12, 14, 2), variables=weights(W, W, W, dtype=np.float32))).of()
    program = geometry.program
    plan = windows(program, program.layers["output"].tangent, program.input, {1: np.array([2]), 2: np.array([1])})
    signs = make_signs(geometry, plan, "probe")
    assert len(signs.averaged) + len(signs.record()["kept"]) == 3
    return signs


def kept(f) -> list[str]:
    """Layers whose products stay ordinary."""
    return signs_of(f).record()["kept"]


def drawn(f) -> list[str]:
    """Layers behind whose products signs are drawn."""
    return [eqn.layer for eqn in signs_of(f).drawn]


W = (3, 3, 2, 2)


def three(middle, first=lambda x: x, last=lambda x: x):
    """Tapped convolutions a, b, c, with something after a (`first`), after b (`middle`), and after c (`last`)."""

    def f(w, x):
        x = first(jaxrf.tap(conv(x, w[0]), "a"))
        x = middle(jaxrf.tap(conv(x, w[1]), "b"))
        return last(jaxrf.tap(conv(x, w[2]), "c"))

    return f


def bilinear(x):
    return jax.image.resize(x, (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]), "bilinear")


def nearest(x):
    return jax.image.resize(x, (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]), "nearest")


def pooled(x):
    return average_pool(x, 2, 2)


def gated(x):
    return x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (three(pooled), []),  # it spreads, and nothing gathers below
        (three(bilinear), []),
        (three(pooled, first=max_pool), ["b"]),  # between a pool above and an overlapping maximum below
        (three(pooled, first=lambda x: max_pool(x, 2, 2)), []),  # maxima that do not overlap gather nothing
        (three(lambda x: x, first=max_pool, last=pooled), ["c", "b"]),
        (three(max_pool, last=pooled), ["c"]),
        (three(max_pool, first=pooled), []),  # the wrong way round
        (three(bilinear, first=bilinear), ["b"]),
        (three(bilinear, first=nearest), ["b"]),
        (three(nearest, first=nearest), []),  # it gathers, and nothing above spreads
        (three(gated, first=max_pool), []),  # a gate's pooled statistic joins a main path: its part is small
        (three(lambda x: x - x.mean((1, 2), keepdims=True), first=max_pool), []),
        (three(lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), first=max_pool), ["b"]),
    ],
)
def test_products_between_spreading_and_gathering_stay_ordinary(f, expected):
    """Only those with an equation above that spreads over positions, and one below that adds positions up."""
    assert kept(f) == expected


def skip(x):
    return x + jnp.maximum(x, 0)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (three(lambda x: jnp.maximum(x, 0)), []),
        (three(max_pool), []),
        (three(nearest), []),
        (three(lambda x: jnp.repeat(x, 2, 1)), []),
        (three(lambda x: jnp.concatenate([x, x[:, ::-1]], 1)), ["c"]),  # two ways to one element
        (three(skip), ["c"]),
        (three(lambda x: x, first=skip), ["b"]),
        (three(pooled), ["c"]),  # an element below is one of several that an element above is made of
        (three(gated), ["c"]),
        (three(lambda x: x * x[:, :, :, :1]), ["c"]),
        (lambda w, x: skip(three(lambda x: x)(w, x)), []),  # what meets again comes from the unit, with one sign
        (lambda w, x: three(lambda x: x)(w, skip(x)), ["a"]),
    ],
)
def test_signs_are_drawn_where_elements_meet_again(f, expected):
    """Only behind the product above: elements of other products meet with independent signs anyway."""
    assert drawn(f) == expected


def test_a_skip_over_a_random_weight_needs_no_signs():
    """What went through the weight is independent of what went around it, on chains of blocks too."""

    def body(_, x):
        x = layer(4)(x)
        for _ in range(3):
            x = nn.relu(x + layer(4)(nn.relu(layer(4)(x))))
        return x

    record = open_run(Net(body)).prepared.facts["estimator"]
    assert (record["averaged"], record["drawn"]) == (7, 0)


def test_the_record_says_what_was_averaged():
    """Layers, what was kept, and what keeps it from being exact; nothing does for a ReLU stack without biases."""
    assert erf(seeds=1).provenance["estimator"] == {
        "name": "sign_averaged", "averaged": 3, "drawn": 0, "kept": [], "exact": True, "notes": [],
    }  # fmt: skip
    rough = open_run(zoo.unet(depth=1, width=2), (4, 6, 2)).prepared.facts["estimator"]
    assert not rough["exact"]
    assert {note.split()[1] for note in rough["notes"]} == {"winners", "hold", "that"}
    pools = open_run(Net(overlapping_pools)).prepared.facts["estimator"]
    assert len(pools["notes"]) == 1 and "behind what spreads" in pools["notes"][0]
    gates = open_run(Net(lambda _, x: nn.silu(layer()(x)))).prepared.facts["estimator"]
    assert any("slopes" in note for note in gates["notes"])
    assert "estimator" not in erf(seeds=1, estimator="sampled").provenance


def test_layers_in_a_scan_have_weights_of_their_own():
    """A scan over layers slices one parameter; each slice is used once."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.relu(layer(3)(x)), None

    def body(_, x):
        return nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()(x, None)[0]

    assert len(open_run(Net(body)).prepared.pullback.signs.averaged) == 3


def test_orders_casts_and_scales_of_a_parameter_are_weights():
    """A kernel that is transposed, reshaped, cast and scaled by a constant mask is still random and used once."""

    def body(module, x):
        w = module.param("w", nn.initializers.normal(), (18, 4), jnp.float32)
        w = (-w.T.reshape(4, 3, 3, 2)[:, ::-1]).transpose(1, 2, 3, 0).astype(jnp.float16).astype(jnp.float32)
        return conv(x, w * np.arange(36.0, dtype=np.float32).reshape(3, 3, 1, 4) / 7)

    (weight,) = open_run(Net(body), (5, 7, 2)).prepared.pullback.signs.weights
    assert (weight.inputs, weight.places) == ((2, 0, 1), (0, 1))
    assert sorted(weight.elements().ravel().tolist()) == list(range(72))
