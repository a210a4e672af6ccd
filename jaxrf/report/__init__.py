"""Figures of results and tables: what they draw, and how.

Comes in: maps and where they lie (`drawn.py` says what is read of them), rows, counts. Goes out: figures of Matplotlib.
Invariants: it never runs a model, and loads Matplotlib only when something is drawn.
One more figure is a function that takes results and returns axes; it is drawn in `docs/gallery.md` and in
`tests/report/test_pictures.py`.
"""
