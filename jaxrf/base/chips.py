"""Chips that are not here: described, and programs compiled for them by their own compilers. Nothing is run.

libtpu (the extra `tpu`) compiles for any topology of TPUs on any machine, and the CUDA plugin (`cuda13`) for an H100.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrf.errors import InputError, PlanError, unknown

SQUARES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
TOPOLOGIES: Mapping[str, tuple[str, ...]] = {"v5e": SQUARES, "v6e": SQUARES, "v5p": CUBES}
"""Kinds of TPUs, and how many chips of each stand together, the fewest first."""
GPUS = ("h100",)
CHIPS = (*TOPOLOGIES, *GPUS)
"""Every chip that programs are compiled for here."""
DESCRIBED = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "sm_90"
"""
"""An H100 with 80 GB, in the words of XLA."""
HELD = {"h100": 84978434048}
"""Bytes of memory of a chip whose compiler does not refuse what does not fit."""
ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
}
"""What libtpu reads: no metadata server is asked, several processes compile, and programs still run on the CPU."""


def platform_of(chip: str) -> str:
    """The platform of a chip, as `jaxrf.prepare(platform=)` names it.

    Raises:
        UnknownNameError: there is no such chip.

    >>> platform_of("v5e"), platform_of("h100")
    ('tpu', 'gpu')
    """
    if chip not in CHIPS:
        raise unknown("chip", chip, CHIPS)
    return "gpu" if chip in GPUS else "tpu"


def without_hardware() -> None:
    """Say to JAX and to libtpu that no chip is here; to be called before JAX's devices are first asked for."""
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    if not jax.config.values["jax_platforms"]:  # read from the environment when JAX was imported
        jax.config.update("jax_platforms", ALONE["JAX_PLATFORMS"])


@cache
def devices(name: str) -> tuple[Any, ...]:
    """The described chips of a topology.

    Args:
        name: kind and layout, as "v5e:16x16", or "h100".

    Raises:
        UnknownNameError: there is no such chip or topology; the known ones are named.
        InputError: its compiler is not installed; the message says what to install.

    >>> devices("v5e:3x3")
    Traceback (most recent call last):
    ...
    jaxrf.errors.UnknownNameError: Unknown topology of v5e 'v5e:3x3'. Did you mean 'v5e:8x8'? Known: 'v5e:16x16', ...
    """
    chip = name.partition(":")[0]
    platform = platform_of(chip)
    known = [f"{chip}:{one}" for one in TOPOLOGIES.get(chip, ())] or [chip]
    if name not in known:
        raise unknown(f"topology of {chip}", name, known)
    without_hardware()
    try:
        if platform == "gpu":
            arguments = {"topology_name": "1x1x1", "topology": "1x1x1", "target_config": DESCRIBED}
            return tuple(topologies.get_topology_desc(platform="cuda", **arguments).devices)
        return tuple(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
    except Exception as error:
        extra, target = ("cuda13", "bench-h100") if platform == "gpu" else ("tpu", "bench-tpu")
        raise InputError(
            f"No compiler for {chip} is here: {(str(error).splitlines() or [''])[0]} "
            f"Install it with pip install 'jaxrf[{extra}]'; for the project's benchmarks, `make {target}` does."
        ) from error


def device(chip: str) -> Any:
    """One described chip of the smallest topology of its kind.

    Raises:
        UnknownNameError: there is no such chip.
        InputError: its compiler is not installed.
    """
    platform_of(chip)
    return devices(f"{chip}:{TOPOLOGIES[chip][0]}" if chip in TOPOLOGIES else chip)[0]


def mesh(topology: str, axes: Mapping[str, int]) -> Mesh:
    """All chips of a topology as a mesh whose axes the compiler places.

    Args:
        topology: as "v5e:16x16".
        axes: names and lengths of the axes of the mesh.

    Raises:
        UnknownNameError, InputError: as `devices`, or the axes do not hold all chips.
    """
    found = devices(topology)
    if int(np.prod([*axes.values()])) != len(found):
        words = " x ".join(f"{name}={n}" for name, n in axes.items())
        raise InputError(
            f"A mesh {words} holds {int(np.prod([*axes.values()]))} chips, and {topology} has {len(found)}."
        )
    return Mesh(np.array(found).reshape(*axes.values()), tuple(axes))


def compile_for(chip: str, function: Callable[..., Any], *arguments: Any, batch: int | None = None) -> Any:
    """`function` compiled for a chip; only shapes and types of the arguments are read.

    Args:
        chip: a name of `CHIPS`.
        function: what is compiled, traced here.
        arguments: arrays or `ShapeDtypeStruct`s. Those with a sharding lie as it says, all others on one chip.
        batch: how many units or images the program takes at a time, for the error.

    Raises:
        UnknownNameError, InputError: as `device`.
        PlanError: the program does not fit into the chip's memory. The message says by how much, and which batch would.
    """
    place = NamedSharding(Mesh(np.array([device(chip)]), ("chip",)), PartitionSpec())

    def described(a: Any) -> jax.ShapeDtypeStruct:
        own = a.sharding if isinstance(a, jax.ShapeDtypeStruct) else None
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=own or place)

    platform = "cuda" if chip in GPUS else "tpu"
    lowered = jax.jit(function).trace(*jax.tree.map(described, arguments)).lower(lowering_platforms=(platform,))
    try:
        program = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed, there = amounts(str(error))
        _refuse(chip, needed, there, batch, error)
    if chip in HELD and (size := bytes_of(program)) > HELD[chip]:
        _refuse(chip, size, HELD[chip], batch)
    return program


def bytes_of(program: Any) -> int:
    """Bytes that a compiled program takes on a chip: arguments, results and what is between."""
    m = program.memory_analysis()
    return m.argument_size_in_bytes + m.temp_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes


def amounts(words: str) -> tuple[float, float]:
    """What a program needs and what there is, in bytes, from a compiler's words; 0 where they do not say it.

    >>> amounts("the total memory required for HLO temporaries (64.00G) exceeds available HBM (15.75G).")
    (68719476736.0, 16911433728.0)
    """
    unit = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
    found = [float(n) * unit[letter] for n, letter in re.findall(r"([\d.]+)([KMGT])\b", words)]
    held = re.search(r"(?:available HBM \(|of )([\d.]+)([KMGT])", words)
    there = float(held[1]) * unit[held[2]] if held else min(found, default=0.0)
    return max(found, default=0.0), there


def _refuse(chip: str, needed: float, there: float, batch: int | None, cause: Exception | None = None) -> NoReturn:
    """Say that a program does not fit, by how much, and which batch would."""
    words = f"The program does not fit one {chip}"
    if needed > there > 0:
        words += f": it needs {needed / 1e9:.1f} GB of {there / 1e9:.1f} GB, {(needed - there) / 1e9:.1f} GB too many"
        if batch is not None and (fitting := int(batch * there / needed)):
            words += f". Of a batch of {batch}, some {fitting} would fit"
    words += '. Prepare it with a smaller memory=, as memory="4GB", which makes smaller batches of units, or for fewer images.'
    said = f" The compiler says: {str(cause).splitlines()[0]}" if cause is not None else ""
    raise PlanError(words + said) from cause
