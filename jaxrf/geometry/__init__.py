"""Where units look, in numbers alone: intervals, relations between axes, tables, halos, closed forms.

Comes in: shapes and relations. Goes out: fields, rows and tables, which print themselves and become JSON.
Never sees JAX, a model or an equation, so that it is quick to import and can be checked against sets of indices.
Invariants: intervals are half-open; a field is one interval per unit and axis, clipped to the input, and, where it
repeats, its continuation on an endless input; `push` of a relation is the hull of what it really reads.
One more relation is a class beside its siblings in `relations.py`, and one more form of an axis one in `maps.py`.
"""
