"""Maps out of the dense Jacobian, and the comparison of the engine's maps with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters import Subject, adapt, intercepting
from jaxrf.checks import oracles
from jaxrf.engine.channels import channel_rule
from jaxrf.fields.run import Run
from jaxrf.inputs.images import as_images
from tests.running import run_of

EXACT = 1e-12


def axes_of(shape: tuple[int, ...], subject: Subject) -> tuple[int, ...]:
    """Axes that are positions: those of the input where the rank is the same, else all between batch and features."""
    same = len(shape) == len(subject.input_shape) + 1
    return tuple(subject.spatial_axes) if same else tuple(range(1, len(shape) - 1))


def laid_out(jacobian: np.ndarray, rank: int, subject: Subject, count: int, own_axes=None) -> np.ndarray:
    """(image, *units, channel, *positions, feature): each image's units by its own positions."""
    out, into = jacobian.shape[:rank], jacobian.shape[rank:]
    units = axes_of(out, subject) if own_axes is None else own_axes
    if 0 in units:  # images lie one after the other: give them an axis of their own
        jacobian = jacobian.reshape(count, out[0] // count, *out[1:], *into)
        units, out, rank = tuple(a + 1 for a in units), jacobian.shape[: rank + 1], rank + 1
    where = axes_of(into, subject)
    above = [0, *units, *(a for a in range(1, rank) if a not in units)]
    below = [rank, *(rank + a for a in where), *(rank + a for a in range(1, len(into)) if a not in where)]
    ordered = jacobian.transpose(*above, *below)
    sizes = [out[a] for a in units], [into[a] for a in where]
    features = int(np.prod(into)) // (count * int(np.prod(sizes[1])))
    ordered = ordered.reshape(count, *sizes[0], -1, count, *sizes[1], features)
    split = 2 + len(sizes[0])
    return np.stack([ordered[(i, *[slice(None)] * (split - 1), i)] for i in range(count)])


def values(subject: Subject, variables: Any, batch: np.ndarray, layer: str | None) -> np.ndarray:
    """The output, or what the tap `layer` sees."""
    seen = {}

    def keep(name: str, x: jax.Array) -> jax.Array:
        seen[name] = x
        return x

    with intercepting(keep):
        seen[None] = subject.fn(variables, jnp.asarray(batch))
    return np.asarray(seen[layer])


def errors(
    model: Any, batch: np.ndarray, variables: Any = None, *, layer: str | None = None, wrt: str | None = None,
    channels: str | int = "probe", score: str = "square", units: Any = "all", own_axes: tuple[int, ...] | None = None,
    change=lambda run: run, output: str | None = None, tight: bool = False, **call: Any,
) -> np.ndarray:  # fmt: skip
    """Largest difference between engine and Jacobian of each map (image, unit), as a share of the map's peak.

    Asserts on the way that every map of the Jacobian is exactly zero outside of the unit's clipped box.

    Args:
        model, batch, variables, layer, wrt, channels, score, units, output, call: as for `jaxrf.erf`.
        own_axes: which axes of the layer are units, where the rule of `axes_of` does not say.
        change: makes another run of this one.
        tight: assert too that the box is not larger than the derivatives that are not zero.
    """
    given = as_images(batch, None)
    subject = adapt(model, given.shape, variables=variables, dtype=given.dtype, **call)
    run = change(run_of(subject, given, layer, units=units, wrt=wrt, channels=channels, score=score, output=output))
    assert subject.variables is not None
    jacobian = np.asarray(oracles.jacobian(subject, subject.variables, batch, output, layer=layer, wrt=wrt))
    return np.stack(list(_compare(run, subject, batch, jacobian, layer, own_axes, tight)))


def _compare(
    run: Run, subject: Subject, batch: np.ndarray, jacobian: np.ndarray, layer: str | None, own_axes: Any, tight: bool
) -> Iterator[np.ndarray]:
    """The errors of all units of each image."""
    pull, done = run.prepared.pullback, 0
    rank = len(pull.windows.target.shape)
    whole = laid_out(jacobian, rank, subject, len(batch), own_axes)
    shape = jacobian.shape[:rank]
    for sample in run.samples(as_images(batch, None), None):
        origin = run.prepared.where(sample.maps.shape[1])[0]
        for i, maps in enumerate(sample.maps):
            image, worst = done + i, []
            numbers = [
                (u, c) for u in range(len(run.prepared.units)) for c in range(len(maps) // len(run.prepared.units))
            ]
            for number, (u, channel) in enumerate(numbers):
                unit = tuple(int(p) for p in run.prepared.units[u])
                part = whole[(image, *unit)]
                at = _At(layer, shape, image, unit, channel, part.shape[0])
                drawn = (
                    (sample.keys[0], number + i * len(run.prepared.units))
                    if pull.images_interact
                    else (sample.keys[i], number)
                )
                ct = _cotangent(run, batch, at, *drawn)
                score = oracles.SCORES[pull.score]
                theirs = score(np.tensordot(ct, part, 1))
                bound = score(np.tensordot(abs(ct), abs(part), 1)).max()
                _check_box(run, unit, part, tight)
                worst.append(difference(maps[number], origin[number], theirs, bound))
            yield np.array(worst)
        done += len(sample.maps)


@dataclass(frozen=True)
class _At:
    """Which unit, in which layer of what output shape; and the channel, where each has a map."""

    layer: str | None
    shape: tuple[int, ...]
    image: int
    unit: tuple[int, ...]
    channel: int
    channels: int


def _cotangent(run: Run, batch: np.ndarray, at: _At, key: jax.Array, number: int) -> np.ndarray:
    """What is pulled back from a unit, over its channels."""
    rule = run.prepared.pullback.channels
    if rule == "probe":
        dtype = run.prepared.pullback.windows.target.dtype
        return np.asarray(channel_rule("probe").cotangents(key, np.array([number]), at.channels, dtype)[0])
    if rule == "relu_sum":
        value = values(
            run.prepared.subject,
            jax.tree.unflatten(jax.tree.structure(run.prepared.subject.abstract), run.variables),
            batch,
            at.layer,
        )
        axes = axes_of(at.shape, run.prepared.subject)
        value = value.transpose(0, *axes, *(a for a in range(1, value.ndim) if a not in axes))
        return (value[(at.image, *at.unit)].ravel() > 0).astype(float)
    if rule == "sum":
        return np.ones(at.channels)
    return np.eye(at.channels)[at.channel if rule == "each" else rule]


def _check_box(run: Run, unit: tuple[int, ...], part: np.ndarray, tight: bool) -> None:
    """Every derivative (channel, *positions, feature) outside of the unit's clipped box is exactly zero."""
    box = run.prepared.row.box(unit, clip=True)
    seen = part.any(axis=(0, -1))
    inside = seen[tuple(slice(lo, hi) for lo, hi in box)]
    assert np.count_nonzero(inside) == np.count_nonzero(seen), (
        f"unit {unit} of {run.prepared.row.name} reaches beyond {box}"
    )
    if tight and not seen.any():
        assert not inside.size, f"unit {unit} sees nothing, and has the box {box}"
    elif tight:
        at = np.argwhere(seen)
        assert box == tuple(zip(at.min(0).tolist(), (at.max(0) + 1).tolist())), f"unit {unit} sees less than {box}"


def difference(mine: np.ndarray, origin: np.ndarray, theirs: np.ndarray, bound: float) -> float:
    """Largest difference as a share of the peak; what the engine's map holds outside of the input counts too.

    `bound` is the peak without cancellation over channels. It stands for the peak where a map is only rounding,
    as that of a sum over channels behind a LayerNorm is.
    """
    here = np.zeros(theirs.shape)
    inner, outer = [], []
    for start, size, extent in zip(origin, mine.shape, theirs.shape):
        lo, hi = max(0, start), max(0, start, min(extent, start + size))
        inner.append(slice(lo, hi))
        outer.append(slice(lo - start, hi - start))
    here[tuple(inner)] = mine[tuple(outer)]
    lost = mine.copy()
    lost[tuple(outer)] = 0
    peak = np.abs(theirs).max()
    peak = peak if peak > 1e-9 * bound else bound or 1.0
    return max(float(np.abs(here - theirs).max()), float(np.abs(lost).max(initial=0))) / peak
