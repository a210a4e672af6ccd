"""Write docs/primitives.md from the registered rules and their tests: `python docs/generate_primitives.py`.

A test says when the page is out of date.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402

from jaxrf.primitives import Kind, Operation, operations, rules  # noqa: E402
from jaxrf.tangent.flatten import CALLS  # noqa: E402
from jaxrf.tangent.rewrites import LINEAR  # noqa: E402
from tests.primitives.cases import CASES  # noqa: E402
from tests.primitives.equations import program  # noqa: E402

PAGE = Path(__file__).parent / "primitives.md"
SHOWN = 4
INTRODUCTION = """\
<!-- Written by docs/generate_primitives.py from the rules and their tests. Change those. -->

# Operations

The derivative of a model is a list of linear operations, and every question about fields is answered operation by operation.
The table lists the operations that have a rule, by the name that JAX gives them.

*Exact* means that the box of each element is the hull of the positions that it depends on,
coefficients taken as non-zero and nothing taken to cancel.
*Hull* means that the box holds them all and may hold more; the row of such a layer says `exact=False` and why.

The *kind* is what most answers follow from: what an operation makes of its elements.

Each operation is tried on the named cases of `tests/primitives/families/`, among others.
Its relation is compared with the support of a dense Jacobian,
its pull-back on moving windows and on whole arrays with `jax.vjp` in double precision.

| operation | what it is | kind | file | box | tried on |
|---|---|---|---|---|---|
"""
KINDS = """
## Kinds

| kind | the result holds | operations with a rule |
|---|---|---|
"""
FORWARD = """
## Operations of forward passes

Their derivatives are made of other operations. Of their values is known on which elements they depend, and for some which
known zeros and masks they keep.

| operations | what they are | kind |
|---|---|---|
"""
ADDING = """
## Adding one

All that jaxrf knows of an operation stands in one class, in one file of `jaxrf/primitives/`; no list elsewhere holds its name.
`tests/primitives/test_made_up.py` adds one in seventy lines, an echo, and takes it through table, paths, windows, crop,
signs and maps.

1. Find the equation: `UnknownPrimitiveError` says the name; `jax.make_jaxpr` of the derivative shows operands and parameters.
2. Write a class with the decorator `@rule("name")` beside its relatives, derived from the nearest family
   (`Elementwise`, `Movement`, `Pooling`, `Contraction`, `Writing`), or from `Rule`. Its first docstring line is the row above.
   - `kind`, from the table above. Most questions about paths, signs, crops and weights are answered by it.
   - `relation`: which elements of an operand each element of the result depends on. That is enough for exact tables, and
     for maps that work on whole arrays.
   - `linear`, if it is not linear in all operands; `indices`, if some say where elements come from.
   - `needs_whole` and `transpose` for maps on windows; `reads`, if these read a part of a coefficient; `powers`, if a
     coefficient is a factor; `flops`; `loose` and `hull_where`, where the relation is a hull only.
   - `known`, if zeros or masks of values go through it.
3. Enter cases in a file of `tests/primitives/families/`: asymmetric shapes, positive numbers, each branch of the rule.
   The laws of `tests/primitives/` then hold for it, or say what is wrong.
4. `python docs/generate_primitives.py` writes this page.

An operation that occurs in forward passes only is an `Operation` under `@operation("name")` in `functions.py`, with `kind`,
`values` and `known`, and one use in `tests/primitives/functions.py`. One that is best written as others is a function in
`jaxrf/tangent/rewrites.py`, and one that has a quicker way than JAX's own an entry in `jaxrf/lowering/forward.py`.
"""
REWRITTEN = """
## Operations that are written out

These have no rule of their own. They are replaced by operations of the table before anything is asked of them.

| operation | becomes |
|---|---|
"""
UNKNOWN = """
## Everything else

A derivative through any other operation raises `UnknownPrimitiveError`, with the layer and the line of the model.
With `unknown="global"` it counts as seeing everything, and the boxes behind it are hulls.
A `while` whose number of steps depends on values is of this kind.
"""


def page() -> str:
    """The page's text."""
    cases = tried_on()
    rows = [_row(name, cases[name]) for name in rules]
    kinds = [f"| {kind.name.lower()} | {kind.value} | {_of_kind(kind)} |" for kind in Kind if _of_kind(kind)]
    families = {type(operations[name]): operations[name] for name in operations if name not in rules}
    forward = sorted(map(_forward_row, families.values()))
    calls = ", ".join(f"`{name}`" for name in sorted(CALLS))
    written = [f"| `{name}` | {_summary(rewrite)} |" for name, rewrite in sorted(LINEAR.items())]
    written += [
        f"| {calls} | Its body, equation by equation. |",
        "| `cond` | All branches, joined by `select_n`. |",
        "| `scan` | Its body, once per step. |",
    ]
    tables = [(INTRODUCTION, rows), (KINDS, kinds), (REWRITTEN, written), (FORWARD, forward)]
    return "".join(text + "\n".join(lines) + "\n" for text, lines in tables) + UNKNOWN + ADDING


def _of_kind(kind: Kind) -> str:
    return ", ".join(f"`{name}`" for name in rules if rules[name].kind is kind)


def _forward_row(family: Operation) -> str:
    names = ", ".join(f"`{name}`" for name in operations if type(operations[name]) is type(family))
    return f"| {names} | {_summary(family)} | {family.kind.name.lower()} |"


def tried_on() -> dict[str, list[str]]:
    """The cases in which each primitive occurs, those with the fewest equations first."""
    found: dict[str, list[str]] = {name: [] for name in rules}
    with jax.enable_x64(True):
        traced = {name: program(name) for name in CASES}
    for name in sorted(traced, key=lambda name: len(traced[name].linear)):
        for primitive in dict.fromkeys(equation.primitive for equation in traced[name].linear):
            found[primitive].append(name)
    return found


def _row(name: str, cases: list[str]) -> str:
    rule = rules[name]
    file = Path(inspect.getfile(type(rule))).name
    if not rule.hull_where:
        box = "exact"
    elif rule.hull_where == "always":
        box = "hull"
    else:
        box = f"exact; hull where {rule.hull_where}"
    more = f"; {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return f"| `{name}` | {_summary(rule)} | {rule.kind.name.lower()} | `{file}` | {box} | {'; '.join(cases[:SHOWN])}{more} |"


def _summary(thing: object) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


if __name__ == "__main__":
    PAGE.write_text(page())
