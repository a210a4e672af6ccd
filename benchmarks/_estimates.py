"""What the compilers of a TPU and of a GPU say of a program, on a machine that has neither.

A compiled TPU program carries, operation by operation, the cycles that the compiler expects and schedules by.
They are estimates: good for ratios of two programs and for finding what takes the time. A compiled GPU program carries
none; its kernels, library calls and memory can be counted.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

# No metadata server is asked, and programs still run on this machine's CPU.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # compilers do not disturb each other
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

TPUS = {"v5e": "v5e:2x2", "v6e": "v6e:2x2", "v5p": "v5p:2x2x1"}
"""The smallest topology that is described for each kind of chip; one chip of it is used."""
H100 = """
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
CHIPS = (*TPUS, "h100")
KINDS = {
    "convolution": ("convolution", "dot"),
    "gather": ("gather", "dynamic-slice", "dynamic-update-slice", "scatter"),
    "reduction": ("reduce", "reduce-window", "select-and-scatter", "sort"),
    "layout": ("transpose", "copy", "concatenate", "pad", "reshape", "reverse", "slice"),
}
"""What an operation is named after: the first of these that it holds; all others are elementwise."""

HEAVY = {"fusion", *(name for names in KINDS.values() for name in names if name not in ("copy", "reshape"))}
"""Operations that should have an estimate."""


@dataclass(frozen=True)
class Estimate:
    """What a compiler says of one program.

    Attributes:
        seconds: of tracing and compiling.
        memory: bytes of temporary and output buffers.
        cycles: that it expects; 0 for a GPU.
        kinds: cycles by kind of operation.
        origins: cycles by the line of the program (JAX's name stack) that an operation comes from.
        counts: of fused kernels, library calls, loops and transposes in the program's text.
        uncounted: operations of a TPU's program without an estimate, and the bytes that they read and write; among
            `cycles` they count as if they passed at the speed of memory (kind "no estimate").
    """

    seconds: float
    memory: int
    cycles: int
    kinds: Mapping[str, int]
    origins: Mapping[str, int]
    counts: Mapping[str, int]
    uncounted: Mapping[str, int]


@cache
def device(chip: str) -> Any:
    """One described chip.

    Raises:
        RuntimeError: its compiler is not installed; the message says what to install.
    """
    try:
        if chip == "h100":
            arguments = {"topology_name": "1x1x1", "topology": "1x1x1", "target_config": H100}
            return topologies.get_topology_desc(platform="cuda", **arguments).devices[0]
        return topologies.get_topology_desc(platform="tpu", topology_name=TPUS[chip]).devices[0]
    except Exception as error:
        extra = "cuda13" if chip == "h100" else "tpu"
        raise RuntimeError(
            f"No compiler for {chip} is here: {str(error).splitlines()[0]} Run `make bench-{'h100' if chip == 'h100' else 'tpu'}`, "
            f"or install it with pip install 'jaxrf[{extra}]'."
        ) from error


def compiled(chip: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` compiled for one chip; only shapes and types of the arguments are read.

    Raises:
        RuntimeError: the program does not fit into the chip's memory; the message says by how much.
    """
    place = NamedSharding(Mesh(np.array([device(chip)]), ("chip",)), PartitionSpec())
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), arguments)
    platform = "cuda" if chip == "h100" else "tpu"
    lowered = jax.jit(function).trace(*shapes).lower(lowering_platforms=(platform,))
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RuntimeError(
            f"The program does not fit one {chip}: {str(error).splitlines()[0]} {_too_large(str(error))}Prepare it with "
            "memory= less by that, which makes smaller batches of units, or for fewer images."
        ) from error


def _too_large(words: str) -> str:
    """By how much a program is too large, from the compiler's words: the largest amount over the least."""
    unit = {"K": 1e3, "M": 1e6, "G": 1e9}
    amounts = [
        float(number) * unit[letter] for number, letter in re.findall(r"([\d.]+)([KMG])\b", words.splitlines()[0])
    ]
    most, least = max(amounts, default=0.0), min((a for a in amounts if a > 1e9), default=0.0)
    return f"That is {most / least:.3g} times what there is. " if least and most > least else ""


def estimate(chip: str, function: Callable[..., Any], *arguments: Any) -> Estimate:
    """What the compiler of a chip says of `function(*arguments)`."""
    start = time.perf_counter()
    program = compiled(chip, function, *arguments)
    took = time.perf_counter() - start
    memory, text = program.memory_analysis(), program.as_text()
    found = Computations(text)
    size = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    words = {"kernels": " fusion(", "library calls": " custom-call(", "loops": " while(", "transposes": " transpose("}
    counts = {name: text.count(word) for name, word in words.items()}
    kinds, origins = found.cycles()
    uncounted = found.uncounted() if kinds else {}
    if uncounted:
        kinds["no estimate"] = round(sum(uncounted.values()) / bytes_a_cycle(chip))
    return Estimate(took, size, sum(kinds.values()), kinds, origins, counts, uncounted)


@cache
def bytes_a_cycle(chip: str) -> float:
    """How fast a TPU's compiler expects arrays to be read and written: by adding one to 64 MB. 437 for a v5e."""
    text = compiled(chip, lambda x: x + 1, np.zeros((4096, 4096), np.float32)).as_text()
    return 2**27 / sum(Computations(text).cycles()[0].values())


class Computations:
    """The text of a compiled program, by computation."""

    def __init__(self, text: str):
        self.lines: dict[str, list[str]] = {}
        self.shapes: dict[str, str] = {}  # what is made, by name: type, sizes and layout
        self.entry, current = "", ""
        for line in text.splitlines():
            if found := re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line):
                current = found[2]
                self.lines[current] = []
                self.entry = current if found[1] else self.entry
            elif current and line.startswith("  "):
                self.lines[current].append(line)
                if made := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)", line):
                    self.shapes[made[1]] = made[2]

    def cycles(self) -> tuple[dict[str, int], dict[str, int]]:
        """Expected cycles by kind and by origin; those of a loop's body as often as it runs."""
        kinds: Counter[str] = Counter()
        origins: Counter[str] = Counter()
        for line, times in self._run(self.entry, 1):
            cycles = times * sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', line)))
            if cycles:
                kinds[self._kind(line)] += cycles
                origins[_origin(line)] += cycles
        return dict(kinds.most_common()), dict(origins.most_common())

    def uncounted(self) -> dict[str, int]:
        """Bytes that operations without an estimate read and write, by operation, as often as they run."""
        found: Counter[str] = Counter()
        for line, times in self._run(self.entry, 1):
            if (name := _operation(line)) in HEAVY and "estimated_cycles" not in line:
                found[name] += times * self._traffic(name, line)
        return dict(found.most_common())

    def _traffic(self, name: str, line: str) -> int:
        """Bytes of the result and of the operands; of a part that is read or written, twice that part."""
        operands = [_bytes(self.shapes.get(o, "")) for o in re.findall(r"%([\w.\-]+)", _called(line))]
        if name == "dynamic-update-slice":
            return 2 * operands[1]
        return _bytes(line) + (_bytes(line) if name in ("slice", "dynamic-slice", "gather") else sum(operands))

    def _run(self, name: str, times: int):
        for line in self.lines.get(name, ()):
            yield line, times
            if " while(" in line:
                yield from self._run(_named(line, "body"), times * self._trips(line))
            elif " call(" in line:
                yield from self._run(_named(line, "to_apply"), times)

    def _trips(self, line: str) -> int:
        if known := re.search(r'known_trip_count":\{"n":"(\d+)"', line):
            return int(known[1])
        condition = self.lines.get(_named(line, "condition"), [])
        inner = [other for c in condition for other in self.lines.get(_named(c, "calls"), ())]
        return max([int(n) for c in [*condition, *inner] for n in re.findall(r"constant\((\d+)\)", c)], default=1)

    def _kind(self, line: str) -> str:
        operations = {_operation(inner) for inner in [line, *self._inside(_named(line, "calls"))]}
        return next((kind for kind, names in KINDS.items() if operations & {*names}), "elementwise")

    def _inside(self, name: str) -> list[str]:
        own = self.lines.get(name, [])
        return [*own, *(line for inner in own if (more := _named(inner, "calls")) for line in self._inside(more))]


def _named(line: str, key: str) -> str:
    found = re.search(rf"\b{key}=%?([\w.\-]+)", line)
    return found[1] if found else ""


def _operation(line: str) -> str:
    found = re.search(r" = \S.*?\s([a-z][a-z\-]*)\(", line)
    return found[1] if found else ""


def _called(line: str) -> str:
    found = re.search(r"\s[a-z][a-z\-]*\(([^)]*)\)", line)
    return found[1] if found else ""


def _bytes(text: str) -> int:
    """Bytes of an array as it lies in memory, tiles filled up: of the first one that a text names."""
    found = re.search(r"([a-z]+)(\d*)\w*\[([\d,]*)\](?:\{([\d,]*)(?::T\((\d+),(\d+)\))?)?", text)
    if not found or not found[3]:
        return 0
    kind, bits, sizes, order, *tile = found.groups()
    shape = [int(n) for n in sizes.split(",")]
    minor = [int(axis) for axis in order.split(",")][:2] if order else []
    for axis, length in zip(minor, (int(t) for t in reversed(tile) if t)):
        shape[axis] = -(-shape[axis] // length) * length
    return math.prod(shape) * (1 if kind == "pred" else int(bits or 8) // 8)


def _origin(line: str) -> str:
    found = re.search(r'op_name="([^"]*)"', line)
    return "/".join(found[1].split("/")[-3:]) if found else ""
