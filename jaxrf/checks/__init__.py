"""The engine's maps beside those of a slow and obvious oracle.

Comes in: a model and the options of a call. Goes out: how far the two are apart, or the first difference.
`oracles` shares nothing with tracing, interpretations and the engine, so that it cannot share their mistakes.
"""
