"""What a call of `jaxrf.erf` takes beside the arrays of its program: the compiler, and sums and results on the host.

Only where the host is the device: on an accelerator a plan is about the device's memory.
"""

from __future__ import annotations

import math

from jaxrf.base.compiler import platform
from jaxrf.engine.plan import Held, parse_memory
from jaxrf.engine.run import Pullback
from jaxrf.inputs.images import Images
from jaxrf.statistics.gathered import MEMORY, blocks_of

COMPILER, PROGRAM, EQUATION = 2**25, 2**24, 2**17
"""Bytes that compiling takes: of the process, of each program, and of each of its equations; measured on CPUs."""
SUMS = 7
"""Maps in double precision that are held at most beside the sums by seed and by image: moments, what is added to them, the
result, and what its errors are made of."""
SHARE = 4
"""The sums by seed and by image take at most one in so many of the bytes that are allowed, if eight of each fit."""


def held(pull: Pullback, images: Images, draws: bool, memory: int | float | str | None) -> Held:
    """What a call holds.

    Args:
        pull: what is pulled back; its batches count for nothing.
        images: given, or only their shapes: then the program belongs to somebody else, and so does what is made of it.
        draws: whether there may be several sets of weights.
        memory: as the caller gave it.
    """
    if platform() != "cpu" or images.source is None:
        return Held()
    shape = (1, *pull.pool.shape) if pull.pool is not None else (pull.count // pull.groups, *pull.map_shape)
    room = MEMORY if memory is None else min(MEMORY, parse_memory(memory) // SHARE)
    blocks, wide = blocks_of(shape, room), 8 * math.prod(shape)
    levels = (blocks if draws else 1) + min(blocks, images.count or blocks)
    equations = 2 * len(pull.program.forward) + len(pull.program.linear)  # the model's own pass is compiled as well
    values = 4 * pull.count * pull.channel_count if pull.layer.value is not None else 0
    return Held(
        compiler=COMPILER + (2 + draws) * PROGRAM + equations * EQUATION,
        sums=(SUMS + levels) * wide + images.drawn,
        image=2 * (pull.groups * wide + values),
        room=room,
    )
