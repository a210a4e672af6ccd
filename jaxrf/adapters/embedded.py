"""Models of token ids as models of their embeddings, on which derivatives exist.

Takes a model and ids; yields a function of the embeddings, to be asked as any other model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters import adapt
from jaxrf.adapters.subject import PyTree, Subject
from jaxrf.adapters.tap import intercepting, passing_on
from jaxrf.adapters.values import layer_value
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError, unknown


@dataclass(frozen=True, eq=False)
class Embedded:
    """A model of token ids, from the embeddings on.

    Attributes:
        model: a function `f(variables, embeddings)`; its layers are those of the model.
        inputs: the embeddings of the ids, (n, *positions, features); None where no weights were given.
        input_shape: shape of the embeddings of one sequence.
        layer: whose output they are.
    """

    model: Callable[[PyTree, jax.Array], PyTree]
    inputs: jax.Array | None
    input_shape: tuple[int, ...]
    layer: str


def embedded(
    model: Any,
    variables: PyTree | None,
    tokens: Any,
    *,
    layer: str | None = None,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
) -> Embedded:
    """A model of token ids as one of their embeddings: ids have no derivative, what they are looked up as has one.

    Whatever else the model reads of the ids, such as a mask of those that are padding, sees zeros.

    Args:
        model, method, apply_kwargs, args: as for `jaxrf.trf`.
        variables: the model's variables, or their shapes; None for those of its own initialization.
        tokens: ids, whole numbers (n, *positions).
        layer: a name from the table whose output takes the place of the ids; the first one that has features for each
            position if None.

    Returns:
        An `Embedded`: its `model` and `inputs` go into `jaxrf.erf`, its `input_shape` into `jaxrf.trf`.

    Raises:
        InputError: the tokens are not whole numbers, or no layer has features for each position.
        UnknownNameError: no layer has the name given.

    Example:
        >>> import jax, jaxrf, jax.numpy as jnp
        >>> from flax import linen as nn
        >>> net = nn.Sequential([nn.Embed(50, 4), nn.Conv(4, (3,), padding="CAUSAL")])
        >>> ids = jnp.arange(12)[None]
        >>> found = jaxrf.embedded(net, net.init(jax.random.key(0), ids), ids)
        >>> found.layer, found.input_shape
        ('layers_0', (12, 4))
        >>> jaxrf.trf(found.model, found.input_shape, variables=net.init(jax.random.key(0), ids))[-1].size
        (3,)
    """
    ids = np.asarray(tokens)
    if ids.ndim < 2 or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(
            f"Tokens have shape {ids.shape} and dtype {ids.dtype}; needed are ids (n, *positions), whole numbers. Inputs that "
            "are floating-point numbers need no embedding."
        )
    ids = ids.astype(jax.dtypes.canonicalize_dtype(ids.dtype))
    subject = adapt(
        model, ids.shape[1:], variables=variables, method=method, apply_kwargs=apply_kwargs, args=args,
        spatial_axes=tuple(range(1, ids.ndim)), dtype=ids.dtype, integers=True,
    )  # fmt: skip
    shapes = _shapes(subject)
    fitting = [name for name, shape in shapes.items() if shape[:-1] == (1, *ids.shape[1:])]
    if layer is not None and layer not in shapes:
        raise unknown("layer", layer, shapes)
    if layer is None and not fitting:
        raise InputError(
            f"No layer of {subject.name} has features for each of the positions {ids.shape[1:]}: its layers have the shapes "
            f"{list(shapes.values())[:8]}. Name the embedding by layer=, or mark it with jaxrf.tap."
        )
    chosen = layer or fitting[0]
    function = _from(subject, chosen, ids.dtype)
    inputs = (
        None if subject.variables is None else jit(layer_value(subject, chosen), quick=True)(subject.variables, ids)
    )
    return Embedded(function, inputs, shapes[chosen][1:], chosen)


def _shapes(subject: Subject) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers' outputs for one sequence, by name, in the order of their first calls."""
    found: dict[str, tuple[int, ...]] = {}

    def keep(name: str, x: jax.Array) -> jax.Array:
        found.setdefault(name, x.shape)
        return x

    with intercepting(keep):
        jax.eval_shape(subject.fn, subject.abstract, subject.images())
    return found


def _from(subject: Subject, layer: str, dtype: Any) -> Callable[[PyTree, jax.Array], PyTree]:
    """The model with embeddings in the place of what the layer gives when it is first called."""

    def function(variables: PyTree, embeddings: jax.Array) -> PyTree:
        waiting = [embeddings]

        def replace(name: str, x: jax.Array) -> jax.Array:
            return waiting.pop().astype(x.dtype) if name == layer and waiting else x

        with passing_on(replace):
            return subject.fn(variables, jnp.zeros(embeddings.shape[: len(subject.input_shape) + 1], dtype))

    function.__name__ = subject.name
    if subject.init is not None:
        function.init = subject.init  # type: ignore[attr-defined]
    return function
