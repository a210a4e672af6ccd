"""Whether variables belong to a model and are fit to be differentiated through."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.subject import Call, leaf_name
from jaxrf.errors import InputError

PyTree = Any


def check_fit(name: str, call: Call, expected: PyTree, found: PyTree, *, extra: bool) -> None:
    """Raise for the first leaf in which `found` differs from the shapes that the model needs.

    Args:
        name: the model's name, for the message.
        call: how the model is called; weights may depend on the input's shape.
        expected: shapes of the model's variables.
        found: shapes of the variables that were given.
        extra: whether leaves that the model does not know are allowed.

    Raises:
        InputError: a leaf is missing, has another shape, or is not known to the model.
    """
    start = f"The variables do not fit {name} on inputs of shape {call.images().shape}: "
    need, have = _by_name(expected), _by_name(found)
    for path, leaf in need.items():
        if path not in have:
            top = sorted({known.split("/")[0] for known in have})
            raise InputError(
                f"{start}{path!r} is missing; needed is an array of shape {leaf.shape}. "
                f"At the top level they hold {top}. Pass all collections as the model's init returns them."
            )
        if have[path].shape != leaf.shape:
            raise InputError(
                f"{start}{path!r} has shape {have[path].shape}; needed is {leaf.shape}. "
                "Check the channels of input_shape and the options of the model."
            )
    unknown = [path for path in have if path not in need]
    if unknown and not extra:
        raise InputError(f"{start}the model has no {unknown[0]!r}. Pass the state of a model of the same options.")


def check_finite(variables: PyTree) -> None:
    """Raise where a weight is NaN or infinite; it costs one reading of all weights.

    Args:
        variables: a pytree of concrete arrays; leaves that are not floating-point are passed over.

    Raises:
        InputError: names the first leaf that is not finite, and says how many of its values are not.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrf.adapters import check_finite
        >>> check_finite({"params": {"kernel": jnp.ones((3, 3))}})
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not jnp.issubdtype(getattr(leaf, "dtype", np.result_type(type(leaf))), jnp.inexact):
            continue
        if getattr(leaf, "is_deleted", bool)():
            raise InputError(
                f"The weight {leaf_name(path)!r} was deleted: it was donated to another function. Pass what that returned."
            )
        values = np.asarray(leaf)
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if bad:
            nan = int(np.count_nonzero(np.isnan(values)))
            raise InputError(
                f"The weight {leaf_name(path)!r} has {nan} NaN and {bad - nan} infinite values of {values.size}; "
                "no map can be made from it. Load or train the model again."
            )


def _by_name(tree: PyTree) -> dict[str, Any]:
    return {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
