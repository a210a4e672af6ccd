"""Sweeps that stop at a relative error: at the same samples, whoever computed them when."""

from __future__ import annotations

import warnings

import numpy as np

import jaxrf
from jaxrf import zoo
from jaxrf.statistics import Until
from jaxrf.store.location import Location
from jaxrf.sweeps.run import run
from tests.sweeps.small import digests, last, made


def test_until_stops_at_the_shortest_prefix(tmp_path, counting):
    """The run ends at a fixed look, and blocks that another process computed beyond it change nothing."""
    sweep = made(until={"error": 0.2, "cap": 256}, seeds="0:256", inputs="noise:1")
    place = tmp_path / "out"
    end = last(sweep, place)
    result = jaxrf.open(place).result()
    assert end.state == "done" and result.count in (32, 64, 128) and end.computed == result.count
    model = zoo.conv_stack(depth=1, width=2)
    with warnings.catch_warnings(action="ignore"):
        own = jaxrf.erf(model, None, jaxrf.noise(1), input_shape=(8, 9, 3), until=jaxrf.Until(0.2, cap=256))
    np.testing.assert_array_equal(result.mean, own.mean)
    before = digests(place)
    for name in ("done.json", "run.json"):
        (place / name).unlink()
    more = last(sweep, place, shard=(1, 2))
    assert (more.state, more.computed, digests(place)) == ("done", 0, before)


def test_until_counts_nothing_behind_a_gap(tmp_path):
    """A share of the seeds does not satisfy a rule, however many they are; with the other share, it is as at once."""
    sweep = made(until={"error": 0.2, "cap": 256}, seeds="0:256", inputs="noise:1")
    one = last(sweep, tmp_path / "out", shard=(0, 2))
    assert (one.state, one.computed) == ("waiting", 128)
    assert not (tmp_path / "out" / "run.json").exists()
    assert last(sweep, tmp_path / "out", shard=(1, 2)).state == "done"
    last(sweep, "memory://until-at-once")
    assert digests(tmp_path / "out") == digests("memory://until-at-once")


def test_damage_is_mended_before_a_rule_looks(tmp_path, singly):
    """Where a run with a rule goes on, a damaged block within what the rule looks at is made anew, and then it looks."""
    sweep = made(until={"error": 1e-6, "cap": 64}, seeds="0:100", inputs="noise:1")
    begun = tmp_path / "begun"
    assert last(sweep, begun, stop=lambda: len(Location.at(begun).listed("blocks/")) > 40).state == "stopped"
    third = sorted(file for file in (begun / "blocks").rglob("*-*") if file.is_file())[2]
    third.write_bytes(third.read_bytes()[:-5])
    shown = list(run(sweep, begun))
    (told,) = [message for progress in shown for message in progress.messages]
    assert shown[-1].state == "done" and "was damaged; it was set aside" in told
    last(sweep, "memory://until-whole")
    assert digests(begun) == digests("memory://until-whole")


def test_another_rule_goes_on_with_what_is_there(tmp_path):
    """A stricter rule on the same place computes what is missing alone; a weaker one counts fewer again."""
    loose, strict = ({"error": 1e-6, "cap": cap} for cap in (32, 64))
    sweeps = {name: made(until=rule, seeds="0:100", inputs="noise:1") for name, rule in (("l", loose), ("s", strict))}
    place, found = tmp_path / "out", {}
    for name, computed in (("l", 32), ("s", 32), ("l", 0)):
        end = last(sweeps[name], place)
        assert (end.state, end.computed) == ("done", computed)
        assert found.setdefault(name, digests(place)) == digests(place)
    last(sweeps["s"], "memory://stricter")
    assert found["s"] == digests("memory://stricter") != found["l"]


def test_a_rule_is_looked_at_when_samples_have_doubled(monkeypatch):
    """Of 70 seeds a rule that never stops is asked at 32 and 64; an error looked at after each would be too small."""
    looks, stops = [], Until.stops
    monkeypatch.setattr(Until, "stops", lambda rule, result: (looks.append(result.count), stops(rule, result))[1])
    last(made(until={"error": 1e-6, "cap": 256}, seeds="0:70", inputs="noise:1"), "memory://looks")
    assert set(looks) == {32, 64}
