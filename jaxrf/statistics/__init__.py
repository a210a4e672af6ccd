"""Mergeable reducers of maps, and measures on maps. Numbers only: nothing here sees a model or imports JAX."""

from jaxrf.statistics.averages import effective_sample_size
from jaxrf.statistics.gathered import Gathered, Summary
from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval
from jaxrf.statistics.measures import measures
from jaxrf.statistics.moments import Moments
from jaxrf.statistics.until import Until

__all__ = ["Gathered", "Groups", "Interval", "Moments", "Summary", "Until", "effective_sample_size", "measures"]
