"""The value interpretation: cotangents pulled back on windows, in compiled batches.

Comes in: a tangent program, `Geometry`, the units asked for. Goes out: one map per unit and sample, in unit-centered frames,
as numbers and powers of two. Never sees statistics, files or models.
Invariants: a map is that of one `jax.vjp`, exactly but for rounding; what is left out of a window is zero; a batch of units
gives what its units give one by one.
Words: a *window* is the part of an array that a unit needs; a *batch* is the units, or images, of one pass; *signs* are
the random signs of the sign-averaged estimator.
One more score is a function in `scores.py`; one more rule of channels one in `channels.py`.
"""
