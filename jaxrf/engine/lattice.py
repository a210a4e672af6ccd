"""Where windows may start, so that all phases of an up-sampling network share one program.

A convolution over a dilated input (a transposed convolution) reads real positions at every `holes`-th place only.
Its window can be cut statically if the window of its result starts on a fixed residue.
A `Lattice` is that residue; it is carried from input to output, so that windows that start on it stay on it below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrf.geometry.maps import Window


@dataclass(frozen=True)
class Lattice:
    """Positions congruent to `residue` modulo `modulus`."""

    modulus: int = 1
    residue: int = 0

    def floor(self, positions: np.ndarray) -> np.ndarray:
        """The last position of the lattice at or before each of `positions`."""
        return positions - (positions - self.residue) % self.modulus

    def meet(self, other: Lattice) -> Lattice:
        """The positions of both; the finer of the two where they have none in common."""
        coarse, fine = (self, other) if self.modulus >= other.modulus else (other, self)
        for residue in range(coarse.residue, coarse.residue + coarse.modulus * fine.modulus, coarse.modulus):
            if (residue - fine.residue) % fine.modulus == 0:
                modulus = math.lcm(self.modulus, other.modulus)
                return Lattice(modulus, residue % modulus)
        return coarse


def through(window: Window, below: Lattice) -> Lattice:
    """Starts of the result's window at which the operand's window starts on a whole position of `below`."""
    for lattice in (below, Lattice()):
        modulus = window.holes * lattice.modulus
        wanted = window.holes * lattice.residue - min(window.offsets, default=0)
        for start in range(modulus):
            if (window.stride * start - wanted) % modulus == 0:
                modulus //= math.gcd(window.stride, modulus)
                return Lattice(modulus, start % modulus)
    return Lattice()


def meet_all(lattices: Sequence[Lattice]) -> Lattice:
    """The positions common to all."""
    result = Lattice()
    for lattice in lattices:
        result = result.meet(lattice)
    return result
