"""jaxrf: theoretical and effective receptive fields of JAX and Flax models.

The public names are loaded when they are first used, so that `import jaxrf` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrf import init, measures
    from jaxrf.adapters.tap import tap
    from jaxrf.api import check, erf, paths, plan, prepare, trf
    from jaxrf.atlases.atlas import atlas
    from jaxrf.base.compiler import compiler_options
    from jaxrf.engine.units import grid
    from jaxrf.fields.opening import clear_cache
    from jaxrf.inputs.images import noise
    from jaxrf.loading.variables import load_variables
    from jaxrf.pages.write import write_report
    from jaxrf.pieces.context import halo
    from jaxrf.pieces.plan import tile_plan
    from jaxrf.pieces.stream import stream
    from jaxrf.pieces.tiles import tile
    from jaxrf.report.curves import plot_measure, plot_profiles
    from jaxrf.report.grid import plot_grid
    from jaxrf.results.comparisons import compare
    from jaxrf.results.result import load
    from jaxrf.statistics import Until
    from jaxrf.statistics.distances import attention_distance
    from jaxrf.sweeps.call import sweep
    from jaxrf.sweeps.results import open
    from jaxrf.tasks.held import task
    from jaxrf.watching.history import history
    from jaxrf.watching.watch import watch

__version__ = "0.1.0"
__all__ = [
    "Until",
    "atlas",
    "attention_distance",
    "check",
    "clear_cache",
    "compare",
    "compiler_options",
    "erf",
    "grid",
    "halo",
    "history",
    "init",
    "load",
    "load_variables",
    "measures",
    "noise",
    "open",
    "paths",
    "plan",
    "plot_grid",
    "plot_measure",
    "plot_profiles",
    "prepare",
    "stream",
    "sweep",
    "tap",
    "task",
    "tile",
    "tile_plan",
    "trf",
    "watch",
    "write_report",
]

_HOMES = {
    "Until": "jaxrf.statistics",
    "atlas": "jaxrf.atlases.atlas",
    "check": "jaxrf.api",
    "clear_cache": "jaxrf.fields.opening",
    "compare": "jaxrf.results.comparisons",
    "compiler_options": "jaxrf.base.compiler",
    "erf": "jaxrf.api",
    "load_variables": "jaxrf.loading.variables",
    "paths": "jaxrf.api",
    "plan": "jaxrf.api",
    "prepare": "jaxrf.api",
    "trf": "jaxrf.api",
    "grid": "jaxrf.engine.units",
    "noise": "jaxrf.inputs.images",
    "load": "jaxrf.results.result",
    "plot_grid": "jaxrf.report.grid",
    "plot_measure": "jaxrf.report.curves",
    "plot_profiles": "jaxrf.report.curves",
    "write_report": "jaxrf.pages.write",
    "history": "jaxrf.watching.history",
    "watch": "jaxrf.watching.watch",
    "open": "jaxrf.sweeps.results",
    "sweep": "jaxrf.sweeps.call",
    "task": "jaxrf.tasks.held",
    "tap": "jaxrf.adapters.tap",
    "attention_distance": "jaxrf.statistics.distances",
    "halo": "jaxrf.pieces.context",
    "stream": "jaxrf.pieces.stream",
    "tile": "jaxrf.pieces.tiles",
    "tile_plan": "jaxrf.pieces.plan",
}


def __getattr__(name: str) -> Any:
    if name in ("init", "measures"):  # modules of their own, as one calls jaxrf.init.uniform()
        return importlib.import_module(f"jaxrf.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxrf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
