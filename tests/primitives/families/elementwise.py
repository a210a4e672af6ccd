"""Operations on elements at their own place: equal shapes, size-1 axes, rank 0, known zeros; complex pairs and transforms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxrf
from tests.primitives.case import Array, case, positive


@jax.custom_jvp
def named(x: Array) -> Array:
    return 2 * x


named.defjvp(lambda x, t: (named(*x), checkpoint_name(2 * t[0], "tangent")))


case("mul", (1, 5, 3), lambda x: x * positive(5, 3))
case(
    "mul broadcast operand",
    (1, 5, 1),
    lambda x: lax.mul(x + jnp.zeros((1, 5, 1)), positive(1, 5, 1)) * jnp.ones((1, 5, 3)),
)
case("mul of two tangents", (1, 5, 3), lambda x: x * x[:, ::-1])
case("mul rank 0", (1, 5), lambda x: x.sum() * positive(1, 7))
case("mul by a known mask", (1, 5, 3), lambda x: x * (np.arange(5) % 2)[:, None])
case("mul by a mask of channels", (1, 5, 3), lambda x: x * np.array([1.0, 0.0, 2.0]))
case("div", (1, 5, 3), lambda x: x / positive(5, 1))
case("add", (1, 5, 3), lambda x: (x + 1.0) + x[:, :, :1])
case("sub", (1, 5, 3), lambda x: x[:, 1:] - 3 * x[:, :-1])
case("neg", (1, 5, 3), lambda x: -x)
case("select_n by values", (1, 5, 3), lambda x: jnp.where(x > 1, x, x[:, ::-1]), draws=20)
case("select_n by a known mask", (1, 5, 3), lambda x: jnp.where(np.arange(5)[:, None] > 2, x, x[:, ::-1]))
case("select_n by a number", (1, 5), lambda x: lax.cond(x.sum() > 5, lambda: 2 * x, lambda: x[:, ::-1]), draws=20)
case(
    "select_n of three",
    (1, 5),
    lambda x: lax.switch(jnp.argmax(x[0, :3]), [lambda: x, lambda: 2 * x, lambda: x[:, ::-1]]),
    20,
)
case("copy", (1, 5), lambda x: jnp.array(x, copy=True))
case("name", (1, 5), lambda x: named(x), reverse=False)
case("jaxrf_tap", (1, 5), lambda x: jaxrf.tap(x, "layer"))
case("reduce_precision", (1, 5), lambda x: lax.reduce_precision(x, 11, 52))
case("convert_element_type", (1, 5), lambda x: x.astype(jnp.float32).astype(jnp.float64))
case(
    "sharding_constraint",
    (1, 5),
    lambda x: lax.with_sharding_constraint(x, jax.sharding.SingleDeviceSharding(jax.devices()[0])),
)
case("rank 0 throughout", (1,), lambda x: jnp.sin(x[0]) * 2.0)
case("no elements", (1, 0, 3), lambda x: jnp.pad(2.0 * x, ((0, 0), (2, 1), (0, 0))).sum(2))

# Complex pairs and Fourier transforms.
case("complex", (1, 5, 3), lambda x: jnp.real(lax.complex(x, x[:, ::-1]) * (1 + 2j)))
case("imag", (1, 5), lambda x: jnp.imag(lax.complex(x, 2 * x) * (1 + 2j)))
case("conj", (1, 5), lambda x: jnp.real(jnp.conj(lax.complex(x, 2 * x)) * (1 + 2j)))
case("fft", (2, 5, 3), lambda x: jnp.abs(jnp.fft.fft(x, axis=1)))
case("fft over two axes", (1, 3, 5), lambda x: jnp.abs(jnp.fft.fft2(x)))
case("ifft", (1, 5), lambda x: jnp.abs(jnp.fft.ifft(lax.complex(x, x * x))))
case("rfft even", (2, 6), lambda x: jnp.abs(jnp.fft.rfft(x)))
case("rfft odd", (2, 5), lambda x: jnp.abs(jnp.fft.rfft(x)))
case("irfft even", (2, 4), lambda x: jnp.fft.irfft(lax.complex(x, x * x), 6))
case("irfft odd", (2, 3), lambda x: jnp.fft.irfft(lax.complex(x, x * x), 5))
