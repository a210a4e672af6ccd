"""Words for the axes of arrays, as annotations use them.

`unit` counts units, `y x` (or `*spatial`) are input positions, `n` counts samples or the units of one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]
PyTree = Any
Device = Any
"""What `jax.devices()` lists."""
Units = str | Sequence[Sequence[int]] | np.ndarray
"""Which units: "center", "all", `jaxrf.grid(...)`, or positions (n, axes)."""
Batches = np.ndarray | Iterable[np.ndarray]
"""Images: one array (n, ...), or an iterable of such."""
