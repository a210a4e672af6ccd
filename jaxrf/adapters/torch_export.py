"""A PyTorch module as a `Graph` of aten operations with taps: the one place that calls `torch.export`.

The module is traced once on shapes: nothing is computed, and the user's object stays as it is.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.aten import Graph, Node, Ref, rule_of
from jaxrf.adapters.subject import Call
from jaxrf.errors import InputError

IMAGE = "image"
LIBRARY = "jaxrf"
PREFIX = "model."
DROPPED = {"device", "layout", "memory_format", "pin_memory", "non_blocking", "copy", "generator", "out_dtype"}
"""Arguments that say where and how numbers lie in memory."""


@dataclass(frozen=True, eq=False)
class Exported:
    """A module's graph.

    Attributes:
        graph: its inputs are `IMAGE`, the names of variables, and those of constants.
        constants: what the module holds besides its variables, such as positions in tables.
    """

    graph: Graph
    constants: Mapping[str, np.ndarray]


def export(module: Any, call: Call, shape: tuple[int, ...], variables: frozenset[str]) -> Exported:
    """The graph of one call of a module.

    Args:
        module: a `torch.nn.Module`, in train or eval mode as it is.
        call: how it is called.
        shape: of the images, with the batch.
        variables: names of parameters and buffers that stay inputs of the graph; the others are constants.

    Raises:
        InputError: the module cannot be exported, as where it branches on values.
    """
    import torch  # pyright: ignore[reportMissingImports]

    structures: list[Any] = []
    outer = _called(module, call, structures)
    image = torch.zeros(shape, dtype=_type_in_torch(call.dtype), device=_device(module))
    with _tracing(type(module).__name__):
        program = torch.export.export(outer, (image,), strict=False)
        _cut(program)
        table = torch.export.default_decompositions()
        for op in [op for op in table if rule_of(str(op)) is not None]:
            table.pop(op)
        program = program.run_decompositions(table)
    return _converted(program, structures[-1], variables)


def _cut(program: Any) -> None:
    """Detach what leaves a part without gradients (`torch.no_grad`): decomposing forgets where such a part ends."""
    import torch  # pyright: ignore[reportMissingImports]

    specs = {spec.arg.name: spec.arg for spec in program.graph_signature.output_specs if hasattr(spec.arg, "name")}
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in [one for one in module.graph.nodes if str(one.target) == "wrap_with_set_grad_enabled"]:
            for value in [] if node.args[0] else list(node.users):
                with module.graph.inserting_after(value):
                    cut = module.graph.call_function(torch.ops.aten.detach.default, (value,))
                cut.meta = dict(value.meta)
                value.replace_all_uses_with(cut, delete_user_cb=lambda user, cut=cut: user is not cut)
                if value.name in specs and module is program.graph_module:
                    specs[value.name].name = cut.name
        module.recompile()


def _called(module: Any, call: Call, structures: list[Any]) -> Any:
    """A module of one argument, the image, around a private copy of `module` with its taps.

    Its outputs are flat; what they stand for is added to `structures`.
    """
    import torch  # pyright: ignore[reportMissingImports]

    class Called(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model
            self.train(module.training)

        def forward(self, image: Any) -> tuple[Any, ...]:
            others = [one if one is Ellipsis else _in_torch(one) for one in call.args]
            args = [image if one is Ellipsis else one for one in others]
            keywords = {name: _in_torch(value) for name, value in call.keywords.items()}
            found = _method(self.model, call.method)(*args, **keywords)
            leaves: list[Any] = []
            structures.append(_structure(found, leaves))
            return tuple(leaves)

    # Tensors are shared with the user's module, all else is copied.
    shared = {id(one): one for one in (*module.parameters(), *module.buffers())}
    model = copy.deepcopy(module, shared)
    for path, inner in model.named_modules():
        if path:
            inner.register_forward_hook(functools.partial(_tapping, path, kind_of(inner)))
    training = {path: inner.training for path, inner in module.named_modules()}
    outer = Called(model)
    for path, inner in model.named_modules():  # parts of a module may be in another mode than the whole
        inner.training = training[path]
    return outer


def kind_of(module: Any) -> tuple[str, int, str]:
    """The class of a module, how many parameters it has, and what `eval()` would change about it."""
    remark = ""
    if module.training and getattr(module, "running_mean", None) is not None:
        remark = "in train mode, where images see each other; model.eval() makes it use its running averages"
    elif module.training and getattr(module, "p", 0) and "Dropout" in type(module).__name__:
        remark = "in train mode; model.eval() switches it off"
    return type(module).__name__, sum(one.numel() for one in module.parameters()), remark


def _tapping(path: str, kind: tuple[str, int, str], module: Any, args: Any, output: Any) -> Any:
    """A forward hook that passes what a module returns through taps."""
    import torch  # pyright: ignore[reportMissingImports]

    def marked(value: Any, place: str) -> Any:
        if isinstance(value, torch.Tensor):
            return _mark()(value, path + place, *kind) if value.is_floating_point() else value
        if type(value) in (list, tuple):
            return type(value)(marked(one, f"{place}[{index}]") for index, one in enumerate(value))
        if type(value) is dict:
            return {name: marked(one, f"{place}[{name!r}]") for name, one in value.items()}
        return value

    return marked(output, "")


@functools.cache
def _mark() -> Any:
    """The operation of PyTorch that stands for a tap: an identity with a name, which export leaves in the graph."""
    import torch  # pyright: ignore[reportMissingImports]

    def mark(x: torch.Tensor, name: str, kind: str, parameters: int, remark: str) -> torch.Tensor:
        return x.clone()

    mark.__annotations__ = {"x": torch.Tensor, "name": str, "kind": str, "parameters": int, "remark": str}
    mark.__annotations__["return"] = torch.Tensor
    operation = torch.library.custom_op(f"{LIBRARY}::tap", mark, mutates_args=())
    operation.register_fake(lambda x, *_: torch.empty_like(x))
    return operation


def _structure(value: Any, leaves: list[Any]) -> Any:
    """Nested tuples, lists and dicts with the numbers of `leaves`, which is filled; what is no tensor is left out."""
    import torch  # pyright: ignore[reportMissingImports]

    if isinstance(value, torch.Tensor):
        leaves.append(value)
        return len(leaves) - 1
    if isinstance(value, Mapping):
        return {str(name): _structure(one, leaves) for name, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: _structure(getattr(value, name), leaves) for name in value.__dataclass_fields__}
    if isinstance(value, list | tuple):
        return [_structure(one, leaves) for one in value]
    return None


def _method(model: Any, method: Any) -> Any:
    if callable(method):
        return functools.partial(method, model)
    if method is not None and not hasattr(model, method):
        raise InputError(f"{type(model).__name__} has no method {method!r}. Say which to call with method=.")
    return model if method is None else getattr(model, method)


@contextlib.contextmanager
def _tracing(name: str) -> Iterator[None]:
    """Derivatives are on, attention takes the operations that can be followed, and functions with a backward are said."""
    import torch  # pyright: ignore[reportMissingImports]

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), _custom_functions() as found, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    if found:
        warnings.warn(
            f"{name} calls {', '.join(sorted(found))}, which has a derivative of its own in PyTorch (autograd.Function). "
            "The derivative of its forward pass is taken instead: another one where it is a straight-through estimate.",
            stacklevel=2,
        )


@contextlib.contextmanager
def _custom_functions() -> Iterator[set[str]]:
    """Names of the user's subclasses of `torch.autograd.Function` that are applied inside."""
    import torch  # pyright: ignore[reportMissingImports]

    found: set[str] = set()
    plain = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not cls.__module__.startswith("torch."):
            found.add(cls.__name__)
        return plain.__get__(None, cls)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment]
    try:
        yield found
    finally:
        torch.autograd.Function.apply = plain  # type: ignore[assignment]


def _converted(program: Any, structure: Any, variables: frozenset[str]) -> Exported:
    """What `torch.export` returns, in plain Python."""
    signature = program.graph_signature
    constants: dict[str, np.ndarray] = {}
    inputs, names = [], {}
    for one in signature.input_specs:
        target = (one.target or "").removeprefix(PREFIX)
        name = IMAGE if one.kind.name == "USER_INPUT" else target
        if name != IMAGE and name not in variables:
            held = program.state_dict.get(one.target)
            constants[name] = in_numpy(program.constants[one.target] if held is None else held)
        names[one.arg.name] = name
        inputs.append(name)
    nodes, last = _nodes(program.graph_module, names)
    user = [spec.kind.name == "USER_OUTPUT" for spec in signature.output_specs]
    outputs = [one for one, kept in zip(last, user) if kept]
    return Exported(Graph(tuple(inputs), nodes, _filled(structure, outputs)), constants)


def _filled(structure: Any, outputs: list[Any]) -> Any:
    if isinstance(structure, int):
        return outputs[structure]
    if isinstance(structure, dict):
        return {name: _filled(one, outputs) for name, one in structure.items()}
    return [_filled(one, outputs) for one in structure] if isinstance(structure, list) else structure


def _nodes(module: Any, names: dict[str, str]) -> tuple[tuple[Node, ...], Any]:
    """The nodes of a graph of `torch.fx`, and what it returns; `names` of its inputs, where they have others."""
    nodes: list[Node] = []
    last: Any = ()
    for one in module.graph.nodes:
        plain = functools.partial(_plain, names=names)
        if one.op == "output":
            last = plain(one.args[0])
        elif one.op == "call_function":
            nodes.append(_node(one, plain))
    return tuple(nodes), last


def _node(one: Any, plain: Any) -> Node:
    op = "getitem" if getattr(one.target, "__name__", "") == "getitem" else str(one.target)
    layer, place = _layer(one), _place(one)
    if op.startswith(f"{LIBRARY}.tap"):
        x, name, kind, parameters, remark = one.args
        told = {"name": name, "kind": kind, "parameters": parameters, "remark": remark}
        return Node(one.name, "tap", (plain(x),), told, layer)
    value = one.meta.get("val")
    kind = (tuple(value.shape), _type_name(value.dtype)) if hasattr(value, "shape") else None
    kwargs = {name: plain(value) for name, value in one.kwargs.items() if name not in DROPPED}
    return Node(one.name, op, plain(one.args), kwargs, layer, kind, place)


def _plain(thing: Any, names: Mapping[str, str]) -> Any:
    """An argument of a node without anything of torch's."""
    import torch  # pyright: ignore[reportMissingImports]

    if isinstance(thing, torch.fx.Node):
        return Ref(names.get(thing.name, thing.name))
    if isinstance(thing, list | tuple):
        return (tuple if isinstance(thing, tuple) else list)(_plain(one, names) for one in thing)
    if isinstance(thing, dict):
        return {name: _plain(one, names) for name, one in thing.items()}
    if isinstance(thing, torch.dtype):
        return _type_name(thing)
    return None if isinstance(thing, torch.device | torch.layout | torch.memory_format) else thing


def _layer(one: Any) -> str:
    """The path of the innermost module that a node belongs to."""
    stack = list((one.meta.get("nn_module_stack") or {}).values())
    path = re.sub(r"@\d+", "", str(stack[-1][0])) if stack else ""
    return path.removeprefix("model").removeprefix(".")


def _place(one: Any) -> str:
    """The last line of the user's that led to a node."""
    lines = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', one.meta.get("stack_trace") or "")
    mine = [line for line in lines if "site-packages/torch/" not in line[0]]
    if not mine:
        return ""
    file, line, function = mine[-1]
    return f"called at {file.rpartition('/')[2]}:{line} ({function})"


def _type_name(dtype: Any) -> str:
    return {"bool": "bool_"}.get(name := str(dtype).removeprefix("torch."), name)


def _type_in_torch(dtype: Any) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return getattr(torch, jnp.dtype(dtype).name)


def _in_torch(value: Any) -> Any:
    """An argument of the call; arrays as tensors."""
    import torch  # pyright: ignore[reportMissingImports]

    if isinstance(value, np.ndarray | jax.Array):
        return torch.as_tensor(np.asarray(value))
    return value


def in_numpy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor, where it lies on a CPU without a copy."""
    plain = tensor.detach().cpu().contiguous()
    if _type_name(plain.dtype) != "bfloat16":
        return plain.numpy()
    import torch  # pyright: ignore[reportMissingImports]

    return plain.view(torch.int16).numpy().view(jnp.bfloat16)


def _device(module: Any) -> Any:
    held = next((one for one in (*module.parameters(), *module.buffers())), None)
    return None if held is None else held.device
