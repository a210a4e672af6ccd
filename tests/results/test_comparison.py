"""Two results side by side: pairing, its gain, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.results.comparison import compare_two as compare
from jaxrf.statistics import gathered
from tests.results.test_result import result_of


def pair(seeds: int, width: float, draw: int = 0, own: float = 0.1, images: int = 1, first: int = 0, **changes):
    """Maps of a sigma near `width`, in which most of what a seed does is the same whatever the width is."""
    shape = (1, 15, 15)
    y, x = np.mgrid[-7:8, -7:8]
    found = gathered.init(shape)
    for seed in range(first, first + seeds):
        shared = np.random.default_rng([seed, draw]).normal(1, 0.1)
        mine = np.random.default_rng([seed, draw, int(1000 * width)]).normal(0, 0.1 * own, (images, 1, 1, 1))
        scale = width * (shared + mine)
        found = gathered.update(found, np.exp(-(y**2 + x**2) / (2 * scale**2)), seed, range(images))
    place = {"units": [(2, 3)], "origin": [(1, 5)]}
    return result_of(**(vars(gathered.finalize(found)) | place | changes))


@pytest.fixture(autouse=True)
def _many_are_not_needed(monkeypatch):
    monkeypatch.setattr("jaxrf.results.result.TRUSTED", 2)


def test_pairing_sees_a_difference_that_errors_apart_hide():
    """Where seeds do the same to both, the paired interval is several times tighter, about the same difference."""
    a, b = pair(16, 2.0), pair(16, 2.04)
    together, apart = (compare(a, b, measure="sigma", paired=p) for p in (None, False))
    assert (together.paired, apart.paired) == (True, False)
    np.testing.assert_array_equal(together.difference.value, apart.difference.value)
    np.testing.assert_array_equal(together.difference.value, a.measure("sigma") - b.measure("sigma"))
    assert (together.difference.stderr < apart.difference.stderr / 3).all()
    assert (together.difference.high < 0).all() and (apart.difference.high > 0).all()


@pytest.mark.slow
def test_intervals_of_differences_are_true():
    """Of 200 paired intervals of 95 %, 91 to 98 % hold the difference of the long run, and so do unpaired ones."""
    held = {True: 0, False: 0}
    widths = {True: (2.0, 2.04), False: (1.9, 2.1)}
    for paired, (one, other) in widths.items():
        a, b = (pair(1024, w, draw=0) for w in (one, other))
        long_run = float((a.measure("sigma") - b.measure("sigma"))[0, 0])
        for draw in range(1, 201):
            first, second = pair(12, one, draw), pair(12, other, draw if paired else 1000 + draw)
            found = compare(first, second, measure="sigma", paired=paired).difference
            held[paired] += bool(found.low[0, 0] <= long_run <= found.high[0, 0])
    assert all(0.91 <= n / 200 <= 0.98 for n in held.values()), held


@pytest.mark.parametrize("measure", ["sigma", "participation", "center_offset"])
def test_the_difference_of_a_result_with_itself_is_zero(measure):
    """Exactly, with no error."""
    a = pair(8, 2.0)
    found = compare(a, a, measure=measure).difference
    for part in (found.value, found.stderr, found.low, found.high):
        assert (part == 0).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("measure", "why"), [("area_ratio", "moves in steps"), ("size_luo2016", "counts entries")])
def test_what_has_no_interval_is_told(measure, why, paired):
    """Values and their difference are there, ends are NaN, and the reason is told and printed."""
    a, b = pair(8, 2.0), pair(8, 3.0)
    found = compare(a, b, measure=measure, paired=paired)
    assert found.paired == paired
    assert found.difference.value == a.measure(measure) - b.measure(measure)
    assert np.isnan([found.difference.low, found.difference.high]).all()
    assert why in found.difference.missing and why in repr(found)


def test_other_seeds_or_images_are_not_paired():
    """Found out from the samples and from the provenance; asked for, it is refused with the reason."""
    a = pair(8, 2.0)
    others = {
        "one has 8 seeds and the other 9": pair(9, 2.0),
        "or other ones": pair(8, 2.0, first=1),
        r"their inputs are None and 'noise\(1\)'": pair(8, 2.0, provenance={"seeds": [0, 1], "inputs": "noise(1)"}),
    }
    for reason, b in others.items():
        assert not compare(a, b, measure="sigma").paired
        with pytest.raises(InputError, match=rf"cannot be paired: .*{reason}"):
            compare(a, b, measure="sigma", paired=True)


def test_factors():
    """Over seeds where both have several, else over images; a factor that one lacks is refused."""
    both, fixed = pair(4, 2.0, images=5, provenance={}), pair(1, 2.0, images=5, provenance={})
    assert compare(both, both, measure="sigma").difference.over == "seeds"
    assert compare(both, fixed, measure="sigma").difference.over == "images"
    assert compare(both, both, measure="sigma", over="images").difference.blocks == 5
    with pytest.raises(InputError, match="holds no sums over seeds"):
        compare(both, fixed, measure="sigma", over="seeds")


def test_blocks_of_other_sizes_are_aligned():
    """Results that kept their seeds in 64 and in 16 blocks are paired over 16."""
    a, b = pair(64, 2.0), pair(64, 2.04)
    coarse = gathered.groups.merge(a.groups["seeds"], gathered.Groups(16))
    found = compare(result_of(**(vars(a) | {"groups": {"seeds": coarse}})), b, measure="sigma")
    assert (found.paired, found.difference.blocks) == (True, 16)


def test_what_cannot_be_compared():
    """Unknown measures, and results of other numbers of units."""
    a, b = pair(4, 2.0), result_of(**vars(pair(4, 2.0)))
    with pytest.raises(UnknownNameError, match="Unknown measure 'sgima'.*Did you mean 'sigma'"):
        compare(a, b, measure="sgima")
    two = gathered.init((2, 15, 15))
    for seed in range(4):
        two = gathered.update(two, np.random.default_rng(seed).random((1, 2, 15, 15)), seed, [0])
    with pytest.raises(InputError, match=r"gives numbers of shape \(1, 2\) and \(2, 2\)"):
        compare(a, result_of(**vars(gathered.finalize(two))), measure="sigma")


def test_print():
    """A comparison reads as a difference with its interval."""
    assert repr(compare(pair(8, 2.0), pair(8, 2.0), measure="total")).endswith("95% over 8 blocks of seeds (paired)")
