"""Receptive fields and costs of a convolutional network, read off its forward program.

An oracle for the zoo: it knows convolutions and windows on two spatial axes, and takes everything else as elementwise.
It shares nothing with jaxrf but the model. `checkpoint_name` marks the output of each module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

CALLS = {"jit", "pjit", "custom_jvp_call", "custom_vjp_call"}


@dataclass(frozen=True)
class Seen:
    """What unit 0 sees, `lo` to `hi` with both ends, and how far the next unit's field is away; one pair of axes."""

    stride: tuple[int, ...]
    lo: tuple[int, ...]
    hi: tuple[int, ...]
    aligned: bool

    def through(self, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple) -> Seen:
        """The field behind a window, by the backward recursion per axis."""
        before = [self.stride[i] * padding[i][0] for i in (0, 1)]
        reach = [self.stride[i] * (kernel[i] - 1) * dilation[i] for i in (0, 1)]
        return Seen(
            tuple(self.stride[i] * stride[i] for i in (0, 1)),
            tuple(self.lo[i] - before[i] for i in (0, 1)),
            tuple(self.hi[i] - before[i] + reach[i] for i in (0, 1)),
            self.aligned,
        )


def join(fields: list[Seen]) -> Seen:
    """The union of fields that meet; aligned where all have one center."""
    assert len({field.stride for field in fields}) == 1
    lo = tuple(min(field.lo[i] for field in fields) for i in (0, 1))
    hi = tuple(max(field.hi[i] for field in fields) for i in (0, 1))
    centers = {tuple(a + b for a, b in zip(field.lo, field.hi, strict=True)) for field in fields}
    return Seen(fields[0].stride, lo, hi, len(centers) == 1 and all(field.aligned for field in fields))


@dataclass(frozen=True)
class Layer:
    """One module's output: its field, and the floating-point operations up to it."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    aligned: bool
    flops: int


class Walk:
    """Pushes fields forward through a program, and counts operations on the way."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.flops = 0

    def run(self, program: Any, inputs: list[Seen | None]) -> list[Seen | None]:
        env: dict[Any, Seen | None] = dict(zip(program.invars, inputs, strict=True))
        for eqn in program.eqns:
            fields = [None if isinstance(v, jax.extend.core.Literal) else env.get(v) for v in eqn.invars]
            if eqn.primitive.name in CALLS:
                inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
                results = self.run(getattr(inner, "jaxpr", inner), fields)
            else:
                results = [self.step(eqn, fields)] * len(eqn.outvars)
            env.update(zip(eqn.outvars, results, strict=True))
        return [env.get(v) for v in program.outvars]

    def step(self, eqn: Any, fields: list[Seen | None]) -> Seen | None:
        known = [field for field in fields if field is not None]
        if not known:
            return None
        p, out = eqn.params, eqn.outvars[0].aval.shape
        if eqn.primitive.name == "conv_general_dilated":
            shape, spec = eqn.invars[1].aval.shape, p["dimension_numbers"].rhs_spec
            kernel = tuple(shape[axis] for axis in spec[2:])
            # The published counts have one more addition per output: the bias, or the shift of the normalization.
            self.flops += math.prod(out) * (2 * math.prod(kernel) * shape[spec[1]] + 1)
            return known[0].through(kernel, p["window_strides"], p["padding"], p["rhs_dilation"])
        if eqn.primitive.name.startswith("reduce_window"):
            window, stride, padding, dilation = (
                p[key][1:3] for key in ("window_dimensions", "window_strides", "padding", "window_dilation")
            )
            self.flops += math.prod(out) * math.prod(window)
            return known[0].through(window, stride, padding, dilation)
        field = join(known)
        if eqn.primitive.name == "name":
            size = tuple(b - a + 1 for a, b in zip(field.lo, field.hi, strict=True))
            padding = tuple(-a for a in field.lo)
            self.layers[p["name"]] = Layer(size, field.stride, padding, field.aligned, self.flops)
        return field


def primal_walk(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Layer]:
    """The layers of a Linen model by module path, for two spatial axes and channels last."""
    image = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)

    def mark(call, args, kwargs, context):
        out = call(*args, **kwargs)
        named = context.method_name == "__call__"
        return checkpoint_name(out, "/".join(context.module.path)) if named else out

    def forward(variables, image):
        with nn.intercept_methods(mark):
            return model.apply(variables, image)

    program = jax.make_jaxpr(forward)(variables, image).jaxpr
    walk = Walk()
    start = Seen((1, 1), (0, 0), (0, 0), True)
    walk.run(program, [None] * (len(program.invars) - 1) + [start])
    return walk.layers
