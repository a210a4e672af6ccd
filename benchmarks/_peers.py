"""What a user would otherwise write, for the maps of some samples: plain JAX and PyTorch.

Each peer yields forms: functions without arguments that return maps (sample, y, x) on the whole image.
A sample is an image, a unit of its last map and a cotangent over channels; its map is the squared gradient summed over
the image's channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Forms = dict[str, Callable[[], np.ndarray]]


@dataclass(frozen=True, eq=False)
class Samples:
    """Images (n, y, x, channel); per sample the number of its image, its unit (2,) and its cotangent (channels,)."""

    images: np.ndarray
    image: np.ndarray
    units: np.ndarray
    cotangents: np.ndarray

    def __len__(self) -> int:
        return len(self.units)

    def of_images(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each image, and the numbers of its samples."""
        for number, image in enumerate(self.images):
            yield image, np.flatnonzero(self.image == number)


def chunks(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    """Parts of `size` numbers; the last is filled up with its last number, so that all have one shape."""
    filled = np.concatenate([numbers, np.repeat(numbers[-1:], -len(numbers) % size)])
    return list(filled.reshape(-1, size))


def jax_forms(model: Any, variables: Any, samples: Samples, sizes: tuple[int, ...]) -> tuple[Forms, Forms]:
    """The forms that users write first, and others that some would find.

    Several units of an image: `jax.vmap` of the pull-back over chunks of units; else one unit after the other.
    One unit of each image: `jax.grad` per image; else of all images at once.
    """
    if len(samples) == len(samples.images):
        whole = {f"jax.grad of {len(samples)} images": partial(_jax_grads, model, variables, samples, True)}
        return {"jax.grad per image": partial(_jax_grads, model, variables, samples, False)}, (
            whole if len(samples) > 1 else {}
        )
    vmapped = {f"vmap of vjp, {k} units": partial(_jax_units, model, variables, samples, k) for k in sizes}
    return vmapped, {"jitted vjp, unit by unit": partial(_jax_units, model, variables, samples, 1)}


@partial(jax.jit, static_argnums=0)
def _jax_chunk(model: Any, variables: Any, image: jax.Array, units: jax.Array, cotangents: jax.Array) -> jax.Array:
    y, pull = jax.vjp(lambda x: model.apply(variables, x[None])[0], image)

    def one(unit: jax.Array, cotangent: jax.Array) -> jax.Array:
        (gradient,) = pull(jnp.zeros_like(y).at[unit[0], unit[1]].set(cotangent))
        return jnp.square(gradient).sum(-1)

    return jax.vmap(one)(units, cotangents)


def _jax_units(model: Any, variables: Any, samples: Samples, size: int) -> np.ndarray:
    found = np.empty((len(samples), *samples.images.shape[1:3]), samples.images.dtype)
    for image, numbers in samples.of_images():
        for some in chunks(numbers, size):
            found[some] = _jax_chunk(model, variables, image, samples.units[some], samples.cotangents[some])
    return found


def _jax_map(model: Any, variables: Any, image: jax.Array, unit: jax.Array, cotangent: jax.Array) -> jax.Array:
    def value(x: jax.Array) -> jax.Array:
        return (model.apply(variables, x[None])[0, unit[0], unit[1]] * cotangent).sum()

    return jnp.square(jax.grad(value)(image)).sum(-1)


_jax_one = jax.jit(_jax_map, static_argnums=0)
_jax_all = jax.jit(jax.vmap(_jax_map, in_axes=(None, None, 0, 0, 0)), static_argnums=0)


def _jax_grads(model: Any, variables: Any, samples: Samples, at_once: bool) -> np.ndarray:
    if at_once:
        return np.asarray(_jax_all(model, variables, samples.images, samples.units, samples.cotangents))
    rows = zip(samples.images, samples.units, samples.cotangents)
    return np.stack([np.asarray(_jax_one(model, variables, *row)) for row in rows])


def jax_seed_forms(model: Any, keys: jax.Array, samples: Samples, sizes: tuple[int, ...]) -> tuple[Forms, Forms]:
    """Random initializations and their maps: vmapped over chunks of seeds; else seed by seed.

    `samples.cotangents` are (seed, image, channels); maps are (seed, image, y, x).
    """

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0))
    def maps(key: jax.Array, cotangents: jax.Array) -> jax.Array:
        variables = model.init(key, samples.images[:1])
        per_image = jax.vmap(partial(_jax_map, model, variables))
        return per_image(samples.images, samples.units, cotangents)

    def run(size: int) -> np.ndarray:
        found = np.empty((*samples.cotangents.shape[:2], *samples.images.shape[1:3]), samples.images.dtype)
        for some in chunks(np.arange(len(keys)), size):
            found[some] = maps(keys[some], samples.cotangents[some])
        return found

    return {f"vmap over {k} seeds": partial(run, k) for k in sizes}, {"jitted, seed by seed": partial(run, 1)}


class Torch:
    """PyTorch on all cores: `torch.autograd.grad` per unit with the graph retained, and batched in two ways.

    `build()` makes the module, whose weights are frozen; images in both memory orders are tried.
    """

    def __init__(self, build: Callable[[], Any], variables: Any, samples: Samples, sizes: tuple[int, ...]):
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        self.torch, self.samples, self.sizes = torch, samples, sizes
        self.orders = {"": torch.contiguous_format, ", channels last": torch.channels_last}
        self.models = {name: self._module(build, variables, order) for name, order in self.orders.items()}
        images = torch.tensor(samples.images.transpose(0, 3, 1, 2))
        self.images = {name: images.contiguous(memory_format=order) for name, order in self.orders.items()}
        self.cotangents = torch.tensor(np.asarray(samples.cotangents))

    def _module(self, build: Callable[[], Any], variables: Any, order: Any) -> Any:
        from _torch_models import load_flax

        return load_flax(build().to(self.torch.tensor(self.samples.images[:0]).dtype), variables).to(
            memory_format=order
        )

    def forms(self) -> Forms:
        """All forms that make sense for the samples."""
        several = len(self.samples) > len(self.samples.images)
        found: Forms = {}
        for order in self.orders:
            found["grad per unit" + order] = partial(self._per_unit, order)
            for k in self.sizes if several else [len(self.samples)] if len(self.samples) > 1 else []:
                found[f"batch of {k}" + order] = partial(self._repeated, order, k)
            for k in self.sizes if several else []:
                found[f"is_grads_batched, {k} units" + order] = partial(self._batched, order, k)
        return found

    def _output(self, order: str, image: Any) -> tuple[Any, Any]:
        x = self.images[order][image].contiguous(memory_format=self.orders[order]).requires_grad_()
        return x, self.models[order](x)

    def _per_unit(self, order: str) -> np.ndarray:
        found: list[Any] = [None] * len(self.samples)
        for image, (_, numbers) in enumerate(self.samples.of_images()):
            x, y = self._output(order, slice(image, image + 1))
            for n in numbers:
                i, j = self.samples.units[n]
                more = bool(n != numbers[-1])
                (g,) = self.torch.autograd.grad(y[0, :, i, j], x, self.cotangents[n], retain_graph=more)
                found[n] = (g * g).sum((0, 1))
        return self.torch.stack(found).numpy()

    def _repeated(self, order: str, size: int) -> np.ndarray:
        """Each unit with its own copy of its image."""
        found = []
        for first in range(0, len(self.samples), size):
            some = np.arange(first, min(first + size, len(self.samples)))
            x, y = self._output(order, self.samples.image[some])
            i, j = self.samples.units[some].T
            (g,) = self.torch.autograd.grad(y[np.arange(len(some)), :, i, j], x, self.cotangents[some])
            found.append((g * g).sum(1))
        return self.torch.cat(found).numpy()

    def _batched(self, order: str, size: int) -> np.ndarray:
        """Many cotangents through one graph."""
        found: list[Any] = [None] * len(self.samples)
        for image, (_, numbers) in enumerate(self.samples.of_images()):
            x, y = self._output(order, slice(image, image + 1))
            for first in range(0, len(numbers), size):
                some = numbers[first : first + size]
                i, j = self.samples.units[some].T
                ct = self.torch.zeros((len(some), *y.shape), dtype=y.dtype)
                ct[np.arange(len(some)), 0, :, i, j] = self.cotangents[some]
                last = first + size >= len(numbers)
                (g,) = self.torch.autograd.grad(y, x, ct, retain_graph=not last, is_grads_batched=True)
                for n, each in zip(some, (g * g).sum((1, 2))):
                    found[n] = each
        return self.torch.stack(found).numpy()


class TorchSeeds:
    """Random initializations in PyTorch: weights are drawn anew for each seed, its images are one batch.

    `comparable` lays the weights of Flax instead, so that maps can be compared; it is not timed.
    """

    def __init__(self, build: Callable[[], Any], draw: Callable[[int], Any], samples: Samples):
        import torch
        from _torch_models import load_flax

        torch.set_num_threads(os.cpu_count() or 1)
        self.torch, self.samples, self.draw, self.load = torch, samples, draw, load_flax
        self.images = torch.tensor(samples.images.transpose(0, 3, 1, 2))
        self.module = build().to(self.images.dtype).eval().requires_grad_(False)
        self.cotangents = torch.tensor(np.asarray(samples.cotangents))

    def forms(self) -> Forms:
        """In both memory orders."""
        orders = {"": self.torch.contiguous_format, ", channels last": self.torch.channels_last}
        return {"batch per seed" + name: partial(self._run, order, self._initialize) for name, order in orders.items()}

    def comparable(self) -> np.ndarray:
        """Maps (seed, image, y, x) with the weights of Flax."""
        return self._run(self.torch.contiguous_format, lambda seed: self.load(self.module, self.draw(seed)))

    def _initialize(self, seed: int) -> None:
        for weight in self.module.parameters():
            if weight.ndim > 1:  # those of norms and biases stay as they are
                self.torch.nn.init.kaiming_normal_(weight, nonlinearity="linear")

    def _run(self, order: Any, initialize: Callable[[int], Any]) -> np.ndarray:
        module, images = self.module.to(memory_format=order), self.images.contiguous(memory_format=order)
        i, j = self.samples.units.T
        found = []
        for seed, cotangents in enumerate(self.cotangents):
            initialize(seed)
            x = images.detach().requires_grad_()
            y = module(x)
            (g,) = self.torch.autograd.grad(y[np.arange(len(x)), :, i, j], x, cotangents)
            found.append((g * g).sum(1))
        return self.torch.stack(found).numpy()
