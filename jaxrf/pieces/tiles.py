"""Large images in tiles: a model on parts of an image, put together to what it gives on the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrf.errors import CheckError, InputError
from jaxrf.geometry.phases import Phases
from jaxrf.pieces.cuts import Context, cannot_cut
from jaxrf.pieces.layer import PieceLayer, Shaped, as_images
from jaxrf.pieces.plan import Piece, TilePlan, each, planned

LIMIT = {"float64": 1e-9, "float32": 1e-4}
"""Largest difference at a seam, relative to the largest value there, between tiles that both hold all that is seen."""
COARSE = 0.05
"""The same for types of half precision."""


@dataclass(frozen=True, eq=False)
class Tiled:
    """A model on images of one size, in tiles.

    Attributes:
        layer: whose value is wanted.
        plan: the tiles.
        unit_axes: axes of the layer's value that are its units.
    """

    layer: PieceLayer
    plan: TilePlan
    unit_axes: tuple[int, ...]

    def run(self, image: Any, out: Any, check: bool) -> np.ndarray:
        """The layer's value on images (n, ...), put together from tiles.

        Raises:
            CheckError: tiles differ where they overlap.
        """
        across = self.layer.subject.spatial_axes
        value = self.plan.run(self._part, image, spatial_axes=across, unit_axes=self.unit_axes, out=out)
        if check and self.plan.exact:
            for piece in self.plan.seams:
                self._compare(piece, piece.value(self._part, image, across, self.unit_axes), value)
        return value

    def _part(self, part: Any) -> Any:
        return self.layer.value(jnp.asarray(part, self.layer.subject.dtype))

    def _compare(self, piece: Piece, mine: np.ndarray, value: np.ndarray) -> None:
        """Compare one more tile over a seam with what was put together.

        Boxes are of derivatives. What a value depends on without one, as behind `stop_gradient`, and constants that
        depend on a tile's place or size, show here.
        """
        index: list[Any] = [slice(None)] * value.ndim
        for axis, place in zip(self.unit_axes, piece.place):
            index[axis] = place
        there = np.asarray(value[tuple(index)])
        worst = relative(mine, there)
        limit = LIMIT.get(str(there.dtype), COARSE)
        if worst > limit:
            raise CheckError(
                f"Two tiles of layer {self.plan.layer!r} that both hold all that its units see differ by {worst:.3g} of the "
                f"largest value; at most {limit:g} was expected. The layer's values depend on more than its derivative does: "
                "on statistics behind stop_gradient, on coordinates or the size of the input, or on random numbers. "
                "Freeze these, or pass them as arguments; check=False goes on without this comparison."
            )


def differences(mine: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """How far values of a piece are from those of the whole, place by place.

    0 where both are the same infinity or both NaN, as behind inputs that are; infinity where one of them alone is.
    """
    with np.errstate(invalid="ignore"):
        difference = np.abs(mine - whole)
    same = (mine == whole) | (np.isnan(mine) & np.isnan(whole))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def relative(mine: np.ndarray, whole: np.ndarray) -> float:
    """The largest difference as a share of the largest finite value of the whole."""
    peak = float(np.abs(whole[np.isfinite(whole)]).max(initial=0))
    return float(differences(mine, whole).max(initial=0)) / (peak or 1.0)


def prepare_tiles(
    layer: PieceLayer, tile: Sequence[int | None], divisible_by: Sequence[int], context: Context | None
) -> Tiled:
    """The plan for images of the layer's shape, and the program.

    Args:
        layer: of the model on the whole image.
        tile: most positions of a tile, per axis; None for an axis that stays whole.
        divisible_by: what the model asks of sizes, per axis.
        context: in place of what units see; None for all of it.

    Raises:
        InputError: the model does not take the image or the tiles, the layer sees an axis whole, or tiles are too small.
    """
    sizes = [layer.subject.input_shape[a - 1] for a in layer.subject.spatial_axes]
    looked = first_look(layer, sizes, tile)
    steps = [
        1 if most is None else step_of(looked, axis, divisor)
        for axis, (most, divisor) in enumerate(zip(tile, divisible_by))
    ]
    plan = planned(looked.row, sizes, tile, steps, context)
    found = layer.shape((1, *layer.subject.input_shape))
    if tuple(found[a] for a in looked.unit_axes) != plan.unit_shape:
        raise InputError(
            f"Layer {plan.layer!r} has {tuple(found[a] for a in looked.unit_axes)} units on the whole input, and {plan.unit_shape} "
            "were expected from smaller ones: its shape does not follow the input's. Run the image whole."
        )
    if list(plan.tile) != sizes:
        check_alike(looked, traced_piece(layer, plan.tile), plan.tile)
    return Tiled(layer, plan, looked.unit_axes)


def first_look(layer: PieceLayer, sizes: Sequence[int], tile: Sequence[int | None]) -> Shaped:
    """The layer at a size that is quick to trace and falls as the whole does, as far as powers of two go."""
    powers = [0 if most is None else 2 ** (most.bit_length() - 1) for most in tile]
    small = [n if not p else min(n, n % p + p) for n, p in zip(sizes, powers)]
    try:
        return layer.at(layer.with_sizes(small))
    except InputError:
        return layer.at(layer.subject.input_shape)


def step_of(looked: Shaped, axis: int, divisor: int = 1) -> int:
    """Say of what tiles begin at multiples on an axis.

    Raises:
        InputError: the axis cannot be cut.
    """
    step = looked.step[axis]
    if step is None:
        raise InputError(cannot_cut(looked.row, axis))
    return int(np.lcm(step, divisor))


def traced_piece(layer: PieceLayer, sizes: Sequence[int]) -> Shaped:
    """The layer on a piece.

    Raises:
        InputError: the model does not take a piece of these sizes.
    """
    try:
        return layer.at(layer.with_sizes(sizes))
    except InputError as error:
        raise InputError(
            f"The model takes the whole input and not pieces of {tuple(sizes)} positions: {error} Where it asks for multiples "
            "of some number, pass it as divisible_by=."
        ) from error


def check_alike(looked: Shaped, piece: Shaped, sizes: Sequence[int]) -> None:
    """Fail where units see another part on a piece than on the whole.

    Raises:
        InputError: they do.
    """
    pairs = zip(looked.row.phases, piece.row.phases)
    if looked.unit_axes != piece.unit_axes or not all(_same(a, b) for a, b in pairs):
        raise InputError(
            f"Units of layer {looked.row.name!r} see other parts on pieces of {tuple(sizes)} positions than on the whole: "
            "the model reads the size of its input. Run it whole, or give it the same choices for any size."
        )


def _same(a: Phases | None, b: Phases | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.step == b.step and np.array_equal(a.lo, b.lo) and np.array_equal(a.hi, b.hi)


def tile(
    model: Any,
    variables: Any,
    image: Any,
    tile: int | Sequence[int | None] | None,
    *,
    layer: str | None = None,
    output: str | None = None,
    context: Context | None = None,
    divisible_by: int | Sequence[int] = 1,
    out: Any = None,
    check: bool = True,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
) -> np.ndarray:
    """A layer of a model on a large image, computed in tiles: the same numbers as on the whole, to rounding.

    Overlap, phase and rounding come from the theoretical field. Tiles begin at multiples of the network's step and have
    one shape, so that one program is compiled; those at the border of the image see the model's own padding. Of the whole
    image only shapes are traced. Memory is that of the image, the output and one tile. On a CPU the bits are those of the
    whole compiled with `jaxrf.compiler_options()`; elsewhere XLA may add in another order for another size.

    Args:
        model: as for `jaxrf.trf`.
        variables: the model's variables; None for models that hold their own.
        image: images (n, ...), of a floating type: an array, a memory map, or anything with shape and dtype that slices
            give arrays of.
        tile: the most positions of a tile, overlap included; one number for all spatial axes or one for each, None for
            an axis that stays whole.
        layer: a name from the table; None for the output.
        output: which leaf, where the model has several outputs.
        context: (before, after) per axis, input positions that units get beside those they own, in place of all that
            they see: `jaxrf.halo(...).context`. The numbers are then those of the whole but for what is left out.
        divisible_by: what the model asks of its input's size, where the step of the network does not say it.
        out: where to write, such as a memory map of the output's shape; a new array if None.
        check: run one more tile over a seam of each axis, and compare.
        method, apply_kwargs, args, spatial_axes: as for `jaxrf.trf`.

    Returns:
        The layer's value on the whole image, on the host.

    Raises:
        InputError: the model does not take the image or the tiles; a layer that sees an axis whole, with the cause and
            what would work; tiles that are too small, with the smallest that would do.
        UnknownNameError: no layer has a name given.
        CheckError: tiles differ where they overlap, since values depend on more than derivatives do.

    Example:
        >>> import jax, jaxrf, numpy as np
        >>> from jaxrf import zoo
        >>> net = zoo.unet(depth=2, width=4)
        >>> image = np.random.default_rng(0).normal(size=(1, 160, 160, 1)).astype(np.float32)
        >>> variables = net.init(jax.random.key(0), image)
        >>> tiled = jaxrf.tile(net, variables, image, tile=112)
        >>> bool(np.abs(tiled - net.apply(variables, image)).max() < 1e-6)
        True
    """
    image = as_images(image)
    how = {
        "variables": variables, "method": method, "apply_kwargs": apply_kwargs, "args": args,
        "spatial_axes": spatial_axes, "dtype": image.dtype,
    }  # fmt: skip
    found = PieceLayer.of(model, image.shape[1:], layer, output, how)
    count = len(found.subject.spatial_axes)
    asked, divisors = each("tile", tile, count, none=True), each("divisible_by", divisible_by, count)
    return prepare_tiles(found, asked, divisors, context).run(image, out, check)
