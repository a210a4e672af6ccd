"""Runs of one prepared layer, for tests that look at what is behind `jaxrf.erf`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax

from jaxrf.adapters import Subject
from jaxrf.engine.run import Pullback
from jaxrf.fields.opening import prepare_field
from jaxrf.fields.run import Compiled, Run
from jaxrf.inputs.images import Images, as_images
from jaxrf.planning import layers as planning
from jaxrf.planning.options import Options


def run_of(subject: Subject, images: Images, layer: str | None = None, certify: bool = True, **options: Any) -> Run:
    """A run of a subject, under its own variables where it has them."""
    programs = planning.Programs(subject, options.get("treat_as_constant", ()))
    prepared = planning.prepare(programs, images, Options(**options).settled(), layer)
    leaves = None if subject.variables is None else jax.tree.leaves(subject.variables)
    return Run(Compiled(prepared), leaves, certify)


def drawn_run(model: Any, inputs: Any, input_shape: tuple[int, ...], **options: Any) -> Run:
    """A run of a model whose weights are drawn."""
    chosen = Options(**options).settled()
    (prepared,) = prepare_field(model, None, as_images(inputs, input_shape), chosen)[1].layers.values()
    return Run(Compiled(prepared), None, chosen.certify)


def batched(pull: Pullback, **portions: int) -> Pullback:
    """The same with other numbers of units and images at once."""
    return replace(pull, batching=replace(pull.batching, **portions))


def with_pullback(run: Run, batching: Mapping[str, int] | None = None, **changes: Any) -> Run:
    """The same with another pull-back."""
    pull = replace(batched(run.prepared.pullback, **(batching or {})), **changes)
    return replace(run, compiled=Compiled(replace(run.prepared, pullback=pull)))
