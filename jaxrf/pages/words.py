"""What the page says in words: a summary, and which doubts are about which results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxrf.pages.cards import Card


def gathered(cards: Sequence[Card]) -> list[tuple[str, list[str]]]:
    """Each doubt once, with the names of the results that it is about."""
    found: dict[str, list[str]] = {}
    for one in cards:
        for doubt in one.doubts:
            found.setdefault(doubt, []).append(one.name)
    return list(found.items())


def summary(cards: Sequence[Card], labels: Sequence[str]) -> list[str]:
    """The page in a few sentences: how many results of what, and which are the smallest and largest."""
    layers = list(dict.fromkeys(one.layer for one in cards))
    of = f"the layer {layers[0]}" if len(layers) == 1 else f"{len(layers)} layers"
    samples = sum(one.samples for one in cards)
    said = [f"{_count(len(cards), 'result')} of {of}, from {_count(samples, 'sample')} in all."]
    small, large = (min(one.extent for one in cards), max(one.extent for one in cards))
    said.append(
        f"The theoretical field is {small} input positions long."
        if small == large
        else f"Theoretical fields are {small} to {large} input positions long."
    )
    kinds = len({one.kind for one in cards})
    if kinds > 1:
        said.append(f"They are of {kinds} kinds that cannot be compared with each other.")
    for label in labels if kinds == 1 else ():
        known = [one for one in cards if np.isfinite(one.numbers[label].value)]
        if len(known) > 1:
            low, high = (pick(known, key=lambda one: one.numbers[label].value) for pick in (min, max))
            least, most = (f"{one.numbers[label].value:.3g} ({one.name})" for one in (low, high))
            said.append(f"{label} goes from {least} to {most}.")
    doubtful = sum(bool(one.doubts) for one in cards)
    said.append(f"There is a warning about {doubtful} of them." if doubtful else "There are no warnings.")
    return said


def _count(number: int, what: str) -> str:
    """A number of things.

    >>> _count(1, "result"), _count(20480, "sample")
    ('1 result', '20,480 samples')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"
