"""What was measured: maps with their errors, comparisons of two, counts of paths.

Comes in: sums over samples, and where the maps lie. Goes out: measures with intervals, figures, files.
Invariant: a result that was saved and opened measures, compares and draws as before.
Numbers and words only: loads no JAX, holds no model. What is measured is in `statistics/`, what is drawn in `report/`,
what is written in `store/`.
One more way to look at results is a file that takes some and gives numbers, as `comparisons.py`.
"""
