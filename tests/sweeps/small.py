"""A small sweep of one task with two images and four seeds, and what runs of it end with."""

from __future__ import annotations

from jaxrf.store.location import Location
from jaxrf.sweeps.run import Progress, run
from jaxrf.tasks import Specification

MODEL = {"source": "zoo:conv_stack", "depth": 1, "width": 2}


def made(**changes) -> Specification:
    return Specification(**{"model": MODEL, "input": "8x9x3", "inputs": "noise:2", "seeds": "0:4", **changes})


def last(*arguments, **options) -> Progress:
    *_, end = run(*arguments, **options)
    return end


def digests(place) -> dict[str, str]:
    return Location.at(place).read_json("run.json")["results"]
