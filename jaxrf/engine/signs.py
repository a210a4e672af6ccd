"""The sign-averaged estimator: random weights enter a pull-back by their squares, and give fresh signs.

Over random initializations the statistic of a field is the expectation of the squared derivative.
Given the sizes of a network's weights and its masks, the expectation over independent signs of the weights is

    v = (W * W)^T (g * g),    g' = e * sqrt(v)    with e = +1 or -1, drawn anew for every element

at each product with a random weight; all other equations pull back as they are, and the score is the square.
Signs are drawn only where they are needed: where elements meet again before another random weight makes them independent.
Elsewhere e = 1, and what comes from different weights meets as the root of the sum of squares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxrf.engine.channels import channel_rule
from jaxrf.engine.range import square_root
from jaxrf.engine.view import Transpose
from jaxrf.engine.windows import Windows
from jaxrf.equations.program import Equation, TangentProgram, Variable
from jaxrf.errors import InputError, unknown
from jaxrf.interpret.geometry import Geometry
from jaxrf.interpret.magnitudes import magnitudes
from jaxrf.interpret.spreading import spread_and_gathered
from jaxrf.interpret.weights import INSTEAD, REFUSED, Weight, random_weights
from jaxrf.primitives.operation import Kind, about
from jaxrf.primitives.rule import Spans, View, rules

ESTIMATORS = ("sampled", "sign_averaged")
STREAM = 2**32 - 1
"""Sets the keys of signs apart from those of probes, which are folded with the number of the unit."""


@dataclass(frozen=True, eq=False)
class Signs:
    """Which equations of a pull-back are averaged over the signs of their weights.

    Attributes:
        weights: all products with random weights, from the target to the source.
        averaged: those that are averaged, and their numbers in the program, which make their keys.
        notes: what keeps the average from being exact.
        in_squares: variables whose cotangents are magnitudes with independent signs, which need not be drawn.
        gathering: equations that add up such magnitudes of several elements.
    """

    weights: tuple[Weight, ...]
    averaged: Mapping[Equation, int]
    notes: tuple[str, ...]
    in_squares: frozenset[Variable] = frozenset()
    gathering: frozenset[Equation] = frozenset()

    @property
    def drawn(self) -> tuple[Equation, ...]:
        """Averaged equations behind which signs are drawn."""
        return tuple(eqn for eqn in self.averaged if not self.in_squares.intersection(eqn.operands))

    def pulls(self, key: jax.Array, units: jax.Array) -> dict[Equation, Transpose]:
        """How the averaged equations are pulled back in one sample, in place of their own rule.

        Args:
            key: of the sample.
            units: numbers of the units of the batch; signs depend on sample, unit and equation alone.
        """
        root, drawn = jax.random.fold_in(key, STREAM), set(self.drawn)

        def signed(number: int) -> Transpose:
            def transpose(view: View, operand: int, ct: jax.Array) -> jax.Array:
                magnitude = root_power(view, operand, ct)
                return jnp.where(fresh_signs(root, units, number, magnitude.shape[1:]), magnitude, -magnitude)

            return transpose

        averaged = {eqn: signed(number) if eqn in drawn else root_power for eqn, number in self.averaged.items()}
        return {**averaged, **dict.fromkeys(self.gathering, _root_of_gathered)}

    def record(self) -> dict[str, Any]:
        """JSON-able facts for the provenance of a result."""
        kept = [w.equation.layer for w in self.weights if w.equation not in self.averaged]
        return {
            "name": "sign_averaged",
            "averaged": len(self.averaged),
            "drawn": len(self.drawn),
            "kept": kept,
            "exact": not self.notes,
            "notes": list(self.notes),
        }


class Squared:
    """A view of an equation whose coefficient `operand` is squared; sizes of groups and the like are as they are."""

    def __init__(self, view: View, operand: int):
        self.view, self.operand = view, operand
        self.equation, self.out, self.into, self.window = view.equation, view.out, view.into, view.window

    def read(self, operand: int, spans: Spans | None = None, fill: float = 1.0) -> jax.Array:
        value = self.view.read(operand, spans, fill)
        return jnp.square(value) if operand == self.operand else value

    def once(self, label: str, operand: int, make: Callable[[jax.Array], jax.Array]) -> jax.Array:
        if operand != self.operand:
            return self.view.once(label, operand, make)
        return self.view.once(f"square of {label}", operand, lambda value: make(jnp.square(value)))

    def made(
        self, label: str, operand: int, make: Callable[[jax.Array], jax.Array], spans: Spans, fill: float = 0.0
    ) -> jax.Array:
        if operand != self.operand:
            return self.view.made(label, operand, make, spans, fill)
        return self.view.made(f"square of {label}", operand, lambda value: make(jnp.square(value)), spans, fill)


def power(view: View, operand: int, ct: jax.Array) -> jax.Array:
    """`(W * W)^T (ct * ct)`: the expected square of what is pulled back, over independent signs of the weights W.

    Law: the mean of transpose(ct)^2 over all signs of the elements of W, where each element of `ct` stands alone.
    """
    squared = Squared(view, 1 - operand)
    return rules[view.equation.primitive].transpose(squared, operand, jnp.square(ct))


def root_power(view: View, operand: int, ct: jax.Array) -> jax.Array:
    """The root of `power`: magnitudes without signs."""
    return square_root(power(view, operand, ct))


def _root_of_gathered(view: View, operand: int, ct: jax.Array) -> jax.Array:
    """Magnitudes added as squares, by an equation whose coefficients are zeros and ones."""
    return square_root(rules[view.equation.primitive].transpose(view, operand, jnp.square(ct)))


def fresh_signs(root: jax.Array, units: jax.Array, number: int, shape: Sequence[int]) -> jax.Array:
    """Independent fair coins (unit, *shape). One random word gives 32 of them."""
    size = 1
    for n in shape:
        size *= n
    words = -(-size // 32)

    def draw(unit: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(root, unit), number)
        bits = jax.random.bits(own, (words, 1), jnp.uint32) >> jnp.arange(32, dtype=jnp.uint32)
        return (bits & 1).astype(bool).reshape(-1)[:size].reshape(shape)

    return jax.vmap(draw)(units)


def check_request(estimator: str, score: str, given: bool) -> bool:
    """Whether signs are averaged over.

    Raises:
        UnknownNameError: no such estimator.
        InputError: the score is none of squares, or the weights are `given` and not random.
    """
    if estimator not in ESTIMATORS:
        raise unknown("estimator", estimator, ESTIMATORS)
    if estimator == "sampled":
        return False
    if score != "square":
        raise InputError(
            f'{REFUSED}it gives expected squares, and the score is {score!r}. Use score="square", or '
            'estimator="sampled".'
        )
    if given:
        raise InputError(
            f"{REFUSED}it averages over the signs of random weights, and these were given. Pass a module without variables, "
            'which draws them, or use estimator="sampled".'
        )
    return True


def make_signs(geometry: Geometry, windows: Windows, channels: str | int) -> Signs:
    """Find the random weights between the unit and the source, and which of them can be averaged.

    Args:
        geometry: of the traced model.
        windows: the windows of the pull-back.
        channels: the rule for a unit's channels.

    Raises:
        InputError: the model does not allow it; the message says where and why.
    """
    program, equations = geometry.program, [step.equation for step in windows.steps]
    weights = tuple(random_weights(program, equations))
    if not weights:
        raise InputError(f"{REFUSED}no random weight lies between the unit and what it is pulled back to. {INSTEAD}")
    random = {weight.equation for weight in weights}
    if channel_rule(channels).alike:
        _check_weight_follows(windows, random, channels)
    spread, gathered = spread_and_gathered(geometry, equations, random)
    kept = spread & gathered
    numbers = {equation: number for number, equation in enumerate(program.linear)}
    averaged = {weight.equation: numbers[weight.equation] for weight in weights if weight.equation not in kept}
    notes = _notes(program, windows)
    if spread:
        notes.append("behind what spreads over positions, masks depend on weights that these positions share")
    in_squares = magnitudes(windows.target, windows.steps, averaged)
    gathering = [
        s.equation for s in windows.steps if rules[s.equation.primitive].gathers and s.equation.result in in_squares
    ]
    return Signs(weights, averaged, tuple(notes), in_squares, frozenset(gathering))


def _check_weight_follows(windows: Windows, random: set[Equation], channels: str | int) -> None:
    """Raises an error where a cotangent that is alike in all channels meets anything but a random weight."""
    alike: set[Variable] = {windows.target}
    for step in windows.steps:
        eqn = step.equation
        if eqn.result not in alike or eqn in random:
            continue
        same = all(eqn.operands[i].shape == eqn.result.shape for i in step.into)
        if not same or not rules[eqn.primitive].pointwise:
            raise InputError(
                f"{REFUSED}channels={channels!r} pulls the sum of all channels through {eqn.primitive} {eqn.where()} before "
                'any random weight makes their signs independent. Use channels="probe" or an index, or '
                'estimator="sampled".'
            )
        alike.update(eqn.operands[i] for i in step.into)  # type: ignore[misc]
    if windows.source in alike:
        raise InputError(
            f"{REFUSED}channels={channels!r} reaches what it is pulled back to on a path without "
            f'random weights. Use channels="probe" or an index, or estimator="sampled".'
        )


def _notes(program: TangentProgram, windows: Windows) -> list[str]:
    """What makes coefficients depend on the signs of weights in other ways than the masks of a ReLU stack do."""
    dependent, found = program.image_dependent, []
    for step in windows.steps:
        eqn = step.equation
        varying = any(v in dependent for v in eqn.operands)
        kind = rules[eqn.primitive].kind
        if kind is Kind.CHOICE:
            found.append("the winners of max-pooling depend on the signs of weights")
        elif varying and kind is Kind.SCALE:
            found.append("slopes of activations, gates or norms depend on the signs of weights")
        elif len(step.into) > 1:
            found.append("paths that share masks meet again")
    variables = set(program.arguments)
    for eqn in program.needed(windows.coefficients()):
        if about(eqn.primitive).kind is Kind.ADD and any(v in dependent for v in eqn.operands):
            others = [v for v in eqn.operands if isinstance(v, Variable) and v not in dependent]
            if any(variables & _inputs(program, v) for v in others):
                found.append("values hold biases, whose signs are not averaged over")
    return list(dict.fromkeys(found))


def _inputs(program: TangentProgram, operand: Variable) -> set[Variable]:
    """The variables that an operand is made of."""
    return {operand, *(v for eqn in program.needed([operand]) for v in eqn.operands if isinstance(v, Variable))}
