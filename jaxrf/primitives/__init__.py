"""One rule per linear primitive; every module of this package is loaded, and each enters its rules."""

from __future__ import annotations

import importlib
import pkgutil

from jaxrf.primitives.rule import Rule, Span, View, rules

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Rule", "Span", "View", "rules"]
