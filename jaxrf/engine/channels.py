"""What is pulled back from a unit: a rule for its channels makes the cotangent of each sample."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.errors import InputError, unknown

RULES = ("each", "probe", "relu_sum", "sum")


def check_channels(channels: str | int, count: int, layer: str) -> None:
    """Raises an error unless `channels` is a rule, or the index of one of `count` channels."""
    if isinstance(channels, str):
        if channels not in RULES:
            raise unknown("rule for channels", channels, RULES, hint="Or give the index of one channel.")
    elif isinstance(channels, bool) or not isinstance(channels, int | np.integer) or not -count <= channels < count:
        raise InputError(f"Channel {channels!r} was asked for; layer {layer!r} has channels 0 to {count - 1}.")


def cotangents(channels: str | int, key: jax.Array, units: jax.Array, size: int, dtype: np.dtype) -> jax.Array:
    """Cotangents over channels (unit, size) of one sample.

    Args:
        channels: "probe" draws ±1 for each unit from its number, so that batching changes nothing;
            "sum" and "relu_sum" are ones (the engine gates the second by the sign of the unit's value);
            "each" takes `units` as (unit, channel) pairs flattened, channel fastest.
        key: key of the sample.
        units: numbers of the units.
        size: number of channels.
        dtype: of the cotangents.
    """
    if channels == "probe":

        def draw(unit):
            return jax.random.rademacher(jax.random.fold_in(key, unit), (size,), dtype)

        return jax.vmap(draw)(units)
    if channels in ("sum", "relu_sum"):
        return jnp.ones((len(units), size), dtype)
    index = units % size if isinstance(channels, str) else jnp.full(len(units), channels) % size
    return jax.nn.one_hot(index, size, dtype=dtype)
