"""Runs of one prepared layer, for tests that look at what is behind `jaxrf.erf`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from jaxrf import planning
from jaxrf.adapters import Subject
from jaxrf.inputs import Images, as_images
from jaxrf.opening import prepare_field
from jaxrf.options import Options
from jaxrf.run import Compiled, Run


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


def with_pullback(run: Run, **changes: Any) -> Run:
    """The same with another pull-back."""
    pull = replace(run.prepared.pullback, **changes)
    return replace(run, compiled=Compiled(replace(run.prepared, pullback=pull)))
