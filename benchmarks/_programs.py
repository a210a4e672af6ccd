"""The jobs of `engine.py` as programs for a chip: those of jaxrf, and what one writes first in plain JAX. Shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _jobs import Job
from _peers import _jax_chunk, _jax_map

import jaxrf

CHUNK = 64
"""Units that plain JAX pulls back at a time."""
SEEDS = 16
"""Random initializations in one program."""
MEMORY = {"tpu": "14GB", "gpu": "70GB"}
"""What a program may take."""
Program = tuple[Callable[..., Any], tuple[Any, ...], int]
"""A function, the shapes of its arguments, and how many maps it makes."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A job on one platform, "cpu", "gpu" or "tpu"."""

    job: Job
    platform: str
    precision: str

    @property
    def images(self) -> Any:
        return jax.ShapeDtypeStruct((self.job.images, *self.job.shape), jnp.float32)

    @property
    def field(self) -> Any:
        """The maps of the job, prepared for the platform."""
        job, units = self.job, self.job.units
        if isinstance(units, int):
            drawn = np.random.default_rng(0).choice(job.shape[0] * job.shape[1], units, replace=False)
            units = np.stack(np.unravel_index(drawn, job.shape[:2]), axis=1)
        return jaxrf.prepare(
            job.model, None, self.images, layer=job.layer, units=units, precision=self.precision,
            platform=self.platform, memory=MEMORY.get(self.platform),
        )  # fmt: skip

    def ours(self) -> Program:
        """The program of jaxrf."""
        field, key, seeds = self.field, _key(), self.job.seeds
        maps = len(field.units) * self.job.images
        if seeds is None:
            return lambda *given: field(*given), (field.subject.abstract, self.images, key), maps
        some = min(seeds, SEEDS)

        def of_seeds(keys: jax.Array, images: jax.Array) -> Any:
            return jax.lax.map(lambda k: field(field.init(k), images, k), keys)

        return of_seeds, (jax.eval_shape(lambda k: jax.random.split(k, some), key), self.images), maps * some

    def naive(self) -> list[Program]:
        """What one writes first in plain JAX, in its forms."""
        job, f32, i32 = self.job, jnp.float32, jnp.int32
        one = jax.ShapeDtypeStruct((1, *job.shape), f32)
        abstract = jax.eval_shape(lambda k, x: job.peer.init(k, x), _key(), one)
        channels = jax.eval_shape(job.peer.apply, abstract, one).shape[-1]
        of_one = partial(_jax_map, job.peer)

        def shapes(*lead: int) -> tuple[Any, Any]:
            return jax.ShapeDtypeStruct((*lead, 2), i32), jax.ShapeDtypeStruct((*lead, channels), f32)

        if job.seeds is not None:
            some = min(job.seeds, SEEDS)

            def of_seed(images: jax.Array, units: jax.Array, key: jax.Array, signs: jax.Array) -> jax.Array:
                return jax.vmap(partial(of_one, job.peer.init(key, images[:1])))(images, units, signs)

            keys = jax.eval_shape(lambda k: jax.random.split(k, some), _key())
            units, signs = shapes(job.images)
            signs = jax.ShapeDtypeStruct((some, *signs.shape), f32)
            return [(jax.vmap(of_seed, (None, None, 0, 0)), (self.images, units, keys, signs), some * job.images)]
        if job.units == "center":
            every = jax.vmap(of_one, (None, 0, 0, 0))
            image = jax.ShapeDtypeStruct(job.shape, f32)
            return [
                (of_one, (abstract, image, *shapes()), 1),
                (every, (abstract, self.images, *shapes(job.images)), job.images),
            ]
        image = jax.ShapeDtypeStruct(job.shape, f32)
        return [(partial(_jax_chunk, job.peer), (abstract, image, *shapes(CHUNK)), CHUNK)]


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))
