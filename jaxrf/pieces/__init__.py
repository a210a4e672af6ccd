"""Models run piece by piece: images in tiles, signals in chunks, with the numbers of the whole.

Takes rows of the table, which say what a unit sees, and gives plans: which part of the input each piece is, and which
units are taken from it. `plan.py` is numbers alone and serves any runner; `context.py` measures how much of the
theoretical context matters; `tiles.py` and `stream.py` run models.

What holds everywhere: a piece begins at a multiple of the network's step, and has the length of the whole modulo that
step, so that strides and padding fall as they do on the whole. It begins at the border of the input or keeps no unit
that sees its beginning, and so at its end. All pieces have one shape, so that one program runs them.
"""
