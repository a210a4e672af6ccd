"""`jaxrf.atlas`: the atlas as it is stored, read without JAX."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jaxrf.atlases.row import AtlasRow, from_csv
from jaxrf.errors import InputError, StoreError, unknown

FILE = "atlas.csv"


@dataclass(frozen=True, repr=False)
class Atlas:
    """Rows of networks, stages, inputs and kinds of images.

    Attributes:
        rows: in the order of the table: networks by their names, inputs, images, stages.
    """

    rows: tuple[AtlasRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[AtlasRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        there = [row for row in self.rows if row.status != "failed"]
        failed = len(self.rows) - len(there)
        return f"Atlas: {len(there)} rows of {len({row.network for row in there})} networks; {failed} failed"

    @property
    def networks(self) -> list[str]:
        """The names of the networks that have rows, in their order."""
        return list(dict.fromkeys(row.network for row in self.rows))

    def __getitem__(self, network: str) -> Atlas:
        """The rows of a network.

        Raises:
            UnknownNameError: it has none; says the nearest that has.
        """
        if network not in self.networks:
            raise unknown("network of the atlas", network, self.networks)
        return Atlas(tuple(row for row in self.rows if row.network == network))

    def select(self, **values: object) -> Atlas:
        """The rows that have these values in these columns, as `images="noise", status="done"`.

        Raises:
            UnknownNameError: there is no such column.
        """
        known = AtlasRow.__dataclass_fields__
        for name in values:
            if name not in known:
                raise unknown("column of the atlas", name, known)
        return Atlas(tuple(row for row in self.rows if all(getattr(row, name) == v for name, v in values.items())))

    def find(self, network: str, layer: str, *, input: str | None = None, images: str = "noise") -> AtlasRow:
        """One row.

        Args:
            network: its name in the zoo.
            layer: the last of a stage.
            input: shape, as 224x224x3; the largest that there is if None.
            images: "noise" or "photos".

        Raises:
            UnknownNameError: there is no such network or layer; says the nearest.
            InputError: the layer has no row on this input and these images.
        """
        own = self[network]
        layers = list(dict.fromkeys(row.layer for row in own))
        if layer not in layers:
            raise unknown(f"layer of {network} in the atlas", layer, layers)
        found = [row for row in own if row.layer == layer and row.images == images and input in (None, row.input)]
        if not found:
            there = ", ".join(f"{row.input} with {row.images}" for row in own if row.layer == layer)
            raise InputError(
                f"The atlas has {network} {layer} on {there}, not on {input or 'any input'} with {images}."
            )
        return max(found, key=lambda row: int(row.input.split("x")[0]))


def atlas(path: str | os.PathLike[str] | None = None) -> Atlas:
    """The atlas: fields of the zoo's networks, each row with intervals and the command that makes it again.

    Args:
        path: a table that `jaxrf atlas-export` wrote; the one that jaxrf brings along if None.

    Raises:
        StoreError: there is no such file, it is not an atlas, or one of another schema.

    Example:
        >>> import jaxrf
        >>> row = jaxrf.atlas().find("resnet18", "layer1", input="224x224x3")
        >>> row.size, row.estimator
        ((43, 43), 'sign_averaged')
    """
    if path is None:
        return Atlas(tuple(from_csv(resources.files("jaxrf.atlases").joinpath(FILE).read_text(), FILE)))
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"There is no atlas at {path}: {error}. Give a table of jaxrf atlas-export.") from error
    return Atlas(tuple(from_csv(text, os.fspath(path))))
