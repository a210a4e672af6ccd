"""Interpretations of the tangent program that need no values: boxes of all layers, axes, path counts, zeros, magnitudes.

Comes in: a tangent program and the rules of its operations. Goes out: `Geometry`, whose parts are computed at their first
use and read by everybody behind it. Never sees units that were asked for, samples or maps.
Invariants: a box holds every path, and is their hull where a row says `exact`; an axis holds positions only if it comes
from the input's axes, factor by factor.
One more interpretation is a file with one pass over the equations, and a cached property of `Geometry`.
"""
