"""Sweeps: many tasks run to the end, whatever happens on the way.

Comes in: tasks, of a specification or made by hand. Goes out: blocks on disk, and results made of them.
A job is a part of a task as a value, and its answer is bytes, whoever computes it: this process, an executor, Dask, MPI.
One process alone reads and writes the place.
Invariants: a block is written once and never changed; sums go in the order of the jobs, so that the bits do not depend on
who computed them; the same command again does what is missing; what does not agree with its checksum is named and moved
nowhere. Reading loads no JAX.
One more engine is any `concurrent.futures.Executor`; one that is named by a word, as `dask://host`, is a branch of
`executor` in `base/executors.py`.
"""
