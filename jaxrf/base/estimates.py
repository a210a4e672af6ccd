"""What the compiler of a chip says of a program: cycles of a TPU, kernels of a GPU, memory, what chips say to each other.

A compiled TPU program carries, operation by operation, the cycles that the compiler expects and schedules by.
They are estimates: good for ratios of two programs and for finding what takes the time. A compiled GPU program carries
none; its kernels, library calls and memory can be counted.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jaxrf.base.chips import compile_for

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


COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
"""What chips say to each other."""


def estimate(chip: str, function: Callable[..., Any], *arguments: Any) -> Estimate:
    """What the compiler of a chip says of `function(*arguments)`."""
    start = time.perf_counter()
    program = compile_for(chip, function, *arguments)
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
    text = compile_for(chip, lambda x: x + 1, np.zeros((4096, 4096), np.float32)).as_text()
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

    def collectives(self) -> dict[str, int]:
        """How many operations chips talk by, by name, those inside of loops apart as "NAME in a loop"."""
        found: Counter[str] = Counter()
        for line, looped in self._reached(self.entry, False):
            name = _operation(line).removesuffix("-start")
            if name in COLLECTIVES:
                found[f"{name} in a loop" if looped else name] += 1
        return dict(sorted(found.items()))

    def _reached(self, name: str, looped: bool) -> Iterator[tuple[str, bool]]:
        """Every line that is run, and whether a loop runs it."""
        for line in self.lines.get(name, ()):
            yield line, looped
            for key in ("body", "condition", "to_apply", "calls"):
                if inner := _named(line, key):
                    yield from self._reached(inner, looped or key in ("body", "condition"))

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
