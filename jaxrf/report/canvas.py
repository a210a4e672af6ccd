"""Empty figures: not known to pyplot, so that nothing keeps them alive, and shown by notebooks all the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from jaxrf.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib, which is not installed. Run: pip install 'jaxrf[plot]'") from error

    class Shown(Figure):
        """A figure that a notebook shows, whether or not pyplot has told it how."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    return Shown(figsize=(width, height), dpi=150, layout="constrained")
