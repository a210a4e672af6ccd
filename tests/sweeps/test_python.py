"""Sweeps from Python: models in memory, hashed or named, on the place of a list of tasks."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, StoreError, UnknownNameError
from jaxrf.loading.fingerprint import Unhashed, model_hash

X = np.random.default_rng(0).normal(size=(3, 8, 9, 3)).astype(np.float32)


class Net(nn.Module):
    width: int = 2

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.width, (3, 3))(x))


class Structured(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 2, (3, 3), rngs=rngs)

    def __call__(self, x):
        return self.conv(x)


@pytest.mark.slow
def test_models_in_memory_give_the_bits_of_erf(tmp_path):
    """Two widths as an axis, with their weights; another call adds a third, computes it alone, and keeps the others."""

    def tasks(*widths):
        for width in widths:
            variables = Net(width).init(jax.random.key(width), X)
            yield jaxrf.task(Net(width), variables, X, place={"width": width})

    seen = []
    found = jaxrf.sweep(tasks(2, 3), tmp_path, progress=seen.append)
    assert (len(found), seen[-1].state, seen[-1].computed) == (2, "done", 2)
    own = jaxrf.erf(Net(3), Net(3).init(jax.random.key(3), X), X)
    np.testing.assert_array_equal(found.result(width=3).mean, own.mean)
    assert [row["width"] for row in jaxrf.open(tmp_path).table()] == [2, 3]
    assert dict(jaxrf.sweep(tasks(2, 3, 4), tmp_path, progress=seen.append).to_xarray().sizes)["width"] == 3
    assert seen[-1].computed == 1
    with pytest.raises(StoreError, match="holds another sweep"):
        jaxrf.sweep(tasks(2), tmp_path)


def test_seeds_and_axes_that_are_not_a_product():
    """Tasks need not fill the product of their axes; what is not there is NaN in the stacked maps."""
    nets = [(1, 2), (1, 3), (2, 2)]
    tasks = [
        jaxrf.task(zoo.conv_stack(depth=d, width=w), input=(8, 9, 3), place={"depth": d, "width": w}) for d, w in nets
    ]
    data = jaxrf.sweep(tasks, "memory://ragged", seeds=2, measures=["sigma"]).to_xarray()
    assert data["mean"].shape[:2] == (2, 2)
    assert np.isnan(data["mean"].sel(depth=2, width=3)).all() and int(data["count"].sel(depth=2, width=3)) == -1


def test_hashes_of_models_see_what_matters():
    """Configuration, weights, closures and NNX state are in the hash; the same in another object is the same."""
    assert model_hash(Net(2)) == model_hash(Net(2)) != model_hash(Net(3))
    one, two = ({"kernel": np.full(3, value)} for value in (1.0, 2.0))
    assert model_hash((Net(), one)) != model_hash((Net(), two))
    assert model_hash(Structured(nnx.Rngs(0))) == model_hash(Structured(nnx.Rngs(0)))
    assert model_hash(Structured(nnx.Rngs(0))) != model_hash(Structured(nnx.Rngs(1)))

    def scaled(by):
        return lambda x: x * by

    assert model_hash(scaled(2)) == model_hash(scaled(2)) != model_hash(scaled(3))
    with pytest.raises(Unhashed):
        model_hash(scaled(object()))


def test_what_has_no_hash_needs_a_name():
    """A name stands for the model, which the caller answers for; options are those of a sweep's file."""
    thing = object()
    model = lambda x: x * (1 if thing else 2)  # noqa: E731
    with pytest.raises(InputError, match="has no hash that would be the same in another process. Pass name="):
        jaxrf.task(model, None, X)
    assert jaxrf.task(model, None, X, name="mine").id == jaxrf.task(model, None, X, name="mine").id
    with pytest.raises(UnknownNameError, match="Did you mean 'channels'"):
        jaxrf.task(Net(), None, X, chanels="sum")
    with pytest.raises(InputError, match="is a list, and a task is one point"):
        jaxrf.task(Net(), None, X, score=["abs", "square"])
    with pytest.raises(InputError, match="no shape of their own. Pass input="):
        jaxrf.task(Net(), None, "noise:2")


def test_what_is_not_a_sweep_is_said():
    """Tasks without places, and things that are not tasks."""
    task = jaxrf.task(Net(), None, X)
    with pytest.raises(InputError, match="different places on the same axes"):
        jaxrf.sweep([task, task], "memory://twice")
    with pytest.raises(InputError, match="A int is not a task. Give a specification"):
        jaxrf.sweep([3], "memory://three")  # type: ignore[list-item]
    with pytest.raises(InputError, match="The sweep has no tasks"):
        jaxrf.sweep([], "memory://none")
    with pytest.raises(InputError, match="There is no engine 3. Write .* give a concurrent.futures.Executor"):
        jaxrf.sweep([task], "memory://four", executor=3)  # type: ignore[arg-type]


def test_failures_are_raised_or_warned_of():
    """Of two tasks one fails: a warning; where all fail, an error."""
    plan = {
        "model": {"source": "zoo:conv_stack", "depth": 1, "activation": ["relu", "rilu"]},
        "input": "8x9x3",
        "seeds": 1,
    }
    with pytest.warns(UserWarning, match="1 of 2 tasks failed; see failures"):
        assert len(jaxrf.sweep(plan, "memory://some").failures()) == 1
    plan["model"]["activation"] = "rilu"  # type: ignore[index]
    with pytest.raises(InputError, match="1 of 1 tasks failed"):
        jaxrf.sweep(plan, "memory://all")


MODEL = {"source": "zoo:conv_stack", "depth": 1, "width": 2}
PLAN = {"model": MODEL, "input": "8x9x3", "seeds": 1}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "The inputs are a NoneType; needed are an array of floating-point images"),
        (iter([X]), "The inputs are a .*iterator; needed are an array"),
        ({"image": X}, "The inputs are a dict; needed are an array"),
        ([[1.0, 2.0], [3.0]], "The inputs are not an array: "),
        (X.astype(np.uint8), "The inputs are uint8 of shape"),
    ],
)
def test_inputs_of_another_kind_are_named(inputs, message):
    """What is not an array of images is said by its kind; noise as `jaxrf.erf` takes it is noise by its words."""
    with pytest.raises(InputError, match=message):
        jaxrf.task(Net(), None, inputs)
    noise = [jaxrf.task(Net(), None, one, input=(8, 9, 3)).id for one in (jaxrf.noise(2, 3), "noise:2:3")]
    assert noise[0] == noise[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"units": jaxrf.grid(2, 2)}, InputError, 'is not text. Write "all", "grid:8x8"'),
        ({"units": np.array([[1, 2], [3, 4]])}, InputError, "is not text"),
        ({"score": np.array(["abs", "square"])}, InputError, "is a list, and a task is one point"),
        ({"place": {"count": 1}}, InputError, "count is a name that results have"),
        ({"until": 0.1}, UnknownNameError, "Unknown option of a task 'until'"),
    ],
)
def test_options_of_a_task_are_words(options, error, message):
    """Objects that `jaxrf.erf` takes have words in a sweep, which are said."""
    with pytest.raises(error, match=message):
        jaxrf.task(Net(), None, X, **options)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"sceds": 3}, UnknownNameError, "Unknown option of a sweep 'sceds'. Did you mean 'seeds'"),
        ({"memory": float("nan")}, InputError, "memory='nan' is not an amount"),
        ({"memory": [1]}, InputError, r"memory='\[1\]' is not an amount"),
        ({"strict": "yes"}, InputError, "strict='yes' does not fit. It is True or False"),
        ({"progress": 3}, InputError, "progress=3 is not a function"),
        ({"executor": list}, InputError, "There is no engine <class 'list'>"),
        ({"measures": [{"name": "sigma", "part": 3}]}, InputError, "has a part that is not text"),
    ],
)
@pytest.mark.parametrize("given", [PLAN, [jaxrf.task(Net(), None, X)]], ids=["table", "tasks"])
def test_arguments_of_a_sweep_are_checked(given, asked, error, message):
    """Whatever is given, before anything is computed."""
    with pytest.raises(error, match=message):
        jaxrf.sweep(given, "memory://checked", **asked)


def test_what_cannot_be_run_is_said_in_words():
    """A precision that there is not, and sources that are not text."""
    with pytest.raises(InputError, match=r"1 of 1 tasks failed.*precision='ultra' does not fit. It is one of"):
        jaxrf.sweep({**PLAN, "precision": "ultra"}, "memory://ultra")
    for source in ([["a"]], [3]):
        with pytest.raises(InputError, match="The sweep names no model"):
            jaxrf.sweep({"model": {"source": source}}, "memory://sources")
