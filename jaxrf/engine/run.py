"""The compiled program: forward pass, pull-back in batches of units, score; images side by side.

One program serves all samples: weights, images, starts and cotangents are its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.engine.channels import cotangents
from jaxrf.engine.pull import Shared, pull_back, read
from jaxrf.engine.scores import scores
from jaxrf.engine.windows import Windows
from jaxrf.tangent.program import Layer, TangentProgram


@dataclass(frozen=True, eq=False)
class Pullback:
    """What is pulled back, and in which batches.

    Attributes:
        program: the model, traced for one image; or for all of them, where they see each other (`tied`).
        layer: whose units are pulled back.
        windows: of all variables, for all units.
        positions: axes of the source that are positions of a map.
        batch_axis: the source's axis of images.
        score: name of the score.
        channels: the rule for a unit's channels.
        per_batch: units per batch.
        tied: whether a map is cut from the gradient of the whole batch of images.
    """

    program: TangentProgram
    layer: Layer
    windows: Windows
    positions: tuple[int, ...]
    batch_axis: int
    score: str
    channels: str | int
    per_batch: int
    tied: bool = False

    @property
    def count(self) -> int:
        """Number of units."""
        return self.windows.count

    @property
    def channel_count(self) -> int:
        """Number of channels of a unit."""
        return int(np.prod([span.size for span in self.windows.unit if not span.moving], dtype=np.int64))

    @property
    def map_shape(self) -> tuple[int, ...]:
        region = self.windows.regions[self.windows.source]
        return tuple(region[axis].size for axis in self.positions)

    @property
    def origin(self) -> np.ndarray:
        """(unit, axis): position of element 0 of each map."""
        region, rows = self.windows.regions[self.windows.source], self.windows.starts.rows
        columns = [
            rows[region[a].start] if region[a].start is not None else np.zeros(self.count, np.int64)  # type: ignore[index]
            for a in self.positions
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((self.count, 0), np.int64)

    @cached_property
    def batches(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit numbers (batch, unit) and their starts (batch, row, unit); the last batch repeats its last unit."""
        padded = -(-self.count // self.per_batch) * self.per_batch
        numbers = np.minimum(np.arange(padded), self.count - 1).reshape(-1, self.per_batch)
        return numbers, self.windows.starts.table(self.count)[:, numbers].transpose(1, 0, 2)

    @cached_property
    def compiled(self) -> Any:
        """`(variables, images, tables, numbers, keys) -> (maps, elsewhere)`, jitted; images and keys side by side."""
        return jax.jit(jax.vmap(self._one_image, in_axes=(None, 0, None, None, 0)))

    def maps(
        self, leaves: Sequence[jax.Array], images: np.ndarray, keys: jax.Array, block: int
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Maps of all units for some images.

        Args:
            leaves: the model's variables, flattened.
            images: (k, batch, ...); batch is 1 unless images are tied.
            keys: one key per entry of `images`.
            block: batches of units per call of the compiled program.

        Yields:
            The units, their maps (k, units, *map_shape), and what else their gradient held on other images (k, units).
        """
        numbers, tables = self.batches
        waiting: list[tuple[slice, Any]] = []
        for first in range(0, len(numbers), block):
            some, their = numbers[first : first + block], tables[first : first + block]
            if len(some) < block <= len(numbers):  # one shape for all calls
                lack = block - len(some)
                some = np.concatenate([some, np.repeat(some[-1:], lack, 0)])
                their = np.concatenate([their, np.repeat(their[-1:], lack, 0)])
            units = slice(first * self.per_batch, min((first + block) * self.per_batch, self.count))
            waiting.append((units, self.compiled(leaves, images, their, some, keys)))
            if len(waiting) > 1:  # the device works on the next block while this one is read
                yield self._fetch(*waiting.pop(0))
        yield from (self._fetch(*item) for item in waiting)

    def _fetch(self, units: slice, result: Any) -> tuple[slice, np.ndarray, np.ndarray]:
        maps, elsewhere = (np.asarray(a) for a in result)
        n = units.stop - units.start
        return units, maps.reshape(maps.shape[0], -1, *maps.shape[3:])[:, :n], elsewhere.reshape(len(maps), -1)[:, :n]

    def _one_image(self, leaves, image, tables, numbers, key):
        plan, program = self.windows, self.program
        gate = self.channels == "relu_sum"
        wanted = [*plan.coefficients(), *([self.layer.value] if gate else [])]
        values = program.evaluate(wanted, {**dict(zip(program.arguments, leaves, strict=True)), program.image: image})
        shared = Shared(dict(zip(wanted, values)), plan.starts)

        def batch(table, units):
            ct = self._cotangent(key, units)
            if gate:
                value = read(shared, self.layer.value, lambda: shared.value(self.layer.value), plan.unit, table, 0.0)
                ct = jnp.where(value > 0, ct, jnp.zeros((), ct.dtype))
            return self._score(pull_back(plan, shared, table, ct), table)

        jax.eval_shape(batch, tables[0], numbers[0])
        shared.prepare()
        return jax.lax.map(lambda pair: batch(*pair), (tables, numbers))

    def _cotangent(self, key, units):
        """(unit, *unit sizes)."""
        dtype = self.windows.target.dtype
        ct = cotangents(self.channels, key, units, self.channel_count, dtype)
        return ct.reshape(len(units), *(span.size for span in self.windows.unit))

    def _score(self, gradient, table):
        """Scores (unit, *map_shape), and the sum of those on other images (unit,)."""
        kept = (self.batch_axis, *(a for a in self.positions if a != self.batch_axis))
        features = [a for a in range(gradient.ndim - 1) if a not in kept]
        gradient = gradient.transpose(0, *(a + 1 for a in (*kept, *features)))
        gradient = gradient.reshape(*gradient.shape[: len(kept) + 1], -1)
        score = scores[self.score](gradient)
        if self.batch_axis in self.positions:
            return score, jnp.zeros(len(score), score.dtype)
        if not self.tied:
            return score[:, 0], jnp.zeros(len(score), score.dtype)
        own = table[self.windows.unit[self._unit_batch_axis].start]
        cut = jax.vmap(lambda s, b: s[b])(score, own)
        return cut, jnp.abs(score).sum(axis=range(1, score.ndim)) - jnp.abs(cut).sum(axis=range(1, cut.ndim))

    @property
    def _unit_batch_axis(self) -> int:
        return next(a for a, span in enumerate(self.windows.unit) if span.moving)
