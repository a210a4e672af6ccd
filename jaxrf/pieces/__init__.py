"""Models run piece by piece: images in tiles, signals in chunks, with the numbers of the whole.

Comes in: rows of the table, which say what a unit sees. Goes out: plans, which say which part of the input each piece is
and which units are taken from it, and the whole put together of them. `plan.py` is numbers alone and serves any runner;
`context.py` measures how much of the theoretical context matters; `tiles.py` and `stream.py` run models.
Invariants: a piece begins at a multiple of the network's step, and has the length of the whole modulo that step, so that
strides and padding fall as they do on the whole. It begins at the border of the input or keeps no unit that sees its
beginning, and so at its end. All pieces have one shape, so that one program runs them.
One more runner is a file that goes through the pieces of a plan and puts their units together.
"""
