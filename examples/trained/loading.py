"""A trained network of the table with its weights: from an unpacked package to a module and its variables.

Takes names and the cache's folder. The arrays, once converted, lie in the cache as an .npz file with the names of Flax, which
`jaxrf.load_variables` and `--variables` of the command line read as any other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import jaxrf
from examples.trained.nets import networks, packages
from examples.trained.tables import CACHE
from jaxrf.errors import InputError


def fetched(cache: Path = CACHE) -> list[str]:
    """The networks whose packages are in the cache."""
    return [name for name, one in networks.items() if packages[one.package].folder(cache).is_dir()]


def folder_of(name: str, cache: Path = CACHE) -> Path:
    """Where the package of a network is unpacked.

    Raises:
        InputError: it was not fetched.
    """
    package = networks[name].package
    folder = packages[package].folder(cache)
    if not folder.is_dir():
        raise InputError(
            f"{package} is not in {cache}. Run: python -m examples.trained.fetch {package} --cache {cache}"
        )
    return folder


def weights_of(name: str, cache: Path = CACHE) -> Path:
    """The file of a network's variables in the cache, by the names of Flax; made where it is not there yet."""
    folder = folder_of(name, cache)
    file = folder / f"{name}.flax.npz"
    if not file.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as made:
            part = Path(made) / "arrays.npz"
            np.savez(part, **networks[name].arrays(folder))
            part.rename(file)
    return file


def trained(name: str, cache: Path = CACHE) -> tuple[Any, Any]:
    """A network's module and its trained variables.

    Raises:
        InputError: its package was not fetched, or its arrays are not those of the module.
    """
    model = networks[name].build()
    shape = networks[name].inputs(1).shape[1:]
    return model, jaxrf.load_variables(weights_of(name, cache), model=model, input_shape=shape)
