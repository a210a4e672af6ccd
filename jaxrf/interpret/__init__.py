"""Interpretations of the tangent program that need no values: boxes of all layers."""
