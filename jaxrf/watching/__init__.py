"""Fields on the way: layers mapped every N steps of a training, recorded step by step.

Comes in: a model, held images, and weights as the training has them. Goes out: a Zarr with a `step` axis, numbers for
writers of scalars, figures. `watch` stands in the loop; `history` reads what was recorded and runs no model; `entry` is
one step as arrays; `writers` speaks to the libraries that show scalars; `following` finds checkpoints in a folder.
Invariants: nothing is compiled after the first map; weights are read and never changed; a step is recorded whole or not.
One more kind of writer is a branch of `write` in `writers.py`, told by a method that it has.
"""
