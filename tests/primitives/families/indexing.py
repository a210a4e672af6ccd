"""Reading and writing at indices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.primitives.case import case

INDEX = np.array([0, 3, 3, 1])
case("gather", (1, 5, 3), lambda x: x[:, INDEX])
case("gather of two axes at once", (1, 5, 4, 2), lambda x: x[:, INDEX, INDEX[::-1]])
case(
    "gather with window",
    (1, 5, 4),
    lambda x: jax.vmap(lambda i: lax.dynamic_slice(x, (0, i, 0), (1, 2, 4)))(np.array([1, 3])),
)
case("gather one position", (1, 5, 4), lambda x: jnp.take(x, np.array(2), 1))
case("gather fills", (1, 5), lambda x: x.at[:, np.array([1, 9, 4])].get(mode="fill", fill_value=0))
case("gather clips", (1, 5), lambda x: x.at[:, np.array([1, 9, -9])].get(mode="clip"))
case("gather a slice that is dropped", (1, 5), lambda x: lax.gather(
    x, np.array([[4]]), lax.GatherDimensionNumbers((0, 1), (), (1,)), (1, 3), mode="fill") + x[:, :3])  # fmt: skip
case("gather by values", (1, 5, 3), lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1), draws=60)
case("gather by known and unknown indices", (2, 4, 3),
     lambda x: x[np.arange(2)[:, None], jnp.argmax(x, 2)], draws=60)  # fmt: skip
case("sort", (1, 4, 2), lambda x: jnp.sort(x, 1), draws=60)
case("top_k", (1, 2, 4), lambda x: lax.top_k(x, 2)[0], draws=60)
case("dynamic_slice", (1, 7, 3), lambda x: lax.dynamic_slice(x, (0, 2, 0), (1, 4, 3)))
case("dynamic_slice beyond the end", (1, 7, 3), lambda x: lax.dynamic_slice(x, (0, 6, -1), (1, 4, 2)))
case(
    "dynamic_slice by values",
    (1, 5, 3),
    lambda x: lax.dynamic_slice(x, (0, jnp.argmax(x[0, :, 0]), 0), (1, 2, 3)),
    draws=60,
)
case("dynamic_update_slice", (1, 7, 3), lambda x: lax.dynamic_update_slice(x, x[:, :2, 1:] * 3, (0, 3, 1)))
case("dynamic_update_slice by values", (1, 4, 3),
     lambda x: lax.dynamic_update_slice(x, x[:, :2] * 3, (0, jnp.argmax(x[0, :, 0]), 0)), draws=60)  # fmt: skip
case("scatter a block", (1, 7, 3), lambda x: x.at[:, 2:5].set(3 * x[:, :3]))
case("scatter a row", (1, 5, 4), lambda x: x.at[:, 2].set(x[:, 0] * 2))
case("scatter one element of two axes", (1, 5, 4, 2), lambda x: x.at[:, 3, 1].set(x[:, 0, 2] * 2))
case("scatter at indices", (1, 5, 3), lambda x: x.at[:, np.array([3, 1])].set(2 * x[:, :2]))
case("scatter at indices that repeat", (1, 5), lambda x: x.at[:, np.array([3, 1, 3])].set(2 * x[:, :3]))
case("scatter dropped", (1, 5), lambda x: x.at[:, np.array([3, 9])].set(2 * x[:, :2], mode="drop"))
case("scatter by values", (1, 4, 2), lambda x: x.at[:, jnp.argmax(x[0, :, 0])].set(2 * x[:, 1]), draws=60)
case("scatter-add a block", (1, 5, 3), lambda x: jnp.ones((1, 9, 4)).at[:, 2:7, 1:].add(x))
case("scatter-add at indices", (1, 5, 3), lambda x: x.at[:, np.array([1, 1, 4])].add(2 * x[:, :3]))
case("scatter-add by values", (1, 4, 2), lambda x: x.at[:, jnp.argmax(x[0, :, 0])].add(2 * x[:, 1]), draws=60)
case("scatter-add by values and images", (2, 3, 2),
     lambda x: jax.vmap(lambda y: y.at[jnp.argmax(y[:, 0])].add(2 * y[1]))(x), draws=60)  # fmt: skip
case("scatter-sub a row", (1, 5, 3), lambda x: x.at[:, 2].subtract(0.3 * x[:, 0]))
case("scatter-sub at indices", (1, 5, 3), lambda x: x.at[:, np.array([1, 4])].subtract(0.3 * x[:, :2]))
case(
    "scatter of nothing", (1, 5, 3), lambda x: x.at[:, np.zeros(0, int)].set(2 * x[:, :0]) + x.at[:, 2:2].add(x[:, :0])
)
case("gather of nothing", (1, 5, 3), lambda x: jnp.concatenate([x[:, np.zeros(0, int)], x[:, ::2]], 1))
case("dynamic slices of nothing", (1, 5, 3), lambda x: lax.dynamic_update_slice(
    x, lax.dynamic_slice(x, (0, 2, 0), (1, 0, 3)), (0, 1, 0)))  # fmt: skip
case("scatter-mul by zero", (1, 5, 3), lambda x: x.at[:, np.array([1, 2])].multiply(np.array([0.0, 2.0])[:, None]))
case("scatter-mul", (1, 5, 3), lambda x: x.at[:, np.array([1, 1, 2])].multiply(2.0))
