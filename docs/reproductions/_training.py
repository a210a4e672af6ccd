"""Training of small networks in Flax with optax: the model, the loss, the loop; nothing of receptive fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import Task


class Net(nn.Module):
    """A stack of 3x3 convolutions with a ReLU after each, and a 1x1 convolution to the classes, for every position."""

    depth: int
    width: int
    classes: int
    kernel_init: Callable[..., jax.Array] = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            x = nn.relu(nn.Conv(self.width, (3, 3), kernel_init=self.kernel_init, name=f"conv_{i}")(x))
        return nn.Conv(self.classes, (1, 1), name="head")(x)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network before and after training.

    Attributes:
        before, after: its variables.
        losses: training loss of each step.
        accuracy: share of the test labels that it meets after training.
    """

    before: Any
    after: Any
    losses: np.ndarray
    accuracy: float


def train(model: nn.Module, task: Task, seed: int, steps: int, batch: int = 16, rate: float = 2e-3) -> Trained:
    """Train with Adam, the rate falling to zero on a cosine; initial weights and order of the images are the seed's."""
    variables = model.init(jax.random.key(seed), task.images[:1])
    before = jax.tree.map(np.asarray, variables)
    state, losses = _adam(steps, rate).init(variables), []
    order = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = order.integers(len(task.images), size=batch)
        images, labels = task.images[chosen], task.labels[chosen]
        variables, state, loss = _step(model, (steps, rate), variables, state, images, labels)
        losses.append(loss)
    accuracy = share_right(model, variables, task)
    return Trained(before, jax.tree.map(np.asarray, variables), np.array(losses), accuracy)


def share_right(model: nn.Module, variables: Any, task: Task, batch: int = 64) -> float:
    """Share of the test labels that the scores meet."""
    right = [
        _right(model, variables, task.test_images[i : i + batch], task.test_labels[i : i + batch])
        for i in range(0, len(task.test_images), batch)
    ]
    met, counted = np.sum(right, 0)
    return float(met / counted)


def scores(model: nn.Module, variables: Any, images: Any, labels: Any) -> jax.Array:
    """Scores of the classes, for every position or, where an image has one label, in the mean over positions."""
    found = jnp.asarray(model.apply(variables, images))
    return found if labels.ndim > 1 else found.mean((1, 2))


def loss_of(model: nn.Module, variables: Any, images: Any, labels: Any) -> jax.Array:
    """Mean cross-entropy over the labels that count."""
    each = optax.softmax_cross_entropy_with_integer_labels(
        scores(model, variables, images, labels), jnp.maximum(labels, 0)
    )
    return jnp.where(labels >= 0, each, 0).sum() / jnp.maximum((labels >= 0).sum(), 1)


def _adam(steps: int, rate: float) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


@partial(jax.jit, static_argnums=(0, 1))
def _step(model: nn.Module, plan: tuple, variables: Any, state: Any, images: Any, labels: Any) -> tuple:
    loss, slope = jax.value_and_grad(lambda v: loss_of(model, v, images, labels))(variables)
    change, state = _adam(*plan).update(slope, state)
    return optax.apply_updates(variables, change), state, loss


@partial(jax.jit, static_argnums=0)
def _right(model: nn.Module, variables: Any, images: Any, labels: Any) -> jax.Array:
    hits = (scores(model, variables, images, labels).argmax(-1) == labels) & (labels >= 0)
    return jnp.stack([hits.sum(), (labels >= 0).sum()])
