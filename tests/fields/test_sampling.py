"""Runs over seeds and images through the engine: exact maps, stopping, initializers, protocols, both averages."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, UnknownNameError
from tests.statistics.random_stacks import box

SHAPE = (15, 17, 3)
LINEAR = zoo.conv_stack(depth=3, width=8, activation="linear")


def erf(model=LINEAR, count=1, **options):
    return jaxrf.erf(model, inputs=jaxrf.noise(count), input_shape=SHAPE, **options)


def test_uniform_stacks_are_boxes():
    """Linear 3x3 stacks of equal weights have the n-fold box as their map, to rounding, under three scores."""
    for score, power in (("signed", 1), ("abs", 1), ("square", 2)):
        found = erf(init={"*/kernel": jaxrf.init.uniform()}, channels=0, score=score)
        np.testing.assert_allclose(found.mean[0] / found.mean.max(), (box(3) / box(3).max()) ** power, rtol=1e-5)
    assert found.provenance["init"].keys() == {"*/kernel"}


def test_random_stacks_are_boxes_within_their_errors():
    """The mean over initializations lies within its own errors of the box, in total and in sigma."""
    found = erf(init={"*/kernel": "random"}, seeds=96)
    assert (found.effective > 30).all()
    sigma = found.interval("sigma")
    assert (abs(sigma.value - np.sqrt(2)) < 4 * sigma.stderr).all()
    assert (sigma.relative < 0.05).all()
    shape = found.mean[0] / found.mean.sum()
    assert np.abs(shape - box(3)).max() < 0.2 * box(3).max()
    assert found.provenance["seeds"] == list(range(96))


def test_a_run_stops_when_its_error_is_reached():
    """It stops at a doubling count with the error below, after fewer samples than were allowed; else at the cap."""
    found = erf(init={"*/kernel": "random"}, average="normalized", until=0.03)
    assert found.count in (32, 64, 128, 256, 512)
    assert (found.interval("sigma").relative <= 0.03).all()
    assert len(found.provenance["seeds"]) == found.count
    capped = erf(average="normalized", until=jaxrf.Until(1e-6, "gaussian", part="sigma", cap=33))
    assert capped.count == 33


@pytest.mark.slow
def test_a_mean_of_few_strong_samples_warns_where_it_is_made():
    """Forty narrow, deep networks are worth fewer than thirty; normalized maps all count the same, and three are few."""
    narrow = zoo.conv_stack(depth=9, width=1, activation="linear")
    call = {"model": narrow, "init": {"*/kernel": "random"}}
    with pytest.warns(UserWarning, match=r"The 40 samples are worth [\d.]+ equally strong ones.*need some 30"):
        erf(**call, seeds=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        erf(**call, seeds=40, average="normalized")
        erf(**call, seeds=3)


@pytest.mark.parametrize("function", [jaxrf.erf, jaxrf.plan, jaxrf.check])
def test_maps_with_signs_are_not_normalized(function):
    """A map that sums to nearly zero is not divided by its sum; the scores without signs are."""
    from jaxrf.engine.scores import keeps_signs, scores

    with pytest.raises(InputError, match='score="signed" have entries of both signs.*Use average="weighted"'):
        function(LINEAR, inputs=jaxrf.noise(1), input_shape=SHAPE, score="signed", average="normalized")
    gradients = np.random.default_rng(0).standard_normal((7, 3))
    for name, score in scores.items():
        assert keeps_signs(name) == bool((np.asarray(score(gradients)) < 0).any())


def test_images_of_one_network_stop_too():
    """With given weights the images are the samples."""
    variables = LINEAR.init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    found = jaxrf.erf(LINEAR, variables, jaxrf.noise(500), input_shape=SHAPE, until=0.5, average="normalized")
    assert 32 <= found.count < 200
    assert found.samples_over()[1] == "images"
    assert "seeds" not in found.provenance


def test_seeds_and_images_are_crossed():
    """Three seeds on four images: twelve samples, three and four levels, and both variances."""
    found = erf(count=4, seeds=[5, 2, 9])
    assert (found.count, found.groups["seeds"].levels, found.groups["images"].levels) == (12, 3, 4)
    assert np.isfinite(found.between).all() and (found.within > 0).any()
    assert found.provenance["seeds"] == [5, 2, 9]
    alone = erf(count=4, seeds=[2])
    np.testing.assert_allclose(found.groups["seeds"].totals()[1], alone.mean * 4, rtol=1e-5)


def test_two_initializations_are_compared_on_the_same_seeds():
    """A lowered center widens the field of a linear stack; the paired interval is for the same 32 seeds and image."""
    call = {"average": "normalized", "seeds": 32}
    plain, lowered = (
        erf(init={"*/kernel": jaxrf.init.center_lowered(jaxrf.init.random(), center)}, **call) for center in (1.0, 0.0)
    )
    found = jaxrf.compare(lowered, plain, measure="sigma")
    assert found.paired
    expected = np.sqrt(3 * 5 / 6) - np.sqrt(3 * 2 / 3)
    assert (abs(found.difference.value - expected) < 4 * found.difference.stderr).all()
    assert (found.difference.low > 0).all()


def test_protocols_fix_what_they_say():
    """The unit, channels and score are the protocol's, and the result reads as one; its name is kept."""
    found = erf(protocol="openerf")
    assert (found.units.tolist(), found.score, found.channels) == ([[7, 8]], "positive_sum", "sum")
    assert found.provenance["protocol"] == "openerf"
    from jaxrf.protocols import protocols

    assert protocols["openerf"].read(found)["mass within 80"] == pytest.approx(1)


def test_what_contradicts_is_refused():
    """Options against a protocol, images of another size, initializers for given weights, unknown names."""
    with pytest.raises(InputError, match="'luo2016' fixes score='abs', and score='relu' was given"):
        erf(protocol="luo2016", score="relu")
    with pytest.raises(InputError, match="for images of 1024x1024 positions, and these have 15x17"):
        erf(protocol="replknet2022")
    with pytest.raises(InputError, match="init says how weights are drawn, but variables were given"):
        jaxrf.erf(lambda w, x: w * x, np.float32(2), jaxrf.noise(1), input_shape=SHAPE, init={"*": "uniform"})
    with pytest.raises(UnknownNameError, match="Unknown protocol 'luo2017'.*Did you mean 'luo2016'"):
        erf(protocol="luo2017")
    with pytest.raises(UnknownNameError, match="Unknown average 'median'"):
        erf(average="median")
    with pytest.raises(InputError, match="seeds=.* a count of at least 1, or different whole numbers"):
        erf(seeds=[1, 1])
