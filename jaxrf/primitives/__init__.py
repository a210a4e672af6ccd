"""What is known of each primitive, in one place: every module of this package is loaded, and enters its rules."""

from __future__ import annotations

import importlib
import pkgutil

from jaxrf.primitives.operation import Kind, Operation, about, operations
from jaxrf.primitives.rule import Rule, Span, View, rules

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Kind", "Operation", "Rule", "Span", "View", "about", "operations", "rules"]
