"""Rows as text: a terminal table, Markdown, HTML, CSV and one-liners.

Every form but CSV shows the same cells, made once in `_sheet`.
"""

from __future__ import annotations

import csv as csv_module
import html as html_module
import io
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxrf.errors import cell, visible
from jaxrf.geometry.encode import number, summary
from jaxrf.geometry.layer_field import LayerField

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text


NOTHING = "–"
LEAST_NAME = 12
"""Characters that a name keeps in a printed table, however narrow the terminal is."""
LEFT = ("layer", "kind", "output", "notes")
DROPPED = ("share", "min size", "kind", "FLOPs so far", "FLOPs", "center", "params", "output", "exact", "aligned")
CSV_COLUMNS = (
    "size", "smallest", "min_size", "stride", "padding", "period", "center",
    "halo_before", "halo_after", "smallest_input",
)  # fmt: skip
AXIS_NAMES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


class _Sheet(NamedTuple):
    """Column heads, cells as strings, and the sentences that cells refer to by number."""

    heads: list[str]
    lines: list[list[str]]
    footnotes: list[str]


def axis_names(count: int) -> tuple[str, ...]:
    """Names of `count` spatial axes: x, y x, z y x; further ones by number."""
    return AXIS_NAMES.get(count) or tuple(f"axis{i}" for i in range(count))


def line(row: LayerField) -> str:
    """The row in one line.

    Example: Row('conv1' Conv: size 7, stride 2, padding 3, output 112×112×64)
    """
    parts = [f"size {_sizes(row)}", f"stride {_axes(row.stride)}", f"padding {_axes(row.padding)}"]
    parts += [f"output {_shape(row.shape)}"]
    parts += ["not aligned"] * (not row.aligned) + ["not exact"] * (not row.exact)
    parts += [f"global {' '.join(row.global_axes)}"] if row.global_axes else []
    return f"Row({row.name!r} {visible(row.kind)}: {', '.join(parts)})"


def text(rows: Sequence[LayerField], title: str, width: int | None = None) -> str:
    """The table as plain text, as wide as its cells need or as there is room, without color and trailing blanks."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width or 10_000, color_system=None, force_terminal=False)
    console.print(*rich_parts(rows, title, width), sep="\n")
    return "\n".join(part.rstrip() for part in out.getvalue().rstrip().splitlines())


def rich_parts(rows: Sequence[LayerField], title: str, width: int | None = None) -> list[Text | RichTable]:
    """Title, table and notes for a rich console.

    With a `width` in characters, the columns in `DROPPED` are left out one by one until the rest fits, and names of layers
    lose their middle where it does not fit even so.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sheet, left_out = _fit(_sheet(rows), width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in sheet.heads:
        table.add_column(head, justify="left" if head in LEFT else "right", no_wrap=True)
    for row, cells in zip(rows, sheet.lines, strict=True):
        table.add_row(*map(Text, cells), style="yellow" if row.unproductive else None)
    below = sheet.footnotes + ([f"no room for: {', '.join(left_out)}"] if left_out else [])
    heading = [Text(visible(title), style="bold")] if title else []
    return [*heading, table, *([Text("\n".join(["", *below]), style="dim")] if below else [])]


def _fit(sheet: _Sheet, width: int | None) -> tuple[_Sheet, list[str]]:
    """The sheet without the columns that do not fit, and the heads of those."""
    heads, lines, left_out = sheet.heads, sheet.lines, []
    widths = {column[0]: max(map(len, column)) + 2 for column in zip(heads, *lines, strict=True)}
    for head in DROPPED:
        if width is not None and sum(widths.values()) > width and head in widths:
            del widths[head]
            left_out.append(head)
    kept = [i for i, head in enumerate(heads) if head not in left_out]
    fitting = [[cells[i] for i in kept] for cells in lines]
    if width is not None:
        room = max(width - sum(widths.values()) + widths[heads[0]] - 2, LEAST_NAME)
        fitting = [[shortened(cells[0], room), *cells[1:]] for cells in fitting]
    return _Sheet([heads[i] for i in kept], fitting, sheet.footnotes), left_out


def shortened(name: str, room: int) -> str:
    """A name without its middle, where there is no room for it.

    >>> shortened("a long name - another one", 12)
    'a long…r one'
    """
    return name if len(name) <= room else f"{name[: room // 2]}…{name[room // 2 + 1 - room :]}"


def markdown(rows: Sequence[LayerField], title: str) -> str:
    """A Markdown table under the title, its notes below."""
    sheet = _sheet(rows)
    rules = [":--" if head in LEFT else "--:" for head in sheet.heads]
    lines = [_pipes(sheet.heads), _pipes(rules), *map(_pipes, sheet.lines)]
    heading = [f"**{_marked(title)}**", ""] if title else []
    below = ["", *(_marked(note) + "  " for note in sheet.footnotes)] if sheet.footnotes else []
    return "\n".join([*heading, *lines, *below]) + "\n"


def html(rows: Sequence[LayerField], title: str) -> str:
    """A self-contained HTML table."""
    sheet = _sheet(rows)
    sides = ["left" if head in LEFT else "right" for head in sheet.heads]

    def cells(tag: str, values: Sequence[str]) -> str:
        made = (
            f'<{tag} style="text-align:{s}">{html_module.escape(v)}</{tag}>' for s, v in zip(sides, values, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(cells("td", values) for values in sheet.lines)
    notes = "".join(f"<div><small>{html_module.escape(note)}</small></div>" for note in sheet.footnotes)
    heading = f"<caption>{html_module.escape(title)}</caption>" if title else ""
    return f"<table>{heading}<thead>{cells('th', sheet.heads)}</thead><tbody>{body}</tbody></table>{notes}"


def csv(rows: Sequence[LayerField]) -> str:
    """Comma-separated values with one column per number and input axis."""
    out = io.StringIO()
    names = axis_names(max((len(row.fields) for row in rows), default=0))
    writer = csv_module.DictWriter(out, _csv_heads(names), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(_csv_line(row, names))
    return out.getvalue()


def _csv_heads(names: Sequence[str]) -> list[str]:
    plain = ["name", "kind", "shape", "unit_shape", "parameters", "flops", "flops_so_far"]
    spread = [f"{column}_{axis}" for column in CSV_COLUMNS for axis in names]
    last = ["center_unit", "share", "aligned", "exact", "unproductive", "global_axes", "global_cause", "notes"]
    return plain + spread + last


def _csv_line(row: LayerField, names: Sequence[str]) -> dict[str, Any]:
    values = summary(row)
    values["smallest"] = tuple(small for small, _ in row.sizes)
    values["halo_before"] = tuple(sides and sides[0] for sides in row.halo())
    values["halo_after"] = tuple(sides and sides[1] for sides in row.halo())
    line = {
        "name": cell(row.name),
        "kind": cell(row.kind),
        "shape": "x".join(map(str, row.shape)),
        "unit_shape": "x".join(map(str, row.unit_shape)),
        "parameters": row.parameters,
        "flops": row.flops,
        "flops_so_far": row.flops_so_far,
        "center_unit": " ".join(map(str, values["center_unit"] or ())),
        "share": values["share"],
        "aligned": row.aligned,
        "exact": row.exact,
        "unproductive": row.unproductive,
        "global_axes": " ".join(row.global_axes),
        "global_cause": " | ".join(dict.fromkeys(row.global_cause.values())),
        "notes": cell(" | ".join(_remarks(row))),
    }
    for column in CSV_COLUMNS:
        line |= {f"{column}_{axis}": number(value) for axis, value in zip(names, values[column] or (), strict=False)}
    return {key: "" if value is None else value for key, value in line.items()}


def _sheet(rows: Sequence[LayerField]) -> _Sheet:
    """The cells that all printed forms share."""
    numbers: dict[str, int] = {}
    lines = []
    for row in rows:
        marks = [numbers.setdefault(remark, len(numbers) + 1) for remark in _remarks(row)]
        lines.append([*_cells(row).values(), ", ".join(map(str, marks))])
    heads = [*list(_cells(rows[0])), "notes"] if rows else ["layer"]
    footnotes = [f"{i}: {remark}" for remark, i in numbers.items()]
    if not footnotes and rows:
        heads, lines = heads[:-1], [cells[:-1] for cells in lines]
    return _Sheet(heads, lines, footnotes)


def _cells(row: LayerField) -> dict[str, str]:
    """Head to cell, of one row, without its notes."""
    some = 0 not in row.unit_shape
    return {
        "layer": visible(row.name),
        "kind": visible(row.kind),
        "output": _shape(row.shape),
        "params": _count(row.parameters),
        "FLOPs": _count(row.flops),
        "FLOPs so far": _count(row.flops_so_far),
        "size": _sizes(row),
        "min size": _axes(row.min_size),
        "stride": _axes(row.stride),
        "padding": _axes(row.padding),
        "center": _axes(row.center(row.center_unit), between=", ") if some else NOTHING,
        "share": f"{100 * row.share:.1f}%" if some else NOTHING,
        "aligned": "yes" if row.aligned else "no",
        "exact": "yes" if row.exact else "no",
    }


def _remarks(row: LayerField) -> list[str]:
    """What a reader must know of the row besides its numbers, as sentences."""
    causes: dict[str, list[str]] = {}
    for axis in row.global_axes:
        causes.setdefault(row.global_cause.get(axis, ""), []).append(axis)
    remarks = [f"global over {', '.join(axes)}" + (f": {cause}" if cause else "") for cause, axes in causes.items()]
    if None in row.stride and None not in row.pitch and row.pitch:
        patch, apart = _axes(row.patch), _axes(row.pitch)
        remarks.append(f"on a grid of {'×'.join(map(str, row.grid))} units, of patches of {patch}, {apart} apart")
    if row.unproductive:
        remarks.append("unproductive: even the smallest path sees more than the input")
    return [visible(remark) for remark in (*remarks, *row.notes)]


def _axes(values: Sequence[Any], between: str = "×") -> str:
    """One value per axis, as one where all agree."""
    shown = [_number(value) for value in values]
    if not shown:
        return NOTHING
    return shown[0] if len(set(shown)) == 1 else between.join(shown)


def _sizes(row: LayerField) -> str:
    """The size on each axis, from the smallest to the largest where units differ."""
    return _axes([_span(ends) for ends in row.sizes])


def _span(ends: tuple[int, int]) -> str:
    return str(ends[1]) if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def _number(value: int | float | Fraction | str | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _count(value: int | None) -> str:
    """Three digits and a unit: 9408 is 9.41k."""
    if value is None:
        return NOTHING
    if value < 1000:
        return str(value)
    power = min(int(math.log10(value * 1.0005)) // 3, 5)
    return f"{value / 1000**power:#.3g}".rstrip(".") + " kMGTP"[power]


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_marked, cells)) + " |"


def _marked(text: str) -> str:
    """A text as Markdown shows it: no tags, links or columns of its own."""
    text = html_module.escape(text, quote=False)
    return "".join(f"\\{c}" if c in "|[]`" else c for c in text)
