"""The comparison behind `jaxrf.check`: maps of the engine against maps of the dense oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf import oracles
from jaxrf.engine.channels import cotangents
from jaxrf.errors import CheckError, InputError
from jaxrf.inputs import Images, as_images
from jaxrf.job import Job, Sample
from jaxrf.planning import prepare
from jaxrf.request import Request
from jaxrf.tangent.trace import OUTPUT


def compare(job: Job, images: Images, seed: int | None, sampled: int, tolerance: float | None) -> None:
    """Raises `CheckError` where a map of the first batch differs from the oracle's, or leaves its box."""
    request = job.request
    if request.pool_units:
        raise InputError("check compares single units; leave pool_units out.")
    if request.treat_as_constant:
        raise InputError("check compares whole derivatives; leave treat_as_constant out.")
    if job.pullback.signs is not None:
        raise InputError(
            'check compares gradients, and a sign-averaged map is an expectation. Use estimator="sampled".'
        )
    if request.channels in ("each", "relu_sum"):
        raise InputError('check compares channels "probe", "sum" or an index; "each" and "relu_sum" are made of these.')
    some = job.units[np.unique(np.linspace(0, len(job.units) - 1, sampled).astype(int))]
    subject = job.subject
    job = prepare(subject, images, replace(request, units=some))
    batch = next(images.batches(job.side))
    variables = jax.tree.unflatten(jax.tree.structure(subject.abstract), job.leaves(seed))
    sample = next(job.samples(as_images(batch, None), seed))
    origins, _ = job.where(len(some))
    limit = tolerance or (1e-9 if images.dtype == np.float64 else 2e-3)
    for number, unit in enumerate(some):
        theirs = _oracle(job, variables, batch, sample, number, request)
        for image in range(len(batch)):
            _compare(job, unit, sample.maps[image, number], origins[number], theirs[image], limit)


def _oracle(job: Job, variables: Any, batch: np.ndarray, sample: Sample, number: int, request: Request) -> np.ndarray:
    """Maps (image, *spatial) of one unit on the whole input."""
    pull, axes, below = job.pullback, job.axes, job.pullback.below
    sizes = {a: span.size for a, span in enumerate(pull.windows.unit) if a not in axes.units}
    channels = [n for a, n in sizes.items() if a != axes.batch or n > 1]
    rows = []
    for image in range(len(batch)):
        key = sample.keys[0 if pull.tied else image]
        drawn = jnp.array([number + image * len(job.units) if pull.tied else number])
        drawn = cotangents(pull.channels, key, drawn, pull.channel_count, pull.windows.target.dtype)
        rows.append(drawn.reshape(channels))
    layer, output = request.layer, request.output
    if layer in pull.program.outputs:  # the oracle knows outputs by their leaves, not as layers
        layer, output = None, layer.removeprefix(OUTPUT).removeprefix("/") or None

    def maps(images: np.ndarray, cotangents: list[jax.Array]) -> np.ndarray:
        return oracles.erf_map(
            job.subject, variables, jnp.asarray(images), tuple(int(u) for u in job.units[number]), jnp.stack(cotangents),
            output=output, score=pull.score, layer=layer, wrt=request.wrt,
            unit_axes=axes.units, wrt_axes=below.units, batch_axis=axes.batch or 0, wrt_batch_axis=below.batch or 0,
        )  # fmt: skip

    if job.alone:
        return np.concatenate([maps(batch[i : i + 1], [row]) for i, row in enumerate(rows)])
    return maps(batch, rows)


def _compare(
    job: Job, unit: np.ndarray, mine: np.ndarray, origin: np.ndarray, theirs: np.ndarray, limit: float
) -> None:
    """One map against the oracle's on the whole input."""
    where = f"unit {tuple(int(u) for u in unit)} of layer {job.row.name!r}"
    outside = np.ones(theirs.shape, bool)
    outside[tuple(slice(lo, hi) for lo, hi in job.row.box(unit.tolist(), clip=True))] = False
    if theirs[outside].any():
        raise CheckError(
            f"The oracle's map of {where} is not zero outside of its theoretical box. This is a bug of jaxrf."
        )
    whole = np.zeros(theirs.shape)
    cut, there = [], []
    for start, size, extent in zip(origin, mine.shape, theirs.shape):
        lo, hi = max(0, start), min(extent, start + size)
        there.append(slice(lo, hi))
        cut.append(slice(lo - start, hi - start))
    whole[tuple(there)] = mine[tuple(cut)]
    peak = np.abs(theirs).max()
    worst = np.abs(whole - theirs).max()
    if not worst <= limit * peak:
        raise CheckError(
            f"The engine's map of {where} differs from the oracle's by {worst:.3g}, which is {worst / peak:.3g} of its "
            f"peak; at most {limit:g} was expected. Raise tolerance if rounding explains it; else this is a bug of jaxrf."
        )
