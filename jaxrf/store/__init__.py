"""Results on disk: a Zarr v3 group, or one npz or NetCDF file.

Comes in: named arrays and a header. Goes out: the same, bit by bit, or an error that names the file.
Never runs a model or loads JAX. Invariant: what is at a path is whole, old or new, whatever ends the process.
One more format is a file beside `npz_file.py` and a line in `disk.py`.
"""

from jaxrf.store.disk import load, save
from jaxrf.store.record import Record, Variable

__all__ = ["Record", "Variable", "load", "save"]
