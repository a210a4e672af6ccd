"""The page of several results: `jaxrf.write_report` and `jaxrf report`."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrf.errors import InputError, StoreError, listed, visible
from jaxrf.pages.cards import Card, Reading, card
from jaxrf.pages.charts import Chart, charts
from jaxrf.pages.sources import find
from jaxrf.pages.words import gathered, summary

if TYPE_CHECKING:
    from jaxrf.results.result import Result
    from jaxrf.sweeps.results import Sweep

MEASURES = ("sigma", "participation", "size_luo2016")


@dataclass(frozen=True)
class Part:
    """Results that can be compared with each other: one section of the page."""

    kind: str
    cards: tuple[Card, ...]
    charts: tuple[Chart, ...]
    half: float


def write_report(
    results: Mapping[str, Result] | Sequence[Any] | Result | Sweep | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    title: str = "",
    measures: Sequence[str] | None = None,
    unit: int = 0,
    level: float = 0.95,
    overwrite: bool = False,
) -> Path:
    """Write one page about many results: maps with boxes, sizes over depth, a table to sort and filter, what is doubtful.

    The page is a single file that fetches nothing: it can be mailed, kept, and read on a phone, light or dark.
    Results that cannot be compared, as those of different scores, stand in sections of their own, and the page says so.

    Args:
        results: by name or in a list, one result, a sweep, or paths of results, runs and sweeps.
        out: the file, such as "report.html".
        title: what stands above; made of the results if empty.
        measures: names of those with one number, or one for each axis, of which the mean is shown; None for what the
            sweep asks for, or else sigma, participation and Luo's size.
        unit: number of the unit that is shown of each result.
        level: nominal coverage of the intervals.
        overwrite: replace what is at `out`.

    Returns:
        The absolute path of the page.

    Raises:
        InputError: no results, a unit that one does not have, or matplotlib or Jinja is not installed.
        StoreError: a path without results, a damaged one, or something is at `out`.
        UnknownNameError: there is no such measure.

    Example:
        >>> import jaxrf, tempfile
        >>> from jaxrf import zoo
        >>> result = jaxrf.erf(zoo.conv_stack(depth=2, width=4), inputs=jaxrf.noise(1), input_shape=(12, 12, 3), seeds=4)
        >>> page = jaxrf.write_report({"two layers": result}, tempfile.mkdtemp() + "/report.html")
        >>> "two layers" in page.read_text()
        True
    """
    template, target = _template(), Path(out).absolute()
    if target.exists() and (target.is_dir() or not overwrite):
        what = "is a folder" if target.is_dir() else "exists"
        raise StoreError(f"{target} {what}. Choose another path{'' if target.is_dir() else ', or say overwrite'}.")
    asked, count, found = find(results)
    readings: Sequence[Reading] = [(name, name, None, {}) for name in measures or MEASURES]
    readings = readings if measures or not asked else asked
    cards = [card(one.name, one.place, one.result, unit, readings, level, count) for one in found]
    if not cards:
        raise InputError(
            "There are no results yet: the sweep has no blocks. Wait, or see `jaxrf.open(...).failures()`."
        )
    text = _render(template, cards, [label for label, *_ in readings], visible(title), level)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error}. Choose another path.") from error
    return target


def _template() -> Any:
    try:
        import contourpy  # noqa: F401  # comes with matplotlib
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise InputError(
            f"A report needs {error.name}, which is not installed. Run: pip install 'jaxrf[plot]'"
        ) from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("page.html"))


def _file(name: str) -> str:
    return files("jaxrf.pages").joinpath(name).read_text("utf-8")


def _render(template: Any, cards: Sequence[Card], labels: Sequence[str], title: str, level: float) -> str:
    layers = list(dict.fromkeys(one.layer for one in cards))
    script = _file("page.js")
    return template.render(
        title=title or f"Receptive fields of {layers[0] if len(layers) == 1 else f'{len(cards)} results'}",
        summary=summary(cards, labels),
        warnings=gathered(cards),
        parts=_parts(cards, labels),
        cards=cards,
        labels=labels,
        level=f"{level:.0%}",
        provenance=_provenance(cards),
        version=version("jaxrf"),
        style=_file("page.css"),
        script=script,
        # The browser runs this script and no other, whatever a name may say.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _parts(cards: Sequence[Card], labels: Sequence[str]) -> list[Part]:
    ordered = sorted(cards, key=lambda one: one.kind)
    kinds = {kind: tuple(mine) for kind, mine in itertools.groupby(ordered, key=lambda one: one.kind)}
    first = dict.fromkeys(one.kind for one in cards)
    return [
        Part(kind, kinds[kind], tuple(charts(kinds[kind], labels)), max(one.drawing.half for one in kinds[kind]))
        for kind in first
    ]


def _provenance(cards: Sequence[Card]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each fact of how results were made, with its values, and whose these are where they differ; no empty ones."""
    keys = dict.fromkeys(key for one in cards for key, value in one.provenance.items() if value is not None)
    found = []
    for key in keys:
        whose: dict[str, list[str]] = {}
        for one in cards:
            whose.setdefault(_fact(one.provenance.get(key)), []).append(one.name)
        alike = len(whose) == 1
        found.append((key, [(value, "" if alike else listed(names)) for value, names in whose.items()]))
    return found


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
