"""Measured choices: timing, the file, and how it is obeyed."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.lowering import ConvolutionSpec, Problem, lowerings
from jaxrf.lowering.choice import TABLE, TUNING, choose
from jaxrf.lowering.convolution import convolution_forward
from jaxrf.lowering.tuned import tuned_choices, write_choices
from jaxrf.lowering.tuning import measure, typical

DEPTHWISE = Problem((1, 5, 7, 4), (3, 3, 1, 4), ConvolutionSpec((1, 1), ((1, 1),) * 2, (1, 1), (1, 1), 4))


def test_every_alternative_is_timed():
    """All lowerings that apply have a positive time."""
    times = measure(DEPTHWISE, repeats=2)
    assert set(times) == {"plain", "shifts", "groups"}
    assert min(times.values()) > 0


def test_the_quickest_is_saved_with_its_times(tmp_path):
    """The file names device and platform, and is found only for that platform."""
    file = tmp_path / "new" / "tuning.json"
    write_choices(file, "cpu", "a machine", {"one": {"plain": 2.0, "shifts": 1.0}, "two": {"plain": 1.0, "gemm": 3.0}})
    assert dict(tuned_choices(str(file), "cpu")) == {"one": "shifts", "two": "plain"}
    assert dict(tuned_choices(str(file), "cuda")) == {}
    assert json.loads(file.read_text())["device"] == "a machine"


def test_the_file_is_obeyed(tmp_path, monkeypatch):
    """JAXRF_TUNING overrules the table, for its problems and its platform, and the result stays the same."""
    x, kernel = np.ones(DEPTHWISE.image, np.float32), np.ones(DEPTHWISE.kernel, np.float32)
    before = convolution_forward(jax.numpy.asarray(x), jax.numpy.asarray(kernel), DEPTHWISE.spec)
    file = tmp_path / "tuning.json"
    write_choices(file, "cpu", "here", {DEPTHWISE.key: {"plain": 2.0, "groups": 1.0}})
    monkeypatch.setenv(TUNING, str(file))
    assert choose(DEPTHWISE, "cpu") == "groups"
    assert choose(DEPTHWISE, "tpu") == "plain"
    after = convolution_forward(jax.numpy.asarray(x), jax.numpy.asarray(kernel), DEPTHWISE.spec)
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_a_choice_that_does_not_apply_is_passed_over(tmp_path, monkeypatch):
    """A file edited by hand cannot make a lowering compute what it cannot."""
    file = tmp_path / "tuning.json"
    write_choices(file, "cpu", "here", {DEPTHWISE.key: {"gemm": 1.0}})
    monkeypatch.setenv(TUNING, str(file))
    assert choose(DEPTHWISE, "cpu") == "shifts"


@pytest.mark.parametrize("text", [None, "not JSON", "{}"])
def test_a_file_that_is_none_of_ours_is_an_error(text, tmp_path, monkeypatch):
    """A missing or foreign file is said, not passed over."""
    file = tmp_path / "tuning.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv(TUNING, str(file))
    with pytest.raises(InputError, match=r"The tuning file .*tuning.json cannot be read.*jaxrf tune --out"):
        choose(DEPTHWISE, "cpu")


def test_the_table_names_every_lowering():
    """Each line a lowering that is there, and each lowering a line."""
    assert {line.way for line in TABLE.lines} == set(lowerings)


def test_typical_problems_use_the_whole_table():
    """The built-in set holds a case for every lowering but the scatter of growing windows."""
    taken = {choose(p, "cpu") for p in typical().values()}
    assert taken >= set(lowerings) - {"scatter"}
