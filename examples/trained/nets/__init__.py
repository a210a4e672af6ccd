"""One file for each package of trained networks; all are imported here, and have entered what they hold in the tables.

A file here has the Flax modules of a package, and imports readers and runtimes inside of the functions that need them.
"""

from __future__ import annotations

import importlib
import pkgutil

from examples.trained.tables import networks, packages

__all__ = ["networks", "packages"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
