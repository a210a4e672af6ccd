"""Mergeable reducers of maps, and measures on maps. Numbers only: nothing here sees a model or imports JAX."""

from jaxrf.statistics.averages import Averages, effective_sample_size
from jaxrf.statistics.measures import measures
from jaxrf.statistics.moments import Moments

__all__ = ["Averages", "Moments", "effective_sample_size", "measures"]
