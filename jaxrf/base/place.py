"""Where in the user's code an equation of JAX was written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The folder of jaxrf."""
LIBRARIES = (PACKAGE, os.path.dirname(jax.__file__) + os.sep, contextlib.__file__, f"{os.sep}site-packages{os.sep}")
"""Parts of the names of files that hold no code of the user's."""


def place(source_infos: Sequence[Any]) -> str:
    """`called at model.py:41 (Net.__call__)`: the innermost frame that is not of a library.

    Args:
        source_infos: of an equation and of the calls around it, whose frames end where the call begins.
    """
    for info in source_infos:
        for frame in getattr(info.traceback, "frames", None) or []:
            if not any(part in frame.file_name for part in LIBRARIES):
                return f"called at {os.path.basename(frame.file_name)}:{frame.line_num} ({frame.function_name})"
    return ""
