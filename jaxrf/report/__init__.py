"""Figures of results and tables: what they draw, and how.

Comes in: maps and where they lie (`drawn.py` says what is read of them), rows, counts. Goes out: figures of Matplotlib.
Never runs a model, and loads Matplotlib only when something is drawn.
"""
