"""What maps do not depend on: batches of units and images, windows or whole arrays; and where images see each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.adapters import adapt
from jaxrf.engine.windows import windows
from jaxrf.fields.run import Run
from jaxrf.inputs.images import as_images
from jaxrf.planning.programs import Programs
from tests.engine import models
from tests.engine.dense import EXACT, errors
from tests.engine.models import conv, weights
from tests.marks import mostly_slow
from tests.running import run_of, with_pullback

SHAPE = (9, 13, 2)


pytestmark = pytest.mark.usefixtures("double", "quick")


def residual_run(batch: np.ndarray, **options) -> Run:
    given = as_images(batch, None)
    subject = adapt(models.residual, given.shape, variables=weights(*models.RESIDUAL), dtype=given.dtype)
    return run_of(subject, given, **options)


def batched(run: Run, units: int) -> Run:
    return with_pullback(run, {"units_per_batch": units})


def on_whole_arrays(run: Run) -> Run:
    pull = run.prepared.pullback
    at = {axis: run.prepared.units[:, i] for i, axis in enumerate((1, 2))}
    plan = windows(pull.program, pull.windows.target, pull.windows.source, at, whole=True)
    return with_pullback(run, windows=plan)


def test_batches_of_units_do_not_matter():
    """One, three or eight units at a time, with a remainder, give the same maps of all 35 units of a layer."""
    batch = models.images(1, *SHAPE)
    runs = [batched(residual_run(batch, layer="stem", units="all"), n) for n in (1, 3, 8)]
    found = [next(run.samples(as_images(batch, None), None)).maps for run in runs]
    assert [run.prepared.pullback.batching.units_per_batch for run in runs] == [1, 3, 8]
    assert found[0].shape[1] == 35
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=EXACT * found[0].max())


def test_calls_do_not_matter():
    """Maps that do not fit into one call of the compiled program come in several, the last of which is padded."""

    def in_calls(run):
        return with_pullback(run, {"units_per_batch": 8, "batches_per_call": 4})

    w, batch = weights(*models.RESIDUAL), models.images(1, *SHAPE)
    found = errors(models.residual, batch, w, layer="stem", channels="each", change=in_calls)
    assert found.shape == (1, 35 * 4)
    assert found.max() < EXACT


def test_turns_of_images_do_not_matter():
    """Six images at once, or in turns of two, give the same maps; each image the one of its number."""
    batch = models.images(6, *SHAPE)
    at_once = residual_run(batch, layer="stem", units=[[0, 1], [3, 4]])
    in_turns = with_pullback(at_once, {"images_at_once": 2, "sequential_passes": 3})
    found = [next(run.samples(as_images(batch, None), None)).maps for run in (at_once, in_turns)]
    assert at_once.prepared.pullback.batching.sequential_passes == 1 and found[0].shape[0] == 6
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=EXACT * found[0].max())
    assert len(np.unique(found[0].sum((1, 2, 3)))) == 6


def test_whole_arrays_and_windows_agree():
    """A plain pull-back on whole arrays, by the same code, equals the dense Jacobian too."""
    w, batch = weights(*models.RESIDUAL), models.images(2, *SHAPE)
    assert errors(models.residual, batch, w, layer="first", change=on_whole_arrays).max() < EXACT


def test_windows_are_smaller_than_the_image():
    """A layer with a small field is pulled back on windows of its size; on whole arrays its map has the image's size."""
    run = residual_run(models.images(1, 33, 41, 2), layer="pool", units="all")
    assert run.prepared.pullback.map_shape == run.prepared.row.size == (7, 7)
    assert on_whole_arrays(run).prepared.pullback.map_shape == (33, 41)


@pytest.mark.slow
def test_batches_of_images_do_not_matter():
    """An array, batches of it, and single images give the same mean and standard error."""
    w, batch = weights(*models.RESIDUAL), models.images(5, *SHAPE)
    sources = batch, iter([batch[:2], batch[2:]]), list(batch[:, None])
    results = [jaxrf.erf(models.residual, w, source, units=[[0, 1], [1, 1]]) for source in sources]
    for result in results:
        assert result.count == 5
        np.testing.assert_allclose(result.mean, results[0].mean, rtol=0, atol=EXACT * results[0].mean.max())
        np.testing.assert_allclose(result.stderr, results[0].stderr, rtol=0, atol=EXACT * results[0].stderr.max())


def on_the_image(result: jaxrf.Result, number: int) -> np.ndarray:
    """A map laid on the whole image."""
    wide = np.pad(result.mean[number], 20)
    y, x = (20 - int(o) for o in result.origin[number])
    return wide[y : y + SHAPE[0], x : x + SHAPE[1]]


def test_a_unit_has_the_same_map_among_others():
    """A unit's map is the same alone and among all others, at a corner, at a border and inside."""
    w, batch = weights(*models.RESIDUAL), models.images(1, *SHAPE)
    among = jaxrf.erf(models.residual, w, batch, layer="pool", units="all", channels="sum")
    assert len(among.units) == 12
    for number in (0, 2, 5):
        alone = jaxrf.erf(models.residual, w, batch, layer="pool", units=among.units[[number]], channels="sum")
        np.testing.assert_allclose(on_the_image(alone, 0), on_the_image(among, number), rtol=0, atol=EXACT)


def test_choices_of_units():
    """The center unit is the one nearest to the middle by geometry; a grid and positions are taken as given."""
    w, batch = weights(*models.MOBILE), models.images(1, *SHAPE)
    center = jaxrf.erf(models.mobile, w, batch)
    assert center.units.tolist() == [[2, 6]]
    assert center.theoretical.center((2, 6)) == (4.0, 6.0)
    grid = jaxrf.erf(models.mobile, w, batch, units=jaxrf.grid(2, 3))
    assert grid.units.tolist() == [[1, 2], [1, 6], [1, 10], [3, 2], [3, 6], [3, 10]]


def batch_norm(w, x):
    y = conv(x, w[0], 2)
    y = (y - y.mean((0, 1, 2))) * lax.rsqrt(y.var((0, 1, 2)) + 0.1)
    return conv(jnp.tanh(y), w[1])


@pytest.mark.parametrize("channels", mostly_slow(["probe", "sum", "each"], ["sum"]))
def test_images_that_see_each_other(channels):
    """Under batch statistics the array handed in is the batch: each map shows the unit's own image."""
    w = weights((3, 3, 2, 3), (3, 3, 3, 2))
    assert errors(batch_norm, models.images(3, 7, 8, 2), w, channels=channels).max() < EXACT


@pytest.mark.slow
def test_share_on_the_own_image():
    """Under batch statistics the result records which share of all maps lies on the unit's own image."""
    w, batch = weights((3, 3, 2, 3), (3, 3, 3, 2)), models.images(3, 7, 8, 2)
    result = jaxrf.erf(batch_norm, w, batch, units=[[1, 2]], channels=0)
    own = every = 0.0
    for image in range(3):
        gradient = jax.grad(lambda x, i=image: batch_norm(w, x)[i, 1, 2, 0])(batch)
        own, every = own + float((gradient[image] ** 2).sum()), every + float((gradient**2).sum())
    assert result.theoretical.global_axes == ("y", "x", "batch")
    assert result.provenance["share_on_own_image"] == pytest.approx(own / every, rel=1e-9)
    assert own < every


def test_tied_batches_of_other_sizes_are_refused():
    """Where images see each other, a smaller last batch would be another model."""
    w, batch = weights((3, 3, 2, 3), (3, 3, 3, 2)), models.images(3, 7, 8, 2)
    with pytest.raises(jaxrf.errors.InputError, match="all batches need the same size; found 1 after 2"):
        jaxrf.erf(batch_norm, w, [batch[:2], batch[2:]])


def tokens(w, x):
    """Patches as tokens, windows of attention as a larger batch, and a pooled head."""
    n = x.shape[0]
    y = conv(x, w[0], 2, "VALID")  # (n, 4, 6, 3)
    y = jaxrf.tap(y.reshape(n, 24, 3), "tokens")
    head = jnp.concatenate([jnp.broadcast_to(w[1][0, 0, :1], (n, 1, 2)), y[..., :2]], 1)
    head = jaxrf.tap(head * 2, "with a class token")
    tapped = jaxrf.tap(head.transpose(1, 0, 2), "tokens first")
    groups = y.reshape(n, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n * 6, 4, 3)
    attention = jax.nn.softmax(jnp.einsum("gic,gjc->gij", groups, groups))
    groups = jaxrf.tap(groups + jnp.einsum("gij,gjc->gic", attention, groups), "windows")
    y = groups.reshape(n, 2, 3, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, 4, 6, 3)
    return {"map": conv(y, w[1]), "pooled": jnp.tanh(y).mean((1, 2)), "head": tapped.sum((0, 2)) + head.sum((1, 2))}


@pytest.mark.parametrize(
    ("options", "count"),
    [({"layer": "tokens"}, 24), ({"layer": "with a class token"}, 25), ({"layer": "windows", "own_axes": (0, 1)}, 24), ({"output": "map"}, 24),
     ({"output": "pooled"}, 1)],
    ids=["tokens", "class token", "windows", "map", "pooled"],
)  # fmt: skip
def test_layers_without_image_axes(options, count):
    """Units are tokens, tokens of windows, or none at all: each has the map of the dense Jacobian."""
    w = weights((2, 2, 2, 3), (3, 3, 3, 2))
    found = errors(tokens, models.images(2, 8, 12, 2), w, channels="sum", **options)
    assert found.shape == (2, count)
    assert found.max() < EXACT


def test_axes_do_not_depend_on_the_number_of_images():
    """Which axes are units is the same for one image and for two, with a class token and with tokens before images."""
    subject = adapt(tokens, (8, 12, 2), variables=weights((2, 2, 2, 3), (3, 3, 3, 2)), dtype=np.float64)
    expected = {"tokens": (1,), "with a class token": (1,), "tokens first": (0,), "windows": (0, 1)}
    for count in (1, 2):
        found = Programs(subject).of(count).units
        assert {name: found[name].units for name in expected} == expected
