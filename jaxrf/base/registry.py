"""A table of named things of one kind: scores, measures, primitives, models, protocols."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from jaxrf.errors import JaxrfError, unknown

T = TypeVar("T")
D = TypeVar("D")


class Registry(Mapping[str, T], Generic[T]):
    """Names to things, filled by decorators; no name twice, and misses suggest the nearest.

    >>> measures = Registry("measure")
    >>> @measures.register("peak")
    ... def peak(erf_map): return erf_map.max()
    >>> measures["peak"] is peak
    True
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, T] = {}
        self._places: dict[str, str] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """A decorator that enters its argument under each of `names`."""
        frame = inspect.currentframe()  # `inspect.stack()` reads the source of every frame, 80 ms each time
        caller = frame.f_back if frame else None
        place = f"{caller.f_code.co_filename}:{caller.f_lineno}" if caller else "an unknown place"

        def enter(thing: T) -> T:
            for name in names:
                if name in self._things:
                    raise JaxrfError(
                        f"The {self.kind} {name!r} is registered twice: at {self._places[name]} and at {place}. "
                        "Give one of them another name."
                    )
                self._things[name], self._places[name] = thing, place
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except KeyError:
            raise unknown(self.kind, name, self._things) from None

    def get(self, name: str, default: D = None) -> T | D:
        """The thing of that name, or `default`; other than `[]`, a miss is not an error."""
        return self._things.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._things))

    def __len__(self) -> int:
        return len(self._things)
