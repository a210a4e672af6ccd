"""The page of several results: what it says, what it escapes, what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxrf.cli import main
from jaxrf.errors import InputError, StoreError, UnknownNameError
from jaxrf.geometry.field import Field
from jaxrf.geometry.row import Row
from jaxrf.pages.drawings import drawing
from jaxrf.pages.write import write_report
from jaxrf.report.view import view
from jaxrf.results.result import Result
from tests.report.test_figures import result_of
from tests.results.test_comparisons import results  # noqa: F401  # a fixture: real results with samples

HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=document.title='owned'>"


class Seen(HTMLParser):
    """The tags of a page, the text of each section, and what it would fetch."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, tag: str, **having) -> list[dict]:
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in having.items())]


def written(tmp_path, given, **options) -> Seen:
    return Seen(write_report(given, tmp_path / "page.html", **options).read_text())


def test_the_page_shows_maps_measures_and_where_they_come_from(tmp_path, results):  # noqa: F811
    """A picture for each result, its measures with intervals, its provenance; and nothing that is fetched."""
    warnings.simplefilter("ignore")  # of few samples
    seen = written(tmp_path, results, measures=["sigma"], title="Two nets")
    assert len(seen.of("image")) == len(results) and len(seen.of("rect", **{"class": "box"})) == len(results)
    for name, result in results.items():
        found = result.interval("sigma")
        assert name in seen.text
        assert f"{found.value[0].mean():.4g} ({found.low[0].mean():.3g} to {found.high[0].mean():.3g})" in seen.text
    assert "Two nets" in seen.text and "0.1.0" in seen.text
    fetched = [v for _, a in seen.tags for k, v in a.items() if k in ("src", "href") and not v.startswith("data:")]
    assert fetched == []


def test_every_number_of_axes_has_a_drawing(tmp_path):
    """A curve for one axis, a plane for two, the middle plane of three, no picture of a dead unit."""
    dead = replace(result_of(), mean=0 * result_of().mean)
    seen = written(tmp_path, {"line": result_of(1), "plane": result_of(), "volume": result_of(3), "dead": dead})
    assert len(seen.of("image")) == 2 and len(seen.of("polyline", **{"class": "curve"})) == 1
    assert "no map to show" in seen.text


def test_a_large_map_becomes_a_small_picture_of_the_same_place(tmp_path):
    """Of 300 x 310 positions the picture has at most 128 pixels a side, and covers them all."""
    result = result_of()
    large = replace(result, mean=np.ones((1, 300, 310)), stderr=np.ones((1, 300, 310)), input_shape=result.input_shape)
    (image,) = written(tmp_path, [large]).of("image")
    assert [float(image[key]) for key in ("x", "y", "width", "height")] == [0, 0, 310, 300]
    assert len(image["href"]) < 20_000


def test_what_is_doubtful_is_said_with_the_names(tmp_path):
    """Dead, non-finite, few samples: each sentence once, with the results it is about."""
    few = result_of(effective=np.array([3.0]), dead=2)
    seen = written(tmp_path, {"good": result_of(), "few": few, "bad": result_of(nonfinite=1)})
    said = seen.text[seen.text.index("Warnings") : seen.text.index("Maps")]
    for words in ("fewer than 30", "Some samples are dead", "NaN or infinite"):
        assert said.count(words) == 1
    assert "good" not in said and "few" in said and "bad" in said


def test_an_approximate_global_and_misaligned_layer_is_said(tmp_path):
    """Each of the three doubts about a theoretical field has its sentence, with its cause."""
    row = replace(
        result_of().theoretical, exact=False, notes=("merged boxes.",), global_axes=("y",), global_cause={"y": "mean"}
    )
    text = written(tmp_path, [result_of(theoretical=row)]).text
    assert "Approximate" in text and "merged boxes." in text and "whole of the axes y (mean)" in text


def test_results_that_cannot_be_compared_stand_apart(tmp_path):
    """Another score is a section of its own, the page says why, and no sentence compares the two."""
    seen = written(tmp_path, {"a": result_of(), "b": result_of(score="abs")})
    assert seen.text.count("cannot be compared with those of the others") == 2
    assert "score 'abs'" in seen.text and "2 kinds that cannot be compared" in seen.text
    assert "goes from" not in seen.text


def test_hostile_names_are_text(tmp_path):
    """Markup in names of results, layers and facts is shown, and control characters are written out."""
    row = replace(result_of().theoretical, name=HOSTILE)
    given = {HOSTILE: result_of(theoretical=row, provenance={HOSTILE: HOSTILE}, nonfinite=1), "a\u202eb": result_of()}
    page = write_report(given, tmp_path / "page.html", title=HOSTILE).read_text()
    seen = Seen(page)
    assert len(seen.of("script")) == 1 and seen.of("img") == [] and "\u202e" not in page
    assert seen.text.count(HOSTILE) > 4
    (policy,) = [a["content"] for a in seen.of("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy and re.search(r"script-src 'sha256-[\w+/=]{44}';", policy)


def test_a_sweep_brings_its_measures_and_its_axis(tmp_path, capsys):
    """Tasks are named by their places, drawn over depth, measured as the sweep asks; a run stands beside them."""
    from jaxrf.sweeps.run import run
    from jaxrf.tasks import Specification

    spec = Specification(
        model={"source": "zoo:conv_stack", "width": 2, "depth": [1, 2]},
        input="9x9x3",
        seeds="0:2",
        measures=["entropy_positions"],
    )
    for _ in run(spec, tmp_path / "sweep"):
        pass
    result_of().save(tmp_path / "one.npz")
    assert main(["report", str(tmp_path / "sweep"), "--out", str(tmp_path / "a.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [str(tmp_path / "a.html")]
    text = Seen((tmp_path / "a.html").read_text()).text
    assert "depth 2" in text and "entropy_positions (95%)" in text and "sigma" not in text
    both = [str(tmp_path / "sweep"), str(tmp_path / "one.npz"), "--out", str(tmp_path / "b.html")]
    assert main(["report", *both, "--measure", "sigma", "--title", "Both"]) == 0
    text = Seen((tmp_path / "b.html").read_text()).text
    assert "sweep: depth 1" in text and "one.npz" in text and "sigma (95%)" in text


def test_bad_input_is_named(tmp_path):
    """No results, other things, foreign folders, an output that exists, an unknown measure or unit."""
    with pytest.raises(InputError, match="There are no results"):
        write_report({}, tmp_path / "a.html")
    with pytest.raises(InputError, match="nothing was given"):
        write_report([], tmp_path / "a.html")
    with pytest.raises(InputError, match="float was given"):
        write_report([1.5], tmp_path / "a.html")
    with pytest.raises(InputError, match="'x' is a int, not a result"):
        write_report({"x": 3}, tmp_path / "a.html")
    with pytest.raises(StoreError, match="neither a result nor a sweep. As a sweep: There is no sweep"):
        write_report(tmp_path, tmp_path / "a.html")
    with pytest.raises(UnknownNameError, match="Did you mean 'sigma'"):
        write_report([result_of()], tmp_path / "a.html", measures=["sigm"])
    with pytest.raises(InputError, match="Unit number 4 was asked for, but the result has 1"):
        write_report([result_of()], tmp_path / "a.html", unit=4)
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(StoreError, match="exists. Choose another path, or say overwrite"):
        write_report([result_of()], tmp_path / "there.html")
    with pytest.raises(StoreError, match="is a folder"):
        write_report([result_of()], tmp_path, overwrite=True)
    with pytest.raises(StoreError, match="cannot be written"):
        write_report([result_of()], tmp_path / "there.html" / "a.html")
    assert not (tmp_path / "a.html").exists() and (tmp_path / "there.html").read_text() == "mine"
    write_report([result_of()], tmp_path / "there.html", overwrite=True)


def test_the_command_says_what_is_missing(tmp_path, capsys):
    """No places and no --out are errors with status 2."""
    assert main(["report", "--out", str(tmp_path / "a.html")]) == 2
    assert "the folder of a sweep" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "Add --out" in capsys.readouterr().err


def test_without_jinja_the_error_says_what_to_install(tmp_path):
    """The page needs what the extra `plot` brings."""
    code = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from jaxrf.pages.write import write_report\n"
        f"write_report([], {str(tmp_path / 'a.html')!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "A report needs jinja2, which is not installed. Run: pip install 'jaxrf[plot]'" in run.stderr


def speckled(width: float, rng: np.random.Generator, side: int = 224) -> Result:
    """A map as of a single sample, on all of a large image: what takes the most letters."""
    far = (np.arange(side) - side / 2) ** 2
    values = np.exp(-(far[:, None] + far) / (2 * width**2)) * rng.exponential(size=(1, side, side))
    whole = Field(side, np.array(0), np.array(side))
    row = Row("layer", "Conv", (8,), (), (whole, whole))
    return Result(values, 0 * values, 32, [[0, 0]], np.zeros((1, 0)), row, "square", "probe", (side, side))


def test_one_picture_of_many_is_small():
    """Of more than sixty pictures each has at most 64 pixels to a side, and contours of as few points."""
    shown = view(speckled(40, np.random.default_rng(0)), 0)
    alone, one_of_many = drawing(shown), drawing(shown, 200)
    sides = [Image.open(io.BytesIO(base64.b64decode(d.picture.partition(",")[2]))).size for d in (alone, one_of_many)]
    assert sides == [(112, 112), (56, 56)]
    assert len(one_of_many.picture) + len("".join(one_of_many.contours)) < 15_000
    assert alone.place == one_of_many.place


@pytest.mark.slow
def test_the_page_of_two_hundred_speckled_maps_is_under_five_megabytes(tmp_path):
    """The worst that a sweep of as many tasks on usual images can be."""
    rng = np.random.default_rng(0)
    given = {f"net {i}": speckled(5 + 0.3 * i, rng) for i in range(200)}
    page = write_report(given, tmp_path / "page.html", measures=["sigma"])
    assert page.stat().st_size < 5_000_000
