"""Averages of maps that merge, and the errors of what is measured on them.

Comes in: maps of samples. Goes out: means, standard errors, intervals of measures. Never sees a model; `measures` is
written for arrays of NumPy and JAX and loads neither JAX nor Flax.
Invariants: `merge` is associative, and what holds no sample is its identity; so batches, devices, processes and resumed
runs give what one pass gives. Variances are carried as a count, a mean and a sum of squared deviations.
One more measure is a file in `measures/` that registers it.
"""

from jaxrf.statistics.averages import effective_sample_size
from jaxrf.statistics.gathered import Gathered, Summary
from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval
from jaxrf.statistics.moments import Moments
from jaxrf.statistics.until import Until

__all__ = ["Gathered", "Groups", "Interval", "Moments", "Summary", "Until", "effective_sample_size"]
