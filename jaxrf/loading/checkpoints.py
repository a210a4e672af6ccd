"""A model's variables from disk, whatever saved them: as a dict of collections, checked against what a model needs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import InputError, JaxrfError
from jaxrf.loading.families import families
from jaxrf.loading.formats import KINDS, format_of

Flat = dict[tuple[str, ...], Any]

LEFT_OUT = {"opt_state", "step", "tx", "apply_fn", "rng", "rngs", "dropout_rng", "loss_scale", "dynamic_scale"}
"""Entries of a training state that are not variables of a model."""
AVERAGED = ("ema_params", "ema", "params_ema", "avg_params")
"""What training states call the running average of their parameters."""
MOST_NAMED = 12


class DamagedError(InputError):
    """What looks like a checkpoint cannot be read: it is damaged, or not yet written to its end."""


def read_variables(
    path: str | os.PathLike[str],
    *,
    like: Any = None,
    family: str | None = None,
    step: int | None = None,
    average: bool = False,
) -> dict[str, Any]:
    """The variables in a checkpoint; see `jaxrf.load_variables`.

    Args:
        path: of the checkpoint.
        like: variables, or their shapes, that are needed; None to take what is there.
        family: whose names a state_dict has.
        step: of a folder with several; None for the newest.
        average: take the running average of the parameters.

    Raises:
        InputError: nothing is there, it is of no known kind, or it is not what is needed.
        DamagedError: it cannot be read; one kind of `InputError`.
        UnknownNameError: there is no such family.
    """
    path = Path(path)
    kind = format_of(path)
    try:
        tree = kind.read(path, step)
    except JaxrfError:
        raise
    except Exception as error:
        raise DamagedError(
            f"{path} looks like {kind.says} and cannot be read: {type(error).__name__}: {error}. "
            f"It may be damaged, or not yet written to its end. Give {KINDS}."
        ) from error
    if not isinstance(tree, Mapping) or not tree:
        raise InputError(f"{path} holds {type(tree).__name__}, not a dict of variables. Save what model.init returned.")
    if family is not None:
        flat = families[family].converted({str(name): np.asarray(value) for name, value in tree.items()}, str(path))
    elif isinstance(like, Mapping) and not any(isinstance(one, Mapping) for one in like.values()):
        flat = {(str(name),): np.asarray(one) for name, one in tree.items()}  # a state_dict, for a module of PyTorch
        flat = {name: one for name, one in flat.items() if name[0] in like or one.dtype.kind not in "iub"}
    else:
        flat = _variables(_flat(tree), average, str(path))
    if like is not None:
        flat = _fitted(flat, _flat(like), str(path))
    return _nested(flat)


def _flat(tree: Any, above: tuple[str, ...] = ()) -> Flat:
    """Leaves by their paths; names with slashes are paths themselves."""
    if isinstance(tree, Mapping):
        return {
            path: leaf
            for name, inner in tree.items()
            for path, leaf in _flat(inner, (*above, *str(name).split("/"))).items()
        }
    return {} if tree is None else {above: tree}


def _nested(flat: Flat) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        at = tree
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = leaf
    return tree


def _variables(flat: Flat, average: bool, where: str) -> Flat:
    """What a model has of a tree that a training job saved, with the collection in front."""
    flat = {path[:-1] if path[-1] in ("value", "raw_value") else path: leaf for path, leaf in flat.items()}
    flat = {path: np.asarray(leaf) for path, leaf in flat.items() if path and path[0] not in LEFT_OUT}
    names = {path[0] for path in flat}
    averaged = next((name for name in AVERAGED if name in names), None)
    if average and averaged is None:
        raise InputError(f"{where} holds no running average of the parameters; it holds {', '.join(sorted(names))}.")
    kept = {path: leaf for path, leaf in flat.items() if path[0] not in (*AVERAGED, *(["params"] if average else []))}
    if average:
        kept |= {("params", *path[1:]): leaf for path, leaf in flat.items() if path[0] == averaged}
    if "params" not in {path[0] for path in kept}:
        kept = {("params", *path): leaf for path, leaf in kept.items()}
    # Some states have all collections below `params`, as a model's variables were handed to them.
    if {path[:2] for path in kept} >= {("params", "params")}:
        kept = {path[1:]: leaf for path, leaf in kept.items() if path[0] == "params" and len(path) > 1}
    return kept


def _fitted(flat: Flat, needed: Flat, where: str) -> Flat:
    """The variables in the order and types of those that are needed.

    Raises:
        InputError: names the missing, the extra, and those of another shape.
    """
    missing = [f"missing {_named(path)} {np.shape(leaf)}" for path, leaf in needed.items() if path not in flat]
    extra = [f"not needed {_named(path)} {np.shape(leaf)}" for path, leaf in flat.items() if path not in needed]
    other = [
        f"{_named(path)} is {np.shape(flat[path])}, and {np.shape(leaf)} is needed"
        for path, leaf in needed.items()
        if path in flat and np.shape(_headed(flat[path], path, leaf)) != np.shape(leaf)
    ]
    if missing or other or extra:
        found = [*other, *missing, *extra]
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise InputError(
            f"The variables at {where} are not those of this model: {'; '.join(found[:MOST_NAMED])}{more}. "
            "Give the checkpoint of this model, with the number of classes and the widths that it was saved with."
        )
    return {path: np.asarray(_headed(flat[path], path, leaf)).astype(leaf.dtype) for path, leaf in needed.items()}


def _headed(array: Any, path: tuple[str, ...], like: Any) -> Any:
    """The arrays of attention with an axis of heads, which other libraries keep together with that of features."""
    heads = "attention" in path and len(np.shape(like)) > np.ndim(array) and math.prod(np.shape(like)) == np.size(array)
    return np.reshape(array, np.shape(like)) if heads else array


def _named(path: tuple[str, ...]) -> str:
    return "/".join(path)
