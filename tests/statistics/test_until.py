"""The stopping rule: when it looks, what it asks, where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics import Interval
from jaxrf.statistics.until import Until, as_until


class Samples:
    """As much of a result as the rule asks for: units whose mean has given relative errors."""

    def __init__(self, relative, effective=None, count=64):
        self.relative, self.count, self.asked = np.array(relative), count, []
        self.effective = np.full(len(self.relative), 64.0) if effective is None else np.array(effective)

    def interval(self, measure, *, part, **options):
        self.asked.append((measure, part, options))
        value = np.ones(self.relative.shape)
        return Interval(value, value, self.relative, value, value, 0.95, "seeds", 64, value)


def test_looks_at_doubling_counts_and_at_the_cap():
    """Looks come at 32, 64, 128, ... samples, and at the cap."""
    rule, counts = Until(0.01, cap=300), [0]
    while counts[-1] < 300:
        counts.append(rule.next_check(counts[-1]))
    assert counts == [0, 32, 64, 128, 256, 300]
    assert rule.next_check(40) == 64


def test_stops_when_all_units_have_the_error():
    """One unit above the wanted error keeps it running; NaN is not an error reached."""
    rule = Until(0.05, "gaussian", {"x": 1}, part="sigma")
    samples = Samples([0.04, 0.049])
    assert rule.stops(samples)
    assert samples.asked == [("gaussian", "sigma", {"x": 1})]
    assert not rule.stops(Samples([0.04, 0.051]))
    assert not rule.stops(Samples([0.04, np.nan]))


def test_a_mean_of_few_strong_samples_is_not_trusted():
    """Below 30 effective samples a small error may be chance, and the run goes on; dead units are not waited for."""
    rule = Until(0.05)
    assert not rule.stops(Samples([0.01], effective=[29.0]))
    assert rule.stops(Samples([0.01], effective=[31.0]))
    assert rule.stops(Samples([0.01, np.nan], effective=[31.0, np.nan]))


def test_measures_without_an_interval_cannot_be_waited_for():
    """The rule itself is refused, with the reason."""
    with pytest.raises(
        InputError, match="until cannot wait for the error of 'size_luo2016', which has no interval: it"
    ):
        Until(0.01, "size_luo2016")


def test_the_cap_ends_it_without_measuring():
    """At the cap it stops whatever the error is."""
    samples = Samples([9.0], count=128)
    assert Until(0.01, cap=128).stops(samples)
    assert not samples.asked


def test_a_number_is_a_rule_for_sigma():
    """`until=0.01` is short for sigma to one per cent."""
    assert as_until(0.01) == Until(0.01, "sigma")
    assert as_until(None) is None
    rule = Until(0.02, "total")
    assert as_until(rule) is rule


def test_rules_that_make_no_sense():
    """Errors that are not positive, caps below the first look, and unknown measures."""
    for error in (0, -0.1, np.inf, np.nan):
        with pytest.raises(InputError, match=f"until={error} is not a relative error"):
            Until(error)
    with pytest.raises(InputError, match="A cap of 31 samples leaves nothing to look at: the first look is at 32"):
        Until(0.01, cap=31)
    with pytest.raises(UnknownNameError, match="Unknown measure 'sigm'"):
        Until(0.01, "sigm")
