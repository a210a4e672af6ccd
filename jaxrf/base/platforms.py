"""What is known of how each platform computes, by which programs are written for it: a table with a line for each."""

from __future__ import annotations

from dataclasses import dataclass

from jaxrf.base.compiler import PLATFORMS, platform


@dataclass(frozen=True)
class Traits:
    """How a platform computes.

    Attributes:
        reshape_copies: arrays lie in tiles with features in the lanes, so that a reshape, or a slice that is shifted by
            some positions, is a copy: arrays are looked at as they lie.
        any_kernel_order: a convolution reads its kernel in any order, so that a kernel is not put in order beforehand.
        samples_weights: to read all weights takes as long as a tenth of a pull-back, so that a part tells their scale.
    """

    reshape_copies: bool = False
    any_kernel_order: bool = False
    samples_weights: bool = False


TRAITS = {name: Traits() for name in PLATFORMS} | {"tpu": Traits(True, True, True)}
"""Measured on CPUs, estimated by its compiler for a TPU (decision 19); of a GPU nothing is known, and it is as a CPU."""


def traits() -> Traits:
    """Those of the platform for which programs are made here.

    Example:
        >>> from jaxrf.base.compiler import compiling_for
        >>> with compiling_for("tpu"):
        ...     traits().any_kernel_order
        True
    """
    return TRAITS.get(platform(), Traits())
