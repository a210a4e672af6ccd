"""Arrays of a checkpoint and variables of a model whose names have nothing in common, matched by kind, shape and order.

Takes two lists of arrays. Yields one with the paths of the other, and says by a warning which became which.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrf.errors import InputError, listed

Flat = dict[tuple[str, ...], Any]

KINDS = {
    "bias": ("bias", "beta", "b", "offset"),
    "mean": ("running_mean", "moving_mean", "mean"),
    "variance": ("running_var", "moving_variance", "var"),
    "scale": ("scale", "gamma"),
    "table": ("embedding", "embeddings"),
    "kernel": ("kernel", "weight", "w"),
}
"""What an array is, by the last part of its name; a `weight` or `w` of one axis is a scale."""
NOT_NEEDED = re.compile(r".*(num_batches_tracked|relative_position_index)")
MOST = 12


class MatchedByOrder(UserWarning):
    """Says which array of a file became which variable; look whether that is right."""


def by_order(flat: Flat, needed: Flat, order: Sequence[str], where: str) -> Flat:
    """The arrays by the paths of those that are needed: the first of a kind and shape is the first of that kind and shape.

    Args:
        flat: arrays of a file in its order; kernels with names of PyTorch lie (out, in, *spatial).
        needed: variables of the model, or their shapes.
        order: modules of the model in the order of their calls; those that are not in it come last, by name.
        where: the file, for messages.

    Raises:
        InputError: of some kind and shape there are more or fewer than are needed.

    Warns:
        MatchedByOrder: the table of what was matched.
    """
    of_torch = _is_of_torch(flat) and not _is_of_torch(needed)
    found = {path: _laid_out(_name(path), np.asarray(one), of_torch) for path, one in flat.items()}
    found = {path: one for path, one in found.items() if not NOT_NEEDED.fullmatch(_name(path))}
    there, wanted = _grouped(found), _grouped(dict(sorted(needed.items(), key=lambda item: _place(item[0], order))))
    problems = [
        f"{_said(key)}: {len(there.get(key, []))} in the file, {len(wanted.get(key, []))} needed"
        f"{_shown(there.get(key, []))}{_shown(wanted.get(key, []))}"
        for key in dict.fromkeys([*wanted, *there])
        if len(there.get(key, [])) != len(wanted.get(key, []))
    ]
    if problems:
        raise InputError(
            f"The arrays at {where} are not those of this model by kind and shape: {listed(problems, MOST, '; ')}. "
            "Give the checkpoint of this model, with the number of classes and the widths that it was saved with."
        )
    pairs = {ours: theirs for key in wanted for ours, theirs in zip(wanted[key], there[key])}
    matched = {path: pairs[path] for path in sorted(needed, key=lambda path: _place(path, order))}
    warnings.warn(MatchedByOrder(f"{where} was matched by order, not by name:\n{_table(matched, found)}"), stacklevel=2)
    return {path: found[theirs] for path, theirs in matched.items()}


def _name(path: tuple[str, ...]) -> str:
    return "/".join(path)


def _is_of_torch(flat: Flat) -> bool:
    return any(name.endswith((".weight", ".running_mean")) for name in map(_name, flat))


def _kind(path: tuple[str, ...], axes: int) -> str:
    last = re.split(r"[./]", _name(path))[-1]
    kind = next((kind for kind, names in KINDS.items() if last in names), "array")
    return "scale" if kind == "kernel" and axes == 1 else kind


def _laid_out(name: str, array: np.ndarray, of_torch: bool) -> np.ndarray:
    """A kernel of PyTorch as Flax has it."""
    if of_torch and name.endswith("weight") and array.ndim > 1:
        return np.moveaxis(array, (0, 1), (-1, -2))
    return array


def _grouped(flat: Flat) -> dict[tuple[str, tuple[int, ...]], list[tuple[str, ...]]]:
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[str, ...]]] = {}
    for path, one in flat.items():
        groups.setdefault((_kind(path, len(np.shape(one))), tuple(np.shape(one))), []).append(path)
    return groups


def _place(path: tuple[str, ...], order: Sequence[str]) -> tuple[int, str]:
    """Where a variable's module is called: its own name, or the longest above it that is in the order."""
    parts = re.split(r"[./]", _name(path))[:-1]
    for module in (parts, parts[1:]):  # without and with a collection in front
        while module:
            if "/".join(module) in order:
                return order.index("/".join(module)), _name(path)
            module = module[:-1]
    return len(order), _name(path)


def _said(key: tuple[str, tuple[int, ...]]) -> str:
    return f"{key[0]} {key[1]}"


def _shown(paths: list[tuple[str, ...]]) -> str:
    return f" ({', '.join(map(_name, paths[:2]))}{', ...' if len(paths) > 2 else ''})" if paths else ""


def _table(pairs: dict[tuple[str, ...], tuple[str, ...]], found: Flat) -> str:
    """One line for each variable: its path, the array, the shape."""
    rows = [(_name(ours), _name(theirs), "x".join(map(str, np.shape(found[theirs])))) for ours, theirs in pairs.items()]
    rows = [("variable", "array", "shape"), *rows]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"  {ours:{wide[0]}}  {theirs:{wide[1]}}  {shape}" for ours, theirs, shape in rows)
