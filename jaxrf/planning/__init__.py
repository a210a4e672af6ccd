"""From the words of a call to a prepared layer: options, programs, windows, crop, batches, and the memory that they take.

Comes in: a subject, the variables' shapes, the images' shapes, `Options`. Goes out: `Prepared`, in which all is decided and
nothing was computed. Invariants: no value of a weight or an image is read; what is decided is in `plan`, which prints itself.
One more option is a field of `Options`, which `erf`, `prepare`, `plan`, `check`, the command line and sweeps read.
"""
