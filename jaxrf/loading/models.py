"""From the text `module:attribute`, `file.py:attribute`, `zoo:name`, `timm:name` or `torch:module:attribute` to a model.

The only place that imports a user's code.
Yields the model and what is known of how to call it; never traces or runs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxrf.errors import InputError, JaxrfError, unknown
from jaxrf.loading.preprocessing import PLAIN, Preprocessing


@dataclass(frozen=True)
class Loaded:
    """A model, the reference that it came from, and the shape of its usual input where its maker says so.

    Its variables are a `state_dict` with `names_of_torch`. `preprocessing` is that of the weights which a library has for it.
    """

    reference: str
    model: Any
    input_shape: tuple[int, ...] | None = None
    names_of_torch: bool = False
    preprocessing: Preprocessing = PLAIN


def load(reference: str, options: dict[str, Any] | None = None) -> Loaded:
    """The model named by `reference`.

    Args:
        reference: `zoo:resnet50`, `package.module:attribute` or `path/file.py:attribute`.
            The attribute is a model, or a callable without required arguments that makes one.
            PyTorch: `timm:resnet50`, or `torch:` before a reference. Such a model is in eval mode.
        options: keyword arguments for that callable, or for the zoo's constructor.

    Raises:
        InputError: the text is not a reference, its module cannot be imported, or the options do not fit.
        UnknownNameError: there is no such attribute, or no such model in the zoo.
    """
    if reference.startswith("zoo:") and reference != "zoo:":
        return _from_zoo(reference, reference.removeprefix("zoo:"), options or {})
    if reference.startswith("timm:") and reference != "timm:":
        return _from_timm(reference, reference.removeprefix("timm:"), options or {})
    if reference.startswith("torch:") and reference != "torch:":
        return _from_torch(reference, reference.removeprefix("torch:"), options or {})
    return Loaded(reference, _make(find(reference), reference, options or {}))


def find(reference: str) -> Any:
    """What `package.module:attribute` or `path/file.py:attribute` names, as it is.

    Raises:
        InputError: the text is not a reference, or its module cannot be imported.
        UnknownNameError: there is no such attribute.

    Example:
        >>> find("math:pi")
        3.141592653589793
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise InputError(
            f"{reference!r} is not a model. Write zoo:NAME (as zoo:resnet50), module:attribute or file.py:attribute; "
            "for PyTorch timm:NAME, or torch: before one of the others."
        )
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    thing: Any = module
    for part in name.split("."):
        thing = _attribute(thing, part, place)
    return thing


def _from_zoo(reference: str, name: str, options: dict[str, Any]) -> Loaded:
    from jaxrf.zoo import models

    entry = models[name]
    return Loaded(reference, entry(**options), entry.input_shape)


def _from_timm(reference: str, name: str, options: dict[str, Any]) -> Loaded:
    """A maker of a network of timm, so that each random initialization is timm's own."""
    timm = _installed("timm", reference)
    if not timm.is_model(name):
        raise unknown("model of timm", name, timm.list_models())
    found = timm.get_pretrained_cfg(name)
    shape = tuple(found.input_size)
    cubic = found.interpolation == "bicubic"
    how = Preprocessing(shape[1:], found.crop_pct, tuple(found.mean), tuple(found.std), cubic)
    return Loaded(reference, partial(timm.create_model, name, **options), shape, True, how)


def _from_torch(reference: str, place: str, options: dict[str, Any]) -> Loaded:
    """A PyTorch module in eval mode, or a maker of one."""
    torch = _installed("torch", reference)
    thing = find(place)
    if not isinstance(thing, torch.nn.Module):
        if not callable(thing):
            raise InputError(f"{reference} is of type {type(thing).__name__}. A PyTorch module or its maker is needed.")
        return Loaded(reference, partial(thing, **options), None, True)
    if options:
        raise InputError(
            f"{reference} is a model already, so it takes no --model-option ({', '.join(options)}). "
            "Name the callable that makes it."
        )
    return Loaded(reference, thing.eval(), None, True)


def _installed(package: str, reference: str) -> ModuleType:
    try:
        importlib.import_module("torch")
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{reference} needs PyTorch{' and timm' if package == 'timm' else ''}: {error}. "
            "Run: pip install 'jaxrf[torch]'"
        ) from error


def _import_module(name: str) -> ModuleType:
    _importable_from(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _failed(name, error) from error
        file = Path(*name.split(".")).with_suffix(".py")
        raise InputError(
            f"There is no module {name!r}: {error}. It is looked for in {Path.cwd()} and among the installed packages. "
            f"For a file elsewhere write its path, as some/folder/{file.name}:attribute."
        ) from error
    except Exception as error:
        raise _failed(name, error) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise InputError(f"There is no file {path}. {unknown('file', path.name, near)}")
    _importable_from(path.resolve().parent)
    name = f"jaxrf_file_{path.stem}"  # a name of its own: a file may be called like an installed package
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # as for every path that ends in .py
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _failed(str(path), error) from error
    return module


def _importable_from(folder: Path) -> None:
    """Let imports find the modules of `folder`, now and when the model is traced, as `python file.py` does."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _failed(name: str, error: Exception) -> JaxrfError:
    return InputError(
        f"Importing {name} failed with {type(error).__name__}: {error}. "
        "Import it in Python to see where, or add --debug for the traceback."
    )


def _attribute(thing: Any, name: str, place: str) -> Any:
    if hasattr(thing, name):
        return getattr(thing, name)
    public = [known for known in dir(thing) if not known.startswith("_")]
    raise unknown(f"attribute of {place}", name, public)


def _make(thing: Any, reference: str, options: dict[str, Any]) -> Any:
    """`thing` itself where it is a model, else what it returns when called with `options`."""
    from jaxrf.adapters import is_model
    from jaxrf.adapters.makers import required

    if is_model(thing):
        if options:
            raise InputError(
                f"{reference} is a model already, so it takes no --model-option ({', '.join(options)}). "
                "Name the callable that makes it."
            )
        return thing
    if not callable(thing):
        raise InputError(
            f"{reference} is of type {type(thing).__name__}. A model, or a callable that makes one, is needed."
        )
    needed = [name for name in required(thing) or [] if name not in options]
    if needed in (["rngs"], ["key"]):  # a class of NNX or Equinox, or a function like one: made anew for each seed
        return partial(thing, **options) if options else thing
    if needed and not options:  # a function of the input
        return thing
    return _call(thing, reference, options)


def _call(make: Callable[..., Any], reference: str, options: dict[str, Any]) -> Any:
    from jaxrf.adapters import is_model
    from jaxrf.adapters.makers import parameters

    signature = inspect.Signature(list(parameters(make).values()))
    try:
        signature.bind(**options)
    except TypeError as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
        raise InputError(
            f"{reference} cannot be made from {given}: {error}. It takes {signature}; "
            "give each as --model-option NAME=VALUE."
        ) from error
    model = make(**options)
    if not (callable(model) or is_model(model)):
        raise InputError(f"{reference} returned {type(model).__name__}. It must return a model.")
    return model
