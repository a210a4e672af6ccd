"""From the words of a call to a prepared field and its run; the last few fields are kept for the next call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.core import Tracer

from jaxrf.adapters import Subject, adapt, can_draw, check_finite, variables_of
from jaxrf.adapters.subject import concrete
from jaxrf.base.compiler import compiling_for
from jaxrf.base.typing import PyTree
from jaxrf.errors import InputError
from jaxrf.fields.cache import Cache, key_of, shapes_key
from jaxrf.fields.field import Field
from jaxrf.fields.run import Compiled, Run
from jaxrf.init import with_init
from jaxrf.inputs.images import Images, as_images
from jaxrf.planning.kinds import whole
from jaxrf.planning.layers import prepare_layers
from jaxrf.planning.options import OF_THE_CALL, Options, Settled
from jaxrf.planning.programs import Programs
from jaxrf.protocols import protocols


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a call.

    Attributes:
        field: prepared.
        compiled: the programs of each layer.
        closed: whether the model brings its weights along, as a function `f(x)` does.
    """

    field: Field
    compiled: Mapping[str, Compiled]
    closed: bool


kept: Cache[Kept] = Cache()
traced: Cache[Programs] = Cache()
"""Models whose weights are drawn, traced: what their layers and estimators have in common."""


def clear_cache() -> None:
    """Forget the prepared fields and compiled programs of earlier calls of `erf`, `plan` and `check`.

    The last 16 are kept, by model (equal Linen modules and NNX structures; functions themselves), shapes and types,
    options, precision and platform. They hold no variables and no images, but what a function closes over.

    Example:
        >>> import jaxrf
        >>> jaxrf.clear_cache()
    """
    kept.clear()
    traced.clear()


@dataclass(frozen=True, eq=False)
class Opened:
    """A call, ready to run.

    Attributes:
        field: prepared.
        runs: one for each layer.
        images: the inputs.
        seeds: numbers of random initializations; [None] for given variables.
    """

    field: Field
    runs: Mapping[str, Run]
    images: Images
    seeds: list[int | None]


def open_given(model: Any, variables: PyTree | None, inputs: Any, options: Options) -> Opened:
    """Do as `open_call`, with inputs as they were given.

    Raises:
        InputError: the call stands inside of somebody's `jit`, `vmap` or `grad`; or as `jaxrf.erf` says.
    """
    if any(isinstance(leaf, Tracer) for leaf in (inputs, *jax.tree.leaves(variables))):
        raise InputError(
            "The variables or inputs are traced, as inside of jit, vmap or grad, where an average on the host cannot be. "
            "Use field = jaxrf.prepare(...) outside, and field(variables, images, key) here."
        )
    return open_call(model, variables, as_images(inputs, options.input_shape), options)


def open_call(model: Any, variables: PyTree | None, images: Images, options: Options) -> Opened:
    """Prepare a call, or find what an equal one prepared.

    Args:
        model, variables: as for `jaxrf.erf`.
        images: checked.
        options: as given.

    Raises:
        InputError, UnknownNameError, PlanError: as `jaxrf.erf` says.
    """
    options = options.settled()
    weights = variables_of(model, variables)
    drawn = variables is None and (options.seeds is not None or options.init is not None) and can_draw(model)
    weights, variables = None if drawn else weights, None if variables is None else weights
    given = weights is not None and concrete(weights) is not None
    if given:
        check_finite(weights)
    key = key_of(
        model, None if variables is None else shapes_key(variables), given, images.shape, str(images.dtype), images.first,
        vars(options.of_a_field()),
    )  # fmt: skip
    found = kept.get(key, lambda: _kept(model, variables, images, options))
    leaves = jax.tree.leaves(weights) if given else [] if found.closed else None
    seeds = seed_numbers(options, found.field.subject, given=leaves is not None)
    for compiled in found.compiled.values():
        if options.certify and not compiled.certificate.made:
            compiled.prepared.plan.check_certificate()
    runs = {name: Run(compiled, leaves, options.certify) for name, compiled in found.compiled.items()}
    return Opened(found.field, runs, images, seeds)


def _kept(model: Any, variables: PyTree | None, images: Images, options: Settled) -> Kept:
    subject, field = prepare_field(model, variables, images, options)
    compiled = {name: Compiled(layer) for name, layer in field.layers.items()}
    return Kept(field, compiled, subject.variables is not None and not jax.tree.leaves(subject.variables))


def prepare_field(model: Any, variables: PyTree | None, images: Images, options: Settled) -> tuple[Subject, Field]:
    """The model as a subject, and the field of its layers."""
    programs = _programs(model, variables, images, options)
    subject = programs.subject
    options = replace(options, wrt=options.wrt or subject.embedding)
    if options.protocol is not None:
        protocols[options.protocol].check_size(tuple(images.shape[axis - 1] for axis in subject.spatial_axes))
    with jax.default_matmul_precision(options.precision), compiling_for(options.platform):
        layers = prepare_layers(programs, images, options.of_a_field())
    several = options.layer is not None and not isinstance(options.layer, str)
    return subject, Field(replace(subject, variables=None), layers, several, options.precision, options.platform)


def _programs(model: Any, variables: PyTree | None, images: Images, options: Settled) -> Programs:
    """The programs of a model; those of an earlier call on another layer, where no weights are held."""
    held = variables_of(model, variables) is not None
    words = (*OF_THE_CALL, "wrt", "init", "treat_as_constant", "precision", "platform")
    key = None if held else key_of(
        model, images.shape, str(images.dtype), {name: getattr(options, name) for name in words}
    )  # fmt: skip
    return traced.get(key, lambda: Programs(_subject(model, variables, images, options), options.treat_as_constant))


def _subject(model: Any, variables: PyTree | None, images: Images, options: Settled) -> Subject:
    call = {**options.call, "embedding": options.wrt}
    subject = adapt(model, images.shape, variables=variables, dtype=images.dtype, **call)
    if options.init is None:
        return subject
    if variables is not None:
        raise InputError("init says how weights are drawn, but variables were given. Pass one of them.")
    return with_init(subject, options.init)


def seed_numbers(options: Settled, subject: Subject, given: bool) -> list[int | None]:
    """Which random initializations to run; [None] for the given variables.

    Raises:
        InputError: seeds for given variables, repeated ones, or a model that cannot be drawn.
    """
    seeds: Any = options.seeds
    if given:
        if seeds is not None:
            raise InputError("seeds draw random weights, but variables were given. Pass one of them.")
        return [None]
    if subject.init is None:
        raise InputError(
            f"{subject.name} has no weights and cannot draw them. Pass variables, or a model with an initialization."
        )
    if seeds is None:
        seeds = options.until.cap if options.until is not None else 1
    numbers = list(range(int(seeds))) if whole(seeds) else [int(s) for s in seeds]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0 or max(numbers) >= 2**32:
        raise InputError(
            f"seeds={seeds!r} must be a count of at least 1, or different whole numbers from 0 to 2**32 - 1."
        )
    return list(numbers)
