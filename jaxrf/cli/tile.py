"""`jaxrf tile`: how a large input is cut into tiles, and a model run on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jaxrf.cli import values
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.errors import InputError

if TYPE_CHECKING:
    from jaxrf.pieces.plan import TilePlan


def tile_sizes(text: str) -> tuple[int | None, ...]:
    """The most positions of a tile, for all axes or for each; `whole` for one that is not cut.

    >>> tile_sizes("512"), tile_sizes("512xwhole")
    ((512,), (512, None))
    """
    parts = text.split("x")
    if not all(part == "whole" or part.isdigit() for part in parts):
        raise InputError(f"{text!r} is not a size of tiles. Write for example 512, 512x256 or 512xwhole.")
    return tuple(None if part == "whole" else int(part) for part in parts)


@commands.register("tile")
@dataclass(frozen=True, kw_only=True)
class Tile(ModelOptions, Command):
    """Plan tiles of a large input, or run a model on them.

    Without an image the plan is printed: tiles, overlap, and what is computed twice.
    With one, the model runs on the tiles, and gives what it gives on the whole.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf tile zoo:unet --input 4096x4096x1 --tile 512
  jaxrf tile my_models.py:make_net --input 8192x8192x3 --tile 1024 --layer features --json
  jaxrf tile my_models.py:make_net image.npy --variables checkpoint/ --tile 1024 --out features.npy"""

    image: tuple[str, ...] = positional("an image (y, x, channels) as .npy; read in parts", metavar="IMAGE", many=True)
    tile: tuple[int | None, ...] | None = option(
        "the most positions of a tile, overlap included, as 512, 512x256 or 512xwhole", parse=tile_sizes, metavar="SIZE"
    )
    layer: str | None = option("the layer that is computed (default: the output)", metavar="NAME")
    divisible_by: int = option("what the model asks of its input's size", default=1, parse=values.count, metavar="N")
    variables: str | None = option(
        "a checkpoint with the weights: an Orbax folder, .msgpack, .npz or .safetensors", metavar="PATH"
    )
    out: str | None = option("the .npy file to write", metavar="FILE")

    def run(self) -> int:
        import jaxrf

        self._validate()
        loaded, input_shape = self.load()
        if self.image:
            return self._run_on(loaded.model)
        table = jaxrf.trf(loaded.model, input_shape, **self.call_arguments())
        row = table[-1] if self.layer is None else table[self.layer]
        plan = jaxrf.tile_plan(row, row.input_shape, self._sizes(), divisible_by=self.divisible_by)
        print(json.dumps(facts(plan), indent=2) if self.json else plan)
        return 0

    def _validate(self) -> None:
        if self.tile is None:
            raise InputError("How large may a tile be? Give the most positions that fit into memory, as --tile 512.")
        if len(self.image) > 1:
            raise InputError(f"{len(self.image)} images were given. Run them one after the other.")
        if bool(self.image) != (self.variables is not None) or bool(self.image) != (self.out is not None):
            raise InputError("A model runs on an image with weights, into a file: give IMAGE, --variables and --out.")

    def _sizes(self) -> Any:
        assert self.tile is not None
        return self.tile[0] if len(self.tile) == 1 else self.tile

    def _run_on(self, model: Any) -> int:
        import numpy as np

        import jaxrf

        assert self.variables is not None and self.out is not None
        image = read_image(self.image[0])
        value = jaxrf.tile(
            model, jaxrf.load_variables(self.variables), image[None], self._sizes(), layer=self.layer,
            divisible_by=self.divisible_by, **self.call_arguments(),
        )  # fmt: skip
        np.save(self.out, value[0])
        shown = {"shape": list(value.shape[1:]), "written": self.out}
        print(json.dumps(shown, indent=2) if self.json else f"wrote {self.out}, of shape {value.shape[1:]}")
        return 0


def read_image(path: str) -> Any:
    """The array of a .npy file, as a memory map.

    Raises:
        InputError: there is no such file, or it is no array.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an array: {error}. Give a .npy file.") from error


def facts(plan: TilePlan) -> dict[str, Any]:
    """A plan in JSON's types: where tiles begin, and which units are kept of them."""
    return {
        "layer": plan.layer,
        "tiles": len(plan),
        "tile": list(plan.tile),
        "waste": round(plan.waste, 4),
        "axes": [
            {"size": axis.size, "step": axis.step, "starts": list(axis.starts), "borders": list(axis.borders)}
            for axis in plan.axes
        ],
    }
