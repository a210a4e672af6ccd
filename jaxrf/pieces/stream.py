"""Signals in chunks: a model fed as samples arrive, with the numbers that it gives on the whole signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from jaxrf.geometry.scale import Scale
from jaxrf.pieces.cuts import AxisCut, Valid
from jaxrf.pieces.layer import PieceLayer, Shaped
from jaxrf.pieces.tiles import check_alike, step_of

FIRST = 64
"""The shortest signal on which a network is first looked at."""


@dataclass(frozen=True, eq=False)
class StreamPlan:
    """How a layer is computed from chunks.

    Attributes:
        layer: whose units come out.
        traced: the layer on a window.
        axis: the spatial axis of the input along which the signal runs.
        chunk: positions by which the window moves on.
        window: positions on which the model runs at once.
        step: windows begin at multiples of it.
        scale: how far apart positions are; None where nobody said.
    """

    layer: PieceLayer
    traced: Shaped
    axis: int
    chunk: int
    window: int
    step: int
    scale: Scale | None = None

    @property
    def row(self) -> Row:
        """The layer's row of the table; at a scale it has `physical`."""
        return replace(self.traced.row, scale=self.scale)

    @cached_property
    def valid(self) -> Valid:
        """Which units a window computes."""
        return AxisCut.of(self.row, self.axis, self.step).valid()

    @property
    def unit_axis(self) -> int:
        """The axis of the layer's value along which units come out."""
        continuation = self.row.fields[self.axis].continuation
        assert continuation is not None
        return self.traced.unit_axes[continuation.axis]

    @property
    def latency(self) -> int:
        """How many positions follow the first one that a unit owns until it comes out, at worst: of network and chunk."""
        phases = self.valid.phases
        every = math.lcm(self.step, self.chunk)
        units = np.arange(every // self.step * self.valid.per_step) + self.valid.offset(8 * every)
        begin, _ = phases.owned(units)
        ends = np.arange(0, 16 * every + int(max(phases.hi)), self.chunk)
        ready = np.array([self.valid.until(int(end)) for end in ends])
        return int((ends[np.searchsorted(ready, units, side="right")] - 1 - begin).max())

    @property
    def physical_latency(self) -> float:
        """`latency` in physical units.

        Raises:
            InputError: nobody said how far apart positions are.
        """
        return self.latency * self.row.known_scale.spacing[self.axis]

    def __repr__(self) -> str:
        return f"StreamPlan({self.row.name!r}, chunks of {self.chunk}, windows of {self.window})"

    def __str__(self) -> str:
        ahead, back, late = self.row.look_ahead[self.axis], self.row.look_back[self.axis], self.latency
        words = "" if self.scale is None else f" ({self.scale.words(late, self.axis)})"
        return (
            f"Stream of layer {self.row.name!r} in chunks of {self.chunk}: windows of {self.window}, "
            f"{self.window / self.chunk:.3g} times what is new\n"
            f"  units see {back} positions back and {ahead} ahead, and come out up to {late} positions late{words}"
        )


class Stream:
    """A layer of a model, fed with a signal as it arrives.

    `push(samples)` gives the units that can be computed by now, `finish()` the rest; all of them together are what the
    model gives on the whole signal, to rounding. Samples and units have an axis of images in front, which may hold several
    signals side by side. `stream(parts)` does both for an iterable. Made by `jaxrf.stream`.

    Attributes:
        plan: window, latency and what units see; print it.
    """

    def __init__(self, plan: StreamPlan):
        self.plan = plan
        self.reset()

    def reset(self) -> None:
        """Forget the signal: the next samples are the first of another one."""
        self._kept: np.ndarray | None = None
        self._begin = 0  # the position of the first sample that is kept
        self._done = 0  # positions up to which windows have run
        self._out = 0  # units that came out

    @property
    def received(self) -> int:
        """Positions of the signal so far."""
        return self._begin + (0 if self._kept is None else self._kept.shape[self._axis])

    def push(self, samples: Any) -> np.ndarray:
        """The units that can be computed now, in order; none of them where a chunk is not full.

        Args:
            samples: (n, ...), the next part of the signal, of any length.

        Raises:
            InputError: it has another shape or type than the signal.
        """
        self._keep(samples)
        parts = []
        while self.received >= self._done + self.plan.chunk:
            self._done += self.plan.chunk
            until = max(self.plan.valid.until(self._done), self._out)
            if until > self._out:
                start = max(self._done - self.plan.window, 0)
                parts.append(self._units(start, self.plan.window, until))
            self._forget()
        return np.concatenate(parts, self.plan.unit_axis) if parts else self._none()

    def finish(self) -> np.ndarray:
        """The units that are left when the signal ends here, padded as the model pads; the stream is then as new.

        Raises:
            InputError: nothing was pushed; or the model pads a signal of this length in another way than multiples of its
                step, and what came out was wrong.
        """
        n, plan = self.received, self.plan
        if not n:
            raise InputError("The stream has no samples to finish. Push some first.")
        length = min(n, plan.window + n % plan.step)
        shape = self._shape(length)
        if n % plan.step or length < plan.window:
            check_end(plan, plan.layer.at(shape), n)
        whole = plan.layer.shape((1, *shape))[plan.unit_axis]
        start = n - length
        value = self._units(start, length, whole + plan.valid.offset(start))
        self.reset()
        return value

    def __call__(self, parts: Iterable[Any]) -> Iterator[np.ndarray]:
        """The units of a signal that comes in parts, as they can be computed."""
        self.reset()
        for part in parts:
            yield self.push(part)
        yield self.finish()

    def __repr__(self) -> str:
        return f"{self.plan}\n  {self.received} positions received, {self._out} units out"

    @property
    def _axis(self) -> int:
        return self.plan.layer.subject.spatial_axes[self.plan.axis]

    def _shape(self, length: int) -> tuple[int, ...]:
        shape = list(self.plan.layer.subject.input_shape)
        shape[self._axis - 1] = length
        return tuple(shape)

    def _keep(self, samples: Any) -> None:
        subject, new = self.plan.layer.subject, np.asarray(samples)
        if subject.embedding and np.issubdtype(new.dtype, np.integer):
            new = new.astype(subject.dtype)
        images = None if self._kept is None else self._kept.shape[0]
        fits = new.ndim == len(subject.input_shape) + 1 and new.shape[1:] == self._shape(new.shape[self._axis])
        if not fits or new.dtype != subject.dtype or (images is not None and new.shape[0] != images):
            wanted = ["any" if a == self._axis else str(n) for a, n in enumerate(self._shape(0), 1)]
            raise InputError(
                f"Samples of shape {new.shape} and dtype {new.dtype} were pushed; needed are "
                f"({'n' if images is None else images}, {', '.join(wanted)}) and {subject.dtype}."
            )
        self._kept = new if self._kept is None else np.concatenate([self._kept, new], self._axis)

    def _units(self, start: int, length: int, until: int) -> np.ndarray:
        """Units up to `until` from a window; what has not arrived is zero there, and seen by none of them."""
        assert self._kept is not None
        part = np.take(
            self._kept, range(start - self._begin, min(start + length, self.received) - self._begin), self._axis
        )
        if (short := length - part.shape[self._axis]) > 0:
            part = np.pad(part, [(0, short * (a == self._axis)) for a in range(part.ndim)])
        value, offset = np.asarray(self.plan.layer.value(jnp.asarray(part))), self.plan.valid.offset(start)
        found = np.take(value, range(self._out - offset, until - offset), self.plan.unit_axis)
        self._out = until
        return found

    def _none(self) -> np.ndarray:
        assert self._kept is not None
        shape = list(self.plan.layer.shape((self._kept.shape[0], *self._shape(self.plan.window))))
        shape[self.plan.unit_axis] = 0
        return np.zeros(shape, self.plan.layer.subject.dtype)

    def _forget(self) -> None:
        """Drop what no window reaches any more."""
        assert self._kept is not None
        first = max(self._done - self.plan.window, 0)
        if first - self._begin > self.plan.window:  # not each time: it copies
            self._kept = np.take(self._kept, range(first - self._begin, self._kept.shape[self._axis]), self._axis)
            self._begin = first


def check_end(plan: StreamPlan, traced: Shaped, n: int) -> None:
    """Fail where a signal that ends in the middle of a step is padded in another way than was assumed from its beginning.

    Raises:
        InputError: it is.
    """
    try:
        check_alike(plan.traced, traced, (n,))
    except InputError as error:
        up = -(-n // plan.step) * plan.step
        raise InputError(
            f"The signal ends after {n} positions, {n % plan.step} more than a multiple of {plan.step}, and the model pads "
            f"such signals in another way from their beginning on, as 'SAME' does with strides. Push {up - n} more, such as "
            "zeros, or give the model a padding of its own ('CAUSAL', or pairs of numbers)."
        ) from error


def stream(
    model: Any,
    variables: Any,
    chunk: int,
    *,
    input_shape: Sequence[int | None],
    layer: str | None = None,
    output: str | None = None,
    look_ahead: int | None = None,
    dtype: Any = np.float32,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    rate: float | None = None,
) -> Stream:
    """A layer of a model, computed while a signal arrives: the same numbers as on the whole signal, to rounding.

    The model runs on a window that moves on by a chunk at a time, and that holds all that the new units see. At the
    beginning and the end of the signal it sees the model's own padding. One program serves all windows. What the layer
    sees ahead is waited for; causal networks wait for nothing but their frames.

    Args:
        model, layer, output, method, apply_kwargs, args, spatial_axes: as for `jaxrf.tile`.
        variables: the model's variables; None for models that hold their own.
        chunk: positions by which the window moves on; a multiple of the network's step. Larger ones compute less often
            what they share with the one before, and are later.
        input_shape: of one signal without the batch axis, with None for its length: (None, 1), or (None, 80, 1) for a
            spectrogram.
        look_ahead: the most positions that may be waited for beyond a unit's own, 0 for causal models alone; no limit if
            None.
        dtype: of the signal.
        spacing, unit, rate: as for `jaxrf.trf`, as in `rate=16_000`; `stream.plan` then has `physical_latency`, and its row
            `physical`.

    Returns:
        A `Stream`; print its `plan`.

    Raises:
        InputError: the layer sees the signal whole, or all that was before; it looks farther ahead than allowed; or the
            chunk does not fit the network's step. The message says what would work.

    Example:
        >>> import jax.numpy as jnp, jaxrf, numpy as np
        >>> def smooth(x):
        ...     return x[:, 2:] + x[:, 1:-1] + x[:, :-2]
        >>> stream = jaxrf.stream(smooth, None, 4, input_shape=(None, 1))
        >>> signal = np.arange(10, dtype=np.float32)[None, :, None]
        >>> [part.ravel().tolist() for part in stream([signal[:, :5], signal[:, 5:]])]
        [[3.0, 6.0], [9.0, 12.0, 15.0, 18.0], [21.0, 24.0]]
    """
    shape = _checked_shape(input_shape)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk={chunk!r} is not a whole number of positions of at least 1.")
    how = {
        "variables": variables, "method": method, "apply_kwargs": apply_kwargs, "args": args,
        "spatial_axes": spatial_axes, "dtype": dtype,
    }  # fmt: skip
    along = shape.index(None)

    def sized(length: int) -> tuple[int, ...]:
        return tuple(length if n is None else n for n in shape)

    first = 2 ** max((max(chunk, FIRST) - 1).bit_length(), 1)
    piece = PieceLayer.of(model, sized(first), layer, output, how)
    if along + 1 not in piece.subject.spatial_axes:
        raise InputError(
            f"input_shape={tuple(input_shape)} has its None on an axis of features; the signal runs along one of positions, "
            f"{[a - 1 for a in piece.subject.spatial_axes]}."
        )
    axis = piece.subject.spatial_axes.index(along + 1)
    scale = Scale.said(spacing, unit, rate, len(piece.subject.spatial_axes))
    return Stream(replace(_planned(piece, axis, chunk, look_ahead), scale=scale))


def _planned(piece: PieceLayer, axis: int, chunk: int, look_ahead: int | None) -> StreamPlan:
    """The plan of a stream along a spatial axis.

    Raises:
        InputError: as for `stream`.
    """
    looked = piece.at(piece.subject.input_shape)
    row = looked.row
    if row.phases[axis] is None:
        raise InputError(_cannot_stream(row, axis))
    step, ahead = step_of(looked, axis), row.look_ahead[axis]
    if ahead is None:
        raise InputError(_cannot_stream(row, axis))
    if look_ahead is not None and ahead > look_ahead:
        raise InputError(
            f"Layer {row.name!r} looks {ahead} positions ahead, and look_ahead={look_ahead} was allowed. Allow "
            f"look_ahead={ahead}, which is waited for, or pad the layers before them alone (padding='CAUSAL')."
        )
    if chunk % step:
        up = -(-chunk // step) * step
        raise InputError(
            f"chunk={chunk} is not a multiple of {step}, by which the network moves in one period of its layers. "
            f"Use chunk={up}."
        )
    valid = AxisCut.of(row, axis, step).valid()
    far = 8 * step * (1 + (max(row.size) + chunk) // step)
    window = max(far + chunk - valid.latest_start(valid.until(far)), chunk)
    sizes = [piece.subject.input_shape[a - 1] for a in piece.subject.spatial_axes]
    sizes[axis] = window
    traced = piece.at(piece.with_sizes(sizes))
    check_alike(looked, traced, sizes)
    return StreamPlan(piece, traced, axis, chunk, window, step)


def _cannot_stream(row: Row, axis: int) -> str:
    """Why a layer cannot be computed from chunks, and what to do."""
    one = row.fields[axis]
    hi = np.broadcast_to(one.hi, row.unit_shape) if row.unit_shape else np.asarray(one.hi)
    causes = f", behind {next(iter(row.global_cause.values()))}" if row.global_cause else ""
    if len(row.unit_shape) == 1 and len(set(hi.tolist())) > 1 and (one.lo == 0).all() and (np.diff(hi) >= 0).all():
        return (
            f"Layer {row.name!r} sees all of the signal that was before a unit{causes}: it is causal, but no window holds "
            "what it needs. Limit how far it looks back, as by a window of attention, or carry its state (keys and values, "
            "the carry of a scan, a running sum) from call to call."
        )
    return (
        f"Layer {row.name!r} cannot be streamed: its units see the signal whole, or do not move along it{causes}. Needed are "
        "units that see a part of the signal which moves on with them: causal or windowed attention, convolutions, "
        "statistics that are frozen or taken over frames. A layer before it may do: layer=."
    )


def _checked_shape(input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if sum(n is None for n in shape) != 1 or any(n is not None and n < 1 for n in shape):
        raise InputError(
            f"input_shape={input_shape!r}; needed is the shape of one signal without the batch axis, with None for its "
            "length, such as (None, 1)."
        )
    return shape
