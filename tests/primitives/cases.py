"""Small functions, one or more for every linear primitive: what a rule is tried on.

Weights are positive and inputs are positive, so that nothing cancels and every path shows in a dense Jacobian.
Shapes are asymmetric. Nothing here knows of the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxrf

Array = Any
CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """A function of one array of `shape` (axis 0: images).

    `draws` is how many inputs it takes until every path has shown, where values choose between paths.
    `reverse` says whether JAX can differentiate it in reverse mode.
    """

    name: str
    fn: Callable[[Array], Array]
    shape: tuple[int, ...]
    draws: int = 1
    reverse: bool = True


def case(name: str, shape: tuple[int, ...], fn: Callable[[Array], Array], draws: int = 1, reverse: bool = True) -> None:
    assert name not in CASES
    CASES[name] = Case(name, fn, shape, draws, reverse)


def positive(*shape: int) -> np.ndarray:
    """Numbers between 0.5 and 1.5, the same on every call."""
    return np.random.default_rng(len(shape) + sum(shape)).uniform(0.5, 1.5, shape)


# Elementwise: equal shapes, size-1 axes, rank 0, known zeros.
case("mul", (1, 5, 3), lambda x: x * positive(5, 3))
case(
    "mul broadcast operand",
    (1, 5, 1),
    lambda x: lax.mul(x + jnp.zeros((1, 5, 1)), positive(1, 5, 1)) * jnp.ones((1, 5, 3)),
)
case("mul of two tangents", (1, 5, 3), lambda x: x * x[:, ::-1])
case("mul rank 0", (1, 5), lambda x: x.sum() * positive(1, 7))
case("mul by a known mask", (1, 5, 3), lambda x: x * (np.arange(5) % 2)[:, None])
case("mul by a mask of channels", (1, 5, 3), lambda x: x * np.array([1.0, 0.0, 2.0]))
case("div", (1, 5, 3), lambda x: x / positive(5, 1))
case("add", (1, 5, 3), lambda x: (x + 1.0) + x[:, :, :1])
case("sub", (1, 5, 3), lambda x: x[:, 1:] - 3 * x[:, :-1])
case("neg", (1, 5, 3), lambda x: -x)
case("select_n by values", (1, 5, 3), lambda x: jnp.where(x > 1, x, x[:, ::-1]), draws=20)
case("select_n by a known mask", (1, 5, 3), lambda x: jnp.where(np.arange(5)[:, None] > 2, x, x[:, ::-1]))
case("select_n by a number", (1, 5), lambda x: lax.cond(x.sum() > 5, lambda: 2 * x, lambda: x[:, ::-1]), draws=20)
case(
    "select_n of three",
    (1, 5),
    lambda x: lax.switch(jnp.argmax(x[0, :3]), [lambda: x, lambda: 2 * x, lambda: x[:, ::-1]]),
    20,
)
case("copy", (1, 5), lambda x: jnp.array(x, copy=True))
case("name", (1, 5), lambda x: named(x), reverse=False)
case("jaxrf_tap", (1, 5), lambda x: jaxrf.tap(x, "layer"))
case("reduce_precision", (1, 5), lambda x: lax.reduce_precision(x, 11, 52))
case("convert_element_type", (1, 5), lambda x: x.astype(jnp.float32).astype(jnp.float64))
case(
    "sharding_constraint",
    (1, 5),
    lambda x: lax.with_sharding_constraint(x, jax.sharding.SingleDeviceSharding(jax.devices()[0])),
)
case("rank 0 throughout", (1,), lambda x: jnp.sin(x[0]) * 2.0)
case("no elements", (1, 0, 3), lambda x: jnp.pad(2.0 * x, ((0, 0), (2, 1), (0, 0))).sum(2))

# Complex pairs and Fourier transforms.
case("complex", (1, 5, 3), lambda x: jnp.real(lax.complex(x, x[:, ::-1]) * (1 + 2j)))
case("imag", (1, 5), lambda x: jnp.imag(lax.complex(x, 2 * x) * (1 + 2j)))
case("conj", (1, 5), lambda x: jnp.real(jnp.conj(lax.complex(x, 2 * x)) * (1 + 2j)))
case("fft", (2, 5, 3), lambda x: jnp.abs(jnp.fft.fft(x, axis=1)))
case("fft over two axes", (1, 3, 5), lambda x: jnp.abs(jnp.fft.fft2(x)))
case("ifft", (1, 5), lambda x: jnp.abs(jnp.fft.ifft(lax.complex(x, x * x))))
case("rfft even", (2, 6), lambda x: jnp.abs(jnp.fft.rfft(x)))
case("rfft odd", (2, 5), lambda x: jnp.abs(jnp.fft.rfft(x)))
case("irfft even", (2, 4), lambda x: jnp.fft.irfft(lax.complex(x, x * x), 6))
case("irfft odd", (2, 3), lambda x: jnp.fft.irfft(lax.complex(x, x * x), 5))

# Axes.
case("broadcast_in_dim", (1, 5), lambda x: jnp.broadcast_to(x[:, :, None], (1, 5, 3)))
case("broadcast_in_dim repeats", (1, 1, 5), lambda x: jnp.broadcast_to(x, (1, 3, 5)))
case("broadcast_in_dim rank 0", (1, 5), lambda x: jnp.broadcast_to(x.sum(), (1, 3)))
case("reduce_sum", (1, 5, 7, 2), lambda x: x.sum((1, 3)))
case("reduce_sum over images", (3, 5), lambda x: x - x.sum(0))
case("reduce_sum of nothing", (1, 0, 3), lambda x: x.sum(1))
case("transpose", (1, 5, 7, 2), lambda x: x.transpose(3, 0, 2, 1))
case("squeeze", (1, 5, 1, 2), lambda x: lax.squeeze(x, (2,)))
case("reshape merges", (1, 5, 3, 2), lambda x: x.reshape(1, 15, 2))
case("reshape splits", (1, 12, 2), lambda x: x.reshape(1, 3, 4, 2))
case("reshape regroups", (1, 6, 2), lambda x: x.reshape(1, 4, 3))
case("reshape with ones", (1, 5, 3), lambda x: x.reshape(5, 1, 3, 1))
case("reshape in another order", (1, 2, 3), lambda x: lax.reshape(x, (1, 6), (0, 2, 1)))
case("vmap of a convolution over an axis", (2, 3, 5, 1), lambda x: jax.vmap(
    lambda row: lax.conv_general_dilated(row, positive(3, 1, 1), (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")), 1, 1)(x))  # fmt: skip
case("reshape to rank 0", (1, 1), lambda x: x.reshape(()))
case(
    "pixel shuffle", (1, 2, 3, 8), lambda x: x.reshape(1, 2, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 6, 2)
)

# Movement.
case("pad", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (2, 1, 0), (0, 0, 0))))
case("pad interior", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (2, 1, 2), (1, 0, 1))))
case("pad negative", (1, 7, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-2, 1, 0), (0, -1, 0))))
case("pad interior and negative", (1, 5, 3), lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-2, -1, 2), (0, 0, 0))))
case("pad with a tangent", (1, 5), lambda x: lax.pad(x, x.sum(), ((0, 0, 0), (2, 1, 1))))
case("slice", (1, 9, 3), lambda x: x[:, 1:8:3, 1:])
case("slice of nothing", (1, 5), lambda x: jnp.concatenate([x[:, 2:2], x], 1))
case("slice to nothing", (1, 5, 3), lambda x: jnp.concatenate([x, jnp.tanh(2 * x[:, 4:1])], 1).sum(2))
case("concatenate with an empty part", (1, 5, 4), lambda x: jnp.concatenate([x[:, :, 4:], x * 2, x[:, :, :0]], 2))
case("roll by nothing", (1, 5, 7), lambda x: jnp.roll(x, (0, 3), (1, 2)))
case("split with an empty part", (1, 7, 3), lambda x: jnp.split(x, [0, 4, 4], 1)[1] * jnp.split(x, [3, 3], 1)[2])
case("an empty part through every layer", (1, 6, 4), lambda x: x[:, 1:] + jnp.pad(
    conv(jnp.tanh(x[:, :0].reshape(1, 0, 2, 2).sum(3)), positive(1, 2, 4), (2,)), ((0, 0), (2, 3), (0, 0))))  # fmt: skip
case("rev", (1, 5, 3), lambda x: x[:, ::-1])
case("rev of two axes", (1, 5, 7), lambda x: lax.rev(x, (1, 2)))
case("concatenate", (1, 5, 3), lambda x: jnp.concatenate([x[:, 1:3], 2 * x, x[:, :1]], 1))
case("roll", (1, 5, 7), lambda x: jnp.roll(x, (2, -1), (1, 2)))
case("split", (1, 7), lambda x: jnp.multiply(*jnp.split(x[:, :6], 2, 1)))
case("stack", (1, 5), lambda x: jnp.stack([x, 2 * x[:, ::-1]], 1))
case("unstack", (1, 3, 5), lambda x: jnp.unstack(x, axis=1)[1])
case("tile", (1, 3, 2), lambda x: jnp.tile(x, (1, 2, 3)))
case("cumsum", (1, 5, 3), lambda x: jnp.cumsum(x, 1))
case("cumsum reverse", (1, 5, 3), lambda x: lax.cumsum(x, 1, reverse=True))
for mode in ("edge", "reflect", "symmetric", "wrap"):
    case(f"jnp.pad {mode}", (1, 5, 4), lambda x, mode=mode: jnp.pad(x, ((0, 0), (2, 1), (0, 2)), mode))

# Products.
CHECKERS = np.indices((3, 4, 2)).sum(0) % 2
case("dot_general", (1, 5, 3), lambda x: x @ positive(3, 4))
case("dot_general, tangent on the right", (1, 5, 3), lambda x: positive(4, 5) @ x)
case("dot_general of two tangents", (1, 5, 3), lambda x: jnp.einsum("bik,bjk->bij", x, x * x))
case("dot_general over two axes", (1, 5, 3, 2), lambda x: jnp.einsum("bijk,jkl->bil", x, positive(3, 2, 4)))
case("dot_general by images that differ", (2, 5, 3), lambda x: jnp.einsum("bik,bkj->bij", x, positive(2, 3, 4)))
case("dot_general by a known matrix", (1, 5, 3), lambda x: jnp.einsum("oi,bic->boc", np.tri(7, 5, -1), x))
case(
    "dot_general by zeros of no simple form",
    (1, 3, 4),
    lambda x: jnp.einsum("bij,ijk->bk", x, positive(3, 4, 2) * CHECKERS),
)
case("attention behind a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jax.nn.softmax(jnp.where(np.tri(4, dtype=bool), jnp.einsum("bic,bjc->bij", x, x), -1e9), -1), x))  # fmt: skip
case("attention behind a mask made of values", (1, 4, 3), lambda x: jnp.einsum("bij,bjc->bic", jax.nn.softmax(
    jnp.where(x.sum(2)[:, None] > 2, jnp.einsum("bic,bjc->bij", x, x), -1e9), -1), x))  # fmt: skip
case("attention of two heads with masks of their own", (1, 5, 4), lambda x: jnp.einsum("bhij,bjhc->bihc", jax.nn.softmax(
    jnp.where(np.tri(5, k=1) - np.array([np.tri(5, k=-3), np.tri(5, k=-2)]) > 0,
              jnp.einsum("bihc,bjhc->bhij", x.reshape(-1, 5, 2, 2), x.reshape(-1, 5, 2, 2)), -jnp.inf), -1),
    x.reshape(-1, 5, 2, 2)))  # fmt: skip
case("scores times a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jnp.einsum("bic,bjc->bij", x, x) * np.tri(4, k=-1), x))  # fmt: skip
case("attention without a mask", (1, 4, 3), lambda x: jnp.einsum(
    "bij,bjc->bic", jax.nn.softmax(jnp.einsum("bic,bjc->bij", x, x * x) + 0.5 * np.tri(4), -1), x))  # fmt: skip
case("dot_general by a number", (1, 5), lambda x: jnp.einsum("bi,->bi", x, x.sum()))
for method in ("nearest", "linear", "cubic", "lanczos3"):
    case(f"resize {method}", (1, 5, 4, 2), lambda x, method=method: jax.image.resize(x, (1, 9, 7, 2), method))
case("resize down", (1, 9, 7, 2), lambda x: jax.image.resize(x, (1, 4, 3, 2), "linear"))
case("ragged_dot_general", (1, 5, 3), lambda x: lax.ragged_dot(x[0], positive(2, 3, 4), np.array([2, 3])))
case(
    "ragged_dot_general, matrices",
    (1, 3, 4),
    lambda x: lax.ragged_dot(positive(5, 3), jnp.concatenate([x, x * x]), np.array([2, 3])),
)
case("ragged_dot_general of three groups, one of them empty", (1, 7, 2),
     lambda x: lax.ragged_dot(x[0], positive(3, 2, 5), np.array([2, 0, 4])))  # fmt: skip
case("ragged_dot_general in batches", (2, 6, 3), lambda x: lax.ragged_dot_general(
    x, positive(2, 2, 3, 4), np.array([[2, 4], [5, 1]]), lax.RaggedDotDimensionNumbers((((2,), (2,)), ((0,), (0,))), (1,), (1,))))  # fmt: skip
case("ragged_dot_general, unknown sizes", (1, 3, 4),
     lambda x: lax.ragged_dot(positive(5, 3), jnp.concatenate([x, x * x]), jnp.int32(x[0, 0, :2])))  # fmt: skip


def conv(x: Array, kernel: Array, strides=None, padding="SAME", numbers="NHWC", **options: Any) -> Array:
    """`lax.conv_general_dilated` in the usual layouts: kernel (*spatial, in, out)."""
    d = kernel.ndim - 2
    spatial = "DHW"[-d:]
    images = numbers if numbers != "NHWC" else f"N{spatial}C"
    return lax.conv_general_dilated(
        x, kernel, strides or (1,) * d, padding, dimension_numbers=(images, f"{spatial}IO", images), **options
    )


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


def causal(size: int, center: int = 0) -> np.ndarray:
    """A mask (size, size, 1, 1) over the rows above, and what is on the left; of the middle itself if `center`."""
    flat = np.arange(size * size).reshape(size, size, 1, 1)
    return flat < size * size // 2 + center


# Pooling.
def pool(
    x: Array, op: Any, window: tuple[int, ...], strides: tuple[int, ...], padding: Any = "SAME", **options: Any
) -> Array:
    """`lax.reduce_window` over all axes."""
    start = {"add": 0.0, "max": -jnp.inf, "min": jnp.inf}[op.__name__]
    return lax.reduce_window(x, start, op, window, strides, padding, **options)


case("max-pool", (1, 5, 7, 1), lambda x: pool(x, lax.max, (1, 3, 2, 1), (1, 2, 1, 1)), draws=60)
case("max-pool over channels", (1, 4, 4), lambda x: pool(x, lax.max, (1, 2, 3), (1, 2, 1), "VALID"), draws=60)
case("max-pool 3-D", (1, 3, 4, 3, 1), lambda x: pool(x, lax.max, (1, 2, 2, 1, 1), (1, 1, 2, 1, 1)), draws=60)
case("max-pool with stride over window", (1, 11), lambda x: pool(x, lax.max, (1, 2), (1, 4), "VALID"), draws=20)
case("max-pool dilated", (1, 9, 1), lambda x: pool(
    x, lax.max, (1, 3, 1), (1, 2, 1), ((0, 0), (2, 1), (0, 0)), window_dilation=(1, 2, 1)), draws=60, reverse=False)  # fmt: skip
case(
    "max-pool over a dilated input",
    (1, 5),
    lambda x: pool(x, lax.max, (1, 4), (1, 1), ((0, 0), (1, 2)), base_dilation=(1, 2)),
    60,
)
case("min-pool", (1, 5, 4), lambda x: pool(x, lax.min, (1, 3, 2), (1, 2, 2)), draws=60)
case("gradient of a max-pool", (1, 6, 5), lambda x: jax.grad(
    lambda y: (pool(y, lax.max, (1, 3, 2), (1, 2, 1), ((0, 0), (1, 1), (0, 0))) ** 2).sum())(x), draws=60)  # fmt: skip
case("gradient of a max-pool over gaps", (1, 8), lambda x: jax.grad(
    lambda y: (pool(y, lax.max, (1, 2), (1, 3), "VALID") ** 2).sum())(x), draws=60)  # fmt: skip
case("sum-pool", (1, 5, 7, 2), lambda x: pool(x, lax.add, (1, 3, 2, 1), (1, 2, 1, 1)))
case("sum-pool 1-D uneven", (1, 8, 2), lambda x: pool(x, lax.add, (1, 3, 2), (1, 2, 1), ((0, 0), (0, 1), (0, 1))))
case("sum-pool with stride over window", (1, 11), lambda x: pool(x, lax.add, (1, 2), (1, 4), "VALID"))
case(
    "sum-pool of stride over holes",
    (1, 7),
    lambda x: pool(x, lax.add, (1, 3), (1, 4), ((0, 0), (2, 3)), base_dilation=(1, 2)),
)
case("sum-pool cut", (1, 9, 2), lambda x: pool(x, lax.add, (1, 3, 1), (1, 2, 1), ((0, 0), (-2, 1), (0, 0))))
case(
    "max-pool cut",
    (1, 9, 2),
    lambda x: pool(x, lax.max, (1, 3, 1), (1, 2, 1), ((0, 0), (-2, 1), (0, 0))),
    60,
    reverse=False,
)
case("sum-pool dilated twice", (1, 7, 5), lambda x: pool(
    x, lax.add, (1, 3, 2), (1, 2, 1), ((0, 0), (2, 1), (0, 1)), base_dilation=(1, 2, 1), window_dilation=(1, 3, 2)))  # fmt: skip

# Reading and writing at indices.
INDEX = np.array([0, 3, 3, 1])
case("gather", (1, 5, 3), lambda x: x[:, INDEX])
case("gather of two axes at once", (1, 5, 4, 2), lambda x: x[:, INDEX, INDEX[::-1]])
case(
    "gather with window",
    (1, 5, 4),
    lambda x: jax.vmap(lambda i: lax.dynamic_slice(x, (0, i, 0), (1, 2, 4)))(np.array([1, 3])),
)
case("gather one position", (1, 5, 4), lambda x: jnp.take(x, np.array(2), 1))
case("gather fills", (1, 5), lambda x: x.at[:, np.array([1, 9, 4])].get(mode="fill", fill_value=0))
case("gather clips", (1, 5), lambda x: x.at[:, np.array([1, 9, -9])].get(mode="clip"))
case("gather a slice that is dropped", (1, 5), lambda x: lax.gather(
    x, np.array([[4]]), lax.GatherDimensionNumbers((0, 1), (), (1,)), (1, 3), mode="fill") + x[:, :3])  # fmt: skip
case("gather by values", (1, 5, 3), lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1), draws=60)
case("gather by known and unknown indices", (2, 4, 3),
     lambda x: x[np.arange(2)[:, None], jnp.argmax(x, 2)], draws=60)  # fmt: skip
case("sort", (1, 4, 2), lambda x: jnp.sort(x, 1), draws=60)
case("top_k", (1, 2, 4), lambda x: lax.top_k(x, 2)[0], draws=60)
case("dynamic_slice", (1, 7, 3), lambda x: lax.dynamic_slice(x, (0, 2, 0), (1, 4, 3)))
case("dynamic_slice beyond the end", (1, 7, 3), lambda x: lax.dynamic_slice(x, (0, 6, -1), (1, 4, 2)))
case(
    "dynamic_slice by values",
    (1, 5, 3),
    lambda x: lax.dynamic_slice(x, (0, jnp.argmax(x[0, :, 0]), 0), (1, 2, 3)),
    draws=60,
)
case("dynamic_update_slice", (1, 7, 3), lambda x: lax.dynamic_update_slice(x, x[:, :2, 1:] * 3, (0, 3, 1)))
case("dynamic_update_slice by values", (1, 4, 3),
     lambda x: lax.dynamic_update_slice(x, x[:, :2] * 3, (0, jnp.argmax(x[0, :, 0]), 0)), draws=60)  # fmt: skip
case("scatter a block", (1, 7, 3), lambda x: x.at[:, 2:5].set(3 * x[:, :3]))
case("scatter a row", (1, 5, 4), lambda x: x.at[:, 2].set(x[:, 0] * 2))
case("scatter one element of two axes", (1, 5, 4, 2), lambda x: x.at[:, 3, 1].set(x[:, 0, 2] * 2))
case("scatter at indices", (1, 5, 3), lambda x: x.at[:, np.array([3, 1])].set(2 * x[:, :2]))
case("scatter at indices that repeat", (1, 5), lambda x: x.at[:, np.array([3, 1, 3])].set(2 * x[:, :3]))
case("scatter dropped", (1, 5), lambda x: x.at[:, np.array([3, 9])].set(2 * x[:, :2], mode="drop"))
case("scatter by values", (1, 4, 2), lambda x: x.at[:, jnp.argmax(x[0, :, 0])].set(2 * x[:, 1]), draws=60)
case("scatter-add a block", (1, 5, 3), lambda x: jnp.ones((1, 9, 4)).at[:, 2:7, 1:].add(x))
case("scatter-add at indices", (1, 5, 3), lambda x: x.at[:, np.array([1, 1, 4])].add(2 * x[:, :3]))
case("scatter-add by values", (1, 4, 2), lambda x: x.at[:, jnp.argmax(x[0, :, 0])].add(2 * x[:, 1]), draws=60)
case("scatter-add by values and images", (2, 3, 2),
     lambda x: jax.vmap(lambda y: y.at[jnp.argmax(y[:, 0])].add(2 * y[1]))(x), draws=60)  # fmt: skip
case("scatter-sub a row", (1, 5, 3), lambda x: x.at[:, 2].subtract(0.3 * x[:, 0]))
case("scatter-sub at indices", (1, 5, 3), lambda x: x.at[:, np.array([1, 4])].subtract(0.3 * x[:, :2]))
case(
    "scatter of nothing", (1, 5, 3), lambda x: x.at[:, np.zeros(0, int)].set(2 * x[:, :0]) + x.at[:, 2:2].add(x[:, :0])
)
case("gather of nothing", (1, 5, 3), lambda x: jnp.concatenate([x[:, np.zeros(0, int)], x[:, ::2]], 1))
case("dynamic slices of nothing", (1, 5, 3), lambda x: lax.dynamic_update_slice(
    x, lax.dynamic_slice(x, (0, 2, 0), (1, 0, 3)), (0, 1, 0)))  # fmt: skip
case("scatter-mul by zero", (1, 5, 3), lambda x: x.at[:, np.array([1, 2])].multiply(np.array([0.0, 2.0])[:, None]))
case("scatter-mul", (1, 5, 3), lambda x: x.at[:, np.array([1, 1, 2])].multiply(2.0))

# Solves and custom rules.
for lower in (True, False):
    for left in (True, False):
        for transposed in (True, False):
            case(f"triangular_solve {lower=} {left=} {transposed=}", (2, 3, 3), lambda x, options=(left, lower, transposed): (
                lax.linalg.triangular_solve(
                    -2 * jnp.ones((2, 3, 3)) + 5 * jnp.eye(3) + 0 * lax.stop_gradient(x), x, left_side=options[0],
                    lower=options[1], transpose_a=options[2])))  # fmt: skip
case("triangular_solve by a known matrix", (1, 3, 2), lambda x: lax.linalg.triangular_solve(
    np.eye(3)[None] + 0.5 * (np.arange(3) == 2), x, left_side=True, lower=True))  # fmt: skip
case("triangular_solve by a known full one", (1, 3, 2), lambda x: lax.linalg.triangular_solve(
    np.tril(-positive(1, 3, 3)) + 3 * np.eye(3), x, left_side=True, lower=True))  # fmt: skip
case("tridiagonal_solve of two blocks", (1, 4, 2), lambda x: lax.linalg.tridiagonal_solve(
    np.array([[0.0, 1, 0, 1]]), 5 * np.ones((1, 4)), np.array([[1.0, 0, 1, 0]]), x))  # fmt: skip
case("tridiagonal_solve", (1, 4, 2), lambda x: lax.linalg.tridiagonal_solve(
    -positive(1, 4), 5 * np.ones((1, 4)), -positive(1, 4), x))  # fmt: skip
case("solve", (1, 3, 2), lambda x: jnp.linalg.solve(jnp.eye(3) * 5 - lax.stop_gradient(x[0, :, :1] * x[0, :, 0]), x[0]))


@jax.custom_jvp
def named(x: Array) -> Array:
    return 2 * x


named.defjvp(lambda x, t: (named(*x), checkpoint_name(2 * t[0], "tangent")))


@jax.custom_vjp
def doubled(x: Array) -> Array:
    return jnp.roll(x, 1, 1)


doubled.defvjp(lambda x: (doubled(x), x), lambda x, ct: (jnp.roll(2 * x * ct, -1, 1),))


@jax.custom_vjp
def clipped(x: Array) -> Array:
    return 2 * x


clipped.defvjp(lambda x: (2 * x, None), lambda _, ct: (jnp.clip(ct, -1e3, 1e3),))

case("custom_vjp", (1, 5, 2), doubled)
case("custom_vjp in a scan", (1, 3, 2), lambda x: lax.scan(lambda c, row: (doubled(c + row), None), x[:, 0][:, None],
                                                           x.swapaxes(0, 1)[:, :, None])[0])  # fmt: skip
case("custom_lin", (1, 5), clipped)
case("custom_linear_solve", (1, 4), lambda x: lax.custom_linear_solve(
    lambda v: 3 * v, x, lambda _, b: lax.while_loop(lambda v: v.sum() < 0, lambda v: v, b) / 3, symmetric=True))  # fmt: skip
