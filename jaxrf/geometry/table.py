"""All layers of a model as a table: found by name or place, printed, and written to files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from jaxrf.errors import InputError, unknown
from jaxrf.geometry.design import Change, Design, changes, design
from jaxrf.geometry.row import Row
from jaxrf.geometry.scale import Scale

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["Row", "Table"]

FORMAT = "jaxrf.table"
VERSION = 1


class Table(Sequence[Row]):
    """Rows in the order of the model, from input to output.

    `table["layer"]` and `table[-1]` are rows, `table[2:5]` is a table, `"layer" in table` looks for a name.
    `print(table)` shows all columns, however wide; a rich console leaves out what has no room; a notebook shows HTML.

    Args:
        rows: the rows; no two of one name.
        model: name of the model, for the title.
        input_shape: shape of the input without the batch axis, for the title; may be left empty.

    Raises:
        InputError: two rows have one name.

    Example:
        >>> import numpy as np
        >>> from jaxrf.geometry.field import Continuation, Field
        >>> at = np.arange(5)
        >>> field = Field(5, at, at + 1, Continuation(0, 1, 1, np.array([0]), np.array([1])))
        >>> table = Table([Row("relu", "relu", (5, 8), (5,), (field,), parameters=0)], model="Net", input_shape=(5, 8))
        >>> table["relu"].size
        (1,)
        >>> table.to_csv().splitlines()[1][:15]
        'relu,relu,5x8,5'
    """

    def __init__(self, rows: Iterable[Row], *, model: str = "", input_shape: Sequence[int] = ()):
        self.rows = tuple(rows)
        self.model = model
        self.input_shape = tuple(input_shape)
        self._by_name = {row.name: row for row in self.rows}
        if len(self._by_name) < len(self.rows):
            names = self.names
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise InputError(f"Two rows of a table have the name {twice!r}. Give every layer a name of its own.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(row.name for row in self.rows)

    @property
    def title(self) -> str:
        """The model, its number of layers and its input, in one line."""
        size = "×".join(map(str, self.input_shape))
        scale = self.rows[0].scale if self.rows else None
        parts = [self.model, f"{len(self)} layer" + "s" * (len(self) != 1), size and f"input {size}"]
        parts.append(f"positions of {scale}" if scale else "")
        return ", ".join(filter(None, parts))

    def scaled(
        self, spacing: float | Sequence[float] | None = None, unit: str | None = None, rate: float | None = None
    ) -> Table:
        """The same table, whose rows have `physical`: positions are `spacing` apart, or there are `rate` in a `unit`.

        Raises:
            InputError: both or neither of spacing and rate, or numbers that are not above zero.
        """
        axes = len(self.rows[0].fields) if self.rows else 0
        scale = Scale.of(spacing, unit, rate, axes)
        return Table([replace(row, scale=scale) for row in self.rows], model=self.model, input_shape=self.input_shape)

    def design(self) -> Design:
        """Layers that bring no new context at this input size, and the range of sizes that make sense.

        Raises:
            InputError: the table has no rows.
        """
        return design(self.rows)

    def changes(self, size: int, axis: int = 0) -> list[Change]:
        """Changes of the stride or dilation of single layers by which the last one reaches a size on an axis.

        Exact for networks of one path; see `jaxrf.geometry.design.changes`.

        Raises:
            InputError: the last layer has that size already, or no stride.
        """
        return changes(self.rows, size, axis)

    @overload
    def __getitem__(self, key: int | str) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> Table: ...
    def __getitem__(self, key):
        """The row of a name or a place, or the table of a slice.

        Raises:
            UnknownNameError: no layer has this name; the nearest is suggested.
            IndexError: there is no row at this place.
        """
        if isinstance(key, str):
            if key not in self._by_name:
                raise unknown("layer", key, self._by_name)
            return self._by_name[key]
        if isinstance(key, slice):
            return Table(self.rows[key], model=self.model, input_shape=self.input_shape)
        return self.rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._by_name if isinstance(key, str) else key in self.rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Table({self.title})"

    def __str__(self) -> str:
        from jaxrf.geometry.render import text

        return text(self.rows, self.title)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from jaxrf.geometry.render import rich_parts

        yield from rich_parts(self.rows, self.title, options.max_width)

    def _repr_html_(self) -> str:
        from jaxrf.geometry.render import html

        return html(self.rows, self.title)

    def to_csv(self, path: str | Path | None = None) -> str:
        """One line per layer, one column per number and input axis; returns it, and writes it to `path` if given.

        Strides and paddings that are fractions are written as 1/2; what a layer does not have is left empty.
        The tables of single units are left out: `to_json` keeps them.
        """
        from jaxrf.geometry.render import csv

        return _write(csv(self.rows), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The printed table as a Markdown table, its notes below; returns it, and writes it to `path` if given."""
        from jaxrf.geometry.render import markdown

        return _write(markdown(self.rows, self.title), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """Everything, without loss: `from_json` gives the same table; returns it, and writes it to `path` if given."""
        values = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "input_shape": list(self.input_shape),
            "rows": [row.to_dict() for row in self.rows],
        }
        return _write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n", path)

    @classmethod
    def from_json(cls, source: str | Path) -> Table:
        """The table that `to_json` wrote.

        Args:
            source: the text itself, or a `pathlib.Path` to read it from.

        Raises:
            InputError: it is not such a table, or of a newer version.
            OSError: the file cannot be read.
        """
        where = str(source) if isinstance(source, Path) else "The text"
        try:
            values = json.loads(source.read_text("utf-8") if isinstance(source, Path) else source)
        except ValueError as error:
            raise InputError(
                f"{where} is not JSON: {error}. Pass what Table.to_json() gave, or a Path to it."
            ) from error
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT or values.get("version") != VERSION:
            version = values.get("version") if isinstance(values, dict) else None
            raise InputError(
                f"{where} has format {found!r}, version {version!r}; {FORMAT!r}, version {VERSION} is needed. "
                "Pass what Table.to_json() gave."
            )
        rows = (Row.from_dict(row) for row in values.get("rows", ()))
        return cls(rows, model=values.get("model", ""), input_shape=values.get("input_shape", ()))


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
