"""Graphs of PyTorch modules that were exported before: found again while all that a graph depends on has stayed.

What a module holds is compared by value where it is plain; one that holds something whose changes cannot be seen, such as
an object of a class of its own, is exported anew.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

from jaxrf.adapters.subject import Call

LARGEST = 2**20
"""Bytes of a tensor up to which it is compared by its values."""
KEPT = 8
"""Graphs that are kept of a module."""
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
FIXED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
_graphs: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Unseen(Exception):
    """Something that may change without a trace."""


def kept(module: Any, call: Call, shape: tuple[int, ...], variables: frozenset[str], make: Callable[[], Any]) -> Any:
    """What `make()` gave for a module and a call like these, or gives now."""
    try:
        calls = _key((tuple(call.args), call.keywords, call.method))
        key = (shape, calls, _structure(module, variables))
        hash(key)
    except (_Unseen, TypeError):
        return make()
    with _lock:
        known = _graphs.setdefault(module, {})
    if key not in known:
        found = make()
        with _lock:
            while len(known) >= KEPT:
                del known[next(iter(known))]
            known[key] = found
    return known[key]


def _structure(module: Any, variables: frozenset[str]) -> Hashable:
    """All that a module and its parts hold but the values of variables."""
    parts = []
    for path, inner in module.named_modules(remove_duplicate=False):
        held = {
            name: value for name, value in vars(inner).items() if name not in ("_parameters", "_buffers", "_modules")
        }
        tensors = {**inner._parameters, **inner._buffers}
        saved = {name: f"{path}.{name}" if path else name for name in tensors}
        values = [(name, _shape(one) if saved[name] in variables else _key(one)) for name, one in tensors.items()]
        parts.append((path, type(inner), id(inner), _key(held), tuple(values)))
    return tuple(parts)


def _shape(tensor: Any) -> Hashable:
    return tuple(tensor.shape), str(tensor.dtype), tensor.requires_grad, str(tensor.device)


def _key(thing: Any) -> Hashable:
    import torch  # pyright: ignore[reportMissingImports]

    if isinstance(thing, PLAIN):
        return type(thing), thing
    if isinstance(thing, FIXED) and getattr(thing, "__closure__", None) is None:
        return thing
    if isinstance(thing, torch.dtype | torch.device | torch.layout | torch.memory_format):
        return str(thing)
    if isinstance(thing, torch.nn.Module):
        return id(thing)  # a part of the module, which is looked at by itself
    if isinstance(thing, torch.Tensor) and not (tensor := cast(Any, thing)).is_meta and tensor.nbytes <= LARGEST:
        plain = tensor.detach().cpu().contiguous()
        return _shape(thing), plain.view(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    if isinstance(thing, Mapping):
        return type(thing), tuple((_key(name), _key(value)) for name, value in thing.items())
    if isinstance(thing, list | tuple | set | frozenset):
        return type(thing), tuple(_key(one) for one in thing)
    raise _Unseen
