"""`jax.jit` for the programs of jaxrf: without a fusion with which XLA computes wrong sums on CPUs.

In jaxlib 0.10.2 a product with a broadcast coefficient, summed over its last axis and broadcast back, as in the
derivative of LayerNorm, is silently wrong from 32768 elements on (https://github.com/jax-ml/jax/issues/39103).
The fusions at fault also crash in 0.11 (https://github.com/jax-ml/jax/issues/39257); from 0.12 on they are right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata
from typing import Any

import jax
from jax.core import Tracer

FAULTY = ((0, 10, 2), (0, 12))
"""The first faulty version of jaxlib, and the first one that is right again."""
OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiler_options(version: str = metadata.version("jaxlib")) -> dict[str, str] | None:
    """Options for XLA under a version of jaxlib; None where the defaults are right.

    Example:
        >>> compiler_options("0.10.2"), compiler_options("0.12.0")
        ({'xla_cpu_experimental_ynn_fusion_type': ''}, None)
    """
    number = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    return dict(OPTIONS) if FAULTY[0] <= number < FAULTY[1] else None


QUICK = {"xla_backend_optimization_level": "1"}
"""Half the compile time of a program that draws the weights of a ResNet-50, at the same speed."""


UNFUSED = {"xla_disable_hlo_passes": "fusion"}
"""Each operation by itself: slow, and right where XLA fuses a scatter into a convolution on a CPU and computes garbage."""
PLATFORMS = ("cpu", "gpu", "tpu")
_chosen: ContextVar[str | None] = ContextVar("platform", default=None)


def platform() -> str:
    """Say for which platform programs are made here: that of `compiling_for`, or else of JAX's default device."""
    return _chosen.get() or jax.default_backend()


@contextmanager
def compiling_for(name: str | None) -> Iterator[None]:
    """Within it programs are planned and traced for a platform that may be another than this machine's.

    Args:
        name: "cpu", "gpu" or "tpu"; None for that of JAX's default device.
    """
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def jit(function: Callable[..., Any], quick: bool = False, unfused: bool = False) -> Any:
    """`jax.jit(function)` that is right on CPUs too; not to be called inside of another jit.

    Args:
        function: what is compiled.
        quick: rather compile in less time than run in less time, for programs that run seldom.
        unfused: compute each operation by itself, on a CPU.

    Example:
        >>> float(jit(lambda x: x + 1)(1.0))
        2.0
    """
    chosen = {**(compiler_options() or {}), **(QUICK if quick else {}), **(UNFUSED if unfused else {})}
    options = chosen if jax.default_backend() == "cpu" else None  # it runs here, for whatever platform its choices are
    return jax.jit(function, compiler_options=options)


def traced_once(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Trace a function once for each shape inside of the programs that call it, and have it compiled as part of them.

    A deep network calls the same function hundreds of times. Outside of a program it is computed operation by operation:
    what is compiled by itself is compiled by `jit`.

    Args:
        static: names of the arguments that are not arrays.

    Example:
        >>> @traced_once()
        ... def double(x):
        ...     return 2 * x
        >>> float(jit(lambda x: double(double(x)))(1.0)), double(1.0)
        (4.0, 2.0)
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        inside = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(args))
            return (inside if traced else function)(*args)

        return call

    return decorated
