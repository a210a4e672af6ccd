"""Sweeps: products of models, layers, inputs and seeds, run to the end whatever happens on the way.

Comes in: a specification, or tasks with models in memory. Goes out: blocks on disk, and results made of them.
A task is a value with an id; a job is a part of a task, and its answer is bytes, whoever computes it: this process, an
executor, Dask, MPI. One process alone reads and writes the place.
Invariants: a block is written once and never changed; sums go in the order of the jobs, so that the bits do not depend on
who computed them; the same command again does what is missing; what does not agree with its checksum is named and moved
nowhere. Reading loads no JAX.
"""

from jaxrf.sweeps.specification import Specification, from_dict, read

__all__ = ["Specification", "from_dict", "read"]
