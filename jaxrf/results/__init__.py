"""What was measured: maps with their errors, comparisons of two, counts of paths.

Comes in: sums over samples, and where the maps lie. Goes out: measures with intervals, figures, files.
Numbers and words only: loads no JAX, holds no model. What is measured is in `statistics/`, what is drawn in `report/`,
what is written in `store/`.
"""
