"""The stopping rule: when it looks, what it asks, where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError, UnknownNameError
from jaxrf.statistics.jackknife import Interval
from jaxrf.statistics.until import Until, as_until


def interval_of(relative):
    """An interval of a result whose numbers have these relative errors; keeps what it was asked for."""
    asked = []

    def interval(measure: str, **options) -> Interval:
        asked.append((measure, options))
        error = np.array(relative)
        return Interval(np.ones_like(error), error, 1 - error, 1 + error, 0.95, "seeds", 32, False)

    return interval, asked


def test_looks_at_doubling_counts_and_at_the_cap():
    """Looks come at 32, 64, 128, ... samples, and at the cap."""
    rule, counts = Until(0.01, cap=300), [0]
    while counts[-1] < 300:
        counts.append(rule.next_check(counts[-1]))
    assert counts == [0, 32, 64, 128, 256, 300]
    assert rule.next_check(40) == 64


def test_stops_when_all_units_have_the_error():
    """One unit above the wanted error keeps it running; NaN is no error reached."""
    rule = Until(0.05, "gaussian", {"x": 1}, part="sigma")
    interval, asked = interval_of([0.04, 0.049])
    assert rule.stops(64, interval)
    assert asked == [("gaussian", {"part": "sigma", "x": 1})]
    assert not rule.stops(64, interval_of([0.04, 0.051])[0])
    assert not rule.stops(64, interval_of([0.04, np.nan])[0])


def test_the_cap_ends_it_without_measuring():
    """At the cap it stops whatever the error is."""
    interval, asked = interval_of([9.0])
    assert Until(0.01, cap=128).stops(128, interval)
    assert not asked


def test_a_number_is_a_rule_for_sigma():
    """`until=0.01` is short for sigma to one per cent."""
    assert as_until(0.01) == Until(0.01, "sigma")
    assert as_until(None) is None
    rule = Until(0.02, "total")
    assert as_until(rule) is rule


def test_rules_that_make_no_sense():
    """Errors that are not positive, caps below the first look, and unknown measures."""
    for error in (0, -0.1, np.inf, np.nan):
        with pytest.raises(InputError, match=f"until={error} is no relative error"):
            Until(error)
    with pytest.raises(InputError, match="A cap of 31 samples leaves nothing to look at: the first look is at 32"):
        Until(0.01, cap=31)
    with pytest.raises(UnknownNameError, match="Unknown measure 'sigm'"):
        Until(0.01, "sigm")
