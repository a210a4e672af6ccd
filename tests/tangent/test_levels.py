"""Known zeros of attention weights: what masks below an exponential take away, and what they do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrf.adapters import adapt
from jaxrf.equations.program import TangentProgram
from jaxrf.tangent.trace import trace

N = 5
TRI = np.tri(N, dtype=bool)
FULL = np.ones((N, N), bool)
BAND = TRI & ~np.tri(N, k=-3, dtype=bool)
LOW = np.finfo(np.float32).min
softmax = jax.nn.softmax


def alibi(slope):
    return -slope * np.abs(np.arange(N)[:, None] - np.arange(N))


# How weights are made of scores (1, n, n), and where they can be other than zero.
FOLLOWED = {
    "no mask": (softmax, FULL),
    "a bias": (lambda s: softmax(s + np.linspace(-3, 3, 25).reshape(N, N)), FULL),
    "added": (lambda s: softmax(s + np.where(TRI, 0, -1e9)), TRI),
    "added, minus infinity": (lambda s: softmax(s + np.where(TRI, 0, -np.inf)), TRI),
    "added, a hundred": (lambda s: softmax(s + np.where(TRI, 0, -100)), TRI),
    "subtracted": (lambda s: softmax(s - np.where(TRI, 0, 1e9)), TRI),
    "added in a row that has nothing else": (
        lambda s: softmax(s + np.where(TRI & (np.arange(N) != 3)[:, None], 0, -1e9)), TRI | (np.arange(N) == 3)[:, None],
    ),
    "two masks, one below the other": (
        lambda s: softmax(s + np.where(TRI, 0, -1e9) + np.where(np.arange(N)[:, None] == 2, -100, 0)), TRI,
    ),
    "added to what is let through": (lambda s: softmax(s + np.where(TRI, 1e4, 0)), TRI),
    "the log of a mask": (lambda s: softmax(s + jnp.log(TRI + 1e-30)), TRI),
    "in place of scores": (lambda s: softmax(jnp.where(TRI, s, LOW)), TRI),
    "minus infinity in place of scores": (lambda s: softmax(jnp.where(TRI, s, -jnp.inf)), TRI),
    "made of positions": (lambda s: softmax(jnp.where(jnp.arange(N)[:, None] >= jnp.arange(N), s, -1e30)), TRI),
    "two in place of scores": (lambda s: softmax(jnp.where(TRI.T, jnp.where(TRI, s, -1e9), -1e9)), np.eye(N, dtype=bool)),
    "then a scale": (lambda s: softmax((s + np.where(TRI, 0, -100)) / 2), TRI),
    "then a cast": (lambda s: softmax(jnp.where(TRI, s, -1e9).astype(jnp.bfloat16)).astype(jnp.float32), TRI),
    "softmax by hand": (lambda s: (e := jnp.exp(jnp.where(BAND, s, -1e9))) / e.sum(-1, keepdims=True), BAND),
    "softmax of its own mask": (lambda s: softmax(s, where=TRI[None]), TRI),
    "exponentials of log softmax": (lambda s: jnp.exp(jax.nn.log_softmax(jnp.where(TRI, s, -1e9))), TRI),
    "sigmoids": (lambda s: jax.nn.sigmoid(jnp.where(TRI, s, -1e9)), TRI),
    "times a mask": (lambda s: softmax(s) * TRI, TRI),
    "scores times a mask": (lambda s: s * TRI, TRI),
    "scores times decay": (lambda s: s * np.where(TRI, 0.5 ** -alibi(1.0), 0), TRI),
    "sums of segments": (
        lambda s: jnp.exp(jnp.where(TRI, jnp.cumsum(jnp.where(np.tri(N, k=-1) > 0, -s**2, 0), 1), -jnp.inf)), TRI,
    ),
    "slopes": (lambda s: softmax(s + alibi(30.0)), FULL),
    "slopes behind a mask": (lambda s: softmax(jnp.where(TRI, s + alibi(30.0), LOW)), TRI),
    "mixed among heads": (
        lambda s: jnp.einsum("bhij,hg->bgij", softmax(jnp.where(np.stack([TRI, BAND]), jnp.stack([s, s], 1), LOW)),
                             jnp.ones((2, 2)))[:, 1], TRI,
    ),
    "maxima that run along": (
        lambda s: (e := jnp.exp(jnp.where(TRI, s, -1e30) - jnp.maximum(s[..., :1] * 0 - 1e30, s.max(-1, keepdims=True))))
        / e.sum(-1, keepdims=True), TRI,
    ),
    "nothing at all": (lambda s: jnp.exp(s - 1e30), ~FULL),
    "turned and joined": (lambda s: jnp.concatenate([softmax(jnp.where(TRI, s, LOW))[:, 2:, ::-1]] * 2, 1)[:, 1:4],
                          np.concatenate([TRI[2:, ::-1]] * 2)[1:4]),
}  # fmt: skip
LOST = {
    "a mask made of the image": lambda s: softmax(jnp.where(s[:, :1] > 0, s, -1e9)),
    "flags of the image": lambda s: softmax(s + (1.0 - (s[:, :1] > 0)) * -1e9),
    "a learned temperature": lambda s: softmax(jnp.where(TRI, s, -1e9) * jnp.exp(s.mean())),
    "sorted": lambda s: softmax(jnp.sort(jnp.where(TRI, s, -1e9))),
}


def weights_of(make, n: int = N) -> tuple[TangentProgram, object]:
    """The program of attention with weights that `make` makes of scores, and its last product with them."""

    def model(x):
        w = make(jnp.einsum("bic,bjc->bij", x, jnp.sin(x)))
        return jnp.einsum("bij,bjc->bic", w, jnp.cos(x)[:, : w.shape[2]])

    program = trace(adapt(model, (n, 3)))
    products = [e for e in program.linear if e.primitive == "dot_general" and e.operands[0] in program.image_dependent]
    wide = [(e, i) for e in products for i, v in enumerate(e.operands) if not v.tangent and v.shape[-1] == n]
    return program, wide[-1]


@pytest.mark.parametrize("name", FOLLOWED)
def test_zeros_of_weights_are_followed(name):
    """The support is that of the mask, and the weights of random images are nothing outside of it."""
    make, expected = FOLLOWED[name]
    program, (equation, place) = weights_of(make)
    support = equation.support(place)
    support = FULL if support is None else support
    assert np.array_equal(np.broadcast_to(support, (1, *expected.shape))[0], expected)
    assert not equation.masked(place)
    for seed in range(3):
        image = 2 * np.random.default_rng(seed).normal(size=(1, N, 3)).astype(np.float32)
        (value,) = program.evaluate([equation.operands[place]], {program.image: image})
        assert (np.abs(np.asarray(value)[0][~expected]) < 1e-15).all()


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_followed_is_said(name):
    """Masks that depend on the image, or become something else, leave the weights without known zeros, and that is known."""
    _, (equation, place) = weights_of(LOST[name])
    assert equation.support(place) is None and equation.masked(place)


def test_no_more_is_lost_behind_attention():
    """What is computed from attended values has no zeros of masks any more."""

    def model(x):
        w = softmax(jnp.where(x.sum() > 0, jnp.einsum("bic,bjc->bij", x, x), -1e9))
        y = jnp.einsum("bij,bjc->bic", w, x)
        return y * jax.nn.sigmoid(y)

    final = [eqn for eqn in trace(adapt(model, (N, 3))).linear if eqn.primitive == "mul"][-1]
    assert not any(final.masked(i) for i in range(2))


def test_distances_are_no_masks():
    """A large constant in place of a value is not a zero where no exponential follows."""

    def model(x):
        far = jnp.where(x[:, :, :1] > 0, x, 1e9)
        return x * far

    last = [eqn for eqn in trace(adapt(model, (N, 3))).linear if eqn.primitive == "mul"][-1]
    assert not any(last.masked(i) or last.support(i) is not None for i in range(2))
