"""Mergeable reducers of maps, and the errors of what is measured on their means. Numbers only: nothing here sees a model or imports JAX."""

from jaxrf.statistics.averages import effective_sample_size
from jaxrf.statistics.gathered import Gathered, Summary
from jaxrf.statistics.groups import Groups
from jaxrf.statistics.interval import Interval
from jaxrf.statistics.moments import Moments
from jaxrf.statistics.until import Until

__all__ = ["Gathered", "Groups", "Interval", "Moments", "Summary", "Until", "effective_sample_size"]
