"""Language models: ids have no derivative, and fields begin at their embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrf
from jaxrf.errors import InputError, UnknownNameError


class Language(nn.Module):
    """A causal model of ids, with tied weights: the embedding is called twice; id 0 is padding, and zero."""

    @nn.compact
    def __call__(self, ids):
        embed = nn.Embed(11, 6, name="embed")
        x = embed(ids) + self.param("positions", nn.initializers.normal(1.0), (ids.shape[1], 6))
        x = x * (ids != 0)[..., None]
        mask = np.tri(ids.shape[1], dtype=bool)[None, None]
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(x, mask=mask)
        return jaxrf.tap(embed.attend(x), "logits")


NET = Language()
IDS = np.random.default_rng(0).integers(1, 11, (2, 9))
IDS[0, 2] = 0
WEIGHTS = jax.jit(NET.init)(jax.random.key(0), IDS)


def jacobian(ids, unit, channel):
    """Of a unit's logit by the embeddings, by plain JAX: the embedding matrix is bent at the ids."""

    def value(shift):
        def bend(call_next, args, kwargs, context):
            out = call_next(*args, **kwargs)
            return out + shift if context.module.name == "embed" and context.method_name == "__call__" else out

        with nn.intercept_methods(bend):
            return NET.apply(WEIGHTS, ids)[0, unit, channel]

    return jax.grad(value)(jnp.zeros((1, ids.shape[1], 6)))[0]


def whole(result, n=9):
    """The first map on all positions."""
    found, (first,) = np.zeros(n), result.origin[0]
    for i, value in enumerate(result.mean[0], first):
        if 0 <= i < n:
            found[i] = value
    return found


@pytest.mark.slow
def test_maps_of_ids_are_the_jacobian_on_their_embeddings():
    """Maps of a token, through the engine and its certificate, against plain JAX; a mask made of ids is seen."""
    result = jaxrf.erf(NET, WEIGHTS, IDS[:1], layer="logits", units=[(6,)], channels=3)
    expected = np.square(jacobian(IDS[:1], 6, 3)).sum(-1)
    np.testing.assert_allclose(whole(result), expected, rtol=1e-4, atol=1e-9)
    assert expected[2] == 0 < expected[1] and result.provenance["wrt"] == "embed"


@pytest.mark.slow
def test_the_oracle_takes_ids():
    """The engine against the dense oracle, on two sequences."""
    jaxrf.check(NET, WEIGHTS, IDS, layer="logits", channels=3)


def test_the_table_of_a_model_of_ids():
    """All layers have rows, in positions of the tokens; the mask is followed."""
    table = jaxrf.trf(NET, (9,), dtype=np.int32)
    assert {"embed", "attention", "logits"} <= set(table.names)
    assert table["embed"].size == (1,) and table["attention"].grid == (9,)
    assert [table["attention"].box(u, clip=True) for u in (0, 5)] == [((0, 1),), ((0, 6),)]


@pytest.mark.slow
def test_random_weights_and_prepared_fields():
    """Each seed looks the ids up in its own embeddings; a field takes ids inside of a program."""
    result = jaxrf.erf(NET, None, IDS, units=[(8,)], seeds=2)
    assert result.mean.shape == (1, 9) and result.count == 4
    field = jaxrf.prepare(
        NET, WEIGHTS, jax.ShapeDtypeStruct(IDS.shape, np.int32), units=[(6,)], layer="logits", channels=3
    )
    maps = field(WEIGHTS, jnp.asarray(IDS)).array()
    np.testing.assert_allclose(maps[0, 0].sum(), np.square(jacobian(IDS[:1], 6, 3)).sum(), rtol=1e-4)


def test_the_derivative_may_begin_at_another_layer():
    """`wrt=` names it; what stands before it is not followed."""
    result = jaxrf.erf(NET, WEIGHTS, IDS, wrt="attention", layer="logits", units=[(6,)])
    assert result.provenance["wrt"] == "attention"
    assert result.theoretical.size == (1,)


@pytest.mark.parametrize(
    ("model", "inputs", "options", "error", "message"),
    [
        (NET, IDS, {"wrt": "embedding"}, UnknownNameError, "Did you mean 'embed'"),
        (lambda x: x * 1.0, IDS, {}, InputError, "no derivative.*has none: it has no layers.*jaxrf.tap.*/ 255"),
        (nn.Conv(2, (3, 3)), IDS.astype(np.uint8).reshape(1, 3, 6, 1), {}, InputError, "/ 255"),
        (NET, IDS.astype(bool), {}, InputError, "bool; a derivative needs a floating type, or ids"),
        (NET, IDS.astype(np.float32)[..., None], {}, InputError, "integer.*dtype=numpy.int32 to jaxrf.trf"),
    ],
)  # fmt: skip
def test_what_has_no_embeddings(model, inputs, options, error, message):
    with pytest.raises(error, match=message):
        jaxrf.erf(model, None, inputs, **options)
