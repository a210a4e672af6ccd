"""What is known of maps before there are any: of which units they are, where they lie, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxrf.geometry.row import Row
from jaxrf.results.result import Result
from jaxrf.statistics import Gathered, gathered


@dataclass(frozen=True, eq=False)
class Mapped:
    """All that a result says besides its numbers.

    Attributes:
        origin, units, theoretical, score, channels, provenance: as of a `Result`.
        images_interact: whether images of a batch see each other.
    """

    origin: Int[np.ndarray, "unit axis"]
    units: Int[np.ndarray, "unit unit_axis"]
    theoretical: Row
    score: str
    channels: str | int
    images_interact: bool
    provenance: Mapping[str, Any]

    def described(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able facts, and arrays, of which `of` makes it again."""
        facts = {name: getattr(self, name) for name in ("score", "channels", "images_interact", "provenance")}
        arrays = {name: np.asarray(getattr(self, name), np.int64) for name in ("origin", "units")}
        return {**facts, "theoretical": self.theoretical.to_dict()}, arrays

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Mapped:
        """What was `described`; there may be other facts and arrays beside."""
        found = {**facts, **arrays, "theoretical": Row.from_dict(facts["theoretical"])}
        return cls(**{f.name: found[f.name] for f in fields(cls)})

    def result(self, total: Gathered, own: np.ndarray, facts: Mapping[str, Any]) -> Result:
        """What was gathered as a result.

        Args:
            total: the samples.
            own: (2,), their scores on own and on other images.
            facts: of the run, for the provenance.
        """
        facts = {**self.provenance, **facts}
        if self.images_interact:
            facts["share_on_own_image"] = float(own[0] / own.sum()) if own.any() else 1.0
        return Result(
            **vars(gathered.finalize(total)),
            origin=self.origin,
            units=self.units,
            theoretical=self.theoretical,
            score=self.score,
            channels=self.channels,
            input_shape=self.theoretical.input_shape,
            provenance=facts,
        )
