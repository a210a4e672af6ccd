"""What commands and sweeps name by text: models, their variables, shapes and units.

Comes in: words. Goes out: models, arrays, options. Knows nothing of what is asked of them.
Invariants: a word that names nothing is an error with the nearest; the hash of a model is the same in every process.
One more format of checkpoints is a function that `formats.py` registers; one more family of names an entry in
`families.py`; one more scheme, as `timm:NAME`, a function in `models.py` and a line of `load`.
"""
