"""The comparison behind `jaxrf.check`: maps of the engine against maps of the dense oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrf.adapters.values import OUTPUT
from jaxrf.base.typing import PyTree
from jaxrf.checks import oracles
from jaxrf.engine.channels import channel_rule, rules
from jaxrf.errors import CheckError, InputError
from jaxrf.fields.opening import Opened, open_call
from jaxrf.fields.run import Run, Sample
from jaxrf.inputs.images import Images, as_images
from jaxrf.planning.options import Options, Settled
from jaxrf.planning.prepared import Prepared


def compare(
    model: Any, variables: PyTree | None, images: Images, options: Options, sampled: int, tolerance: float | None
):
    """Raises `CheckError` where a map of the first batch differs from the oracle's, or leaves its box."""
    asked = options.settled()
    if asked.pool_units:
        raise InputError("check compares single units; leave pool_units out.")
    if asked.treat_as_constant:
        raise InputError("check compares whole derivatives; leave treat_as_constant out.")
    if asked.estimator != "sampled":
        raise InputError(
            'check compares gradients, and a sign-averaged map is an expectation. Use estimator="sampled".'
        )
    if not channel_rule(asked.channels).compared:
        names = [f'"{name}"' for name, rule in rules.items() if rule.compared]
        raise InputError(
            f'check compares channels {", ".join(names)} or an index; "{asked.channels}" is made of these.'
        )
    for name in asked.layers:
        one = replace(options, layer=name)
        opened = open_call(model, variables, images, one)
        (layer,) = opened.field.layers.values()
        some = layer.units[np.unique(np.linspace(0, len(layer.units) - 1, sampled).astype(int))]
        if len(some) < len(layer.units):
            opened = open_call(model, variables, images, replace(one, units=some, protocol=None, **_fixed(asked)))
        _compare_layer(opened, next(images.batches(layer.images_per_call)), tolerance)


def _fixed(settled: Settled) -> dict[str, Any]:
    """What a protocol fixes besides units."""
    return {name: getattr(settled, name) for name in ("channels", "score", "average")}


def _compare_layer(opened: Opened, batch: np.ndarray, tolerance: float | None) -> None:
    (run,) = opened.runs.values()
    layer, seed = run.prepared, opened.seeds[0]
    variables = jax.tree.unflatten(jax.tree.structure(layer.subject.abstract), run.leaves(seed))
    sample = next(run.samples(as_images(batch, None), seed))
    _check_range(run, batch, seed)
    origins, _ = layer.where(len(layer.units))
    limit = tolerance or (1e-9 if batch.dtype == np.float64 else 2e-3)
    for number, unit in enumerate(layer.units):
        theirs = _oracle(layer, variables, batch, sample, number)
        for image in range(len(batch)):
            _compare(layer, unit, sample.maps[image, number], origins[number], theirs[image], limit)


def _check_range(run: Run, batch: np.ndarray, seed: int | None) -> None:
    """Raise where the derivative at the first image, or at those that it sees, hangs on values too small for their type."""
    layer = run.prepared
    images = layer.cropped(batch if layer.pullback.images_interact else batch[:1])
    share = run.compiled.lost.undecided(run.leaves(seed), images)
    if share:
        raise CheckError(
            f"Values of the forward pass that are too small for {batch.dtype} decide {share:.1%} of a coefficient in the "
            f"derivative of layer {layer.row.name!r}: they are rounded to zero, and with them a mask that is made of them. "
            "Bring weights and images to a more usual scale, or use float64."
        )


def _oracle(layer: Prepared, variables: Any, batch: np.ndarray, sample: Sample, number: int) -> np.ndarray:
    """Maps (image, *spatial) of one unit on the whole input."""
    pull, axes, below = layer.pullback, layer.axes, layer.pullback.below
    sizes = {a: span.size for a, span in enumerate(pull.windows.unit) if a not in axes.units}
    channels = [n for a, n in sizes.items() if a != axes.batch or n > 1]
    rows = []
    for image in range(len(batch)):
        key = sample.keys[0 if pull.images_interact else image]
        drawn = jnp.array([number + image * len(layer.units) if pull.images_interact else number])
        drawn = pull.rule.cotangents(key, drawn, pull.channel_count, pull.windows.target.dtype)
        rows.append(drawn.reshape(channels))
    name, output = layer.row.name, None
    if name in pull.program.outputs:  # the oracle knows outputs by their leaves, not as layers
        name, output = None, name.removeprefix(OUTPUT).removeprefix("/") or None

    def maps(images: np.ndarray, cotangents: list[jax.Array]) -> np.ndarray:
        return oracles.erf_map(
            layer.subject, variables, jnp.asarray(images), tuple(int(u) for u in layer.units[number]), jnp.stack(cotangents),
            output=output, score=pull.score, layer=name, wrt=layer.options.wrt,
            unit_axes=axes.units, wrt_axes=below.units, batch_axis=axes.batch or 0, wrt_batch_axis=below.batch or 0,
        )  # fmt: skip

    if pull.images_interact:
        return maps(batch, rows)
    return np.concatenate([maps(batch[i : i + 1], [row]) for i, row in enumerate(rows)])


def _compare(
    layer: Prepared, unit: np.ndarray, mine: np.ndarray, origin: np.ndarray, theirs: np.ndarray, limit: float
) -> None:
    """One map against the oracle's on the whole input."""
    where = f"unit {tuple(int(u) for u in unit)} of layer {layer.row.name!r}"
    outside = np.ones(theirs.shape, bool)
    outside[tuple(slice(lo, hi) for lo, hi in layer.row.box(unit.tolist(), clip=True))] = False
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
