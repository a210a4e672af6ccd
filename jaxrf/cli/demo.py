"""`jaxrf demo`: a photo through a ResNet-50 with random weights, as a table, two maps and two pictures."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jaxrf.cli import values
from jaxrf.cli.erf import describe, save_figure, summary
from jaxrf.cli.folder import RunFolder
from jaxrf.cli.options import Command, commands, option
from jaxrf.cli.terminal import columns
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.geometry.table import Row, Table

SIZE = (224, 224)


@commands.register("demo")
@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Map the fields of a ResNet-50 on a photo.

    Prints the table of theoretical fields.
    Maps the effective field of the center unit of the output and of one layer in the middle, over random weights.
    Writes the maps (Zarr) and a figure of each.
    """

    out: str = option("the folder to write to; an earlier run in it is replaced", default="runs/demo", metavar="DIR")
    seeds: int = option("how many random initializations to average over", default=8, parse=values.count, metavar="N")
    layer: str = option("the layer in the middle", default="layer2", metavar="NAME")

    def run(self) -> int:
        from jaxrf.geometry.render import text

        folder = RunFolder.claim(self.out, overwrite=True)
        photo_file = folder.path / "photo.png"
        folder.describe("demo", options=asdict(self))
        save_photo(photo_file)
        started = time.perf_counter()
        table = self._table()
        if not self.json:
            print(text(table.rows, table.title, columns()), end="\n\n")
        maps = [self._map(layer, str(photo_file), folder) for layer in (None, self.layer)]
        seconds = round(time.perf_counter() - started, 1)
        if self.json:
            print(
                json.dumps({"table": [layer_summary(row) for row in table], "maps": maps, "seconds": seconds}, indent=2)
            )
        else:
            print(f"done in {seconds} s; the pictures are in {folder.path}/")
        return 0

    def _table(self) -> Table:
        import jaxrf
        from jaxrf import zoo

        return jaxrf.trf(zoo.resnet50(), (*SIZE, 3))

    def _map(self, layer: str | None, photo: str, folder: RunFolder) -> dict[str, Any]:
        """Map one layer's center unit, save the result and its figure, and say what was found."""
        import jaxrf
        from jaxrf import zoo
        from jaxrf.inputs import photos

        inputs = photos.read(photo, SIZE)[None]
        result = jaxrf.erf(zoo.resnet50(), None, inputs, layer=layer, seeds=self.seeds)
        name = layer or "output"
        result.save(folder.path / f"{name}.zarr", overwrite=True)
        save_figure(result, str(folder.path / f"{name}.png"), photo=photo)
        facts = summary(result)
        if not self.json:
            print("\n".join(describe(facts)), end="\n\n")
        return facts


def layer_summary(row: Row) -> dict[str, Any]:
    """The name and the derived numbers of one layer, in JSON's types."""
    from jaxrf.geometry.encode import number, summary

    return {"layer": row.name, **{name: number(value) for name, value in summary(row).items()}}


def save_photo(file: Any) -> None:
    """Save the photo of an astronaut (NASA, public domain) that comes with scikit-image."""
    try:
        from skimage import data
    except ImportError as error:
        raise InputError("The demo's photo comes with scikit-image. Run pip install 'jaxrf[demo]'.") from error
    from PIL import Image

    Image.fromarray(data.astronaut()).save(file)
