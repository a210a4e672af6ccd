"""The graph of a module as a value, and its evaluation node by node."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.adapters.tap import inside, tap
from jaxrf.base.registry import Registry
from jaxrf.errors import InputError, UnknownPrimitiveError

rules: Registry[Callable[..., Any]] = Registry("operation of PyTorch")
"""Functions on arrays that take the arguments of an operation, by its name without the `aten.` in front."""

RANDOM = frozenset({"dropout", "bernoulli", "rand", "randn", "rand_like", "randn_like", "native_dropout"})
"""Operations that draw: they get a `key` of their own, the same at each call."""


@dataclass(frozen=True)
class Ref:
    """The value of another node, or an input, by its name."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: of its value.
        op: such as `aten.add.Tensor`; `getitem` and `tap` are operations too.
        args, kwargs: numbers, names of types, nested lists and dicts of these, and `Ref`s.
        layer: the path of the module that it belongs to.
        kind: shape and name of the type of its value; None where that is not a single array.
        place: the line of the user's that it stands for, for messages.
    """

    name: str
    op: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""
    kind: tuple[tuple[int, ...], str] | None = None
    place: str = ""


@dataclass(frozen=True)
class Graph:
    """Operations in order.

    Attributes:
        inputs: names of the values that it takes.
        nodes: each of which reads inputs and earlier ones.
        outputs: nested tuples, lists and dicts of `Ref`s.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: Any


def rule_of(op: str) -> Callable[..., Any] | None:
    """The rule of an operation such as `aten.max.dim`: that of the overload, else that of the operation."""
    name = op.removeprefix("aten.")
    return rules.get(name) or rules.get(name.partition(".")[0])


def run(graph: Graph, values: Mapping[str, Any]) -> Any:
    """The outputs of a graph.

    Args:
        graph: of a module.
        values: arrays by the names of the graph's inputs.

    Raises:
        UnknownPrimitiveError: an operation has no rule.
        InputError: a value has another shape than in PyTorch.

    Example:
        >>> import jax.numpy as jnp
        >>> graph = Graph(("x",), (Node("y", "aten.mul.Tensor", (Ref("x"), 3.0)),), [Ref("y")])
        >>> [float(y) for y in run(graph, {"x": jnp.ones(())})]
        [3.0]
    """
    known = dict(values)
    for number, node in enumerate(graph.nodes):
        args, kwargs = _resolved(node.args, known), _resolved(dict(node.kwargs), known)
        with inside(*_enclosing(node.layer)):
            known[node.name] = _checked(node, _value(node, number, args, kwargs))
    return _resolved(graph.outputs, known)


def _enclosing(path: str) -> list[str]:
    """The modules that a module is in, from the model itself on, and the module.

    >>> _enclosing("layer1.0.conv1")
    ['', 'layer1', 'layer1.0', 'layer1.0.conv1']
    """
    parts = path.split(".") if path else []
    return ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]


def _value(node: Node, number: int, args: Any, kwargs: Any) -> Any:
    if node.op == "getitem":
        return args[0][args[1]]
    if node.op == "tap":
        return tap(args[0], **kwargs)
    rule = rule_of(node.op)
    if rule is None:
        where = ", ".join(filter(None, [node.layer and f"in layer {node.layer!r}", node.place]))
        raise UnknownPrimitiveError(
            f"No rule for the operation {node.op!r} of PyTorch{where and ', ' + where}. Add one in "
            "jaxrf/adapters/aten/, or write that part of the model with other operations."
        )
    packet = node.op.removeprefix("aten.").partition(".")[0]
    if packet in RANDOM:
        rule = functools.partial(rule, key=jax.random.fold_in(jax.random.key(0), number))
    return rule(*args, **kwargs)


def _checked(node: Node, value: Any) -> Any:
    """The value in the type that PyTorch gives it.

    Raises:
        InputError: its shape is another one.
    """
    if node.kind is None or not hasattr(value, "shape"):
        return value
    shape, dtype = node.kind
    if tuple(value.shape) != shape:
        raise InputError(
            f"The operation {node.op!r} of layer {node.layer!r} has shape {tuple(value.shape)} here and {shape} in "
            f"PyTorch, with the arguments {_shown(node)}. This is a fault of its rule in jaxrf/adapters/aten/: report it."
        )
    return cast(value, dtype)


def cast(x: Any, dtype: str) -> jax.Array:
    """An array in a type of PyTorch's, or in the nearest that JAX has now (float32 for float64 where that is off)."""
    wanted = jax.dtypes.canonicalize_dtype(jnp.dtype(dtype))
    return x if getattr(x, "dtype", None) == wanted else jnp.asarray(x).astype(wanted)


def _shown(node: Node) -> str:
    return ", ".join([*map(str, node.args), *(f"{name}={value}" for name, value in node.kwargs.items())])


def _resolved(thing: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(thing, Ref):
        return known[thing.name]
    if isinstance(thing, list | tuple):
        return type(thing)(_resolved(one, known) for one in thing)
    if isinstance(thing, dict):
        return {name: _resolved(one, known) for name, one in thing.items()}
    return thing
