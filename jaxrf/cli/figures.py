"""Figures of the command line: drawn without a window, saved where the user said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxrf.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def without_window() -> None:
    """Draw into files only.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("--plot needs matplotlib, which is not installed. Run pip install 'jaxrf[plot]'.") from error
    matplotlib.use("Agg")


def save(figure: Figure | SubFigure, file: str) -> None:
    """Save a figure, with the folder that it lies in.

    Raises:
        InputError: it cannot be written, or not in such a format.
    """
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(file)  # type: ignore[union-attr]
    except (OSError, ValueError) as error:
        raise InputError(f"The figure cannot be saved as {file}: {error}. Use a .png, .pdf or .svg file.") from error
