"""What XLA computes wrongly in programs as their authors, or JAX, wrote them.

The engine's own programs avoid it (`lowering/laying.py`); a program that is run as it is can only be told to hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.base.place import place

FLOATS = ("bfloat16", "float16", "float32")


def fault(jaxpr: Any, platform: str | None = None) -> str:
    """The first operation of a program that XLA is known to compute wrongly, and why; empty where there is none.

    Args:
        jaxpr: the program; those that it calls are looked through too.
        platform: where it runs; default: the platform of JAX's default device.

    >>> import jax
    >>> def net(x):
    ...     return jax.lax.conv(x, jax.numpy.ones((8, 8, 1)), (1,), [(-2, 1)])
    >>> fault(jax.make_jaxpr(net)(jax.numpy.ones((1, 8, 7))), "cpu").split(",")[0]
    'a convolution of padding ((-2'
    >>> fault(jax.make_jaxpr(net)(jax.numpy.ones((1, 8, 7))), "tpu")
    ''
    """
    if (platform or jax.default_backend()) != "cpu":
        return ""
    for eqn, calls in _equations(jaxpr, ()):
        if eqn.primitive.name == "conv_general_dilated" and reads_beyond(
            eqn.params, *(v.aval for v in (*eqn.invars, *eqn.outvars))
        ):
            where = place((eqn.source_info, *calls))
            return (
                f"a convolution of padding {eqn.params['padding']}{f', {where},' if where else ''} which jaxlib "
                f"{metadata.version('jaxlib')} computes wrongly on a CPU: where padding cuts on one side and pads on the "
                "other, it reads beyond the image (openxla/xla#48713)"
            )
    return ""


def reads_beyond(params: Any, image: Any, kernel: Any, result: Any) -> bool:
    """Whether XLA's convolution on CPUs takes its way without padding, though windows leave the image.

    It asks whether windows would fit if the image began where the first one does (Eigen's `hasPadding`).
    """
    numbers = params["dimension_numbers"]
    if len(numbers.lhs_spec) > 4 or jnp.dtype(image.dtype).name not in FLOATS or 0 in result.shape:
        return False
    if max(*params["lhs_dilation"], *params["rhs_dilation"], 1) > 1:
        return False
    ends = [
        (image.shape[a], (result.shape[o] - 1) * s + kernel.shape[k], low)
        for a, k, o, s, (low, _) in zip(
            numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], params["window_strides"], params["padding"]
        )
    ]  # fmt: skip
    fits = all(low <= 0 and end <= size for size, end, low in ends)
    return fits and any(end - low > size for size, end, low in ends)


def _equations(jaxpr: Any, calls: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """All equations, those of inner programs too, each with where the calls around it stand, the innermost first."""
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield eqn, calls
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                yield from _equations(inner, (eqn.source_info, *calls))


def _is_program(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")
