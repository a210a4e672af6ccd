"""How many parameters a network of the zoo has, and how many multiplications with an addition one image takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from jaxrf.zoo.model import Model


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many numbers are trained.
        multiply_adds: of convolutions and matrix products for one image; papers often call them FLOPs.
    """

    parameters: int
    multiply_adds: int


def cost(model: Model, num_classes: int = 1000) -> Cost:
    """The cost of a network on its usual image, from shapes alone; with a classifier if it can have one.

    Example:
        >>> from jaxrf.zoo import resnet18
        >>> cost(resnet18).parameters
        11689512
    """
    network = model(**({"num_classes": num_classes} if "num_classes" in model.options else {}))
    image = jax.ShapeDtypeStruct((1, *model.input_shape), jnp.float32)
    if isinstance(network, nn.Module):
        variables = jax.eval_shape(network.init, jax.random.key(0), image)
        trained, program = variables["params"], jax.make_jaxpr(network.apply)(variables, image)
    else:
        graph, state = nnx.split(network)
        trained = nnx.filter_state(state, nnx.Param)
        program = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, image)
    return Cost(sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained)), products(program.jaxpr))


def products(program: Any) -> int:
    """Multiplications with an addition in the convolutions and matrix products of a program and of those inside it.

    A loop's body counts once.
    """
    total = 0
    for equation in program.eqns:
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            total += products(inner) if hasattr(inner, "eqns") else 0
        left, right = ([*equation.invars, None, None])[:2]
        if equation.primitive.name == "conv_general_dilated":
            spec = equation.params["dimension_numbers"].rhs_spec
            kernel = [size for axis, size in enumerate(right.aval.shape) if axis != spec[0]]
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(kernel)
        elif equation.primitive.name == "dot_general":
            (axes, _), _ = equation.params["dimension_numbers"]
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(left.aval.shape[axis] for axis in axes)
    return total
