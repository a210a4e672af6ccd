"""What all tables of decisions have in common."""

from __future__ import annotations

import pytest

from jaxrf.lowering import choice, pooling, reads, stems
from jaxrf.lowering.table import ANY, CPU, TPU, Decision, Table, always

NUMBERS: Table[int] = Table((
    Decision("shortcut", CPU, "small", lambda n: n < 10, "twice"),
    Decision("detour", TPU, "otherwise", always, "half"),
    Decision("plain", ANY, "otherwise", always, "as ever"),
))  # fmt: skip


def test_the_first_line_that_fits_decides():
    """By platform, by problem, and by what a way can do; platforms that no line names get the line of any."""
    assert [NUMBERS.choose(3, p) for p in ("cpu", "gpu", "tpu", "other")] == ["shortcut", "plain", "detour", "plain"]
    assert NUMBERS.choose(30, "cpu") == "plain"
    assert NUMBERS.choose(3, "tpu", able=lambda way: way != "detour") == "plain"


def test_a_problem_that_no_line_fits():
    """It is said which problem that is, and where."""
    with pytest.raises(LookupError, match="no line of the table fits 3 on cpu"):
        NUMBERS.choose(3, "cpu", able=lambda way: False)


@pytest.mark.parametrize("table", [choice.TABLE, pooling.TABLE, reads.TABLE, stems.TABLE, NUMBERS])
def test_tables_are_printed(table):
    """A line for each decision: way, platforms, where, and what was measured; the last line takes all that is left."""
    printed = str(table).splitlines()
    assert [line.split()[:2] for line in printed] == [[d.way, "/".join(d.platforms)] for d in table.lines]
    assert all(d.where in line and line.endswith(d.why) for line, d in zip(printed, table.lines, strict=True))
    assert table.lines[-1].platforms == ANY and table.lines[-1].when is always
