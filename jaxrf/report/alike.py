"""Several results in one figure or table: their names, and whether their numbers can stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxrf.errors import InputError
from jaxrf.report.drawn import MapsOfUnits


def named(results: Mapping[str, MapsOfUnits] | Sequence[MapsOfUnits]) -> dict[str, MapsOfUnits]:
    """Results by name; those of a sequence by the names of their layers, with numbers where these are the same.

    Raises:
        InputError: there are none, or something else than a result is among them.
    """
    if isinstance(results, Mapping):
        found = {str(name): result for name, result in results.items()}
    elif isinstance(results, Sequence) and not isinstance(results, str):
        layers = [getattr(getattr(one, "theoretical", None), "name", "?") for one in results]
        found = {
            layer if layers.count(layer) == 1 else f"{layer} ({i})": one
            for i, (layer, one) in enumerate(zip(layers, results, strict=True))
        }
    else:
        raise InputError(
            f"Several results are needed, as a dict by name or a list; {type(results).__name__} was given."
        )
    if not found:
        raise InputError("There are no results. Give a dict of results by name, such as what jaxrf.erf returned.")
    for name, one in found.items():
        if not hasattr(one, "theoretical"):
            raise InputError(
                f"{name!r} is a {type(one).__name__}, not a result. Give what jaxrf.erf or jaxrf.load returned."
            )
    return found


def kind_of(result: MapsOfUnits) -> str:
    """What results must share for their numbers to be comparable, in words.

    Example: "score 'square', average 'weighted', estimator 'sampled'"
    """
    return ", ".join(f"{what} {value!r}" for what, value in _kind(result).items() if value is not None)


def check_alike(results: Mapping[str, MapsOfUnits]) -> None:
    """Refuse results of other scores, averages, estimators, protocols or sources than the first.

    Widths of their maps mean other things.

    Raises:
        InputError: names the first that differs, and in what.
    """
    first = next(iter(results))
    ours = _kind(results[first])
    for name, one in results.items():
        for what, value in _kind(one).items():
            if value != ours[what]:
                raise InputError(
                    f"{first!r} has {what} {ours[what]!r} and {name!r} has {value!r}, which cannot be compared: maps of "
                    f"the same field have other widths, or other errors. Make all results with the same {what}, or put "
                    "them into figures of their own."
                )


def _kind(result: MapsOfUnits) -> dict[str, str | None]:
    how = result.provenance.get("estimator") or {}
    return {
        "score": result.score,
        "average": result.average,
        "estimator": how.get("name", "sampled"),
        "protocol": result.provenance.get("protocol"),
        "wrt": result.provenance.get("wrt"),
    }
