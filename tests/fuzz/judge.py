"""What jaxrf says of a random program, against its Jacobian in double precision."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxrf
from jaxrf.errors import JaxrfError
from tests.fuzz.grid import FEATURES, IMAGES
from tests.fuzz.programs import Program
from tests.fuzz.steps import LOOSE

NOTHING = 1e-13
"""Derivatives below this share of the largest are rounding."""
NO_PATH = "the output does not depend on the input"
"""Of programs in which every tap of a convolution falls into holes; there is nothing to judge."""
UNITS = 3
"""Units of each program that are mapped."""
SCALES = (1.0, 0.1)
"""Multiples of the image at which derivatives are looked at: those that are small at one may be lost in rounding."""
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}
"""Largest difference of a map, as a share of its peak."""
SCORES = {
    "square": lambda g: (g**2).sum(-1),
    "abs": lambda g: np.abs(g).sum(-1),
    "signed": lambda g: g.sum(-1),
}


@dataclass(frozen=True)
class Verdict:
    """What came out of one program.

    Attributes:
        steps: what it is made of.
        refused: why jaxrf did not answer; empty where it did.
        exact: whether the boxes were said to be tight.
        wrong: what was wrong; empty where all was right.
        error: largest difference of a map, as a share of its peak.
    """

    steps: tuple[str, ...]
    refused: str = ""
    exact: bool = False
    wrong: str = ""
    error: float = 0.0


def judge(seed: int, dtype: str = "float64") -> Verdict:
    """Make program number `seed`, and compare its table and some maps, in `dtype`, with its Jacobian."""
    program = Program.number(seed)
    with jax.enable_x64(True):
        axes, names, weights = program.look(np.float64)
        image = np.random.default_rng([seed, 2]).normal(size=program.input_shape)
        jacobians = derivatives(program, axes, weights if program.named else None, image)
    steps = tuple(names)
    if not any(jacobian.any() for jacobian in jacobians):
        return Verdict(steps, refused=NO_PATH)
    try:
        with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exact, wrong = boxes(program, jacobians, steps)
            if wrong:
                return Verdict(steps, exact=exact, wrong=wrong)
            worst = maps(program, jacobians[0], [w.astype(dtype) for w in weights], image.astype(dtype))
    except JaxrfError as error:
        return Verdict(steps, refused=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    wrong = "" if worst <= TOLERANCE[dtype] else f"a map is off by {worst:.2g} of its peak"
    return Verdict(steps, exact=exact, wrong=wrong, error=worst)


def derivatives(program: Program, axes: tuple, weights: list | None, image: np.ndarray) -> list[np.ndarray]:
    """The Jacobian at each multiple of an image, (*units, feature, *positions, feature of the input).

    Spatial axes are in the input's order. Forward derivatives, without fusions: those that go backward have convolutions with
    negative padding, and a scatter may be fused into a convolution, both of which XLA computes wrongly on CPUs.
    """
    forward = jax.jacfwd(lambda x: program.function(weights, x))
    whole = jax.jit(forward, compiler_options={"xla_disable_hlo_passes": "fusion"})
    order = (IMAGES, *range(len(axes) - 2), FEATURES)
    out, into = ([where.index(a) for a in order] for where in (axes, program.axes))
    order = (*out, *(len(axes) + a for a in into))
    return [np.asarray(whole(s * image[None])).transpose(order)[0].squeeze(len(axes) - 1) for s in SCALES]


def boxes(program: Program, jacobians: list[np.ndarray], steps: tuple[str, ...]) -> tuple[bool, str]:
    """Whether the boxes of the output's units are said to be exact, and what is wrong with them."""
    d = len(program.axes) - 2
    variables = [jnp.asarray(w) for w in program.look(np.float32)[2]] if program.named else None
    row = jaxrf.trf(
        program.function if program.named else lambda x: program.function(None, x), program.input_shape,
        variables=variables, spatial_axes=program.spatial_axes,
    )[-1]  # fmt: skip
    units = jacobians[0].shape[:d]
    if row.unit_shape != units:
        return row.exact, f"units {row.unit_shape}, right {units}"
    sizes = [np.abs(jacobian).max(axis=(d, -1)) for jacobian in jacobians]
    seen = np.logical_or.reduce([size > NOTHING * size.max() for size in sizes])
    tight = row.exact and not LOOSE & set(steps)
    for unit in np.ndindex(*units):
        for axis, (lo, hi) in enumerate(row.box(unit, clip=True)):
            at = np.flatnonzero(seen[unit].any(axis=tuple(a for a in range(d) if a != axis)))
            right = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, 0)
            if (lo, hi) != right and (tight or (len(at) and (lo > right[0] or hi < right[1]))):
                return row.exact, f"box of unit {unit} on axis {axis}: ({lo}, {hi}), right {right}"
    return row.exact, ""


def maps(program: Program, jacobian: np.ndarray, weights: list[np.ndarray], image: np.ndarray) -> float:
    """The largest difference of some units' maps, as a share of their peaks."""
    d, draw = len(program.axes) - 2, np.random.default_rng([program.seed, 3])
    every = [unit for unit in np.ndindex(*jacobian.shape[:d]) if jacobian[unit].any()]  # others are refused if alone
    units = [every[i] for i in sorted(draw.choice(len(every), min(UNITS, len(every)), replace=False))]
    channel, score = int(draw.integers(jacobian.shape[d])), str(draw.choice(list(SCORES)))
    model = program.function if program.named else lambda x: program.function(None, x)
    variables = [jnp.asarray(w) for w in weights] if program.named else None
    result = jaxrf.erf(
        model, variables, image[None], units=units, channels=channel, score=score, spatial_axes=program.spatial_axes
    )
    errors = [0.0]
    for number, unit in enumerate(units):
        gradient = jacobian[(*unit, channel)]
        right, peak = SCORES[score](gradient), SCORES["square" if score == "square" else "abs"](gradient).max()
        errors.append(
            float(np.abs(laid(result, number) - right).max() / peak) if peak else float(result.mean[number].any())
        )
    return max(errors)


def laid(result: jaxrf.Result, number: int) -> np.ndarray:
    """A map on the whole input; infinity somewhere if it is not zero outside."""
    into, mean = np.zeros(result.input_shape), result.mean[number]
    places = [lo + np.arange(n) for lo, n in zip(result.origin[number], mean.shape)]
    inside = [(p >= 0) & (p < n) for p, n in zip(places, into.shape)]
    into[np.ix_(*(p[ok] for p, ok in zip(places, inside)))] = mean[np.ix_(*inside)]
    if np.count_nonzero(mean) > np.count_nonzero(into):
        into.flat[0] = np.inf
    return into
