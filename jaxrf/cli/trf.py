"""`jaxrf trf`: the theoretical receptive field of every layer, from shapes alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jaxrf.cli import figures, values
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option
from jaxrf.cli.scale import ScaleOptions
from jaxrf.cli.terminal import columns
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.geometry.table import Row, Table
    from jaxrf.results.paths import PathCounts


@commands.register("trf")
@dataclass(frozen=True, kw_only=True)
class Trf(ModelOptions, ScaleOptions, Command):
    """Print the theoretical field of each layer.

    No weights are needed and no forward pass is run.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf trf zoo:resnet50
  jaxrf trf zoo:resnet50 --layer layer2 --unit 3,3
  jaxrf trf zoo:resnet50 --layer layer2 --unit 3,3 --paths --plot box.png
  jaxrf trf zoo:resnet50 --plot sizes.png
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
    wrt: str | None = option("fields on this layer instead of the input", metavar="NAME")
    treat_as_constant: tuple[str, ...] = option(
        "a layer whose means, variances, gates and attention weights count as constants; may be repeated",
        metavar="NAME",
        repeat=True,
    )
    paths: bool = option(
        "with --layer: count the paths to the unit, and the share of its box that they reach", default=False
    )
    plot: str | None = option(
        "draw sizes over depth, or with --layer the unit's box, or with --paths its counts, into this file",
        metavar="FILE",
    )
    csv: bool = option("print CSV", default=False)
    markdown: bool = option("print a Markdown table", default=False)

    def run(self) -> int:
        import jaxrf

        self._validate()
        loaded, input_shape = self.load()
        how = {**self.call_arguments(), "treat_as_constant": self.treat_as_constant}
        said = {"unknown": self.unknown, "wrt": self.wrt, **self.scale_arguments}
        table = jaxrf.trf(loaded.model, input_shape, **said, **how)
        if self.layer is None:
            return self._finish(self._table(table), table)
        row = table[self.layer]
        unit = self.unit or row.center_unit
        row.box(unit)  # a unit that does not fit is said before paths are counted
        counts = jaxrf.paths(loaded.model, input_shape, layer=self.layer, unit=unit, **how) if self.paths else None
        return self._finish(self._layer(row, unit, counts), row, unit, counts)

    def _validate(self) -> None:
        formats = [name for name in ("json", "csv", "markdown") if getattr(self, name)]
        if len(formats) > 1:
            raise InputError(f"--{' and --'.join(formats)} were given; the table is printed in one format. Choose one.")
        if self.unit is not None and self.layer is None:
            raise InputError("--unit needs the layer that the unit belongs to. Add --layer NAME.")
        if self.paths and self.layer is None:
            raise InputError("--paths needs the layer that its paths lead to. Add --layer NAME.")
        if self.paths and self.wrt is not None:
            raise InputError("--paths counts from the input, so it does not go with --wrt. Leave one of them out.")
        if self.layer is not None and (self.csv or self.markdown):
            raise InputError("--csv and --markdown print the whole table. Leave --layer out, or use --json.")

    def _table(self, table: Table) -> str:
        from jaxrf.geometry.render import text

        if self.json:
            return table.to_json()
        if self.csv:
            return table.to_csv().rstrip("\n")
        return table.to_markdown().rstrip("\n") if self.markdown else text(table.rows, table.title, columns())

    def _layer(self, row: Row, unit: tuple[int, ...], counts: PathCounts | None) -> str:
        facts = layer_facts(row, unit, counts)
        if self.json:
            return json.dumps(facts, indent=2)
        facts["global_cause"] = "; ".join(f"{axis}: {cause}" for axis, cause in row.global_cause.items()) or None
        facts["notes"] = "; ".join(row.notes) or None
        return "\n".join(f"{name.replace('_', ' '):>14}  {_plain(value)}" for name, value in facts.items())

    def _finish(
        self, text: str, shown: Table | Row, unit: tuple[int, ...] = (), counts: PathCounts | None = None
    ) -> int:
        """Print, and draw what was asked for."""
        if self.plot is not None:
            figures.without_window()
            from jaxrf.report import geometry_figures as draw

            if self.layer is None:
                axes = draw.plot_size_over_depth(shown)  # type: ignore[arg-type]
            else:
                axes = counts.plot() if counts is not None else draw.plot_boxes(shown, [unit])  # type: ignore[arg-type]
            figures.save(axes.figure, self.plot)
        print(text)
        return 0


def layer_facts(row: Row, unit: tuple[int, ...], counts: PathCounts | None = None) -> dict[str, Any]:
    """What one layer's row says about itself and about `unit`, and the paths to it, in JSON's types."""
    from jaxrf.geometry.encode import number

    return {
        "layer": row.name,
        "kind": row.kind,
        "shape": list(row.shape),
        "size": number(row.size),
        "stride": number(row.stride),
        "padding": number(row.padding),
        "min_size": number(row.min_size),
        "halo": number(row.halo()),
        "halo_unaligned": number(row.halo(aligned=False)),
        "smallest_input": number(row.smallest_input),
        "global_axes": list(row.global_axes),
        "global_cause": dict(row.global_cause),
        "unproductive": row.unproductive,
        "aligned": row.aligned,
        "exact": row.exact,
        "unit": list(unit),
        "center": number(row.center(unit)),
        "box": number(row.box(unit)),
        "clipped_box": number(row.box(unit, clip=True)),
        "share": round(row.share, 4),
        **({} if counts is None else {"paths": counts.total, "density": round(counts.density, 4)}),
        **({} if row.scale is None else physical_facts(row, unit)),
        "notes": list(row.notes),
    }


def physical_facts(row: Row, unit: tuple[int, ...]) -> dict[str, Any]:
    """The same in physical units, as far as these are known."""
    from jaxrf.geometry.encode import number

    assert row.scale is not None
    found, name = row.physical, row.scale.unit or "units"
    facts = {"size": found.size, "stride": found.stride, "latency": found.latency, "center": found.center(unit)}
    return {f"{fact}_in_{name}": number(value) for fact, value in facts.items()}


def _plain(value: Any) -> str:
    """`value` as a line of text shows it."""
    if isinstance(value, list):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
