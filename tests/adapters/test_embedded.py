"""Language models on their embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError, UnknownNameError


class Language(nn.Module):
    """A causal model of ids, with tied weights: the embedding is called twice."""

    @nn.compact
    def __call__(self, ids):
        embed = nn.Embed(11, 6, name="embed")
        x = embed(ids) + self.param("positions", nn.initializers.normal(1.0), (ids.shape[1], 6))
        mask = np.tri(ids.shape[1], dtype=bool)[None, None]
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(x, mask=mask)
        return jaxrf.tap(embed.attend(x), "logits")


NET = Language()
IDS = np.random.default_rng(0).integers(0, 11, (2, 9))
WEIGHTS = jax.jit(NET.init)(jax.random.key(0), IDS)


def test_the_model_on_embeddings_is_the_model():
    """It gives the same from the embeddings of the ids, and all layers behind them have rows."""
    found = jaxrf.embedded(NET, WEIGHTS, IDS)
    assert found.layer == "embed" and found.input_shape == (9, 6)
    np.testing.assert_array_equal(found.inputs, WEIGHTS["params"]["embed"]["embedding"][IDS])
    np.testing.assert_allclose(found.model(WEIGHTS, found.inputs), NET.apply(WEIGHTS, IDS), atol=1e-5)
    table = jaxrf.trf(found.model, found.input_shape, variables=WEIGHTS)
    assert {"attention", "logits"} <= set(table.names)
    assert [table["attention"].box(u, clip=True) for u in (0, 5)] == [((0, 1),), ((0, 6),)]


def test_maps_on_embeddings_are_the_jacobian():
    """Maps of a token, through the engine and its certificate, against plain JAX."""
    found = jaxrf.embedded(NET, WEIGHTS, IDS)
    result = jaxrf.erf(found.model, WEIGHTS, found.inputs[:1], layer="logits", units=[(6,)], channels=3)
    jacobian = jax.jacobian(lambda x: found.model(WEIGHTS, x)[0, 6, 3])(found.inputs[:1])[0]
    score = np.zeros(9)
    (origin,) = result.origin[0]
    score[max(origin, 0) : origin + len(result.mean[0])] = result.mean[0][max(-origin, 0) :][: 9 - max(origin, 0)]
    np.testing.assert_allclose(score, np.square(jacobian).sum(-1), rtol=1e-4, atol=1e-9)


def test_weights_may_be_drawn():
    """Without variables there are no embeddings, and noise stands in for them."""
    found = jaxrf.embedded(NET, None, IDS)
    assert found.inputs is None
    result = jaxrf.erf(found.model, None, jaxrf.noise(1), input_shape=found.input_shape, units=[(8,)], seeds=2)
    assert result.mean.shape == (1, 9) and (result.mean > 0).all()


@pytest.mark.parametrize(
    ("tokens", "options", "error", "message"),
    [
        (IDS.astype(np.float32), {}, InputError, "whole numbers.*need no embedding"),
        (IDS[0], {}, InputError, r"ids \(n, \*positions\)"),
        (IDS, {"layer": "embedding"}, UnknownNameError, "Did you mean 'embed'"),
    ],
)
def test_what_has_no_embeddings(tokens, options, error, message):
    with pytest.raises(error, match=message):
        jaxrf.embedded(NET, WEIGHTS, tokens, **options)
    with pytest.raises(InputError, match="No layer of .* has features for each .*jaxrf.tap"):
        jaxrf.embedded(lambda x: x * 1.0, None, IDS)


def test_ids_are_told_where_to_go():
    """Calls that need floating-point inputs name what to do with ids."""
    with pytest.raises(InputError, match="jaxrf.embedded"):
        jaxrf.erf(NET, WEIGHTS, IDS[..., None])
    with pytest.raises(InputError, match="jaxrf.embedded"):
        jaxrf.trf(NET, (9,), spatial_axes=(1,), dtype=jnp.int32)
