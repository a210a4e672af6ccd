"""The public functions: they join the stages and hold no other logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrf import errors
from jaxrf.adapters import adapt, variables_of
from jaxrf.base.compiler import compiling_for
from jaxrf.base.typing import Batches, Device, PyTree, Units
from jaxrf.checks.comparing import compare
from jaxrf.engine.plan import Plan
from jaxrf.engine.units import Grid
from jaxrf.errors import InputError
from jaxrf.fields.field import Field
from jaxrf.fields.opening import open_given, prepare_field
from jaxrf.geometry.scale import Scale
from jaxrf.geometry.table import Table
from jaxrf.init import Initializer
from jaxrf.inputs.images import as_images, shapes_only
from jaxrf.interpret import table as tables
from jaxrf.interpret.paths import count as path_counts
from jaxrf.planning.options import Options
from jaxrf.planning.programs import Programs, choose
from jaxrf.results.paths import PathCounts
from jaxrf.results.result import Result
from jaxrf.statistics import Until
from jaxrf.statistics.until import as_until


def trf(
    model: Any,
    input_shape: Sequence[int],
    *,
    variables: PyTree | None = None,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    dtype: Any = np.float32,
    unknown: str = "raise",
    wrt: str | None = None,
    treat_as_constant: Sequence[str] = (),
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    rate: float | None = None,
) -> Table:
    """Theoretical receptive fields of all layers of a model.

    Traces the model once on shapes: no weights are made, nothing is computed, and the input may be of any size.
    A field here is derivative dependence, coefficients taken as non-zero: what `stop_gradient` or `round` cut is
    outside.

    Args:
        model: a Linen, NNX or PyTorch module, or a function `f(x)` or `f(variables, x)`.
        input_shape: of one image, without the batch axis, such as (224, 224, 3).
        variables: only for functions `f(variables, x)`: their variables, or the shapes of these.
        method: what to call on the module; `__call__` if None.
        apply_kwargs: keyword arguments of the call, such as `{"train": False}`.
        args: the call's positional arguments, with `...` in the image's place; the others are the same for all images.
        spatial_axes: axes of the batched input that are positions; all between batch and features if None, which stand
            last, or first for PyTorch.
        dtype: of the input; a whole-number one for models of token ids, whose fields begin at their embeddings.
        unknown: "raise" for operations that have no rule, or "global": they count as seeing everything.
        wrt: fields on this layer instead of the input: the rows of the layers behind it, in positions of its units.
        treat_as_constant: layers inside of which reduced statistics (means, variances, pooled gates, attention weights)
            count as constants, while the main path stays; their sublayers are inside. What joins as `x - mean(x)` or
            `x * gate(x)` then has the field of x; a mean that has no other path beside it stays.
        spacing, unit, rate: how far apart positions of the input (or of the layer `wrt`) are, one number or one per axis,
            as in `spacing=(0.5, 0.5, 2.0), unit="µm"`; or how many there are in a unit, seconds if `unit` is None, as in
            `rate=16_000`. Rows then have `physical`.

    Returns:
        A `Table` with one row per layer, in order; the last rows are the outputs.

    Raises:
        InputError: the model does not take such an input, or a layer comes out empty.
        UnknownPrimitiveError: an operation has no rule.
        UnknownNameError: no layer has a name given.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> table = jaxrf.trf(zoo.conv_stack(depth=3), (32, 32, 3))
        >>> table[-1].size, table[-1].stride, table[-1].padding
        ((7, 7), (1, 1), (3, 3))

    References:
        Araujo, Norris, Sim (2019), "Computing Receptive Fields of Convolutional Neural Networks", Distill.
    """
    if unknown not in ("raise", "global"):
        raise InputError(f'unknown={unknown!r} is neither "raise" nor "global".')
    subject = adapt(
        model, input_shape, variables=variables, method=method, apply_kwargs=apply_kwargs, args=args,
        spatial_axes=spatial_axes, dtype=dtype, embedding=wrt,
    )  # fmt: skip
    geometry = Programs(subject, treat_as_constant, unknown).geometry
    source = choose(geometry.program, wrt, None) if wrt is not None else None
    table = tables.table(geometry, model=subject.name, wrt=source)
    return table if spacing is unit is rate is None else table.scaled(spacing, unit, rate)


def paths(
    model: Any,
    input_shape: Sequence[int],
    *,
    unit: Sequence[int] | str = "center",
    layer: str | None = None,
    log: bool = False,
    output: str | None = None,
    variables: PyTree | None = None,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    dtype: Any = np.float32,
    treat_as_constant: Sequence[str] = (),
) -> PathCounts:
    """How many paths join each input position to a unit, channels counted once.

    A path is a sequence of positions, one for each convolution, pooling, product or move on the way, up to the unit.
    Elementwise arithmetic and normalization over channels are not steps of their own, so `x * sigmoid(x)` counts once;
    the two sides of a residual block are two ways. Positions are the axes that come from the image's; which channels a
    path runs through is not followed.
    The work grows with the number of equations and with the unit's box, not with the channels.

    Args:
        model, variables, method, apply_kwargs, args, spatial_axes, dtype, treat_as_constant: as for `trf`.
        input_shape: of one image, without the batch axis.
        unit: position in the layer, or "center".
        layer: a name from the table; None for the output.
        log: natural logarithms in float64 instead of exact whole numbers.
        output: which leaf, where the model has several outputs.

    Returns:
        A `PathCounts`: counts over the unit's box, their exact `support`, its `density`.

    Raises:
        InputError: the model does not take such an input, the unit is none of the layer, or no path leads to it.
        UnknownPrimitiveError: an operation has no rule.
        UnknownNameError: no layer has a name given.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> paths = jaxrf.paths(zoo.conv_stack(depth=2), (9, 9, 3))
        >>> paths.counts[2].tolist(), paths.total, paths.density
        ([3, 6, 9, 6, 3], 81, 1.0)

    References:
        Luo, Li, Urtasun, Zemel (2016), section 2.2: with weights of one a linear network's field is the count of paths.
    """
    subject = adapt(
        model, input_shape, variables=variables, method=method, apply_kwargs=apply_kwargs, args=args,
        spatial_axes=spatial_axes, dtype=dtype,
    )  # fmt: skip
    geometry = Programs(subject, treat_as_constant).geometry
    target = choose(geometry.program, layer, output)
    row = tables.row(geometry, target)
    if isinstance(unit, str) and unit != "center":
        raise errors.unknown("choice of a unit", unit, ["center"], hint="Or give its position.")
    place = row.center_unit if isinstance(unit, str) else unit
    counts = path_counts(geometry, target, row, place, log)
    origin = tuple(lo for lo, _ in row.box(place, clip=True))
    return PathCounts(counts, origin, row.input_shape, target.name, tuple(int(u) for u in np.atleast_1d(place)), log)


def erf(
    model: Any,
    variables: PyTree | None = None,
    inputs: Batches | Any = None,
    *,
    units: Units | Grid | None = None,
    layer: str | Sequence[str] | None = None,
    wrt: str | None = None,
    channels: str | int | None = None,
    score: str | None = None,
    seeds: int | Sequence[int] | None = None,
    output: str | None = None,
    pool_units: bool = False,
    method: str | Callable[..., Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] | None = None,
    spatial_axes: tuple[int, ...] | None = None,
    input_shape: Sequence[int] | None = None,
    precision: str = "highest",
    memory: int | float | str | None = None,
    devices: Sequence[Device] | None = None,
    crop: bool = True,
    average: str | None = None,
    until: float | Until | None = None,
    init: Mapping[str, Initializer | str] | None = None,
    protocol: str | None = None,
    treat_as_constant: Sequence[str] = (),
    certify: bool = True,
    estimator: str = "sampled",
    platform: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    rate: float | None = None,
) -> Result | Any:
    """Effective receptive fields of units of a layer: exact gradients, scored and averaged over samples.

    A sample is one (seed, input, probe). Each pulls back a cotangent from every unit and computes nothing
    outside of the units' cones. Programs are kept, so that an equal call with other weights or images traces and
    compiles nothing; see `jaxrf.clear_cache`.

    Args:
        model: as for `trf`.
        variables: the model's variables; None to draw them at random, once per seed.
        inputs: images (n, ...), an iterable of batches of them, or `jaxrf.noise(n)`; or ids of tokens, whole numbers
            (n, *positions), whose maps are on their embeddings, or on `wrt`.
        units: "center", "middle" (position `n // 2` of each axis), "all", `jaxrf.grid(8, 8)`, or positions (n, axes)
            in the layer; "center" if None.
        layer: a name from the table, or a list of them; None for the output.
        wrt: map onto this layer instead of the input.
        channels: of a unit: "probe" (random ±1 per channel and sample, whose squares average to the sum over channels
            of squared derivatives), "sum", "relu_sum" (the sum of the rectified values), "each" (a map per channel,
            channel fastest), or an index. "probe" if None.
        score: what an input position gets: "square", "abs", "relu" or "signed", summed over its channels; or
            "positive_sum", the positive part of the sum. "square" if None.
        seeds: with `variables=None`: how many random initializations, or which; 1 if None.
        output: which leaf, where the model has several outputs.
        pool_units: average over units in unit-centered coordinates; the result has one map. Positions outside of a
            unit's map count as zeros. Units without a center, as behind global pooling, are refused.
        method, apply_kwargs, args, spatial_axes: as for `trf`.
        input_shape: needed with `jaxrf.noise` alone.
        precision: of products on accelerators, as for `jax.default_matmul_precision`.
        memory: what may be used, in bytes or as "15GB"; half of what is free if None.
        devices: across which images (or units, where there are fewer images) are spread; the first one if None.
        crop: run only the part of the image that the units depend on, where that is exact.
        average: "weighted", the plain mean of maps, or "normalized", in which each map is divided by its sum first.
            "weighted" if None.
        until: stop when sigma has this relative standard error (0.01), or as a `jaxrf.Until` says; looked at with 32
            samples, 64, 128 and so on. What `seeds` and `inputs` allow is the most; with random weights and no
            `seeds`, up to 4096 samples are drawn.
        init: initializers by patterns of parameter names, such as `{"*/kernel": jaxrf.init.uniform()}`.
        protocol: choices as published, by name: "luo2016", "replknet2022", "slak2023", "vmamba2024", "mambair2024",
            "openerf". It fixes units, channels, score and average, and the size of images; see `jaxrf.protocols`.
        treat_as_constant: as for `trf`: no gradient flows through these layers' statistics.
        certify: compare the units' values of the first images with those of the model called as it is; once for each
            program that is kept.
        estimator: "sampled", or "sign_averaged": with random weights and the score "square", the expectation over the
            signs of the weights is taken within each sample, so that far fewer seeds are needed. It is exact for
            stacks of ReLU layers without biases; `provenance["estimator"]` says what was averaged and what was not.
        platform: for which batches and lowerings are chosen: "cpu", "gpu" or "tpu"; that of JAX's default device if None.
        progress: is called with the number of samples so far and with how many there will be, None where nobody knows,
            after each batch of images with one seed and after each seed with several.
        spacing, unit, rate: as for `trf`; results then have `physical`, and figures say both.

    Returns:
        A `Result`: mean map and standard error per unit, with origins and the theoretical row; with a list of layers a
        dict of them by name.

    Raises:
        InputError: something given does not fit, or the call stands inside of a traced function; the message says what.
        UnknownNameError: no such layer, score, rule, average, initializer or protocol.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> result = jaxrf.erf(zoo.conv_stack(depth=3, width=8), inputs=jaxrf.noise(2), input_shape=(16, 16, 3), seeds=4)
        >>> result.mean.shape, result.count
        ((1, 7, 7), 8)

    References:
        Luo, Li, Urtasun, Zemel (2016), "Understanding the Effective Receptive Field in Deep Convolutional Neural
        Networks". Its maps are of a single unit and channel, and of the gradient itself or its magnitude.
    """
    options = Options(
        units=units, layer=layer, wrt=wrt, output=output, channels=channels, score=score, average=average,
        pool_units=pool_units, treat_as_constant=treat_as_constant, estimator=estimator, protocol=protocol,
        method=method, apply_kwargs=apply_kwargs, args=args, spatial_axes=spatial_axes, init=init,
        seeds=seeds, until=until, input_shape=input_shape, certify=certify, progress=progress,
        crop=crop, memory=memory, devices=devices, precision=precision, platform=platform,
    )  # fmt: skip
    opened = open_given(model, variables, inputs, options)
    axes = len(next(iter(opened.field.layers.values())).row.fields)
    scale = Scale.said(spacing, unit, rate, axes)  # what does not fit is said before anything runs
    images = opened.images.repeatable() if len(opened.runs) > 1 else opened.images
    rule = as_until(until)
    with jax.default_matmul_precision(precision), compiling_for(platform):
        found = {}
        for name, run in opened.runs.items():  # a comprehension would be a frame between a warning and the caller
            found[name] = run.result(images, opened.seeds, rule, progress).at(scale)
    return found if opened.field.several else next(iter(found.values()))


def prepare(model: Any, variables: PyTree | None, inputs: Any, **options: Any) -> Field:
    """The field of some units as a pure function `field(variables, images, key)`, to be called inside of any program.

    Reads the model's structure, and shapes and types of arrays; no value of a weight or an image. Traces and plans once.

    Args:
        model: as for `erf`.
        variables: arrays, or shapes such as `jax.eval_shape` gives; None for those of the model's own initialization.
        inputs: images (n, ...), or their `jax.ShapeDtypeStruct`. A call may bring another number of them.
        options: as for `erf`, but for those that belong to a run: `seeds`, `until`, `devices`, `certify`, `input_shape`,
            `progress`. With a list of layers, maps and all that is said of them are dicts by name; layers that run on the
            whole image share one forward pass.

    Returns:
        A `Field`.

    Raises:
        InputError: an option that needs values, or something given does not fit; as for `erf`.

    Example:
        >>> import jax, jaxrf
        >>> from jaxrf import zoo
        >>> images = jax.ShapeDtypeStruct((2, 16, 16, 3), "float32")
        >>> field = jaxrf.prepare(zoo.conv_stack(depth=3, width=8), None, images)
        >>> variables = field.init(jax.random.key(0))
        >>> maps = jax.jit(field)(variables, jax.random.normal(jax.random.key(1), images.shape), jax.random.key(2))
        >>> maps.values.shape, field.result(maps).count
        ((2, 1, 7, 7), 2)
    """
    chosen = Options.of(options)
    chosen.check_of_a_field()
    if chosen.estimator != "sampled" and variables is not None:
        raise InputError(
            f"estimator={chosen.estimator!r} averages over random weights, and variables were given. "
            "Pass variables=None."
        )
    given = None if variables is None else variables_of(model, variables)
    abstract = None if given is None else jax.eval_shape(lambda tree: tree, given)
    return prepare_field(model, abstract, shapes_only(inputs), chosen.settled())[1]


def plan(
    model: Any, variables: PyTree | None = None, inputs: Batches | Any = None, **options: Any
) -> Plan | dict[str, Plan]:
    """How `erf` would make a map: batches, windows, cost, predicted memory. Nothing is computed or compiled.

    Args:
        model, variables, inputs, options: as for `erf`.

    Returns:
        A `Plan`, to be printed; with a list of layers a dict of them.

    Raises:
        PlanError: the map does not fit into memory; the message says what would.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> plan = jaxrf.plan(zoo.conv_stack(depth=3, width=8), inputs=jaxrf.noise(1), input_shape=(64, 64, 3), units="all")
        >>> plan.units, plan.windows["conv_0"]
        (4096, ((1, 5, 5, 8), (1, 64, 64, 8)))
    """
    return open_given(model, variables, inputs, Options.of(options)).field.plan


def check(
    model: Any,
    variables: PyTree | None = None,
    inputs: Batches | Any = None,
    *,
    sampled: int = 4,
    tolerance: float | None = None,
    **options: Any,
) -> None:
    """Compare the engine with the dense oracle on some units; silent when they agree.

    The oracle is a plain `jax.vjp` over the whole model: it shares no code with the engine.

    Args:
        model, variables, inputs: as for `erf`; only the first batch of inputs is used, and the first seed.
        sampled: how many of the units to compare.
        tolerance: largest difference relative to the peak of a map; 1e-9 in float64 and 2e-3 in float32 if None.
            A ReLU whose input is at rounding level may take the other side in a differently ordered forward pass,
            and moves a float32 map by up to some 1e-3.
        options: as for `erf`; channels must be "probe", "sum" or an index.

    Raises:
        CheckError: a map differs, or is not zero outside of the theoretical box; the message says where and by how much.
            Or values of the forward pass that are too small for their type decide a coefficient of the derivative.

    Example:
        >>> import jaxrf
        >>> from jaxrf import zoo
        >>> jaxrf.check(zoo.conv_stack(depth=3, width=8), inputs=jaxrf.noise(1), input_shape=(16, 16, 3))
    """
    chosen = Options.of(options)
    images = as_images(inputs, chosen.input_shape)
    with jax.default_matmul_precision(chosen.precision), compiling_for(chosen.platform):
        compare(model, variables, images, chosen, sampled, tolerance)
