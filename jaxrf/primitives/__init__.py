"""What is known of each primitive, in one place: its kind, its values, and its rule if it is linear.

Comes in: equations. Goes out: relations between axes, zeros, pull-backs. Never sees units or samples.
Invariants, tested for every case of every rule: the relation is the support of a dense Jacobian, the pull-back is the
Jacobian's, alone and under `vmap`, and each thing that an operation says of itself is what brute force finds.
One more operation is one class in one file, and one case in the tests; every module here is loaded and enters its rules.
"""

from __future__ import annotations

import importlib
import pkgutil

from jaxrf.primitives.operation import Kind, Operation, about, operations
from jaxrf.primitives.rule import Rule, Span, View, rules

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Kind", "Operation", "Rule", "Span", "View", "about", "operations", "rules"]
