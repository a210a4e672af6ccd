"""How a map will be made, decided before anything runs: batches, memory, and why."""

from __future__ import annotations

import os
import re
from dataclasses import astuple, dataclass, replace

import jax

from jaxrf.base.compiler import platform
from jaxrf.base.html import facts
from jaxrf.engine.batches import fitting, product
from jaxrf.engine.batching import Batching
from jaxrf.engine.cost import Cost, array_bytes, image_cost, region_sizes, unit_cost, window_bytes
from jaxrf.engine.crop import Crop
from jaxrf.engine.windows import Windows, whole_arrays
from jaxrf.equations.program import TangentProgram
from jaxrf.errors import InputError, PlanError
from jaxrf.lowering.reads import Batch, choose_reads

UNITS = {"cpu": (8, 64), "gpu": (64, 512), "tpu": (128, 512)}
"""Fewest and most gradients at a time, where memory allows; a TPU has 128 lanes, in which units stand where features are few."""
BATCH = {"cpu": 2**22, "gpu": 2**28, "tpu": 2**28}
"""Bytes of the largest window of a batch: one that fits the caches of a CPU is faster than a larger one."""
WHOLE = (8, 512, 3 * 2**24)
"""Fewest and most gradients, and bytes of the largest array of them, where whole arrays are pulled back on a TPU: those of
14 units of a ResNet-50 stay in its vector memory, and cost half of what those of 98 do."""
ABREAST = {"cpu": (2, 2**27)}
"""Images that go side by side in any case, and the bytes up to which there may be more, gradients included.
On a CPU little memory, used again by the next images of a call, is faster than much; elsewhere a call takes all at once."""
SHARE = 0.5
"""Of the free memory, the part that a plan may use unless `memory=` says otherwise."""
RESULT = 2**28
"""Bytes of maps that one call returns at most."""
SLACK = 1.5
"""XLA may hold more than the values of a forward pass: by a third, measured on stacks and U-Nets."""
SHOWN = 12
"""Windows that a printed plan shows."""
READING = {"slices": "windows unit by unit", "lines": "windows by rows and columns", "whole": "whole arrays"}
SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class Held:
    """Bytes that a call takes beside the arrays of its program; all zero where they are not the device's.

    Attributes:
        compiler: for tracing and compiling.
        sums: for sums over samples, and the result.
        image: for the maps of each image of a call, on the host.
        room: of the sums, for those by seed and by image.
    """

    compiler: int = 0
    sums: int = 0
    image: int = 0
    room: int = 0

    @property
    def fixed(self) -> int:
        """What does not depend on batches."""
        return self.compiler + self.sums

    def __str__(self) -> str:
        if not self.compiler:
            return ""
        return f", of them {human(self.compiler)} for the compiler and {human(self.sums)} for sums and result"


@dataclass(frozen=True, repr=False)
class Plan:
    """The choices for one map; `print(plan)` shows them.

    Attributes:
        layer: whose units are pulled back.
        units: how many.
        batching: how many units and images are pulled back at once, and one behind the other.
        cost: of one unit.
        memory: predicted bytes in use: program, weights, compiler, sums and result.
        held: what of them is not the program's.
        limit: bytes that may be used.
        reads: how a batch is pulled back: a name of `jaxrf.lowering.reads`.
        windows: window and array shape of the layers on the way.
        crop: the part of the image that is run, or why all of it is.
        compilations: programs that are compiled.
        why: reasons for the choices.
        certificate: predicted bytes of the model's own forward pass on one image, which `jaxrf.erf` compares with. The
            whole image takes them, whatever part of it is run; see `check_certificate`.
        needs: what the bytes of any batches are made of.
    """

    layer: str
    units: int
    batching: Batching
    cost: Cost
    memory: int
    limit: int
    reads: str
    windows: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    crop: Crop
    compilations: int
    why: tuple[str, ...]
    certificate: int
    held: Held
    needs: Needs

    def with_batching(self, batching: Batching) -> Plan:
        """The same with other batches, and the bytes that these take."""
        return replace(self, batching=batching, memory=self.needs.total(*astuple(batching)))

    def __repr__(self) -> str:
        return f"Plan({self.title}, {human(self.memory)} of {human(self.limit)})"

    @property
    def title(self) -> str:
        """What is planned, in a few words."""
        return f"{self.units} unit{'s' * (self.units != 1)} of {self.layer!r}"

    def check_certificate(self) -> None:
        """Raise where the model's own forward pass does not fit beside what a call holds.

        Raises:
            PlanError: says what would fit.
        """
        needed = self.held.fixed + int(SLACK * self.certificate)
        if needed > self.limit:
            raise PlanError(
                f"The comparison with the model itself, on a whole image, needs {human(needed)}; {human(self.limit)} are "
                f'allowed. Use memory="{human(needed)}" or more, or certify=False to go without it.'
            )

    def _repr_html_(self) -> str:
        lines = [line.strip() for line in str(self).splitlines()[1:]]
        pairs = (line.partition("  " if "  " in line else " ") for line in lines)
        return facts(f"Plan for {self.title}", ((name, value.strip()) for name, _, value in pairs))

    def __str__(self) -> str:
        c = self.cost
        lines = [
            f"Plan for {self.title}",
            f"  batches     {self.batching}",
            f"  cone        {c.flops / 1e9:.3g} GFLOP and {human(c.bytes)} a unit; "
            f"the full pull-back takes {c.full_flops / 1e9:.3g} GFLOP",
            f"  memory      {human(self.limit)} allowed, {human(self.memory)} predicted{self.held}",
            f"  reads       {READING[self.reads]}",
            f"  certificate {human(self.certificate)} once, for the model's own forward pass; certify=False goes without it",
            f"  image       {self.crop}",
            f"  programs    {self.compilations} to compile",
            *(f"  because     {reason}" for reason in self.why),
            "  windows",
        ]
        sizes = [f"    {n}: {'x'.join(map(str, w))} of {'x'.join(map(str, a))}" for n, (w, a) in self.windows.items()]
        hidden = [f"    ... {len(sizes) - SHOWN} more in .windows"] if len(sizes) > SHOWN else []
        return "\n".join([*lines, *sizes[: SHOWN // 2], *hidden, *sizes[max(SHOWN // 2, len(sizes) - SHOWN // 2) :]])


def reading(program: TangentProgram, windows: Windows, images_interact: bool) -> tuple[str, Windows]:
    """How units are pulled back on this platform, a name of `jaxrf.lowering.reads`, and their windows then."""
    cost, lines = unit_cost(windows), product(windows.units, windows.count).ndim > 1
    share = 0.0 if images_interact else cost.flops / max(1, cost.full_flops)
    reads = choose_reads(Batch(windows.count, lines, share))
    return reads, whole_arrays(program, windows) if reads == "whole" else windows


def make_plan(
    program: TangentProgram, windows: Windows, layer: str, map_bytes: int, *, reads: str,
    memory: int | str | float | None, crop: Crop, draws: bool, available: int, certificate: int,
    held: Held, images_interact: bool = False, devices: int = 1,
) -> Plan:  # fmt: skip
    """Choose batch sizes that stay under the memory limit.

    Args:
        program, windows: what is pulled back.
        layer: its name.
        map_bytes: of the map of one unit and image.
        reads: how a batch is pulled back: a name of `jaxrf.lowering.reads`.
        memory: bytes, or "15GB"; None for half of what is free.
        crop: the part of the image that is run.
        draws: whether weights are drawn at random, which is a program of its own.
        available: how many images there are at a time; no more go into a call, and in calls of even size.
        certificate: bytes of the model's own forward pass.
        held: bytes that are not the program's.
        images_interact: whether all images go through as one.
        devices: across which images are spread, or units where they do not fit into one batch.

    Raises:
        PlanError: not even one unit fits.
    """
    limit, where, cost = parse_memory(memory), platform(), unit_cost(windows)
    needs = _needs(program, windows, map_bytes, held)
    largest, wanted = _wanted(windows, reads, where)
    extents = product(windows.units, windows.count).shape if reads == "lines" else (windows.count,)
    units = _side_by_side(extents, wanted)
    each = -(-available // devices) if units == windows.count else available
    together = 1 if images_interact else even(each, max(1, wanted // units))
    least, bytes_abreast = ABREAST.get(where, (together, 0))
    images = divisor(together, max(least, bytes_abreast // max(1, needs.gradients(units))))
    _check_one_fits(needs, limit, held)
    units, images, passes = _within(limit, needs, extents, units, images, together)
    why = []
    if units * images * passes < _side_by_side(extents, wanted):
        why.append(f"larger batches would need more than {human(limit)}")
    why.append(f"{wanted} gradients of at most {human(largest)} at a time suit a {where}")
    if passes > 1:
        why.append(
            f"images go in passes: {images} at once take {human(images * needs.gradients(units))} with their gradients"
        )
    batches = -(-windows.count // units)
    returned = units * images * passes * map_bytes
    while batches > 1 and (needs.total(units, images, passes, batches) > limit or batches * returned > RESULT):
        batches = -(-batches // 2)
    if devices > 1 and windows.count <= units and not images_interact:
        images *= devices
        why.append(f"images are spread over {devices} devices")
    elif devices > 1:
        batches = -(-batches // devices) * devices
        why.append(f"units are spread over {devices} devices")
    return Plan(
        layer, windows.count, Batching(units, images, passes, batches), cost, needs.total(units, images, passes, batches), limit, reads,
        dict(region_sizes(program, windows)), crop, 1 + draws, tuple(why), certificate, held, needs,
    )  # fmt: skip


def _needs(program: TangentProgram, windows: Windows, map_bytes: int, held: Held) -> Needs:
    """What a call needs, by what it is made of; weights stand beside what is made of them."""
    weights = 2 * sum(int(v.dtype.itemsize * _size(v.shape)) for v in program.arguments)
    fixed = image_cost(program, windows)
    return Needs(
        weights + held.fixed, array_bytes(program.image) + held.image, fixed.forward + fixed.padded,
        2 * unit_cost(windows).live, map_bytes,
    )  # fmt: skip


def _wanted(windows: Windows, reads: str, where: str) -> tuple[int, int]:
    """Bytes of the largest gradient, and how many of that size suit a platform at a time."""
    fewest, most, room = (
        WHOLE if reads == "whole" else (*UNITS.get(where, UNITS["cpu"]), BATCH.get(where, BATCH["cpu"]))
    )
    largest = max(window_bytes(v, spans) for v, spans in windows.regions.items())
    return largest, int(min(max(room // largest, fewest), most))


def _check_one_fits(needs: Needs, limit: float, held: Held) -> None:
    """Raise a PlanError where one unit and one image need more than the limit."""
    if needs.total(1, 1, 1, 1) > limit:
        least = human(needs.total(1, 1, 1, 1))
        raise PlanError(
            f"Plan needs {least} for one unit and one image{held}; {human(limit)} are allowed. "
            f'Use memory="{least}" or more, fewer units, or a smaller input.'
        )


@dataclass(frozen=True)
class Needs:
    """Bytes that a call needs, by what it is made of.

    Attributes:
        fixed: whatever the batches are: the variables, what is made of them, and what is held beside the program.
        image: of one image, and of its maps on the host.
        forward: of one image's forward pass.
        unit: of the gradients of one unit.
        map: of the map of one unit and image.
    """

    fixed: int
    image: int
    forward: int
    unit: int
    map: int

    def gradients(self, units: int) -> int:
        """Bytes of one image with the gradients of a batch of units."""
        return self.forward + units * self.unit

    def total(self, units: int, images: int, passes: int, batches: int) -> int:
        """Bytes of a call of so many batches of units for images side by side, in so many passes."""
        passed = images * passes * (self.image + units * 3 * batches * self.map)
        return self.fixed + images * self.gradients(units) + passed


def _side_by_side(extents: tuple[int, ...], most: int) -> int:
    """How many of the units in a batch, at most `most` of them; whole products of rows and columns where they have two.

    No more than make the fewest batches.
    """
    return even(extents[0], max(1, most)) if len(extents) == 1 else fitting(extents, most)


def _within(
    limit: int, needs: Needs, extents: tuple[int, ...], units: int, images: int, together: int
) -> tuple[int, int, int]:
    """Units, images side by side, and passes that stay under the limit: first fewer images at once, then fewer, then units."""
    while needs.total(units, images, together // images, 1) > limit and (together > 1 or units > 1):
        if images > 1:
            images = divisor(together, images // 2)
        elif together > 1:
            together //= 2
        else:
            units = _side_by_side(extents, units // 2)
    return units, images, together // images


def even(count: int, most: int) -> int:
    """The size of the fewest batches of at most `most` that hold `count` things and leave little room.

    >>> even(100, 64), even(4, 64)
    (50, 4)
    """
    return -(-count // -(-count // most))


def divisor(count: int, most: int) -> int:
    """The largest divisor of `count` that is at most `most`.

    >>> divisor(12, 5), divisor(7, 3)
    (4, 1)
    """
    return max(n for n in range(1, max(1, min(count, most)) + 1) if count % n == 0)


def parse_memory(memory: int | float | str | None) -> int:
    """Bytes from a number, or from words such as "15GB"; half of what is free from None.

    >>> parse_memory("1.5GB")
    1500000000
    """
    if memory is None:
        return int(SHARE * free_memory())
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)b?\s*", str(memory).lower())
    if not found or float(found[1]) <= 0:
        raise InputError(f'memory={memory!r} is not an amount; give bytes, or words such as "15GB".')
    return int(float(found[1]) * SUFFIXES[found[2]])


def free_memory() -> int:
    """Bytes that are free on the first device, or on the host where that is the device."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def human(size: float) -> str:
    """Bytes in words: 1.5 GB."""
    for suffix in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {suffix}"
        size /= 1000
    return f"{size:.3g} TB"


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
