"""Operations that move elements: views, slices, joins, padding, indexing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrf.adapters.aten.graph import rules

Array = Any
Sizes = Sequence[int]


@rules.register("view", "reshape", "_unsafe_view")
def view(x: Array, shape: Sizes) -> Array:
    """The same elements in another shape."""
    return jnp.reshape(x, tuple(shape))


@rules.register("flatten")
def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """Axes from one to another as one."""
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return jnp.reshape(x, (*x.shape[:start], -1, *x.shape[end + 1 :]))


@rules.register("unflatten")
def unflatten(x: Array, dim: int, sizes: Sizes) -> Array:
    """One axis as several."""
    dim %= x.ndim
    return jnp.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


@rules.register("permute")
def permute(x: Array, dims: Sizes) -> Array:
    """Axes in another order."""
    return jnp.transpose(x, tuple(d % x.ndim for d in dims))


@rules.register("transpose")
def transpose(x: Array, dim0: int, dim1: int) -> Array:
    """Two axes exchanged."""
    return jnp.swapaxes(x, dim0, dim1)


@rules.register("t")
def t(x: Array) -> Array:
    """A matrix transposed."""
    return x.T


@rules.register("movedim")
def movedim(x: Array, source: Any, destination: Any) -> Array:
    """Axes at other places."""
    return jnp.moveaxis(x, source, destination)


@rules.register("unsqueeze")
def unsqueeze(x: Array, dim: int) -> Array:
    """One more axis, of one position."""
    return jnp.expand_dims(x, dim)


@rules.register("squeeze")
def squeeze(x: Array, dim: Any = None) -> Array:
    """Without axes of one position."""
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return jnp.squeeze(x, tuple(d % x.ndim for d in dims if x.shape[d] == 1)) if x.ndim else x


@rules.register("expand")
def expand(x: Array, sizes: Sizes, *, implicit: bool = False) -> Array:
    """Axes of one position repeated; -1 keeps one."""
    lead = len(sizes) - x.ndim
    shape = [x.shape[i - lead] if size == -1 else size for i, size in enumerate(sizes)]
    return jnp.broadcast_to(x, tuple(shape))


@rules.register("repeat")
def repeat(x: Array, repeats: Sizes) -> Array:
    """Whole copies side by side."""
    return jnp.tile(jnp.reshape(x, (1,) * (len(repeats) - x.ndim) + x.shape), tuple(repeats))


@rules.register("repeat_interleave.self_int")
def repeat_interleave(x: Array, repeats: int, dim: int | None = None, *, output_size: int | None = None) -> Array:
    """Each element so many times."""
    return jnp.repeat(x, repeats, dim)


@rules.register("slice")
def slice_(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    """Positions from one to another; those beyond the end are left out."""
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


@rules.register("select")
def select(x: Array, dim: int, index: int) -> Array:
    """One position of an axis."""
    dim, size = dim % x.ndim, x.shape[dim % x.ndim]
    return jnp.squeeze(lax.slice_in_dim(x, index % size, index % size + 1, axis=dim), dim)


@rules.register("narrow")
def narrow(x: Array, dim: int, start: int, length: int) -> Array:
    """So many positions of an axis."""
    start %= x.shape[dim]
    return slice_(x, dim, start, start + length)


@rules.register("slice_scatter")
def slice_scatter(
    x: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    """Other values at some positions of an axis."""
    dim %= x.ndim
    lo, hi, step = slice(start, end, step).indices(x.shape[dim])
    if step != 1:
        return x.at[(slice(None),) * dim + (slice(lo, hi, step),)].set(src)
    parts = [lax.slice_in_dim(x, 0, lo, axis=dim), src.astype(x.dtype), lax.slice_in_dim(x, hi, None, axis=dim)]
    return lax.concatenate([part for part in parts if part.shape[dim]], dim)


@rules.register("select_scatter")
def select_scatter(x: Array, src: Array, dim: int, index: int) -> Array:
    """Other values at one position of an axis."""
    index %= x.shape[dim]
    return slice_scatter(x, jnp.expand_dims(src, dim), dim, index, index + 1)


@rules.register("cat")
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """One behind the other; empty vectors are left out, as PyTorch does."""
    kept = [x for x in tensors if x.shape != (0,)] or list(tensors[:1])
    return jnp.concatenate(kept, dim)


@rules.register("stack")
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Side by side on an axis of their own."""
    return jnp.stack(tensors, dim)


@rules.register("split", "split_with_sizes")
def split(x: Array, sizes: Any, dim: int = 0) -> list[Array]:
    """Parts of one size, or of several."""
    length = x.shape[dim]
    counts = [min(sizes, length - at) for at in range(0, length, sizes)] if isinstance(sizes, int) else list(sizes)
    return jnp.split(x, np.cumsum(counts)[:-1].tolist(), dim)


@rules.register("chunk")
def chunk(x: Array, chunks: int, dim: int = 0) -> list[Array]:
    """Parts of one size, the last maybe smaller."""
    return split(x, -(-x.shape[dim] // chunks), dim)


@rules.register("tensor_split")
def tensor_split(x: Array, parts: Any, dim: int = 0) -> list[Array]:
    """Parts of sizes that differ by one at most, or at indices."""
    return jnp.array_split(x, parts, dim)


@rules.register("unbind")
def unbind(x: Array, dim: int = 0) -> list[Array]:
    """All positions of an axis, one by one."""
    return [select(x, dim, index) for index in range(x.shape[dim])]


@rules.register("roll")
def roll(x: Array, shifts: Any, dims: Any = ()) -> Array:
    """Moved around the ends."""
    if dims in ((), []):
        return jnp.roll(x, shifts[0] if isinstance(shifts, list | tuple) else shifts)
    return jnp.roll(x, shifts, tuple(dims) if isinstance(dims, list | tuple) else dims)


@rules.register("flip")
def flip(x: Array, dims: Sizes) -> Array:
    """Axes turned round."""
    return jnp.flip(x, tuple(dims))


@rules.register("unfold")
def unfold(x: Array, dim: int, size: int, step: int) -> Array:
    """Windows of an axis, their positions last."""
    dim %= x.ndim
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    windows = jnp.take(x, (starts[:, None] + np.arange(size)).ravel(), axis=dim)
    return jnp.moveaxis(windows.reshape(*x.shape[:dim], len(starts), size, *x.shape[dim + 1 :]), dim + 1, -1)


MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@rules.register("constant_pad_nd")
def constant_pad_nd(x: Array, pad: Sizes, value: float = 0) -> Array:
    """A border of one value, or one cut off where a number is negative."""
    config = [(0, 0, 0)] * x.ndim
    for axis, (lo, hi) in enumerate(zip(pad[::2], pad[1::2])):
        config[x.ndim - 1 - axis] = (lo, hi, 0)
    return lax.pad(x, np.asarray(value, x.dtype), config)


@rules.register("pad")
def pad(x: Array, pad: Sizes, mode: str = "constant", value: float | None = None) -> Array:
    """A border by a mode of PyTorch's, of the last axes first."""
    if mode == "constant":
        return constant_pad_nd(x, pad, value or 0)
    widths = [(0, 0)] * x.ndim
    for axis, width in enumerate(zip(pad[::2], pad[1::2])):
        widths[x.ndim - 1 - axis] = width
    return jnp.pad(x, widths, mode=MODES[mode])


for _mode, _kind in (("reflection", "reflect"), ("replication", "replicate")):
    for _axes in (1, 2, 3):
        rules.register(f"{_mode}_pad{_axes}d")(lambda x, border, mode=_kind: pad(x, border, mode))


@rules.register("index", "_unsafe_index")
def index(x: Array, indices: Sequence[Array | None]) -> Array:
    """Positions by arrays of numbers; None takes a whole axis."""
    return x[tuple(slice(None) if one is None else one for one in indices)]


@rules.register("index_put", "_unsafe_index_put")
def index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """Other values at positions by arrays of numbers."""
    at = x.at[tuple(slice(None) if one is None else one for one in indices)]
    return at.add(values) if accumulate else at.set(values)


@rules.register("index_select")
def index_select(x: Array, dim: int, index: Array) -> Array:
    """Positions of an axis by numbers."""
    return jnp.take(x, index, axis=dim)


@rules.register("gather")
def gather(x: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    """For each position a number of an axis."""
    grid = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    grid[dim] = index
    return x[tuple(grid)]


@rules.register("scatter.src", "scatter.value")
def scatter(x: Array, dim: int, index: Array, src: Array) -> Array:
    """Other values, for each position at a number of an axis."""
    grid = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    grid[dim] = index
    return x.at[tuple(grid)].set(src if np.ndim(src) == 0 else src[tuple(slice(size) for size in index.shape)])


@rules.register("embedding")
def embedding(weight: Array, indices: Array, *_: Any, **__: Any) -> Array:
    """Rows of a table by numbers."""
    return jnp.take(weight, indices, axis=0)


@rules.register("tril")
def tril(x: Array, diagonal: int = 0) -> Array:
    """Below a diagonal."""
    return jnp.tril(x, diagonal)


@rules.register("triu")
def triu(x: Array, diagonal: int = 0) -> Array:
    """Above a diagonal."""
    return jnp.triu(x, diagonal)


@rules.register("meshgrid")
def meshgrid(tensors: Sequence[Array], *, indexing: str = "ij") -> list[Array]:
    """Coordinates of a grid."""
    return list(jnp.meshgrid(*tensors, indexing=indexing))
