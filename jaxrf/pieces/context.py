"""How much of the theoretical context matters: the change of a layer's values when an input is cut, measured.

Takes a model and images; yields a `Halo`. It cuts and looks; nothing is derived from gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.scale import Scale
from jaxrf.inputs.images import Images, Noise, as_images
from jaxrf.pieces.cuts import AxisCut
from jaxrf.pieces.layer import PieceLayer, Shaped
from jaxrf.pieces.tiles import differences, prepare_tiles, relative, step_of


@dataclass(frozen=True)
class Halo:
    """The smallest context at which values stay within a tolerance, and what was found on the way.

    Attributes:
        layer: whose values were compared.
        context: (before, after) per axis, in input positions around what a unit owns.
        theoretical: the same for all that units see.
        tolerance: what was asked for.
        error: what remains when the images are run in tiles with this context: the largest difference from the whole, as
            a share of the largest value.
        samples: how many images were compared.
        scale: how far apart positions are; None where nobody said.
        profiles: per axis, for before and after: the largest difference of all units that have at least so many positions
            of context, by that number.
    """

    layer: str
    context: tuple[tuple[int, int], ...]
    theoretical: tuple[tuple[int, int], ...]
    tolerance: float
    error: float
    samples: int
    profiles: tuple[tuple[np.ndarray, np.ndarray], ...]
    scale: Scale | None = None

    @property
    def physical(self) -> tuple[tuple[float, float], ...]:
        """`context` in physical units.

        Raises:
            InputError: nobody said how far apart positions are.
        """
        if self.scale is None:
            raise InputError("This halo has no physical units. Say spacing= or rate= to jaxrf.halo.")
        return self.scale.of_pairs(self.context)  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"Halo({self.layer!r}: {self.context} of {self.theoretical}, {self.error:.2g} remains)"

    def __str__(self) -> str:
        pairs = zip(self.context, self.theoretical)
        lines = [
            f"Context of {self.layer!r} for a tolerance of {self.tolerance:g}: {self.error:.2g} remains in tiles of "
            f"{self.samples} image{'s' * (self.samples != 1)}"
        ]
        for i, ((before, after), (b, a)) in enumerate(pairs):
            words = "" if self.scale is None else f" ({self.scale.words(before, i)}, {self.scale.words(after, i)})"
            lines.append(f"  axis {i}: {before} before, {after} after{words}; {b} and {a} in theory")
        return "\n".join(lines)


def halo(
    model: Any,
    variables: Any,
    images: Any,
    tolerance: float = 1e-3,
    *,
    layer: str | None = None,
    output: str | None = None,
    input_shape: Sequence[int] | None = None,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    rate: float | None = None,
) -> Halo:
    """The context that tiles need in practice: the smallest at which values change by no more than a tolerance.

    Each axis is cut in the middle, and the values of the rest compared with those of the whole, by their distance from
    the cut. The images are then run in tiles with the context found, on all axes at once, and it is widened until the
    error stays under the tolerance there too. It holds for images like these: a largest difference over samples is not
    a bound.

    Args:
        model, layer, output, method, apply_kwargs, args, spatial_axes: as for `jaxrf.tile`.
        variables: the model's variables; None for models that hold their own.
        images: images (n, ...), an iterable of such, or `jaxrf.noise(n)`; larger than twice the context that is found.
        tolerance: largest difference, as a share of the largest value of the layer.
        input_shape: needed with `jaxrf.noise` alone.
        spacing, unit, rate: as for `jaxrf.trf`; the halo then has `physical`.

    Returns:
        A `Halo`; its `context` goes into `jaxrf.tile` and `jaxrf.tile_plan`.

    Raises:
        InputError: a tolerance that is not above zero, a layer that cannot be cut, or images too small to tell.

    Example:
        >>> import jax, jaxrf
        >>> from jaxrf import zoo
        >>> net = zoo.conv_stack(depth=12, width=4)
        >>> variables = net.init(jax.random.key(0), jax.numpy.zeros((1, 64, 64, 3)))
        >>> found = jaxrf.halo(net, variables, jaxrf.noise(2), 0.1, input_shape=(64, 64, 3))
        >>> found.error <= 0.1, found.theoretical, max(found.context[0]) < 12
        (True, ((12, 12), (12, 12)), True)
    """
    if not isinstance(tolerance, Real) or not tolerance > 0:
        raise InputError(
            f"tolerance={tolerance!r} is not above zero. For values that do not change at all, take the theoretical "
            "context: jaxrf.tile without context=, or row.halo()."
        )
    given = as_images(images, input_shape)
    how = {
        "variables": variables, "method": method, "apply_kwargs": apply_kwargs, "args": args,
        "spatial_axes": spatial_axes, "dtype": given.dtype,
    }  # fmt: skip
    found = PieceLayer.of(model, given.shape, layer, output, how)
    scale = Scale.said(spacing, unit, rate, len(found.subject.spatial_axes))
    return replace(_Measured.of(found, given).halo(tolerance), scale=scale)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Images and what the layer gives on them."""

    layer: PieceLayer
    traced: Shaped
    sizes: tuple[int, ...]
    parts: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, layer: PieceLayer, images: Images) -> _Measured:
        traced = layer.at(layer.subject.input_shape)
        for axis in range(len(traced.step)):
            step_of(traced, axis)
        size = None if isinstance(images.source, Noise) else images.first
        parts = [(batch, np.asarray(layer.value(jnp.asarray(batch)))) for batch in images.batches(size)]
        return cls(layer, traced, traced.row.input_shape, parts)

    @property
    def peak(self) -> float:
        return max(float(np.abs(value).max(initial=0)) for _, value in self.parts) or 1.0

    def halo(self, tolerance: float) -> Halo:
        found = [p.around() for p in self.traced.row.phases if p is not None]
        theoretical = tuple((before, behind) for before, behind, _ in filter(None, found))
        profiles = tuple(self._profiles(axis) for axis in range(len(self.sizes)))
        sides = [
            tuple(_smallest(profile, most, tolerance) for profile, most in zip(pair, context))
            for pair, context in zip(profiles, theoretical)
        ]
        context, error = [(before, after) for before, after in sides], np.inf
        while True:
            error = self._error(context)
            if error <= tolerance or list(theoretical) == context:
                break
            context = [
                (min(before + step_of(self.traced, axis), b), min(after + step_of(self.traced, axis), a))
                for axis, ((before, after), (b, a)) in enumerate(zip(context, theoretical))
            ]
        samples = sum(len(batch) for batch, _ in self.parts)
        return Halo(self.traced.row.name, tuple(context), theoretical, tolerance, error, samples, profiles)

    def _profiles(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The largest relative difference of units with at least so many positions before them, and behind."""
        n, step = self.sizes[axis], step_of(self.traced, axis)
        length = n // 2 + (n - n // 2) % step
        if length >= n:
            raise InputError(
                f"Images of {n} positions on axis {axis} cannot be cut at a multiple of {step}. Use larger images."
            )
        sizes = list(self.sizes)
        sizes[axis] = length
        phases, piece = self.traced.row.phases[axis], self.layer.at(self.layer.with_sizes(sizes))
        assert phases is not None
        units = piece.row.unit_shape[self.traced.unit_axes.index(self._along(axis))]
        begin, end = phases.owned(np.arange(units))
        first = (n - length) // step * (step // phases.step * phases.period)
        after = self._differences(axis, 0, length, 0, units)
        before = self._differences(axis, n - length, length, first, units)
        return _by_distance(begin, before), _by_distance(length - end, after)

    def _along(self, axis: int) -> int:
        """The axis of the layer's value that runs along an axis of the input."""
        continuation = self.traced.row.fields[axis].continuation
        assert continuation is not None
        return self.traced.unit_axes[continuation.axis]

    def _differences(self, axis: int, start: int, length: int, first: int, units: int) -> np.ndarray:
        """(unit,): the largest difference at each unit of a piece, as a share of the largest value."""
        at, along = self.layer.subject.spatial_axes[axis], self._along(axis)
        worst = np.zeros(units)
        for batch, whole in self.parts:
            piece = np.asarray(self.layer.value(jnp.asarray(np.take(batch, np.arange(start, start + length), at))))
            difference = differences(piece, np.take(whole, np.arange(first, first + units), along))
            worst = np.maximum(worst, np.moveaxis(difference, along, 0).reshape(units, -1).max(axis=1))
        return worst / self.peak

    def _error(self, context: list[tuple[int, int]]) -> float:
        tiles = [self._tile(axis, one) for axis, one in enumerate(context)]
        tiled = prepare_tiles(self.layer, tiles, [1] * len(tiles), context)
        return max(relative(tiled.run(batch, None, False), whole) for batch, whole in self.parts)

    def _tile(self, axis: int, context: tuple[int, int]) -> int:
        """The length of tiles of which there are several."""
        n, cut = self.sizes[axis], AxisCut.of(self.traced.row, axis, step_of(self.traced, axis))
        smallest = cut.smallest(n, cut.units(n), context)
        if smallest >= n:
            raise InputError(
                f"Images of {n} positions on axis {axis} are too small for a context of {context[0]} before and "
                f"{context[1]} after: no two tiles fit. Use larger images, or a larger tolerance."
            )
        return max(smallest, (n // 2 + (n - n // 2) % cut.step) if n // 2 > smallest else smallest)


def _by_distance(distance: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """The largest difference of all units at a distance or beyond, by the distance from 0 on.

    Infinite nearer than any unit is: without padding there is none that has less than all of its context.
    """
    profile = np.zeros(max(int(distance.max()), 0) + 1)
    np.maximum.at(profile, distance.clip(0), worst)
    profile[: max(int(distance.min()), 0)] = np.inf
    return np.maximum.accumulate(profile[::-1])[::-1]


def _smallest(profile: np.ndarray, most: int, tolerance: float) -> int:
    """The smallest context from which on differences stay under the tolerance; all that is seen if there is none."""
    enough = np.flatnonzero(profile <= tolerance)
    return min(int(enough[0]) if len(enough) else most, most)
