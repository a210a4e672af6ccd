"""What commands and sweeps name by text: models, their variables, shapes and units.

Comes in: words. Goes out: models, arrays, options. Knows nothing of what is asked of them.
"""
