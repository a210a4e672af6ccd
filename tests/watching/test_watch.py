"""Fields in training: recorded at the right steps, with errors, resumed, and without a trace in the weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from flax import linen as nn
from jax import monitoring

import jaxrf
from jaxrf.errors import InputError, StoreError


class Net(nn.Module):
    """Two convolutions and a score for each of three classes."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="c1")(x))
        return nn.Dense(3)(nn.relu(nn.Conv(4, (3, 3), strides=2, name="c2")(x)).mean((1, 2)))


IMAGES = np.random.default_rng(0).normal(size=(4, 9, 11, 2)).astype(np.float32)
LAYERS = ["c1", "c2"]


@pytest.fixture(scope="module")
def variables():
    return Net().init(jax.random.key(0), IMAGES)


@jax.jit
def step(variables, images):
    slope = jax.grad(lambda v: jnp.square(Net().apply(v, images) - 1).mean())(variables)
    return jax.tree.map(lambda w, g: w - 0.1 * g, variables, slope)


def train(variables, steps, watch=None):
    for number in steps:
        if watch is not None:
            watch(number, variables)
        variables = step(variables, IMAGES)
    return variables


class Writer:
    """The interface of CLU's writers."""

    def __init__(self):
        self.scalars, self.images = {}, {}

    def write_scalars(self, step, scalars):
        self.scalars[step] = scalars

    def write_images(self, step, images):
        self.images[step] = images


def made(variables, tmp_path, **options):
    options = {"layer": LAYERS, "every": 2, "out": tmp_path / "fields", **options}
    return jaxrf.watch(Net(), variables, IMAGES, **options)


def test_a_loop_is_recorded_and_its_weights_stay(variables, tmp_path):
    """Maps of every second step are those of erf; weights have the bits of a loop without; errors are over images."""
    writer = Writer()
    with made(variables, tmp_path, writer=writer) as watch:
        found = train(variables, range(5), watch)
    jax.tree.map(np.testing.assert_array_equal, found, train(variables, range(5)))
    history = jaxrf.history(tmp_path / "fields")
    assert history.steps == [0, 2, 4]
    now = train(variables, range(4))
    right = watch.field.result(watch.field(now, jnp.asarray(IMAGES), watch.key))
    for name in LAYERS:
        result = history.result(name, 4)
        np.testing.assert_allclose(result.mean, right[name].mean, rtol=1e-5, atol=1e-6 * right[name].mean.max())
        assert result.count == 4 and result.theoretical.to_dict() == right[name].theoretical.to_dict()
        sigma, error = history.numbers(name)["sigma"]
        assert sigma.shape == (3, 1, 2)
        np.testing.assert_allclose(sigma[-1], right[name].measure("sigma"), rtol=1e-4)
        np.testing.assert_allclose(error[-1], result.interval("sigma").stderr, rtol=1e-6)
        assert writer.scalars[4][f"field/{name}/sigma_y"] == sigma[-1, 0, 0]
        assert writer.images[4][f"field/{name}"].max() == 1
    figure = history.plot("c2", count=2, shares=())
    assert [ax.get_title().splitlines()[0] for ax in figure.axes[:2]] == ["step 0", "step 4"]
    record = xarray.open_zarr(tmp_path / "fields", group="c2", consolidated=False)
    assert list(record.step) == [0, 2, 4] and record["mean"].dims[0] == "step"


def test_nothing_is_compiled_after_the_first_map(variables, tmp_path):
    """JAX's own monitoring sees no compilation in later steps."""
    seen = []
    with made(variables, tmp_path) as watch:
        variables = train(variables, range(3), watch)
        monitoring.register_event_duration_secs_listener(
            lambda name, *_, **__: seen.append(name) if "compil" in name else None
        )
        train(variables, range(3, 9), watch)
    assert seen == []


@pytest.mark.slow
def test_inside_of_the_step(variables, tmp_path):
    """Statistics made in the jitted step, at the due steps alone, are those of a call; weights keep their bits."""
    watch = made(variables, tmp_path)

    @jax.jit
    def both(variables, number):
        return step(variables, IMAGES), watch.inside(variables, IMAGES, watch.key, step=number)

    now = variables
    for number in range(5):
        now, found = both(now, number)
        assert int(found["c1"].samples) == (0 if number % 2 else 4)
        watch.add(number, found)
    jax.tree.map(np.testing.assert_array_equal, now, train(variables, range(5)))
    other = made(variables, tmp_path / "other")
    train(variables, range(5), other)
    mine, theirs = watch.history(), other.history()
    assert mine.steps == theirs.steps
    for name in LAYERS:
        wanted = theirs.result(name, 4).mean
        np.testing.assert_allclose(mine.result(name, 4).mean, wanted, rtol=0, atol=1e-5 * wanted.max())


def test_resumes_with_the_training(variables, tmp_path):
    """A training that goes back to a checkpoint records anew what came after it; without resume= it is refused."""
    with made(variables, tmp_path) as watch:
        checkpoint = train(variables, range(3), watch)
        train(checkpoint, range(3, 9), watch)
    whole = watch.history().result("c1", 6).mean
    with pytest.raises(StoreError, match=r"record of an earlier training\. Pass resume=True"):
        made(variables, tmp_path)
    with pytest.raises(StoreError, match="other layers, images or options: c1, c2 every 2 steps"):
        made(variables, tmp_path, resume=True, every=3)
    with made(variables, tmp_path, resume=True) as again:
        train(checkpoint, range(3, 7), again)
    assert again.history().steps == [0, 2, 4, 6]
    np.testing.assert_array_equal(again.history().result("c1", 6).mean, whole)


def test_what_a_killed_job_leaves_is_cut(variables, tmp_path):
    """An entry that was half written is not read, and is gone after the next one."""
    with made(variables, tmp_path) as watch:
        train(variables, range(3), watch)
    group = watch.history().group
    group._done(group._resized(group._array("c1/mean"), 3))
    assert jaxrf.history(tmp_path / "fields").numbers("c1")["sigma"][0].shape[0] == 2
    with made(variables, tmp_path, resume=True) as again:
        train(variables, range(4, 5), again)
    assert again.history().steps == [0, 2, 4] and group._array("c1/mean").shape[0] == 3


def test_weights_that_are_not_a_number_are_recorded_as_such(variables, tmp_path):
    """Training goes on, the step says how many maps were lost, and the strip leaves it out."""
    broken = jax.tree.map(lambda a: a * np.nan, variables)
    with made(variables, tmp_path) as watch:
        for number, weights in ((0, variables), (2, broken), (4, variables)):
            watch(number, weights)
    history = watch.history()
    assert history.steps == [0, 2, 4]
    assert history.result("c1", 2).nonfinite == 4 and np.isnan(history.result("c1", 2).mean).all()
    assert np.isnan(history.numbers("c1")["sigma"][0]).all((1, 2)).tolist() == [False, True, False]
    assert len([ax for ax in history.plot("c1", shares=()).axes if ax.get_title()]) == 2


def test_a_lost_layer_is_named(variables, tmp_path):
    """Weights that the model lost between two steps end the watch with their names and the step."""
    watch = made(variables, tmp_path)
    lost = {"params": {name: one for name, one in variables["params"].items() if name != "c2"}}
    with pytest.raises(
        InputError, match=r"At step 2 the variables are not .*missing: .*c2.*'c1', 'c2' cannot be mapped"
    ):
        watch(2, lost)


class TensorBoard:
    """The interface of TensorBoard's writers."""

    def __init__(self):
        self.scalars, self.images = {}, {}

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def add_image(self, name, image, step, dataformats):
        assert dataformats == "HWC" and image.shape[-1] == 1
        self.images[name, step] = image


class Run:
    """The interface of a run of Weights & Biases."""

    def __init__(self):
        self.logged = {}

    def log(self, values, step):
        self.logged[step] = values


@pytest.mark.slow
def test_writers_of_other_libraries(variables, tmp_path):
    """TensorBoard's and W&B's get the numbers that are in the record, with their errors, and TensorBoard's the pictures."""
    board, run = TensorBoard(), Run()
    for name, writer in {"board": board, "run": run}.items():
        with made(variables, tmp_path, out=tmp_path / name, writer=writer, layer="c1") as watch:
            watch(2, variables)
    (sigma, error), (ratio, _) = (jaxrf.history(tmp_path / "run").numbers("c1")[one] for one in ("sigma", "area_ratio"))
    for found in (run.logged[2], {name: value for (name, step), value in board.scalars.items() if step == 2}):
        assert found["field/c1/sigma_x"] == sigma[0, 0, 1] and found["field/c1/sigma_x_error"] == error[0, 0, 1]
        assert found["field/c1/area_ratio"] == ratio[0, 0] and found["field/c1/nonfinite"] == 0
    assert board.images["field/c1", 2].max() == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"every": 0}, "every=0 is not a number of steps"),
        ({"writer": 3}, "writer= is int, without write_scalars"),
        ({"layer": "c3"}, "c3"),
        ({"seeds": 2}, "seeds= belongs to a run"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(options, message, variables, tmp_path):
    with pytest.raises((InputError, LookupError), match=message):
        made(variables, tmp_path, **options)


def test_reading_what_is_not_there(variables, tmp_path):
    """A step, a layer and a record that are not there are named."""
    with pytest.raises(StoreError, match="is not a jaxrf-watch"):
        jaxrf.history(tmp_path)
    watch = made(variables, tmp_path)
    with pytest.raises(InputError, match="nothing was mapped yet"):
        watch.history()
    watch(0, variables)
    with pytest.raises(InputError, match=r"Step 1 was not recorded in .* Recorded: 0\."):
        watch.history().result("c1", 1)
    with pytest.raises(LookupError, match="c9"):
        watch.history().result("c9", 0)
