"""How values show themselves: short in a terminal, as tables in notebooks, within the width that there is."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from rich.console import Console

import jaxrf
from jaxrf import zoo
from jaxrf.cli import main
from jaxrf.geometry.render import text
from jaxrf.geometry.table import Table
from jaxrf.protocols import protocols
from tests.report.test_figures import result_of
from tests.results.test_comparisons import results  # noqa: F401  # a fixture: real results with samples

HOSTILE = "<script>alert(1)</script>"


def tags(html: str) -> set[str]:
    found = set()

    class Seen(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.add(tag)

    Seen().feed(html)
    return found


def test_a_result_is_three_lines_and_a_table():
    """The same facts in both; a layer's name is text."""
    result = result_of(theoretical=replace(result_of().theoretical, name=HOSTILE))
    assert len(repr(result).splitlines()) == 3
    assert tags(result._repr_html_()) == {"table", "caption", "tbody", "tr", "th", "td"}
    assert "score &#x27;square&#x27;" in result._repr_html_()


def test_a_plan_is_one_line_and_a_table():
    """What is planned and its memory; all that is printed in the table."""
    plan = jaxrf.plan(zoo.conv_stack(depth=2, width=2), inputs=jaxrf.noise(1), input_shape=(9, 9, 3))
    assert repr(plan).startswith("Plan(1 unit of 'output', ") and "\n" not in repr(plan)
    shown = plan._repr_html_()
    assert "script" not in tags(shown)
    assert [word for word in ("batches", "cone", "memory", "windows", "conv_0") if f"<th>{word}" not in shown] == []


def test_values_show_themselves_in_a_line():
    """What a notebook prints of a value that nobody printed is short, also of those that hold arrays and models."""
    net, call = zoo.conv_stack(depth=2, width=2), {"input_shape": (20, 18, 3)}
    weights, image = net.init(jax.random.key(0), np.zeros((1, 20, 18, 3))), np.zeros((1, 20, 18, 3), np.float32)
    field, row = jaxrf.prepare(net, None, image, layer="conv_0"), jaxrf.trf(net, (20, 18, 3))[-1]
    shown = {
        "Maps(1 image, 1 unit, 3 x 3 positions)": field(weights, image, jax.random.key(0)),
        "TilePlan(9 tiles of 12 x 12 for 'output')": jaxrf.tile_plan(row, (28, 28), 12),
        "Halo('output': ((2, 2), (2, 2)) of ((2, 2), (2, 2)), 0 remains)": jaxrf.halo(
            net, weights, jaxrf.noise(1), 1e-9, **call
        ),
        "StreamPlan('output', chunks of 4, windows of 6)": jaxrf.stream(
            lambda x: x[:, 2:] - x[:, :-2], None, 4, input_shape=(None, 1)
        ).plan,
        "Protocol(luo2016: units 'center', channels 0, score 'abs', average 'weighted')": protocols["luo2016"],
        "Model(unet, input 64x64x1, Ronneberger": zoo.unet,
        "PhysicalResult(conv: size 7.5 x 7.5, stride 2 x 2": result_of().scaled(0.5, unit="um").physical,
        "Task(the task, ": jaxrf.task(net, None, image),
    }
    for start, value in shown.items():
        assert repr(value).startswith(start) and "\n" not in repr(value) and len(repr(value)) < 160


def test_a_comparison_has_a_table(results):  # noqa: F811
    """Both values, and the difference with its interval."""
    found = jaxrf.compare(results["a_1"], results["b"], measure="sigma")
    shown = found._repr_html_()
    assert "<th>a - b</th>" in shown and "95%" in shown and "sigma, paired" in shown


@pytest.mark.filterwarnings("ignore")  # of few samples
@pytest.mark.parametrize("columns", [60, 100])
def test_a_printed_table_of_several_fits_the_terminal(results, columns, monkeypatch):  # noqa: F811
    """Long names lose their middle where there is no room, and no number does."""
    monkeypatch.setenv("COLUMNS", str(columns))
    named = {f"a network with a very long name, number {i}": one for i, one in enumerate(results.values())}
    table = jaxrf.compare(named, measure="participation")
    lines = repr(table).splitlines()
    assert max(map(len, lines)) <= columns
    assert all(row[1] in line for row, line in zip(table.rows(), lines[1:]))


def test_the_table_of_layers_fits_a_terminal_of_sixty_columns():
    """Columns are left out until the rest fits, and the last line says which."""
    file = io.StringIO()
    Console(file=file, width=60).print(jaxrf.trf(zoo.conv_stack(depth=2), (9, 9, 3)))
    assert max(map(len, file.getvalue().splitlines())) <= 60
    assert "stride" in file.getvalue() and "no room for: share" in file.getvalue()


@pytest.mark.parametrize("width", [60, 200])
def test_commands_print_tables_that_fit_the_terminal(width, monkeypatch, capsys):
    """`jaxrf trf` and `jaxrf zoo` leave columns out and shorten names where there is no room; a file gets all of it."""
    main(["trf", "zoo:conv_stack", "--model-option", "depth=2", "--input", "9x9x3"])
    everything = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (["trf", "zoo:conv_stack", "--model-option", "depth=2", "--input", "9x9x3"], ["zoo"]):
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines())) <= width
        assert ("no room for" in printed) == (width == 60)
        if command[0] == "trf" and width == 200:
            assert printed == everything


def test_a_layer_with_a_long_name_loses_its_middle():
    """Sizes stay where names find no room."""
    row = result_of().theoretical
    table = Table([replace(row, name=f"encoder/block_{i}/attention/projection/kernel/of/a/long/name") for i in (1, 2)])
    lines = text(table.rows, table.title, 60).splitlines()
    assert max(map(len, lines)) <= 60
    layers = [line for line in lines if line.startswith("encoder")]
    assert [line.split()[1] for line in layers] == [str(row.size[0])] * 2
    assert all(line.split()[0].endswith("/name") and "…" in line for line in layers)


@pytest.mark.slow
def test_a_sweep_says_its_axes_and_measures():
    """Where it is, how many tasks, axes and measures, in a line and as a table."""
    from jaxrf.sweeps.run import run
    from jaxrf.tasks import Specification

    plan = Specification(model={"source": "zoo:conv_stack", "width": [2, 3], "depth": 1}, input="8x9x3")
    for _ in run(plan, "memory://manners"):
        pass
    sweep = jaxrf.open("memory://manners")
    assert "tasks 2; axes width (2); measures " in repr(sweep) and "\n" not in repr(sweep)
    assert "<th>axes</th><td>width (2)</td>" in sweep._repr_html_()


def test_the_package_is_the_command():
    """`python -m jaxrf --version` prints the version."""
    run = subprocess.run([sys.executable, "-m", "jaxrf", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("jaxrf ") and run.stderr == ""
