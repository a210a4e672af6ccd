"""Sizes and strides through changes of layout: windows, tokens, shuffles, rolls, borders, resizes; and their density."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.geometry.row import Row


def conv(x, size=3, stride=1, padding="SAME", dilation=1, features=None):
    """A convolution with ones, in one to three dimensions."""
    rank, letters = x.ndim - 2, "HWD"[: x.ndim - 2]
    kernel = jnp.ones((*(size,) * rank, x.shape[-1], features or x.shape[-1]))
    return lax.conv_general_dilated(
        x, kernel, (stride,) * rank, padding, rhs_dilation=(dilation,) * rank,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )  # fmt: skip


def in_windows(x, size=2, into_batch=False):
    """Sums over windows of `size` by `size`, written as attention codes partition them."""
    b, h, w, c = x.shape
    windows = x.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    windows = windows.reshape(*((-1,) if into_batch else (b, h * w // size**2)), size * size, c)
    windows = jnp.tanh(windows + windows.sum(-2, keepdims=True))
    return windows.reshape(b, h // size, w // size, size, size, c).transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)


def shifted_windows(x):
    x = in_windows(x)
    return jnp.roll(in_windows(jnp.roll(x, (-1, -1), (1, 2))), (1, 1), (1, 2))


def depth_to_space(x):
    b, h, w, c = x.shape
    return x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def space_to_depth(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def tokens_and_back(x):
    x = conv(x, 2, 2, "VALID")
    return conv(jnp.tanh(x.reshape(x.shape[0], -1, x.shape[-1])).reshape(x.shape))


def unpatched(x):
    """Tokens of patches whose features are laid out as pixels."""
    x = conv(x, 2, 2, "VALID", features=8)
    return depth_to_space(x.reshape(x.shape[0], -1, 8).reshape(x.shape))


@pytest.mark.parametrize(
    ("model", "size", "stride", "padding", "period"),
    [
        (in_windows, 2, 1, 0, 2),
        (lambda x: in_windows(x, into_batch=True), 2, 1, 0, 2),
        (shifted_windows, 4, 1, 2, 2),
        (lambda x: conv(depth_to_space(conv(x, 2, 2, features=8))), 4, 1, 2, 2),
        (lambda x: conv(space_to_depth(x)), 6, 2, 2, 1),
        (tokens_and_back, 6, 2, 2, 1),
        (unpatched, 2, 1, 0, 2),
        (lambda x: jnp.roll(conv(x), 1, (1, 2)), 3, 1, 2, 1),
        (lambda x: conv(jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect"), 5, 1, "VALID"), 5, 1, 2, 1),
        (lambda x: conv(jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), "wrap"), 5, 1, "VALID"), 5, 1, 2, 1),
    ],
    ids=["windows", "windows in the batch", "shifted", "depth to space", "space to depth", "tokens", "unpatched", "roll",
         "reflect", "wrap"],
)  # fmt: skip
def test_layouts_keep_the_unclipped_field(model, size, stride, padding, period):
    """Merged and split axes keep stride, padding and phases; a copied border is none on an endless input."""
    for shape in ((12, 20, 2), (4, 8, 2)):  # in the second hardly any unit lies inside
        row = jaxrf.trf(model, shape)[-1]
        assert row.exact and row.size == (size,) * 2 and row.stride == (stride,) * 2
        assert row.padding == (padding,) * 2 and row.period == (period,) * 2


def test_tokens_have_the_unclipped_boxes_of_their_patches():
    """At a border the box of a token leaves the image, on the slow axis and on the fast one."""
    row = jaxrf.trf(lambda x: (y := conv(conv(x), 4, 4, "VALID")).reshape(y.shape[0], -1, 2), (12, 20, 2))[-1]
    assert row.unit_shape == (15,) and row.size == (6, 6) and row.stride == (None, None)
    assert row.box(0) == ((-1, 5), (-1, 5)) and row.box(14) == ((7, 13), (15, 21))
    assert row.box(14, clip=True) == ((7, 12), (15, 20)) and row.center_unit == (7,)


def test_levels_side_by_side_are_no_border():
    """Tokens of two scales in one sequence have the sizes of both, however few the coarse ones are."""

    def model(x):
        return jnp.concatenate([conv(x), conv(x, 9, 8, "VALID")], 1)

    row = jaxrf.trf(model, (33, 1))[-1]
    assert row.size == (9,) and row.stride == (None,) and row.exact


def test_windows_along_one_axis_in_the_batch():
    """Windows of a sequence that lie in the batch axis are not a global axis, and keep their stride."""

    def model(x):
        windows = x.reshape(-1, 4, x.shape[-1])
        return (windows + windows.sum(1, keepdims=True)).reshape(x.shape)

    row = jaxrf.trf(model, (24, 2))[-1]
    assert (row.size, row.stride, row.period, row.global_axes) == ((4,), (1,), (4,), ())


def test_a_window_over_the_whole_map_is_global():
    """Where one window holds the map, its axes are seen whole."""
    assert jaxrf.trf(lambda x: in_windows(x, 4), (4, 4, 2))[-1].global_axes == ("y", "x")


@pytest.mark.parametrize("index", [[0, 0, 3, 2], [3, 1, 4, 2, 0], [0, 1, 4, 4]])
def test_few_indices_make_no_stride(index):
    """Two neighbors that differ are not a pattern: each unit has the box of its index."""
    row = jaxrf.trf(lambda x: x[:, np.array(index)], (5, 2))[-1]
    assert row.stride == (None,)
    assert [row.box(u) for u in range(len(index))] == [((i, i + 1),) for i in index]


def test_a_border_wrapped_by_indices_is_none_inside():
    """Circular padding by `x[:, index % n]` has the stride and the padding of the positions inside."""
    row = jaxrf.trf(lambda x: conv(x[:, np.arange(-3, 27) % 24], 7, 1, "VALID"), (24, 1))[-1]
    assert (row.size, row.stride, row.padding) == ((7,), (1,), (3,))
    assert row.box(0, clip=True) == ((0, 24),)


@pytest.mark.parametrize(("old", "new"), [(31, 61), (57, 20), (63, 32), (11, 4)])
def test_resizes_by_odd_factors_have_no_stride(old, new):
    """They repeat nowhere, or only over the whole length; what nearly repeats is not said to."""
    row = jaxrf.trf(lambda x: jax.image.resize(x, (len(x), new, 1), "linear"), (old, 1))[-1]
    assert row.stride == (None,) and row.exact


def interpolation(n, m):
    """Lower and upper neighbor of each of `m` positions among `n`, and the weight of the upper one."""
    at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1).astype(np.float32)
    lower = np.floor(at).astype(int)
    return lower, np.minimum(lower + 1, n - 1), at - lower


def weighted(x, axis, m):
    """One axis, as `x[i] * (1 - w) + x[j] * w`."""
    i, j, w = interpolation(x.shape[axis], m)
    w = w.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return jnp.take(x, i, axis) * (1 - w) + jnp.take(x, j, axis) * w


def lerped(x, axis, m):
    """One axis, as `x[i] + w * (x[j] - x[i])`, with indices that are computed in the model."""
    i, j, w = interpolation(x.shape[axis], m)
    w = w.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    lower = jnp.take(x, jnp.asarray(i), axis)
    return lower + w * (jnp.take(x, jnp.asarray(j), axis) - lower)


def of_corners(x, height, width):
    """Both axes at once, as a sum over four corners."""
    (i, k, v), (j, m, w) = interpolation(x.shape[2], height), interpolation(x.shape[3], width)
    v = v[:, None]
    top = x[:, :, i[:, None], j] * ((1 - v) * (1 - w)) + x[:, :, i][..., m] * (1 - v) * w
    return top + x[:, :, k][..., j] * v * (1 - w) + x[:, :, k[:, None], m] * (v * w)


@pytest.mark.parametrize(
    "resize",
    [
        lambda x, m, n: weighted(weighted(x, 2, m), 3, n),
        lambda x, m, n: lerped(jnp.tanh(lerped(x, 3, n)), 2, m),
        of_corners,
    ],
    ids=["weights", "lerp", "corners"],
)
@pytest.mark.parametrize("sizes", [(18, 26), (27, 39), (9, 20)])
def test_an_interpolation_by_indices_is_a_resize(resize, sizes):
    """Bilinear upsampling of channels first, by indices and weights, has the row of `jax.image.resize` of channels last."""
    behind = lambda x: conv(x, 3, 2)  # noqa: E731
    mine = jaxrf.trf(lambda x: behind(resize(x, *sizes).transpose(0, 2, 3, 1)), (2, 9, 13), spatial_axes=(2, 3))[-1]
    theirs = jaxrf.trf(lambda x: behind(jax.image.resize(x, (len(x), *sizes, 2), "bilinear")), (9, 13, 2))[-1]
    for fact in ("sizes", "stride", "padding", "period", "min_size", "aligned", "exact", "density", "unit_shape"):
        assert getattr(mine, fact) == getattr(theirs, fact), fact
    for unit in np.ndindex(*mine.unit_shape):
        assert mine.box(unit) == theirs.box(unit) and mine.box(unit, clip=True) == theirs.box(unit, clip=True)


def test_reads_of_several_variables_are_no_interpolation():
    """Reads of two variables, or with a mask that is not a product of axes, keep the box of each."""
    i, corner = np.array([0, 0, 1, 2]), np.ones((4, 4, 1), np.float32)
    corner[3, 3] = 0
    model = lambda x: x[:, i][:, :, i] * corner + jnp.tanh(x)[:, i + 1][:, :, i]  # noqa: E731
    row = jaxrf.trf(model, (4, 4, 1))[-1]
    assert row.exact and row.box((3, 3)) == ((3, 4), (2, 3)) and row.box((2, 3)) == ((1, 3), (2, 3))


def test_density_of_rows():
    """Three dilations of 2 reach 7 of 13 positions; the row counts when it is asked, and says it when saved after."""
    model = lambda x: conv(conv(conv(x, dilation=2), dilation=2), dilation=2)  # noqa: E731
    row = jaxrf.trf(model, (21, 1))[-1]
    assert Row.from_dict(row.to_dict()).density is None and pickle.loads(pickle.dumps(row)).density is None
    assert row.density == jaxrf.paths(model, (21, 1)).density == 7 / 13
    assert Row.from_dict(row.to_dict()).density == pickle.loads(pickle.dumps(row)).density == 7 / 13


def test_density_where_images_are_mixed_and_where_nothing_is_seen():
    """Of a batch that is seen whole the first image counts; a unit without a path has no density."""
    assert jaxrf.trf(lambda x: conv(x) - x.mean((0, 1, 2)), (5, 7, 2))[-1].density == 1
    assert jaxrf.trf(lambda x: jnp.pad(x, ((0, 0), (9, 9), (0, 0)))[:, :5], (3, 1))[-1].density is None
