"""How often do intervals of 95 % hold the true number, and how often does `compare` see a difference where none is?

Thousands of networks are drawn once; their mean map is the truth. Then a few of them are drawn from that pool again and
again, as a user draws a few seeds, and every registered measure is asked for its interval. Repetitions stand beside each
other as units of one result, so that the code which is measured is `Result.interval`, `Result.band` and `compare`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from _common import Report, parser

import jaxrf
from jaxrf import zoo
from jaxrf.results.result import Result
from jaxrf.statistics import Interval, gathered
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.registry import parts_of

COUNTS = (4, 8, 16, 64)
AVERAGES = ("weighted", "normalized")
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "area_ratio": ({"share": 0.3}, {}, {"share": 0.9}),
    "energy_radius": ({"share": 0.3}, {}, {"share": 0.9}),
    "smallest_area": ({"share": 0.3}, {}, {"share": 0.9}),
    "energy_within": ({"radius": 2}, {"radius": 3.5}),
    "energy_within_soft": ({"radius": 2}, {"radius": 3.5}),
}
"""What a measure is asked with, where that is not its defaults: 20 positions hold all of a small map, for one."""
SLOW = ("gaussian",)
"""Measures that are asked of the first job only."""
TITLE = "Coverage of 95 %, over pools"


@dataclass(frozen=True)
class Job:
    """Networks whose maps make a pool."""

    model: Any
    input_shape: tuple[int, ...]
    images: int = 1
    options: tuple[tuple[str, Any], ...] = ()


JOBS = {
    "4 layers": Job(zoo.conv_stack(depth=4, width=8), (15, 17, 3)),
    "8 layers": Job(zoo.conv_stack(depth=8, width=16), (24, 28, 3)),
    "at the border": Job(zoo.conv_stack(depth=4, width=8), (7, 9, 3)),
    "4 images": Job(zoo.conv_stack(depth=3, width=6), (11, 13, 3), images=4),
    "pooled units": Job(
        zoo.conv_stack(depth=3, width=6), (17, 19, 3), options=(("pool_units", True), ("units", jaxrf.grid(3, 3)))
    ),
}


@dataclass(frozen=True, eq=False)
class Pool:
    """A result of one unit, the maps of its seeds (seed, *spatial), and the result that has their mean."""

    result: Result
    maps: np.ndarray

    @property
    def truth(self) -> Result:
        return replace(self.result, mean=self.maps.mean(0)[None])

    def drawn(self, seeds: int, repetitions: int, rng: np.random.Generator) -> Result:
        """As many results of `seeds` networks as there are repetitions, each a unit of one."""
        chosen = self.maps[rng.integers(len(self.maps), size=(seeds, repetitions))]
        samples = gathered.init(chosen.shape[1:], self.result.average)
        for seed, maps in enumerate(chosen):
            samples = gathered.update(samples, maps[None], seed, [0])
        summary = vars(gathered.finalize(samples))
        place = {name: np.repeat(getattr(self.result, name), repetitions, 0) for name in ("origin", "units")}
        return replace(self.result, **summary, **place)


def pool(job: Job, average: str, seeds: int) -> Pool:
    """The maps of `seeds` networks, from the engine."""
    with mock.patch.object(gathered, "MOST", seeds), warnings.catch_warnings():  # every seed in a block of its own
        warnings.simplefilter("ignore")
        result = jaxrf.erf(
            job.model,
            inputs=jaxrf.noise(job.images),
            input_shape=job.input_shape,
            seeds=seeds,
            average=average,
            **dict(job.options),
        )
    maps = result.groups["seeds"].totals()[:, 0] / job.images
    scale = 1.0 if average == "normalized" else maps.sum(tuple(range(1, maps.ndim))).mean()
    return Pool(replace(result, groups={}, between=None, within=None), maps / scale)


def questions(names: list[str], truth: Result) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Measure, part and options: all of them for each measure, and "band" for the map itself."""
    for name in names:
        if name == "total" and truth.average == "normalized":  # one, without an error
            continue
        for options in OPTIONS.get(name, ({},)) if name != "band" else ({},):
            value = truth.measure(name, **options) if name != "band" else None
            for part in _parts(value):
                yield name, part, options


def _parts(value: Any) -> list[str | None]:
    """Parts of what a measure gives that are numbers with an error."""
    if not parts_of(value):
        return [None]
    found = [name for name in parts_of(value) if name not in ("radius", "offset", "positions")]
    found += [name for name, entry in vars(type(value)).items() if isinstance(entry, property)]
    return [part for part in found if np.asarray(getattr(value, part)).dtype.kind == "f"]


def held(found: Interval, truth: np.ndarray) -> dict[str, float]:
    """Over repetitions: how often ends are given, and how often they hold the truth where they are."""
    low, high = (np.reshape(end, (len(end), -1))[:, : truth.size] for end in (found.low, found.high))
    there = np.isfinite(truth.ravel()) & (truth.ravel() != 0)  # what is zero in every network is not a question
    low, high, truth = low[:, there], high[:, there], truth.ravel()[there]
    given = np.isfinite(low) & np.isfinite(high)
    inside = given & (low <= truth * (1 + 1e-9 * np.sign(truth))) & (truth * (1 - 1e-9 * np.sign(truth)) <= high)
    share = given.mean() if given.size else 0.0
    return {"given": float(share), "held": float(inside.sum() / given.sum()) if given.any() else float("nan")}


def rejected(found: Interval) -> float:
    """How often an interval of a difference leaves out zero, where it is given; NaN where none is."""
    given = np.isfinite(found.low) & np.isfinite(found.high) & ((found.stderr > 0) | (found.value != 0))
    return float(((found.low > 0) | (found.high < 0))[given].mean()) if given.any() else float("nan")


def ask(source: Pool, first: Result, second: Result, question: tuple) -> dict[str, float]:
    """Coverage of one question, and rejections of `compare` between two results of one law."""
    name, part, options = question
    if name == "band":
        return held(first.band(), source.truth.mean)
    truth = np.asarray(source.truth.measuring(name, part, **options)(source.truth.mean))
    answer = held(first.interval(name, part=part, **options), truth)
    compare = partial(jaxrf.compare, first, second, measure=name, part=part, **options)
    return answer | {how: rejected(compare(paired=how == "paired").difference) for how in ("paired", "unpaired")}


def asked(source: Pool, names: list[str], seeds: int, repetitions: int) -> dict[str, dict[str, float]]:
    """The answers to all questions, of the same drawn networks, by the words of the question."""
    rng = np.random.default_rng(seeds)
    first, second = (source.drawn(seeds, repetitions, rng) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {label(question): ask(source, first, second, question) for question in questions(names, source.truth)}


def shown(values: list[float]) -> str:
    """The range of shares in per cent; "not given" where there is none."""
    known = [round(100 * value) for value in values if np.isfinite(value)]
    return f"{min(known)} to {max(known)}" if known else "not given"


def label(question: tuple) -> str:
    """A question in words."""
    name, part, options = question
    return " ".join([name, *([part] if part else []), *(f"{key}={value}" for key, value in options.items())])


def main() -> None:
    """Ask all measures of all pools, and write a row for each."""
    arguments = parser(__doc__)
    arguments.add_argument("--measures", default=",".join([*measures, "band"]), help="names, separated by commas")
    options = arguments.parse_args()
    report = Report("coverage", options)
    repetitions, seeds, counts = (20, 64, (4, 8)) if options.small else (200, 4096, COUNTS)
    names, answers = options.measures.split(","), {}
    for key, job in list(JOBS.items())[: 1 if options.small else None]:
        known = [name for name in names if name not in SLOW or key == next(iter(JOBS))]
        for average in AVERAGES:
            source = pool(job, average, seeds)
            for count in counts:
                for words, answer in asked(source, known, count, repetitions).items():
                    answers.setdefault(words, {})[key, average, count] = answer
    for words, found in answers.items():
        columns = {
            f"{count} seeds": shown([answer["held"] for key, answer in found.items() if key[2] == count])
            for count in counts
        }
        for how in ("paired", "unpaired"):
            columns[f"null, {how}"] = shown([answer.get(how, float("nan")) for answer in found.values()])
        report.add(TITLE, words, columns, {", ".join(map(str, key)): answer for key, answer in found.items()})


if __name__ == "__main__":
    main()
