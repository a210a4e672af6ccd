"""Trace a Subject: from a model to its tangent program, without weights and without a forward pass."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.adapters.failure import failure
from jaxrf.adapters.subject import CallAgain, Subject
from jaxrf.adapters.tap import TAP, Record, recording
from jaxrf.adapters.values import OUTPUT, output_name
from jaxrf.equations.program import Equation, Layer, TangentProgram, Variable
from jaxrf.errors import InputError, JaxrfError
from jaxrf.tangent.constants import Constants
from jaxrf.tangent.flatten import Flattener, opened

INPUT = "input"
_fresh = jax.make_user_context(None)


def trace(subject: Subject, batch: int = 1) -> TangentProgram:
    """The tangent program of a model at a batch size, with every tapped layer in it.

    Args:
        subject: the adapted model.
        batch: how many images its input holds.

    Returns:
        A `TangentProgram`; its last layers are the outputs, named `output` (or `output/leaf` where there are several).

    Raises:
        InputError: the dtype of the input or of all outputs has no derivative, or the model fails on such an input, in
            which case the cause is chained.
    """
    if not jnp.issubdtype(subject.dtype, jnp.inexact):
        raise InputError(f"Inputs are of dtype {subject.dtype}; a derivative needs a floating type. Cast them first.")
    image = jax.ShapeDtypeStruct((batch, *subject.input_shape), subject.dtype)
    inner: dict[str, Any] = {}

    def values_and_coefficients(variables: Any, x: Any) -> Any:
        def outputs_of(x: Any) -> Any:
            leaves = jax.tree_util.tree_leaves_with_path(subject.fn(variables, x))
            names = [output_name(jax.tree_util.keystr(path, simple=True, separator="/")) for path, _ in leaves]
            inner["outputs"] = [
                n for n, (_, v) in zip(names, leaves) if jnp.issubdtype(jnp.result_type(v), jnp.inexact)
            ]
            if not inner["outputs"]:
                found = ", ".join(str(jnp.result_type(v)) for _, v in leaves) or "nothing"
                raise InputError(
                    f"{subject.name} returns no array of a floating type, but {found}; there is no derivative. "
                    "Return what is computed before it is rounded, compared or counted."
                )
            return [v for n, (_, v) in zip(names, leaves) if n in inner["outputs"]]

        y, linear = jax.linearize(outputs_of, x)
        program = jax.make_jaxpr(linear)(x)
        inner["linear"] = program.jaxpr
        return y, program.consts

    def traced() -> tuple[Any, Record]:
        with recording() as record, _fresh(object()), _no_collection():
            return jax.make_jaxpr(values_and_coefficients)(subject.abstract, image), record

    try:
        try:
            forward, record = traced()
        except CallAgain:
            forward, record = traced()
    except JaxrfError:
        raise
    except Exception as error:
        raise failure(subject.name, image, error, subject.beside) from error
    return _assemble(subject, forward, inner["linear"], inner["outputs"], record)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection inside: what tracing makes stays, and looking through it costs a fifth of the time.

    It pauses for the whole process, other threads included, and goes on when the trace ends or fails.
    Where traces overlap, nested or in threads, the first that ends lets it go on; where the caller had it switched off,
    it stays off.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _assemble(subject: Subject, forward: Any, linear: Any, outputs: Sequence[str], record: Record) -> TangentProgram:
    flat = Flattener()
    arguments = [flat.new(v.aval, False) for v in forward.jaxpr.invars]
    results = flat.run(forward.jaxpr, [flat.const(c) for c in forward.consts], arguments)
    values, coefficients = results[: len(outputs)], results[len(outputs) :]
    tangent = flat.new(arguments[-1], True)
    derivatives = flat.derivative(linear, coefficients, tangent)
    layers = _layers(flat, record)
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(subject.abstract))
    for name, value, derivative in zip(outputs, values, derivatives, strict=True):
        found = derivative if isinstance(derivative, Variable) and derivative.tangent else None
        known = value if isinstance(value, Variable) else None
        note = "" if found else "does not depend on the input"
        layers[name] = Layer(name, subject.name, total, known, found, note, OUTPUT)
    wanted = [v for eqn in flat.linear for v in eqn.operands if not v.tangent]
    inside, more = opened(flat.forward, wanted)
    constants = Constants(inside, {**flat.consts, **more}, arguments[:-1], arguments[-1])
    linear_equations = _label(flat.linear, constants, record)
    return TangentProgram(
        arguments=tuple(arguments[:-1]),
        image=arguments[-1],
        input=tangent,
        consts=flat.consts,
        forward=tuple(replace(eqn, knowledge=constants) for eqn in flat.forward),
        linear=tuple(linear_equations),
        layers=layers,
        outputs=tuple(outputs),
    )


def _layers(flat: Flattener, record: Record) -> dict[str, Layer]:
    """The tapped layers in the order of the forward pass; the k-th repetition of a name is `name#k`."""
    layers: dict[str, Layer] = {}
    for name, info in record.taps.items():
        values, tangents = flat.taps.get(name, []), flat.tangent_taps.get(name, [])
        note = "" if tangents else "no derivative of an output passes through it"
        for k in range(max(len(values), len(tangents), 1)):
            full = f"{name}#{k}" if k else name
            layers[full] = Layer(
                full, info.kind, info.parameters,
                values[k] if k < len(values) else None,
                tangents[k] if k < len(tangents) else None,
                note, info.module, k,
            )  # fmt: skip
    position = {eqn.result: i for i, eqn in enumerate(flat.linear)}
    keys, last = {}, -1
    for full, layer in layers.items():  # a layer without derivative stays behind the one recorded before it
        last = keys[full] = position.get(layer.tangent, last) if layer.tangent else last
    return dict(sorted(layers.items(), key=lambda item: keys[item[0]]))


def _label(equations: Sequence[Equation], constants: Constants, record: Record) -> list[Equation]:
    """Each equation with its layers: the modules in whose calls it was traced, where a model is made of modules.

    In a plain function there are taps alone, and each operation works for the first one behind it.
    """
    labelled, behind = [], OUTPUT
    for eqn in reversed(equations):
        if eqn.primitive == TAP:
            behind = eqn.params["name"]
        layers = tuple(dict.fromkeys((OUTPUT, *(layer or OUTPUT for layer in eqn.layers or (behind,)))))
        remark = record.taps[layers[-1]].remark if layers[-1] in record.taps else ""
        labelled.append(replace(eqn, layers=layers, remark=remark, knowledge=constants))
    return labelled[::-1]
