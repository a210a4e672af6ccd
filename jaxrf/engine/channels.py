"""What is pulled back from a unit: a rule for its channels makes the cotangent of each sample.

A rule is one class here: an instance that is registered by name is known to `channels=`, its errors and its tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, unknown


class ChannelRule(ABC):
    """How the channels of a unit make its maps.

    Attributes:
        alike: whether all channels are pulled back with the same sign, so that signs of weights are averaged over only
            where a random weight follows.
        cancels: whether what is pulled back is constant behind a normalization over channels, so that its map is rounding.
        compared: whether `jaxrf.check` compares its maps with the oracle's.
    """

    alike: bool = False
    cancels: bool = False
    compared: bool = True

    @abstractmethod
    def cotangents(self, key: jax.Array, units: jax.Array, size: int, dtype: np.dtype) -> jax.Array:
        """Cotangents over channels (unit, size) of one sample.

        Args:
            key: of the sample.
            units: numbers of the units; of their maps, where a unit has several.
            size: number of channels.
            dtype: of the cotangents.
        """

    def gated(self, cotangents: jax.Array, values: jax.Array) -> jax.Array:
        """The cotangents, gated by the forward values of the units, of the same shape."""
        return cotangents

    def maps(self, size: int) -> int:
        """How many maps a unit of `size` channels has."""
        return 1


rules: Registry[ChannelRule] = Registry("rule for channels")


class Probe(ChannelRule):
    """A random ±1 for each channel, drawn from the unit's number, so that batching changes nothing."""

    def cotangents(self, key, units, size, dtype):
        def draw(unit):
            # in single precision in any case: `rademacher` draws other signs where x64 is switched on
            ones = jax.random.bernoulli(jax.random.fold_in(key, unit), np.float32(0.5), (size,))
            return jnp.where(ones, 1, -1).astype(dtype)

        return jax.vmap(draw)(units)


class Sum(ChannelRule):
    """The sum of all channels."""

    alike = True
    cancels = True

    def cotangents(self, key, units, size, dtype):
        return jnp.ones((len(units), size), dtype)


class RectifiedSum(Sum):
    """The sum of the rectified channels: those that are not positive are left out."""

    cancels = False
    compared = False

    def gated(self, cotangents, values):
        return jnp.where(values > 0, cotangents, jnp.zeros((), cotangents.dtype))


class Each(ChannelRule):
    """A map for each channel, channel fastest."""

    compared = False

    def cotangents(self, key, units, size, dtype):
        return jax.nn.one_hot(units % size, size, dtype=dtype)

    def maps(self, size):
        return size


@dataclass(frozen=True)
class One(ChannelRule):
    """One channel; a negative index counts from the last."""

    index: int

    def cotangents(self, key, units, size, dtype):
        return jax.nn.one_hot(jnp.full(len(units), self.index) % size, size, dtype=dtype)


rules.register("probe")(Probe())
rules.register("sum")(Sum())
rules.register("relu_sum")(RectifiedSum())
rules.register("each")(Each())


def channel_rule(channels: str | int) -> ChannelRule:
    """The rule of that name, or that of one channel by its index.

    Raises:
        UnknownNameError: no rule has that name.
    """
    if not isinstance(channels, str):
        return One(int(channels))
    if channels not in rules:
        raise unknown("rule for channels", channels, tuple(rules), hint="Or give the index of one channel.")
    return rules[channels]


def check_channels(channels: str | int, count: int, layer: str) -> ChannelRule:
    """The rule of `channels` for a layer of `count` channels.

    Raises:
        UnknownNameError: no rule has that name.
        InputError: the layer has no channel of that index.
    """
    if not isinstance(channels, str) and (
        isinstance(channels, bool) or not isinstance(channels, int | np.integer) or not -count <= channels < count
    ):
        raise InputError(f"Channel {channels!r} was asked for; layer {layer!r} has channels 0 to {count - 1}.")
    return channel_rule(channels)
