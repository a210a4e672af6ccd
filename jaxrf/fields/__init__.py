"""Prepared layers as pure functions, run with weights and images, and kept for the next call.

Comes in: prepared layers, weights, images, a key. Goes out: `Maps`, statistics that add, a `Result`.
`field` is the pure function that stands in the programs of others; `statistics` adds its maps up on their device; `run`
goes through samples on the host; `opening` finds or makes the field of a call, and `cache` keeps it; `certificate` and
`lost` say where its numbers mean nothing.
Invariants: a call of a field depends on its arguments alone; a merged statistic is that of all samples at once.
One more way to run a field is a file beside `run.py` that calls it and adds its maps up.
"""
