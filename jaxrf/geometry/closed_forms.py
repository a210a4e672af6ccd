"""The closed forms of a single-path network in one dimension, for teaching and as a reference.

After Araujo, Norris, Sim (2019), "Computing Receptive Fields of Convolutional Neural Networks", Distill.
Layers are numbered from 1 next to the input to L next to the output; r_L = 1 is one unit of the last layer's output.
A layer has kernel k, stride s, padding p (of the left side; the right one moves no field) and dilation d.
Theirs has no dilation: a dilated kernel is one of size d (k - 1) + 1.
Their intervals are closed; ours are half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from jaxrf.errors import InputError


@dataclass(frozen=True)
class Layer:
    """A convolution or pooling along one axis.

    Args:
        kernel: number of taps, at least 1.
        stride: at least 1.
        padding: positions added before the input of the layer; negative ones are cropped.
        dilation: distance of neighboring taps, at least 1.

    Raises:
        InputError: kernel, stride or dilation is below 1.

    Example:
        >>> Layer(3, dilation=4).extent
        9
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self):
        for name in ("kernel", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise InputError(f"A layer has {name} {getattr(self, name)}. It must be at least 1.")

    @property
    def extent(self) -> int:
        """Positions from the first to the last tap, d (k - 1) + 1."""
        return dilated(self.kernel, self.dilation)


def dilated(kernel: int, dilation: int) -> int:
    """Size of a kernel whose taps are `dilation` apart: d (k - 1) + 1.

    >>> dilated(3, 2)
    5
    """
    return dilation * (kernel - 1) + 1


def size(layers: Sequence[Layer]) -> int:
    """Size of the field, by walking back from the output: r_{l-1} = s_l r_l + (k_l - s_l), eq. (1).

    Where a stride is larger than its kernel the field has holes; the recursion gives the size of their hull.

    >>> size([Layer(3), Layer(3, stride=2), Layer(3)])
    9
    """
    r = 1
    for layer in reversed(layers):
        r = layer.stride * r + (layer.extent - layer.stride)
    return r


def size_by_sum(layers: Sequence[Layer]) -> int:
    """Size of the field as a sum over layers: r_0 = 1 + sum_l (k_l - 1) prod_{i<l} s_i, eq. (2).

    The same number as `size`; shows that a layer counts as often as the strides below it multiply.

    >>> size_by_sum([Layer(3), Layer(3, stride=2), Layer(3)])
    9
    """
    return 1 + sum((layer.extent - 1) * stride(layers[:below]) for below, layer in enumerate(layers))


def stride(layers: Sequence[Layer]) -> int:
    """Effective stride: by how many input positions the field moves from unit to unit, prod_l s_l.

    >>> stride([Layer(3, stride=2), Layer(2, stride=2)])
    4
    """
    return prod(layer.stride for layer in layers)


def padding(layers: Sequence[Layer]) -> int:
    """Effective padding: how far the field of unit 0 begins before the input, sum_l p_l prod_{i<l} s_i.

    >>> padding([Layer(7, stride=2, padding=3), Layer(3, stride=2, padding=1)])
    5
    """
    return sum(layer.padding * stride(layers[:below]) for below, layer in enumerate(layers))


def box(layers: Sequence[Layer], unit: int) -> tuple[int, int]:
    """Half-open interval of input positions that `unit` sees; may leave the input.

    Walks both ends back from the output, eqs. (3) and (4) with a half-open end v:
    u_{l-1} = s_l u_l - p_l and v_{l-1} = s_l (v_l - 1) - p_l + k_l.

    >>> box([Layer(3, stride=3, padding=1), Layer(2)], 0)
    (-1, 5)
    """
    lo, hi = unit, unit + 1
    for layer in reversed(layers):
        lo = layer.stride * lo - layer.padding
        hi = layer.stride * (hi - 1) - layer.padding + layer.extent
    return lo, hi


def start(layers: Sequence[Layer], unit: int) -> int:
    """First input position that `unit` sees, stride * unit - padding: eq. (5).

    >>> start([Layer(3, stride=3, padding=1), Layer(2)], 2)
    5
    """
    return stride(layers) * unit - padding(layers)


def end(layers: Sequence[Layer], unit: int) -> int:
    """One past the last input position that `unit` sees: one more than eq. (6), start + size.

    >>> end([Layer(3, stride=3, padding=1), Layer(2)], 2)
    11
    """
    reach = sum((layer.extent - 1 - layer.padding) * stride(layers[:below]) for below, layer in enumerate(layers))
    return stride(layers) * unit + reach + 1


def center(layers: Sequence[Layer], unit: int) -> float:
    """Input position of the middle of the field, start + (size - 1)/2; may be a half.

    >>> center([Layer(7, stride=2, padding=3), Layer(2, stride=2)], 5)
    21.0
    """
    return start(layers, unit) + (size_by_sum(layers) - 1) / 2
