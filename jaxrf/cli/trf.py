"""`jaxrf trf`: the theoretical receptive field of every layer, from shapes alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jaxrf.cli import values
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.geometry.table import Row, Table


@commands.register("trf")
@dataclass(frozen=True, kw_only=True)
class Trf(ModelOptions, Command):
    """Print the theoretical field of each layer.

    No weights are needed and no forward pass is run.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf trf zoo:resnet50
  jaxrf trf zoo:resnet50 --layer layer2 --unit 3,3
  jaxrf trf my_models.py:make_net --input 224x224x3 --csv > table.csv"""

    layer: str | None = option("show this layer alone", metavar="NAME")
    unit: tuple[int, ...] | None = option(
        "with --layer: the unit to show, as 3,3 (default: the center unit)",
        parse=values.position,
        metavar="UNIT",
    )
    unknown: str = option(
        "what an operation without a rule is: an error, or taken to see the whole input",
        default="raise",
        choices=("raise", "global"),
    )
    csv: bool = option("print CSV", default=False)
    markdown: bool = option("print a Markdown table", default=False)

    def run(self) -> int:
        import jaxrf

        self._validate()
        loaded, input_shape = self.load()
        table = jaxrf.trf(loaded.model, input_shape, unknown=self.unknown, **self.call_arguments())
        print(self._layer(table[self.layer]) if self.layer is not None else self._table(table))
        return 0

    def _validate(self) -> None:
        formats = [name for name in ("json", "csv", "markdown") if getattr(self, name)]
        if len(formats) > 1:
            raise InputError(f"--{' and --'.join(formats)} were given; the table is printed in one format. Choose one.")
        if self.unit is not None and self.layer is None:
            raise InputError("--unit needs the layer that the unit belongs to. Add --layer NAME.")
        if self.layer is not None and (self.csv or self.markdown):
            raise InputError("--csv and --markdown print the whole table. Leave --layer out, or use --json.")

    def _table(self, table: Table) -> str:
        if self.json:
            return table.to_json()
        if self.csv:
            return table.to_csv().rstrip("\n")
        return table.to_markdown().rstrip("\n") if self.markdown else str(table)

    def _layer(self, row: Row) -> str:
        unit = self.unit or row.center_unit
        facts = layer_facts(row, unit)
        if self.json:
            return json.dumps(facts, indent=2)
        facts["notes"] = "; ".join(row.notes) or None
        return "\n".join(f"{name.replace('_', ' '):>12}  {_plain(value)}" for name, value in facts.items())


def layer_facts(row: Row, unit: tuple[int, ...]) -> dict[str, Any]:
    """What one layer's row says about itself and about `unit`, in JSON's types."""
    from jaxrf.geometry.encode import number

    return {
        "layer": row.name,
        "kind": row.kind,
        "shape": list(row.shape),
        "size": number(row.size),
        "stride": number(row.stride),
        "padding": number(row.padding),
        "aligned": row.aligned,
        "exact": row.exact,
        "unit": list(unit),
        "center": number(row.center(unit)),
        "box": number(row.box(unit)),
        "clipped_box": number(row.box(unit, clip=True)),
        "notes": list(row.notes),
    }


def _plain(value: Any) -> str:
    """`value` as a line of text shows it."""
    if isinstance(value, list):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
