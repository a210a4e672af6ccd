"""The tangent program as a value: equations, variables, literals, layers, and what is known of masks.

Comes in: nothing; `tangent` writes these values, and rules, interpretations and the engine read them.
Invariants: an equation has one result if it is linear; a variable has one equation; constants are values, not equations.
Words: a *tangent* variable carries a derivative, any other a value; a *level* is what is known of the elements of a mask.
"""
