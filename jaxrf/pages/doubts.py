"""What is doubtful about one result, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxrf.errors import visible
from jaxrf.report.view import View
from jaxrf.results.result import Result
from jaxrf.statistics.gathered import TRUSTED


def doubts(result: Result, shown: View) -> Iterator[str]:
    """Sentences about what weakens a result, the same for all results that it is true of."""
    row = result.theoretical
    if shown.peak == 0:
        yield "The map is zero everywhere: the unit is dead, or its channels cancel."
    if result.dead and shown.peak > 0:
        yield "Some samples are dead: their gradient is zero everywhere, and the mean counts them as zeros."
    if result.nonfinite or not np.isfinite(shown.peak):
        yield "Some samples hold NaN or infinite gradients."
    if result.effective is not None and (result.effective < TRUSTED).any():
        yield f"Samples are worth fewer than {TRUSTED} independent ones: standard errors are rough, intervals wide."
    if not row.aligned:
        yield "Not aligned: paths to the layer disagree on stride or center."
    if row.global_axes:
        cause = f" ({visible('; '.join(dict.fromkeys(row.global_cause.values())))})" if row.global_cause else ""
        yield f"Global: units see the whole of the axes {', '.join(row.global_axes)}{cause}."
    if not row.exact:
        notes = " ".join(visible(note) for note in row.notes)
        yield f"Approximate: the theoretical box may be larger than what paths reach. {notes}".strip()
    if not shown.centered:
        yield "Units have no center of their own; measures about it are not defined."
