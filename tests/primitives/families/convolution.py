"""Convolutions of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import lax

from tests.primitives.case import Array, case, positive


def conv(x: Array, kernel: Array, strides=None, padding="SAME", numbers="NHWC", **options: Any) -> Array:
    """`lax.conv_general_dilated` in the usual layouts: kernel (*spatial, in, out)."""
    d = kernel.ndim - 2
    spatial = "DHW"[-d:]
    images = numbers if numbers != "NHWC" else f"N{spatial}C"
    return lax.conv_general_dilated(
        x, kernel, strides or (1,) * d, padding, dimension_numbers=(images, f"{spatial}IO", images), **options
    )


def causal(size: int, center: int = 0) -> np.ndarray:
    """A mask (size, size, 1, 1) over the rows above, and what is on the left; of the middle itself if `center`."""
    flat = np.arange(size * size).reshape(size, size, 1, 1)
    return flat < size * size // 2 + center


case("conv 1-D", (1, 7, 2), lambda x: conv(x, positive(3, 2, 3)))
case("conv", (1, 5, 7, 2), lambda x: conv(x, positive(3, 2, 2, 3)))
case("conv 3-D", (1, 3, 4, 5, 1), lambda x: conv(x, positive(2, 3, 2, 1, 2), (2, 1, 1)))
case("conv of two images", (2, 4, 5, 1), lambda x: conv(x, positive(3, 3, 1, 2)))
case("conv NCHW", (1, 2, 5, 7), lambda x: conv(x, positive(3, 3, 2, 3), (2, 1), numbers="NCHW"))
case("conv features in front", (5, 7, 2, 1), lambda x: lax.conv_general_dilated(
    x, positive(2, 3, 3, 2), (1, 2), "SAME", dimension_numbers=("HWCN", "OHWI", "CHWN")))  # fmt: skip
case("conv strided, uneven SAME", (1, 8, 7, 2), lambda x: conv(x, positive(3, 4, 2, 3), (2, 3)))
case("conv with stride over kernel", (1, 11, 9, 1), lambda x: conv(x, positive(2, 1, 1, 2), (4, 3), "VALID"))
case(
    "conv dilated", (1, 9, 8, 1), lambda x: conv(x, positive(3, 2, 1, 2), padding=((2, 1), (0, 3)), rhs_dilation=(2, 3))
)
case("conv with negative padding", (1, 9, 8, 1), lambda x: conv(x, positive(3, 2, 1, 2), padding=((-2, 1), (1, -3))))
case(
    "conv over a dilated input",
    (1, 4, 5, 1),
    lambda x: conv(x, positive(3, 2, 1, 2), padding=((1, 2), (1, 0)), lhs_dilation=(2, 3)),
)
case("conv dilated on both sides", (1, 4, 5, 1), lambda x: conv(
    x, positive(3, 2, 1, 2), (3, 1), ((2, 3), (1, 2)), lhs_dilation=(2, 3), rhs_dilation=(3, 2)))  # fmt: skip
for stride, holes in ((2, 2), (4, 2), (2, 4), (6, 4), (4, 6), (3, 3)):
    case(f"conv of stride {stride} over {holes - 1} holes", (1, 7, 2), lambda x, s=stride, h=holes: conv(
        x, positive(5, 2, 3), (s,), ((3, 2),), lhs_dilation=(h,)))  # fmt: skip
case("conv of strides and holes on both axes", (1, 5, 4, 1), lambda x: conv(
    x, positive(3, 4, 1, 2), (2, 4), ((1, 2), (3, 1)), lhs_dilation=(4, 6), rhs_dilation=(3, 1)))  # fmt: skip
case("conv whose taps fall into holes only", (1, 5, 4, 1), lambda x: x[:, :, :2] + conv(
    x, positive(1, 3, 1, 1), (2, 2), ((1, 0), (0, 1)), lhs_dilation=(2, 1))[:, :5, :2])  # fmt: skip
case("conv of stride and holes, dilated by their factor", (1, 6, 2), lambda x: conv(
    x, positive(3, 2, 2), (2,), ((1, 3),), lhs_dilation=(2,), rhs_dilation=(2,)) + x.sum())  # fmt: skip
case("conv of strides and holes in groups", (1, 6, 5, 4), lambda x: conv(
    x, positive(3, 2, 2, 6), (2, 3), ((2, 1), (0, 2)), lhs_dilation=(2, 3), feature_group_count=2))  # fmt: skip
case("conv of strides and holes by a kernel with zeros", (1, 6, 5, 1), lambda x: conv(
    x, positive(3, 3, 1, 2) * causal(3), (2, 2), ((1, 1), (2, 1)), lhs_dilation=(2, 4)))  # fmt: skip
case("conv cut on one side, padded on the other", (1, 9, 7, 4), lambda x: conv(
    x, positive(3, 1, 4, 4), (1, 2), ((-3, 2), (2, -3))))  # fmt: skip
case("conv of holes that are cut", (1, 6, 5, 1), lambda x: conv(
    x, positive(2, 3, 1, 2), padding=((-3, 2), (4, -2)), lhs_dilation=(2, 3)))  # fmt: skip
case("conv of one tap, cut, before one that pads", (1, 9, 7, 2), lambda x: conv(
    conv(x, positive(1, 1, 2, 3), (2, 3), ((1, -2), (-1, 2))), positive(3, 3, 3, 1)))  # fmt: skip
case(
    "conv of no images' positions",
    (1, 5, 4, 2),
    lambda x: x[:, :2].sum() + conv(x[:, :, :0], positive(3, 1, 2, 2)).sum(),
)
case("conv transposed", (1, 4, 5, 2), lambda x: lax.conv_transpose(x, positive(3, 2, 2, 3), (2, 3), "SAME"))
case("conv grouped", (1, 5, 4, 4), lambda x: conv(x, positive(3, 3, 2, 6), feature_group_count=2))
case("conv depthwise", (1, 5, 4, 3), lambda x: conv(x, positive(3, 3, 1, 6), (2, 1), feature_group_count=3))
case("conv with groups of images", (4, 5, 3, 1), lambda x: conv(x, positive(2, 3, 1, 4), batch_group_count=2))
case("conv of one position", (1, 1, 1, 2), lambda x: conv(x, positive(3, 3, 2, 2)))
case("conv, its kernel", (1, 3, 2, 2), lambda x: conv(positive(2, 5, 4, 2), x[0, ..., None] * positive(3), (2, 1)))
case("conv, image and kernel", (1, 5, 4, 1), lambda x: conv(x, x[0, :3, :2, :, None] * positive(2)))
case("conv by a known kernel with holes", (1, 7, 5, 2),
     lambda x: conv(x, positive(4, 3, 2, 2) * np.array([0, 1, 0, 1])[:, None, None, None]))  # fmt: skip
case("conv by a causal kernel", (1, 5, 7, 1), lambda x: conv(x, positive(3, 3, 1, 2) * causal(3)))
case("conv by kernels of other zeros", (1, 5, 7, 2),
     lambda x: conv(x, positive(3, 3, 2, 3) * np.stack([causal(3, 1), causal(3), causal(3)], -1)[..., 0, :]))  # fmt: skip
case("conv patches", (1, 5, 7, 2), lambda x: lax.conv_general_dilated_patches(
    x, (3, 2), (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))  # fmt: skip
case("conv grouped with zeros", (1, 5, 4, 4),
     lambda x: conv(x, positive(3, 3, 2, 4) * (np.indices((3, 3, 2, 4)).sum(0) % 2), feature_group_count=2))  # fmt: skip
case("conv by a kernel of scattered zeros", (1, 4, 3, 2),
     lambda x: conv(x, (np.random.default_rng(0).random((3, 3, 2, 3)) < 0.4) * 1.0))  # fmt: skip
case("conv by nothing", (1, 5, 7, 1), lambda x: conv(x, np.zeros((3, 3, 1, 2))) + x[..., :1])
