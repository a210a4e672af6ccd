"""From a model to its tangent program: tracing, flattening of calls and loops, and what is constant in it.

Comes in: a subject. Goes out: a `TangentProgram` (`equations/program.py`).
The one room that depends on how JAX lays out its programs: a new version of JAX changes files here, and in `primitives/`
where an operation is new. Invariants: the program computes what the model computes; equations are in an order in which
each reads what stands before it; loops over layers are unrolled, calls inlined, branches joined by a select.
One more operation that is to be written as others is a function in `rewrites.py` and a line of its table.
"""
