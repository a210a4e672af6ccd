"""What every other room stands on: words for annotations, tables of named things, compilation, where a number came from.

Comes in: nothing of the project but its errors. Goes out: tools that know of no model, field or map.
Invariant: a name in a `Registry` is entered once, and an unknown one is an error that lists the nearest.
One more trait of platforms is an attribute of `Traits` in `platforms.py`, with its value for each platform that has it.
`compiler` is the one home of `jax.jit` and of the options that avoid wrong code of XLA; `platforms` says how each platform
computes; `chips` compiles for accelerators that are not here, and `estimates` reads what their compilers expect; `faults`
names what XLA computes wrongly in programs that are run as they are; `registry` is the table in which scores, measures,
rules, models and protocols are found by name; `place` finds the user's line of an equation; `executors` finds those who
compute by their names; `ranges` holds whole numbers in order.
"""
