"""A model's variables from disk, whatever saved them: as a dict of collections, checked against what a model needs."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import InputError, JaxrfError, listed
from jaxrf.loading.families import families
from jaxrf.loading.formats import KINDS, format_of, part_of, taken_for
from jaxrf.loading.matching import by_order
from jaxrf.loading.remote import is_remote, local

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
    order: Sequence[str] | None = None,
) -> Any:
    """The variables in a checkpoint, as a dict of collections, or as a tree like the one that is needed.

    See `jaxrf.load_variables`.

    Args:
        path: of the checkpoint, on this machine or as a URL.
        like: variables, or their shapes, that are needed; None to take what is there.
        family: whose names a state_dict has.
        step: of a folder with several; None for the newest.
        average: take the running average of the parameters.
        order: modules of the model in the order of their calls, by which arrays are matched in place of names; with `like`.

    Raises:
        InputError: nothing is there, it is of no known kind, or it is not what is needed.
        DamagedError: it cannot be read; one kind of `InputError`.
        UnknownNameError: there is no such family.
    """
    with local(path, lambda folder: part_of(folder, step)) as found:
        # Of a folder in the cloud the step has been chosen.
        tree = _tree(found, None if is_remote(path) else step)
    if not isinstance(tree, Mapping) or not tree:
        raise InputError(f"{path} holds {type(tree).__name__}, not a dict of variables. Save what model.init returned.")
    if like is None:
        return _nested(_named_by(family, tree, average, str(path)))
    import jax

    needed, structure = _needed(like)
    if order is not None:
        flat = by_order(_flat(tree), needed, order, str(path))
    elif family is None and all(len(name) == 1 for name in needed):
        flat = {(str(name),): np.asarray(one) for name, one in tree.items()}  # a state_dict, for a module of PyTorch
        flat = {name: one for name, one in flat.items() if name in needed or one.dtype.kind not in "iub"}
    else:
        flat = _named_by(family, tree, average, str(path))
        if not any(name[0] == "params" for name in needed):
            flat = {name[1:] if name[0] == "params" else name: one for name, one in flat.items()}
    return jax.tree.unflatten(structure, _fitted(flat, needed, str(path)).values())


def _named_by(family: str | None, tree: Mapping[str, Any], average: bool, where: str) -> Flat:
    """Arrays by the names of the zoo, where they have those of a family, or by their own, with a collection in front."""
    if family is None:
        return _variables(_flat(tree), average, where)
    return families[family].converted({str(name): np.asarray(value) for name, value in tree.items()}, where)


def _needed(like: Any) -> tuple[Flat, Any]:
    """The leaves of a model's variables by their names, in the order of their tree, and the tree."""
    import jax

    from jaxrf.adapters.subject import leaf_name

    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    return {tuple(leaf_name(path).split("/")): leaf for path, leaf in leaves}, structure


def _tree(path: Path, step: int | None) -> Any:
    """What lies at a path, as the library that wrote it reads it."""
    kind = format_of(path)
    try:
        return kind.read(path, step)
    except JaxrfError:
        raise
    except Exception as error:
        if (found := taken_for(path)) is not None:
            raise DamagedError(f"{path} is {found}.") from error
        raise DamagedError(
            f"{path} looks like {kind.says} and cannot be read: {type(error).__name__}: {error}. "
            f"It may be damaged, or not yet written to its end. Give {KINDS}."
        ) from error


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
    if flat and needed and not set(flat) & set(needed):
        theirs, ours = (listed([_named(path) for path in names], 4) for names in (flat, needed))
        raise InputError(
            f"The variables at {where} have other names than this model's: {theirs}, and not {ours}. "
            'Pass match="order" to match them by kind, shape and order, family= for weights of torchvision or timm in a '
            "network of the zoo, or save them with numpy.savez by the names of the model."
        )
    missing = [f"missing {_named(path)} {np.shape(leaf)}" for path, leaf in needed.items() if path not in flat]
    extra = [f"not needed {_named(path)} {np.shape(leaf)}" for path, leaf in flat.items() if path not in needed]
    other = [
        f"{_named(path)} is {np.shape(flat[path])}, and {np.shape(leaf)} is needed"
        for path, leaf in needed.items()
        if path in flat and np.shape(_headed(flat[path], path, leaf)) != np.shape(leaf)
    ]
    if missing or other or extra:
        found = [*other, *missing, *extra]
        raise InputError(
            f"The variables at {where} are not those of this model: {listed(found, MOST_NAMED, '; ')}. "
            "Give the checkpoint of this model, with the number of classes and the widths that it was saved with."
        )
    headed = {path: np.asarray(_headed(flat[path], path, leaf)) for path, leaf in needed.items()}
    _say_types(headed, needed, where)
    return {path: array.astype(needed[path].dtype) for path, array in headed.items()}


def _say_types(found: Flat, needed: Flat, where: str) -> None:
    """Warn of floating types that are not the model's.

    Raises:
        InputError: there are whole numbers where the model has others: quantized weights, whose scale is not known.
    """
    whole = [path for path, one in found.items() if one.dtype.kind in "iub" and needed[path].dtype.kind not in "iub"]
    if whole:
        raise InputError(
            f"The variables at {where} are quantized: {_named(whole[0])} is {found[whole[0]].dtype}"
            f"{f', and so are {len(whole) - 1} more' if len(whole) > 1 else ''}, and what a step of it stands for is not "
            "known. Save them dequantized, as float32."
        )
    other = [f"{one.dtype} to {needed[path].dtype}" for path, one in found.items() if one.dtype != needed[path].dtype]
    for change in sorted(set(other)):
        warnings.warn(f"{other.count(change)} arrays of {where} were converted from {change}.", stacklevel=2)


def _headed(array: Any, path: tuple[str, ...], like: Any) -> Any:
    """The arrays of attention with an axis of heads, which other libraries keep together with that of features."""
    heads = "attention" in path and len(np.shape(like)) > np.ndim(array) and math.prod(np.shape(like)) == np.size(array)
    return np.reshape(array, np.shape(like)) if heads else array


def _named(path: tuple[str, ...]) -> str:
    return "/".join(path)
