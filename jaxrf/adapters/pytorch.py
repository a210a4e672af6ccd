"""PyTorch modules as subjects: their graphs of operations, evaluated with JAX; torch is imported by those who use it.

Layers have the names of their modules. Positions are channels-first: the axes behind the first two of a batch.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters import aten
from jaxrf.adapters.fit import check_fit
from jaxrf.adapters.makers import required
from jaxrf.adapters.subject import Call, PyTree, Subject, shapes_of
from jaxrf.adapters.torch_export import IMAGE, export, in_numpy
from jaxrf.adapters.torch_kept import kept
from jaxrf.errors import InputError

REDRAWS = True


def accepts(model: Any) -> bool:
    """Whether `model` is a PyTorch module, its class, or a callable without arguments where torch is in use.

    Nothing else is asked of a callable here: one that needs no argument is no function of an image.
    """
    module = _module_class()
    if module is None:
        return False
    return isinstance(model, module) or _is_class(model, module) or (callable(model) and required(model) == [])


def variables_of(model: Any, variables: PyTree | None) -> PyTree | None:
    """Those given, a `state_dict` as arrays; or what an instance brings along, as its `state_dict` names them."""
    module = _module_class()
    if variables is not None:
        return _as_arrays(variables)
    if module is None or not isinstance(model, module):
        return None
    return {name: in_numpy(tensor) for name, tensor in _tensors(model).items()}


def _as_arrays(variables: PyTree) -> PyTree:
    """A `state_dict` with arrays in the place of tensors, and without whole numbers, which are not variables."""
    if not isinstance(variables, Mapping):
        return variables
    tensor = sys.modules["torch"].Tensor
    arrays = {name: in_numpy(one) if isinstance(one, tensor) else one for name, one in variables.items()}
    return {name: one for name, one in arrays.items() if jnp.issubdtype(getattr(one, "dtype", float), jnp.floating)}


def build(model: Any, variables: PyTree | None, call: Call) -> Subject:
    """The subject of a module, or of a class or function without required arguments that makes one.

    An instance brings its own parameters, which `variables` (a `state_dict`) replaces, and is in train or eval mode as it
    is. It is drawn at random by the `reset_parameters` of its parts. What a class or function makes is drawn as it makes
    it, by PyTorch's generator from a seed, and is in eval mode, as nobody else could call `eval()`.
    Whole numbers that a module holds, and buffers that it does not save, are constants.
    """
    torch_module = _module_class()
    assert torch_module is not None
    if isinstance(model, torch_module):
        module, name = model, type(model).__name__
        draw: Callable[[], Any] = functools.partial(_reset, model)
        check: Callable[[], None] = functools.partial(_check_resetting, model)
        state = variables_of(model, variables)
    else:
        module, name = _made(model, torch_module), _name(model)
        draw, check = functools.partial(_made, model, torch_module), lambda: None
        state = None if variables is None else _as_arrays(variables)
    call = call.channels_first()
    with call.explaining(name):
        expected = shapes_of({key: _shape(one) for key, one in _tensors(module).items()}, name)
    if state is not None:
        check_fit(name, call, expected, shapes_of(state, name), extra=False)
    fn = _function(module, call, frozenset(expected))
    with call.explaining(name):
        outputs = jax.eval_shape(fn, expected, call.images())
    concrete = state is not None and not any(isinstance(one, jax.ShapeDtypeStruct) for one in state.values())
    on_device = any(one.is_meta for one in module.parameters())
    values = state if concrete and not (variables is None and on_device) else None
    return replace(
        call.subject(name, fn, values, expected, _initializer(draw, check, expected), outputs),
        kernel_axes=_kernel_axes(module),
    )


def _function(module: Any, call: Call, names: frozenset[str]) -> Callable[[PyTree, jax.Array], PyTree]:
    @functools.cache
    def exported(shape: tuple[int, ...]) -> Any:
        return kept(module, call, shape, names, lambda: export(module, call, shape, names))

    def fn(variables: PyTree, images: jax.Array) -> PyTree:
        found = exported(tuple(images.shape))
        return aten.run(found.graph, {**found.constants, **variables, IMAGE: images})

    return fn


def _initializer(
    draw: Callable[[], Any], check: Callable[[], None], shapes: Mapping[str, jax.ShapeDtypeStruct]
) -> Callable[[jax.Array], PyTree]:
    """`init(key)`, which asks PyTorch for numbers whenever it is run, inside of compiled programs too."""

    def drawn(data: Any) -> dict[str, np.ndarray]:
        import torch  # pyright: ignore[reportMissingImports]

        words = [int(word) for word in np.asarray(data).ravel()[-2:]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(word << (32 * place) for place, word in enumerate(reversed(words))) % 2**63)
            tensors = _tensors(draw())
        return {name: np.array(in_numpy(tensors[name])) for name in shapes}

    def init(key: jax.Array) -> PyTree:
        check()
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        data = jax.random.key_data(key) if typed else key
        return jax.pure_callback(drawn, dict(shapes), data, vmap_method="sequential")

    return init


def _reset(module: Any) -> Any:
    """A copy of a module, each part of which has set its parameters anew."""
    module = copy.deepcopy(module)
    for inner in module.modules():
        if (reset := _resetting(inner)) is not None:
            reset()
    return module


def _resetting(module: Any) -> Callable[[], None] | None:
    return getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)


def _check_resetting(module: Any) -> None:
    """Raise `InputError` where a parameter belongs to a part that has no way to set it anew."""
    for path, inner in module.named_modules():
        held = [name for name, _ in inner.named_parameters(recurse=False)]
        if held and _resetting(inner) is None:
            raise InputError(
                f"The parameter {'.'.join(filter(None, [path, held[0]]))!r} cannot be drawn at random: "
                f"{type(inner).__name__} has no reset_parameters. Pass what makes the module in its place: its class, "
                "functools.partial(make, ...), or torch:module:make on the command line; or leave out seeds and init, to use "
                "the parameters that the module has."
            )


def _made(make: Callable[..., Any], torch_module: type) -> Any:
    """What a class or function makes, in eval mode."""
    if needed := required(make):
        name = _name(make)
        raise InputError(
            f"{name} needs the arguments {needed}; a class must be callable without any. "
            f"Pass functools.partial({name}, ...) with them set, or an instance."
        )
    made = make()
    if not isinstance(made, torch_module):
        raise InputError(
            f"{_name(make)} takes no argument and returns a {type(made).__name__}; needed is a function of an image, or one "
            "that makes a torch.nn.Module."
        )
    return made.eval()


def _tensors(module: Any) -> dict[str, Any]:
    """Parameters and saved buffers of floating types, under all of their names."""
    saved = set(module.state_dict())
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: one for name, one in named if name in saved and one.is_floating_point()}


def _shape(tensor: Any) -> jax.ShapeDtypeStruct:
    name = str(tensor.dtype).removeprefix("torch.")
    return jax.ShapeDtypeStruct(tuple(tensor.shape), jax.dtypes.canonicalize_dtype(jnp.dtype(name)))


def _kernel_axes(module: Any) -> dict[str, tuple[int, ...]]:
    """For each kernel, its axes in the order (*spatial, inputs, outputs), which initializers of JAX expect."""
    found = {}
    for path, inner in module.named_modules():
        kernel = getattr(inner, "weight", None)
        if kernel is None or getattr(kernel, "ndim", 0) < 2 or "Embedding" in type(inner).__name__:
            continue
        ends = (0, 1) if getattr(inner, "transposed", False) else (1, 0)
        found[f"{path}.weight" if path else "weight"] = (*range(2, kernel.ndim), *ends)
    return found


def _module_class() -> type | None:
    """The class of modules, where torch was imported; it is not imported to see that a model is something else."""
    return getattr(getattr(sys.modules.get("torch"), "nn", None), "Module", None)


def _is_class(model: Any, module: type) -> bool:
    inner = model.func if isinstance(model, functools.partial) else model
    return isinstance(inner, type) and issubclass(inner, module)


def _name(make: Any) -> str:
    return getattr(getattr(make, "func", make), "__name__", "make")
