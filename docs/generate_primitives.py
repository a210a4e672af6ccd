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

from jaxrf.primitives import rules  # noqa: E402
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

Each operation is tried on the named cases of `tests/primitives/families/`, among others.
Its relation is compared with the support of a dense Jacobian,
its pull-back on moving windows and on whole arrays with `jax.vjp` in double precision.

| operation | what it is | file | box | tried on |
|---|---|---|---|---|
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
    calls = ", ".join(f"`{name}`" for name in sorted(CALLS))
    written = [f"| `{name}` | {_summary(rewrite)} |" for name, rewrite in sorted(LINEAR.items())]
    written += [
        f"| {calls} | Its body, equation by equation. |",
        "| `cond` | All branches, joined by `select_n`. |",
        "| `scan` | Its body, once per step. |",
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + REWRITTEN + "\n".join(written) + "\n" + UNKNOWN


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
    return f"| `{name}` | {_summary(rule)} | `{file}` | {box} | {'; '.join(cases[:SHOWN])}{more} |"


def _summary(thing: object) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


if __name__ == "__main__":
    PAGE.write_text(page())
