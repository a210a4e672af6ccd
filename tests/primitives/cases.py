"""Small functions, one or more for every linear primitive: what a rule is tried on.

Weights are positive and inputs are positive, so that nothing cancels and every path shows in a dense Jacobian.
Shapes are asymmetric. Nothing in `families/` knows of the rules: one file per family, each of which enters its cases.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from tests.primitives.case import CASES, Case, case, positive

for _module in pkgutil.iter_modules([str(Path(__file__).parent / "families")]):
    importlib.import_module(f"tests.primitives.families.{_module.name}")

__all__ = ["CASES", "Case", "case", "positive"]
