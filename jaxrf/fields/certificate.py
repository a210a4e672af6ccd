"""The certificate of a run: the values of the units in the engine's forward pass are those of the model itself.

The engine runs a flattened program, on a crop, through quicker forms of some operations.
The first images are run through the user's model as it is, and both must agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxrf.adapters import Subject
from jaxrf.adapters.values import layer_value
from jaxrf.base.compiler import jit
from jaxrf.base.faults import fault
from jaxrf.errors import CheckError
from jaxrf.planning.prepared import Prepared

LIMIT = {"float64": 1e-9, "float32": 1e-2}
"""Largest difference relative to the largest value, of a hundred layers; coarser types are not certified."""


class Certificate:
    """The comparison for one prepared layer: made with the first images that it runs, and never again.

    Attributes:
        made: whether it was.
        outcome: the largest difference relative to the largest value; None where the layer is inside a loop of the model,
            its type is too coarse to tell, a value is not finite, or XLA is known to compute the model wrongly.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.made = False
        self.outcome: float | None = None

    def make(self, leaves: Sequence[jax.Array], images: np.ndarray, mine: np.ndarray) -> None:
        """Compare values of units with the model's own, one image after the other where images do not see each other.

        Args:
            leaves: the model's variables, flattened.
            images: whole ones (n, ...).
            mine: (n, unit, channel), from the engine.

        Raises:
            CheckError: they differ by more than rounding.
        """
        together = self.prepared.pullback.images_interact
        calls = [images] if together else [images[i : i + 1] for i in range(len(images))]
        self.outcome, self.made = self._compared(leaves, calls, mine), True

    def _compared(self, leaves: Sequence[jax.Array], calls: Sequence[np.ndarray], mine: np.ndarray) -> float | None:
        limit, layer = LIMIT.get(str(mine.dtype)), self.prepared.row.name
        if limit is None or not mine.shape[-1]:
            return None
        variables = jax.tree.unflatten(jax.tree.structure(self.prepared.subject.abstract), leaves)
        worst = self._difference(variables, calls, mine)
        if worst is None:
            return None
        if worst > limit and jax.default_backend() == "cpu":
            unfused = self._difference(variables, calls, mine, unfused=True)
            if unfused is not None and unfused <= limit:
                warnings.warn(
                    f"XLA computes {self.prepared.subject.name} wrongly on this device, where it fuses its operations: layer "
                    f"{layer!r} is off by {worst:.3g} of its largest value. The maps are those of the model as it is written.",
                    stacklevel=2,
                )
                return unfused
        if worst > limit:
            raise CheckError(
                f"The engine's forward value of layer {layer!r} differs from the model's own by {worst:.3g} of its largest "
                f"value; at most {limit:g} was expected. Is the model a function of its variables and images alone? If it "
                "is, this is a bug of jaxrf: certify=False goes on without this comparison."
            )
        return worst

    def _difference(
        self, variables: Any, calls: Sequence[np.ndarray], mine: np.ndarray, unfused: bool = False
    ) -> float | None:
        """The largest difference from the model's own values, relative to the largest of these; None where that cannot be told."""
        values = model_values(self.prepared.subject, self.prepared.row.name, variables, calls, unfused)
        if values is None:
            return None
        theirs = np.concatenate([self.prepared.picked(v, len(images)) for v, images in zip(values, calls, strict=True)])
        theirs = np.repeat(theirs, mine.shape[1] // theirs.shape[1], axis=1)
        if not np.isfinite(theirs).all():
            return None
        worst = float(np.abs(mine - theirs).max(initial=0)) / (float(np.abs(theirs).max(initial=0)) or 1.0)
        return worst if np.isfinite(worst) else np.inf


def model_values(
    subject: Subject, layer: str, variables: Any, calls: Sequence[np.ndarray], unfused: bool = False
) -> list[np.ndarray] | None:
    """The values of a layer, or of an output, when the model is simply called; `unfused` operation by operation.

    None where they cannot be read, or where XLA is known to compute the model wrongly, with a warning.
    """
    compiled = jit(layer_value(subject, layer), quick=True, unfused=unfused)
    try:
        wrong = fault(compiled.trace(variables, calls[0]).jaxpr)
        if wrong:
            warnings.warn(
                f"{subject.name} runs {wrong}. The maps are those of the model as it is written; its own forward pass is "
                "wrong on this device, and was not compared with the engine's.",
                stacklevel=2,
            )
            return None
        values = [compiled(variables, images) for images in calls]
    except jax.errors.UnexpectedTracerError:
        return None  # the layer is inside the body of a loop or of another transformation
    return None if values[0] is None else [np.asarray(value) for value in values]
