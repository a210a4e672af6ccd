"""Tables of decisions: which way a problem is computed on which platform, and what was measured for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jaxrf.base import compiler

P = TypeVar("P")
CPU, TPU, ANY = ("cpu",), ("tpu",), ("any",)
REWRITTEN = ("float32", "float64")
"""Where a convolution or a forward pooling may be computed otherwise than by XLA: in narrower types the order of additions
is XLA's to say."""


@dataclass(frozen=True)
class Decision(Generic[P]):
    """A line of a table: a way, on which platforms and where it is taken, and what was measured or counted."""

    way: str
    platforms: tuple[str, ...]
    where: str
    when: Callable[[P], bool]
    why: str


def always(problem: object) -> bool:
    """Take all that the lines above left."""
    return True


@dataclass(frozen=True)
class Table(Generic[P]):
    """Lines in order; `print(table)` shows them."""

    lines: tuple[Decision[P], ...]

    def choose(self, problem: P, platform: str | None = None, able: Callable[[str], bool] = always) -> str:
        """The way of the first line that fits.

        Args:
            problem: what is to be computed.
            platform: `cpu`, `gpu`, `tpu`; default: that for which programs are made here.
            able: whether a way can do the problem at all.
        """
        platform = platform or compiler.platform()
        for line in self.lines:
            if (line.platforms == ANY or platform in line.platforms) and able(line.way) and line.when(problem):
                return line.way
        raise LookupError(f"no line of the table fits {problem} on {platform}")

    def __str__(self) -> str:
        width = max(len(line.where) for line in self.lines)
        return "\n".join(
            f"{line.way:<10}  {'/'.join(line.platforms):<4}  {line.where:<{width}}  {line.why}" for line in self.lines
        )
