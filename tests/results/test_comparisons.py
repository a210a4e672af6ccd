"""Several results in one table: values, differences, corrected p-values, and names that harm nobody."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from jaxrf.errors import InputError
from jaxrf.results.comparisons import compare, holm
from tests.results.test_comparison import pair


@pytest.fixture(autouse=True)
def _many_are_not_needed(monkeypatch):
    monkeypatch.setattr("jaxrf.results.result.TRUSTED", 2)


@pytest.fixture(scope="module")
def results():
    """Three widths, of which two are the same network drawn anew."""
    return {"a_1": pair(12, 2.0), "b": pair(12, 2.0, draw=1), "c & d": pair(12, 2.6, draw=2)}


def test_lines_are_those_of_each_pair(results):
    """Values, ends and differences are what each result and each comparison of two says."""
    table = compare(results, measure="sigma", axis=0, paired=False)
    assert [line.name for line in table.differences] == ["a_1 - b", "a_1 - c & d", "b - c & d"]
    for line, result in zip(table.values, results.values(), strict=True):
        found = result.interval("sigma")
        assert (line.value, line.low, line.high) == (found.value[0, 0], found.low[0, 0], found.high[0, 0])
    two = compare(results["b"], results["c & d"], measure="sigma", paired=False).difference
    assert table.differences[2].low == two.low[0, 0]
    assert table.differences[0].p > 0.05 > 0.001 > table.differences[1].p


def test_p_values_are_those_of_student(results):
    """With one seed in each block and a measure that is the mean itself, p is that of a t-test on the differences."""
    a, b = results["a_1"], pair(12, 2.003)
    line = compare({"a": a, "b": b}, measure="total").differences[0]
    totals = [np.array(one.groups["seeds"].totals()).sum(axis=(1, 2, 3)) for one in (a, b)]
    right = ttest_1samp(totals[0] - totals[1], 0.0).pvalue
    assert line.p == pytest.approx(right, rel=0.1)


def test_a_baseline_is_in_every_difference(results):
    """Against one result there are as many differences as others."""
    table = compare(results, measure="sigma", baseline="b", paired=False)
    assert [line.name for line in table.differences] == ["a_1 - b", "c & d - b"]


def test_holm_keeps_the_order_and_leaves_out_what_is_not_known():
    """Each p is multiplied by the number of those that are not smaller; none falls below a smaller one's."""
    corrected = holm([0.04, np.nan, 0.01, 0.3])
    np.testing.assert_allclose(corrected, [0.08, np.nan, 0.03, 0.3])


def test_every_form_holds_every_name(results):
    """Markdown, LaTeX, CSV and HTML show the same lines, with their special characters escaped."""
    hostile = {"=1+1|<b>": results["a_1"], "c & d_%": results["c & d"]}
    table = compare(hostile, measure="sigma", paired=False)
    assert "=1+1\\|<b>" in table.to_markdown() and table.to_markdown().count("\n") == 4
    assert r"c \& d\_\%" in table.to_latex() and r"\bottomrule" in table.to_latex()
    assert "&lt;b&gt;" in table._repr_html_() and "<b>" not in table._repr_html_()
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert [row[0] for row in rows] == ["name", "'=1+1|<b>", "c & d_%", "'=1+1|<b> - c & d_%"]
    assert float(rows[1][1]) == table.values[0].value
    assert "c & d_%" in repr(table)


def test_steps_have_no_p_value(results):
    """A measure that moves in steps has values, differences, no ends of these, and the reason below the table."""
    table = compare(results, measure="area_ratio", paired=False)
    assert all(np.isnan(line.p) and np.isnan(line.low) for line in table.differences)
    assert "moves in steps" in repr(table)


def test_what_cannot_be_compared_is_named(results):
    """One result, an unknown baseline, other scores, and both ways of asking at once."""
    a = results["a_1"]
    with pytest.raises(InputError, match="needs two results or more"):
        compare({"a": a}, measure="sigma")
    with pytest.raises(InputError, match="baseline 'x' is none of the results: a_1, b"):
        compare(results, measure="sigma", baseline="x")
    with pytest.raises(InputError, match="'a' has score 'square' and 'b' has 'abs'"):
        compare({"a": a, "b": replace(a, score="abs")}, measure="sigma")
    with pytest.raises(InputError, match="'the first result' has score 'square' and 'the second' has 'abs'"):
        compare(a, replace(a, score="abs"), measure="sigma")
    with pytest.raises(InputError, match="cannot be compared"):
        compare({"a": a, "b": replace(a, provenance={"protocol": "luo2016"})}, measure="sigma")
    with pytest.raises(InputError, match="compare\\(a, b\\)"):
        compare(results, a, measure="sigma")
    with pytest.raises(InputError, match="compare\\(a, b\\)"):
        compare(a, measure="sigma")
    with pytest.raises(InputError, match="not a result"):
        compare({"a": a, "b": 3}, measure="sigma")
