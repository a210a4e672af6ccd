"""What every kind of model becomes: a pure function of variables and a batch of images, with its shapes.

Takes the words in which a user calls a model and yields a `Call`.
The files beside this one turn a model and a `Call` into a `Subject`.
Never looks at what the model computes.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.failure import failure
from jaxrf.errors import InputError, JaxrfError

PyTree = Any

LARGEST = 2**27
"""Positions of an axis: of each there are some numbers in the tables."""


class CallAgain(Exception):
    """Raised by `Subject.fn` under taps where it has just learned how the model must be called: call it once more.

    What the first call recorded belongs to no model and is to be dropped.
    """


@dataclass(frozen=True, eq=False)
class Subject:
    """A model as a pure function.

    Attributes:
        name: the class or function name of the model, for messages.
        fn: `fn(variables, images) -> outputs`; images have a batch axis, outputs are any pytree of arrays.
            Taps stand on the layers inside and do nothing until the function is traced under `recording()`.
        variables: concrete variables, or None where only their shapes are known.
        abstract: the shapes and dtypes of the variables, as `jax.ShapeDtypeStruct`.
        init: `init(key) -> variables`, pure and traceable; None where the model cannot be drawn at random.
        input_shape: shape of one image, without the batch axis.
        dtype: dtype of the images, a floating one.
        spatial_axes: axes of the batched images that are positions.
        axes_said: whether the user named them.
        outputs: shapes and dtypes of what `fn` returns for one image.
        beside: shapes of the arrays that the model is called with besides the image.
        embedding: where the images are ids, the layer at which the derivative begins; None elsewhere.
        kernel_axes: for kernels that lie otherwise, their axes in the order (*spatial, inputs, outputs).
    """

    name: str
    fn: Callable[[PyTree, jax.Array], PyTree] = field(repr=False)
    variables: PyTree | None = field(repr=False)
    abstract: PyTree = field(repr=False)
    init: Callable[[jax.Array], PyTree] | None = field(repr=False)
    input_shape: tuple[int, ...]
    dtype: np.dtype
    spatial_axes: tuple[int, ...]
    axes_said: bool = False
    outputs: PyTree = field(default=None, repr=False)
    beside: tuple[tuple[int, ...], ...] = ()
    embedding: str | None = None
    kernel_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def images(self, batch: int = 1) -> jax.ShapeDtypeStruct:
        """Shape and dtype of `batch` images."""
        return jax.ShapeDtypeStruct((batch, *self.input_shape), self.dtype)

    def initialize(self, key: jax.Array) -> PyTree:
        """Variables drawn at random with `key`.

        Raises:
            InputError: the model has no random initialization.
        """
        if self.init is None:
            raise InputError(
                f"{self.name} cannot be initialized at random, because it holds or closes over its weights. "
                "Pass a Linen module, an NNX class or a function `make(rngs)` that returns an NNX module, "
                "or a function `f(variables, x)` with an attribute `init(key)`; or pass variables."
            )
        return self.init(key)


@dataclass(frozen=True)
class Call:
    """How the user's model is called: the image's shape and place, the other arguments, the method."""

    input_shape: tuple[int, ...]
    dtype: np.dtype
    spatial_axes: tuple[int, ...]
    args: tuple[Any, ...] = (...,)
    kwargs: Mapping[str, Any] | None = None
    method: str | Callable[..., Any] | None = None
    axes_said: bool = False

    def subject(
        self, name: str, fn: Callable[[PyTree, jax.Array], PyTree], variables: PyTree | None, abstract: PyTree,
        init: Callable[[jax.Array], PyTree] | None, outputs: PyTree,
    ) -> Subject:  # fmt: skip
        """The subject of a model that is called this way."""
        return Subject(
            name, fn, variables, abstract, init, self.input_shape, self.dtype, self.spatial_axes,
            self.axes_said, outputs, self.beside,
        )  # fmt: skip

    def arguments(self, images: jax.Array) -> tuple[Any, ...]:
        """The positional arguments, with `images` at the place of the Ellipsis."""
        return tuple(images if arg is Ellipsis else arg for arg in self.args)

    @property
    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self.kwargs or {})

    @property
    def beside(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays among the other arguments."""
        leaves = jax.tree.leaves([[arg for arg in self.args if arg is not Ellipsis], self.keywords])
        return tuple(tuple(leaf.shape) for leaf in leaves if hasattr(leaf, "shape"))

    def channels_first(self) -> Call:
        """The call of a model whose positions are the axes behind batch and channels, where the user named none.

        All axes of ids of tokens are positions already.
        """
        rank = len(self.input_shape) + 1
        if self.axes_said or rank < 3 or np.issubdtype(self.dtype, np.integer):
            return self
        return replace(self, spatial_axes=tuple(range(2, rank)))

    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of a batch of one image."""
        return jax.ShapeDtypeStruct((1, *self.input_shape), self.dtype)

    @contextlib.contextmanager
    def explaining(self, name: str) -> Iterator[None]:
        """What the model `name` raises inside becomes an `InputError` that says which input it was given."""
        try:
            yield
        except JaxrfError:
            raise
        except Exception as error:
            raise failure(name, self.images(), error, self.beside) from error


def make_call(
    input_shape: Sequence[int],
    *,
    dtype: Any = np.float32,
    spatial_axes: tuple[int, ...] | None = None,
    args: tuple[Any, ...] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    method: str | Callable[..., Any] | None = None,
) -> Call:
    """The checked `Call`.

    Raises:
        InputError: the shape, dtype, spatial axes or args make no call.
    """
    shape = _checked_shape(input_shape)
    if args is not None and not isinstance(args, tuple | list):
        raise InputError(f"args={args!r} is not a tuple. Write for instance args=(..., t), with `...` for the image.")
    if apply_kwargs is not None and not isinstance(apply_kwargs, Mapping):
        raise InputError(f'apply_kwargs={apply_kwargs!r} is not a dict. Write for instance {{"train": False}}.')
    arguments = (...,) if args is None else tuple(args)
    places = sum(arg is Ellipsis for arg in arguments)
    if places != 1:
        raise InputError(
            f"args has {places} places for the image; needed is exactly one `...`. "
            "Write for instance args=(..., t) where the model is called as model(image, t)."
        )
    found = _checked_dtype(dtype)
    if spatial_axes is None and jnp.issubdtype(found, jnp.integer):
        spatial_axes = tuple(range(1, len(shape) + 1))
    axes = _checked_axes(spatial_axes, shape)
    return Call(shape, found, axes, arguments, apply_kwargs, method, spatial_axes is not None)


def _checked_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in input_shape)
        whole = all(size == given for size, given in zip(shape, input_shape, strict=True))
    except (TypeError, ValueError):
        shape, whole = (), False
    if not whole or not shape or min(shape) < 1:
        raise InputError(
            f"input_shape is {input_shape!r}; needed are positive whole numbers, the shape of one image "
            "without the batch axis, such as (224, 224, 3)."
        )
    if max(shape) > LARGEST:
        raise InputError(
            f"input_shape is {input_shape!r}, and an axis of more than {LARGEST} positions does not fit into memory. "
            "Give a smaller input: fields of convolutions do not depend on its size."
        )
    return shape


def _checked_dtype(dtype: Any) -> np.dtype:
    try:
        found = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype={dtype!r} is not a dtype: {error}. Use for instance numpy.float32.") from error
    if jnp.issubdtype(found, jnp.integer):
        return np.dtype(jax.dtypes.canonicalize_dtype(found))
    if not jnp.issubdtype(found, jnp.floating):
        raise InputError(
            f"Inputs have dtype {found}; a derivative needs floating-point inputs, or ids of tokens. "
            "Convert them, for instance inputs.astype(numpy.float32)."
        )
    if jax.dtypes.canonicalize_dtype(found) != found:
        raise InputError(
            f"Inputs have dtype {found}, which JAX would cut to {jax.dtypes.canonicalize_dtype(found)}. "
            'Convert them, or switch on double precision with jax.config.update("jax_enable_x64", True).'
        )
    return found


def _checked_axes(spatial_axes: tuple[int, ...] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    rank = len(shape) + 1
    if spatial_axes is None:
        if rank < 3:
            raise InputError(
                f"An input of shape {shape} has no spatial axes: they lie between batch and features. "
                "Add a feature axis, for instance (64, 1), or say which axes of the batched input are positions: "
                "spatial_axes=(1,)."
            )
        return tuple(range(1, rank - 1))
    try:
        spatial_axes = tuple(operator.index(axis) for axis in spatial_axes)
    except TypeError as error:
        raise InputError(f"spatial_axes={spatial_axes!r} are not whole numbers. Write for instance (2, 3).") from error
    axes = tuple(axis + rank if axis < 0 else axis for axis in spatial_axes)
    if not axes or list(axes) != sorted(set(axes)) or axes[0] < 1 or axes[-1] >= rank:
        raise InputError(
            f"spatial_axes={tuple(spatial_axes)} does not fit batched inputs of shape (batch, "
            f"{', '.join(map(str, shape))}); needed are axes from 1 to {rank - 1}, each once, in rising order."
        )
    return axes


def shapes_of(variables: PyTree, name: str) -> PyTree:
    """The shapes and dtypes of `variables`, whose leaves are arrays or already shapes.

    Raises:
        InputError: a leaf is neither.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")) and not isinstance(leaf, int | float | complex):
            raise InputError(
                f"The variables of {name} hold a {type(leaf).__name__} at {leaf_name(path)!r}; "
                "needed are arrays or jax.ShapeDtypeStruct."
            )
    return jax.eval_shape(lambda tree: tree, variables)


def concrete(variables: PyTree) -> PyTree | None:
    """`variables` itself, or None where a leaf is only a shape."""
    leaves = jax.tree.leaves(variables)
    return None if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves) else variables


def leaf_name(path: tuple[Any, ...]) -> str:
    """A leaf's place as users write it, such as `params/Conv_0/kernel`, without the box that flax puts around it."""
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value":
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")


def count(tree: PyTree) -> int:
    """How many numbers the arrays of `tree` hold."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
