"""Models of token ids as subjects: whole numbers have no derivative, so it begins at what they are looked up as.

Takes the subject of a model of whole numbers; yields one of floating-point images, which the rest of jaxrf takes as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.subject import CallAgain, PyTree, Subject
from jaxrf.adapters.tap import active, intercepting, passing_on
from jaxrf.errors import InputError, unknown


def on_embeddings(subject: Subject, layer: str | None) -> Subject:
    """The same model with ids as float32, which hold whole numbers up to 2**24, and a derivative that begins at a layer.

    What is added there to the layer's output is `x - stop_gradient(x)` of the ids x: exactly zero, with the derivative one.
    Everything that the model reads of the ids, such as a mask of padding, stays as it is.

    Args:
        subject: of whole numbers (n, *positions).
        layer: whose output the ids are looked up in; None for the first one that has features for each position.

    Raises:
        InputError: no layer has features for each position, or the one named does not.
        UnknownNameError: no layer has this name.
    """
    shapes = _shapes(subject)
    fitting = [name for name, shape in shapes.items() if shape[:-1] == (1, *subject.input_shape)]
    if layer is not None and layer not in shapes:
        raise unknown("layer", layer, shapes)
    if not fitting or (layer is not None and layer not in fitting):
        known = f"its layers have the shapes {list(shapes.values())[:8]}" if shapes else "it has no layers with names"
        found = f"{layer!r} has the shape {shapes[layer]}" if layer else f"{subject.name} has none: {known}"
        raise InputError(
            f"Inputs are whole numbers ({subject.dtype}) of shape (n, {', '.join(map(str, subject.input_shape))}), which have no "
            f"derivative. Of ids it is taken at a layer with features for each of them; {found}. "
            f"Mark it with jaxrf.tap, or name it by wrt={fitting[0] if fitting else '...'!r}. "
            "Pixels are to be floating-point numbers: inputs.astype(numpy.float32) / 255."
        )
    chosen = layer or fitting[0]
    return replace(subject, fn=_from(subject, chosen), dtype=np.dtype(np.float32), embedding=chosen)


def _shapes(subject: Subject) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers' outputs for one sequence, by name, in the order of their first calls."""
    found: dict[str, tuple[int, ...]] = {}

    def keep(name: str, x: jax.Array) -> jax.Array:
        found.setdefault(name, x.shape)
        return x

    with intercepting(keep):
        try:
            jax.eval_shape(subject.fn, subject.abstract, subject.images())
        except CallAgain:
            found.clear()
            jax.eval_shape(subject.fn, subject.abstract, subject.images())
    return found


def _from(subject: Subject, layer: str) -> Callable[[PyTree, jax.Array], PyTree]:
    """The model on ids that are floating-point numbers, with their derivative at the first call of the layer."""

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        ids, once_more = jnp.round(images).astype(subject.dtype), not active()
        waiting = [images - jax.lax.stop_gradient(images)]

        def carry(name: str, x: jax.Array) -> jax.Array:
            if name != layer or not waiting:
                return x
            shift = waiting.pop()[..., None].astype(x.dtype)
            return x + shift @ jnp.ones(
                (1, x.shape[-1]), x.dtype
            )  # what a matrix makes are features, a copy may be units

        with passing_on(carry):
            try:
                return subject.fn(variables, ids)
            except CallAgain:
                if not once_more:
                    raise
                return fn(variables, images)

    return fn
