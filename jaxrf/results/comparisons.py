"""Several results side by side: a table of measures with intervals, and of differences with p-values for many."""

from __future__ import annotations

import csv
import html
import io
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.render import LEAST_NAME, shortened
from jaxrf.report.alike import check_alike, named
from jaxrf.results.comparison import Comparison, compare_two
from jaxrf.results.result import Result
from jaxrf.statistics import Interval


@dataclass(frozen=True)
class Line:
    """A line of the table: a measured number, or the difference of two.

    Attributes:
        name: of the result, or of both, as "a - b".
        value, low, high: the number and the ends of its interval; NaN where there is none.
        p: of a difference, the probability of one as large where there is none, corrected for all of the table; else NaN.
    """

    name: str
    value: float
    low: float
    high: float
    p: float = np.nan


@dataclass(frozen=True, eq=False, repr=False)
class Comparisons:
    """A measure on several results, and its differences.

    Attributes:
        measure: its name.
        level: nominal coverage of each interval.
        values: one line for each result.
        differences: one for each pair, or for each result against the baseline.
        pairs: what `differences` was made from, in its order.
        missing: why differences have no intervals; empty where they have.
    """

    measure: str
    level: float
    values: tuple[Line, ...]
    differences: tuple[Line, ...]
    pairs: tuple[Comparison, ...]
    missing: str = ""

    def rows(self) -> list[tuple[str, ...]]:
        """All lines as text: name, value, interval, p-value."""
        return [_cells(line) for line in (*self.values, *self.differences)]

    @property
    def header(self) -> tuple[str, ...]:
        """What stands above the columns."""
        return ("", self.measure, f"{self.level:.0%} interval", "p (Holm)")

    def to_markdown(self) -> str:
        """The table in Markdown; bars in names are escaped."""
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.header, *self.rows())]
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))

    def to_latex(self) -> str:
        r"""The table in LaTeX, with the rules of the package `booktabs`; special characters are escaped."""
        lines = [r"\begin{tabular}{lrrr}", r"\toprule", _latex(self.header), r"\midrule"]
        lines += [_latex(_cells(line)) for line in self.values]
        lines += [r"\midrule"] * bool(self.differences) + [_latex(_cells(line)) for line in self.differences]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def to_csv(self) -> str:
        """The numbers in full: name, value, low, high, p; empty where there is none."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", self.measure, "low", "high", "p"])
        for line in (*self.values, *self.differences):
            numbers = (line.value, line.low, line.high, line.p)
            writer.writerow([_harmless(line.name), *("" if np.isnan(n) else repr(float(n)) for n in numbers)])
        return file.getvalue()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        rows = [self.header, *self.rows()]
        others = sum(2 + max(map(len, column)) for column in list(zip(*rows, strict=True))[1:])
        room = max(shutil.get_terminal_size().columns - others, LEAST_NAME)
        rows = [(shortened(name, room), *cells) for name, *cells in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *[f"No intervals of differences: {self.missing}"] * bool(self.missing)])


def compare(
    results: Result | Mapping[str, Result] | Sequence[Result],
    other: Result | None = None,
    *,
    measure: str,
    baseline: str | None = None,
    unit: int = 0,
    axis: int = -1,
    level: float = 0.95,
    **options: Any,
) -> Any:
    """The difference of a measure between two results, or a table of several.

    Results of the same seeds and images are paired: they differ by less than their own errors say, because what a seed or
    an image does to one it often does to the other.

    Args:
        results: a result with samples by seed or by image; or several by name, or in a list.
        other: the second result, where `results` is one.
        measure: a registered name.
        baseline: of several: the name of the one that all others are compared with; None for all pairs.
        unit, axis: of several: which unit, and which spatial axis of a measure with one number for each, such as sigma.
        level: nominal coverage of the intervals.
        **options: `paired`, whether both saw the same seeds and images, found out if None; `over`, "seeds" or "images";
            `part`, which number of a measure that has several; and those of the measure.

    Returns:
        Of two, a `Comparison`: both values, (unit, ...), and their difference with its interval (see `compare_two`).
        Of several, a `Comparisons`: a table with intervals and p-values, which are corrected for the number of differences
        by Holm's method; it prints itself, and has `to_markdown`, `to_latex`, `to_csv`.

    Raises:
        InputError: nothing to leave out, different units, results that cannot be compared, or `paired=True` on
            different seeds or images.
        UnknownNameError: there is no such measure.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> call = {"inputs": jaxrf.noise(1), "input_shape": (20, 20, 3), "seeds": 4}
        >>> deep, flat = (jaxrf.erf(zoo.conv_stack(depth=n, width=4), **call) for n in (6, 3))
        >>> found = jaxrf.compare(deep, flat, measure="sigma")
        >>> found.paired, bool((found.difference.value > 0).all())
        (True, True)
        >>> several = jaxrf.compare({"deep": deep, "flat": flat}, measure="size_luo2016")  # doctest: +SKIP
        >>> print(several.to_latex())  # doctest: +SKIP
    """
    if other is not None:
        if not isinstance(results, Result):
            raise InputError("Two results are compared as compare(a, b), several as one dict or list; both were given.")
        check_alike(named({"the first result": results, "the second": other}))
        return compare_two(results, other, measure=measure, level=level, **options)
    if isinstance(results, Result):
        raise InputError("A result is compared with another: compare(a, b), or several as a dict or list.")
    found: dict[str, Any] = named(results)
    check_alike(found)
    if len(found) < 2:
        raise InputError(f"A comparison needs two results or more; here is one, {next(iter(found))!r}.")
    if baseline is not None and baseline not in found:
        raise InputError(f"The baseline {baseline!r} is none of the results: {', '.join(found)}.")
    chosen = list(itertools.combinations(found, 2))
    if baseline is not None:
        chosen = [(name, baseline) for name in found if name != baseline]
    one = _one(unit, axis)
    pairs = [compare_two(found[a], found[b], measure=measure, level=level, **options) for a, b in chosen]
    corrected = holm([_probability(pair.difference, one) for pair in pairs])
    values = [_line(name, _measured(result, measure, level, options), one) for name, result in found.items()]
    differences = [
        _line(f"{a} - {b}", pair.difference, one, p) for (a, b), pair, p in zip(chosen, pairs, corrected, strict=True)
    ]
    missing = next((pair.difference.missing for pair in pairs if pair.difference.missing), "")
    return Comparisons(measure, level, tuple(values), tuple(differences), tuple(pairs), missing)


def holm(probabilities: Sequence[float]) -> list[float]:
    """p-values corrected for as many tests as there are, so that the chance of any false one is kept; NaN stay.

    Args:
        probabilities: of each test by itself.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    known = sorted((p, i) for i, p in enumerate(probabilities) if not np.isnan(p))
    result, largest = [float("nan")] * len(probabilities), 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        result[i] = largest
    return result


def _measured(result: Result, measure: str, level: float, options: Mapping[str, Any]) -> Interval:
    of_interval = {key: value for key, value in options.items() if key != "paired"}
    return result.interval(measure, level=level, **of_interval)


def _one(unit: int, axis: int) -> Callable[[np.ndarray], float]:
    """The number of one unit, along one axis where a measure has one for each."""

    def number(values: np.ndarray) -> float:
        one = np.asarray(values, np.float64)[unit]
        return float(one[axis] if one.ndim else one)

    return number


def _probability(found: Interval, one: Callable[[np.ndarray], float]) -> float:
    """Two-sided, of a difference of nothing, by Student's t; NaN where it has no error."""
    from scipy.special import stdtr

    error, freedom = one(found.stderr), one(np.broadcast_to(found.freedom, np.shape(found.value)))
    if found.missing or not np.isfinite(error) or not freedom > 0:
        return float("nan")
    return float(2 * stdtr(freedom, -abs(one(found.middle)) / error)) if error > 0 else float(one(found.middle) == 0)


def _line(name: str, found: Interval, one: Callable[[np.ndarray], float], p: float = float("nan")) -> Line:
    return Line(name, one(found.value), one(found.low), one(found.high), p)


def _cells(line: Line) -> tuple[str, ...]:
    ends = "" if np.isnan(line.low) else f"{line.low:.4g} to {line.high:.4g}"
    p = "" if np.isnan(line.p) else ("< 0.001" if line.p < 0.001 else f"{line.p:.3f}")
    return line.name, f"{line.value:.4g}", ends, p


def _latex(cells: Sequence[str]) -> str:
    special = {c: "\\" + c for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"\\": r"\textbackslash{}", "<": "$<$"}
    return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + r" \\"


def _harmless(name: str) -> str:
    """A name that a spreadsheet takes for text."""
    return "'" + name if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
