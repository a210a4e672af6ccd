"""The engine's maps beside those of a slow and obvious oracle.

Comes in: a model and the options of a call. Goes out: how far the two are apart, or the first difference.
Invariant: `oracles` shares nothing with tracing, interpretations and the engine, so that it cannot share their mistakes.
One more oracle is a function in `oracles.py` that says what a map is in the plainest way, and its use in `comparing.py`.
"""
