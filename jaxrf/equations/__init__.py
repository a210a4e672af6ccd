"""The tangent program as a value: equations, variables, literals, layers, and what is known of masks.

Comes in: what `tangent` finds in a traced model. Goes out: values that rules, interpretations and the engine read.
Invariants: an equation has one result if it is linear; a variable has one equation; constants are values, not equations.
One more fact of an equation is a field of `Equation`, which `tangent` fills in.
Words: a *tangent* variable carries a derivative, any other a value; a *level* is what is known of the elements of a mask.
"""
