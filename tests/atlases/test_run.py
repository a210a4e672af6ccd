"""The run of the atlas: resumed, stopped, failed and made again."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest

import jaxrf
from jaxrf.atlases import photos
from jaxrf.atlases import run as runs
from jaxrf.atlases.export import rows, write_maps
from jaxrf.atlases.protocol import Job, job, jobs
from jaxrf.atlases.redo import redo
from jaxrf.atlases.row import AtlasRow
from jaxrf.cli import main
from jaxrf.errors import InputError, StoreError, UnknownNameError
from jaxrf.store.location import Location, to_json

SMALL = job("conv_stack", "32x32x3", "noise")


def begun(place, *layers, of=SMALL):
    """A place where the stages of a network are known, so that few of them are run."""
    Location.at(place).put(runs.stages_key(of), to_json({"layers": layers}))
    return place


def test_jobs_begin_with_what_is_cheap():
    """Noise first, then by multiply-adds; networks without color images have no photos."""
    found = jobs(["vgg11", "resnet18", "tcn"])
    assert [(one.network, one.input, one.images) for one in found] == [
        ("tcn", "2048x1", "noise"), ("tcn", "4096x1", "noise"),
        ("resnet18", "128x128x3", "noise"), ("resnet18", "224x224x3", "noise"),
        ("vgg11", "128x128x3", "noise"), ("vgg11", "224x224x3", "noise"),
        ("resnet18", "128x128x3", "photos"), ("resnet18", "224x224x3", "photos"),
        ("vgg11", "128x128x3", "photos"), ("vgg11", "224x224x3", "photos"),
    ]  # fmt: skip
    assert len({one.network for one in jobs()}) >= 60


def test_dear_networks_end_after_fewer_samples():
    """A power of two by their multiply-adds, from 32 random networks up to 4096 samples."""
    costs = {
        network: next(iter(jobs([network], ["usual"], ["noise"]))).cap for network in ("vgg19", "deit_tiny", "unet")
    }
    assert costs == {"vgg19": 32, "deit_tiny": 64, "unet": 512}
    assert Job("unet", "4x4x1", "noise", 10.0).cap == 4096
    photos_job = job("vgg19", "224x224x3", "photos")
    assert photos_job.cap == 128 and photos_job.specification("block_1", "sampled").seeds == "0:32"
    assert photos_job.specification("block_1", "sampled", 6).seeds == "0:2"


def test_what_there_is_not_is_refused():
    """Networks, sizes, kinds and inputs, with the nearest or all that there are."""
    with pytest.raises(UnknownNameError, match="Unknown zoo model 'resnet81'. Did you mean 'resnet18'"):
        jobs(["resnet81"])
    with pytest.raises(UnknownNameError, match="Unknown size 'halve'. Did you mean 'half'"):
        jobs(sizes=["halve"])
    with pytest.raises(UnknownNameError, match="Unknown kind of images 'photo'. Did you mean 'photos'"):
        jobs(kinds=["photo"])
    with pytest.raises(InputError, match="no resnet18 on 96x96x3 with noise. It has 128x128x3 and 224x224x3"):
        job("resnet18", "96x96x3", "noise")
    with pytest.raises(InputError, match="no tcn on 4096x1 with photos. It has none"):
        job("tcn", "4096x1", "photos")
    with pytest.raises(StoreError, match="There is no run of the atlas at memory://no_atlas"):
        list(rows("memory://no_atlas"))


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(tmp_path):
    """Stopped after some chunks and begun again, a row has the hash of one that ran through; a third start does nothing."""
    whole = begun(tmp_path / "whole", "conv_0")
    (step,) = runs.run(whole, [SMALL])
    assert (step.layer, step.state, step.computed) == ("conv_0", "done", 32)
    broken, asked = begun(tmp_path / "broken", "conv_0"), iter([False] * 12)
    assert [one.state for one in runs.run(broken, [SMALL], stop=lambda: next(asked, True))] == ["stopped"]
    assert [row.status for row in rows(broken)] in ([], ["begun"])
    (rest,) = runs.run(broken, [SMALL])
    assert rest.state == "done" and 0 < rest.computed <= 32
    assert [one.computed for one in runs.run(broken, [SMALL])] == [0]
    (first,), (second,) = rows(whole), rows(broken)
    assert first.hash == second.hash and first.status == "done" and first.sigma_error < 0.01
    assert (first.size, first.stride, first.center, first.estimator) == ((3, 3), "1x1", (15, 15), "sign_averaged")
    assert (first.stage, first.stages, first.images) == (1, 1, "noise")
    (kept,) = write_maps(whole, tmp_path / "maps")
    assert kept.relative_to(tmp_path / "maps").as_posix() == "conv_stack/32x32x3/noise/conv_0.zarr"
    assert jaxrf.load(kept).count == first.samples


@pytest.mark.slow
def test_a_row_is_made_again(tmp_path):
    """With the same bits where all samples are taken, else with intervals that meet; another sigma does not agree."""
    place = begun(tmp_path, "conv_0")
    list(runs.run(place, [SMALL]))
    (row,) = rows(place)
    again = redo(row)
    assert again.same_bits and again.agrees
    shorter = redo(replace(row, seconds=1e4))
    assert shorter.samples == 8 and shorter.same_bits is None and shorter.agrees
    assert not redo(replace(row, sigma=2.0, sigma_low=1.9, sigma_high=2.1, seconds=1e4)).agrees


def test_a_row_without_numbers_cannot_be_made_again():
    """Its reason is told."""
    failed = AtlasRow(network="unet", layer="up_9", input="64x64x1", images="noise", status="failed", reason="lost")
    with pytest.raises(InputError, match="unet up_9 has no numbers: lost"):
        redo(failed)


def test_photos_that_are_not_there_are_said_first(monkeypatch):
    """Before anything is written, with what to install; what there is has the size and mean of its kind."""
    assert photos.of_5x7().shape == (4, 5, 7, 3)
    with pytest.raises(AttributeError, match="no attribute 'of_5'; write of_224x224"):
        photos.of_5  # noqa: B018
    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"are those of scikit-image. Run: pip install 'jaxrf\[demo\]'"):
        list(runs.run("memory://no_photos", [job("resnet18", "128x128x3", "photos")]))


@pytest.mark.slow
def test_photos_have_rows_too():
    """Four images for each random network, so that samples are four times as many."""
    own = job("conv_stack", "32x32x3", "photos")
    place = begun("memory://photos", "conv_0", of=own)
    assert [(step.layer, step.state) for step in runs.run(place, [own])] == [("conv_0", "done")]
    (row,) = rows(place)
    assert (row.images, row.status) == ("photos", "done") and row.samples % 4 == 0 and row.sigma_low < row.sigma


@pytest.mark.slow
def test_what_fails_is_a_row_and_the_run_goes_on(monkeypatch):
    """A network that cannot be built, then a layer that is not there; the next ones are run, and the reasons kept."""
    from jaxrf.loading import models

    place = begun("memory://failing", "conv_99", "conv_0")
    load = models.load

    def broken(reference, options=None):
        if reference == "zoo:unet":
            raise ArithmeticError("no such thing")
        return load(reference, options)

    monkeypatch.setattr(models, "load", broken)
    steps = list(runs.run(place, [job("unet", "32x32x1", "noise"), SMALL]))
    assert [(step.layer, step.state) for step in steps] == [("", "failed"), ("conv_99", "failed"), ("conv_0", "done")]
    assert steps[0].reason == "ArithmeticError: no such thing"
    assert "Unknown layer 'conv_99'" in steps[1].reason
    found = {(row.network, row.layer): row for row in rows(place)}
    assert found["unet", ""].reason == "ArithmeticError: no such thing"
    assert "Unknown layer 'conv_99'" in found["conv_stack", "conv_99"].reason
    assert found["conv_stack", "conv_0"].status == "done"


def test_where_signs_cannot_be_averaged_samples_are_taken():
    """The refusal is kept, and neither repeated nor taken for the result."""

    @dataclass(frozen=True)
    class Absolute(Job):
        def specification(self, layer, estimator, samples=None):
            return replace(super().specification(layer, estimator, samples), score="abs", until={"error": 0.5})

    own = Absolute(*vars(SMALL).values())
    place = begun("memory://refused", "conv_0")
    (step,) = runs.run(place, [own])
    assert (step.state, step.reason) == ("done", "")
    (row,) = rows(place)
    assert row.estimator == "sampled" and row.estimator_exact and row.samples == 32
    assert [one.computed for one in runs.run(place, [own])] == [0]
    assert runs._refused(Location.at(place), own, "conv_0") == 1


def test_the_commands_make_a_table(tmp_path, capsys):
    """Run twice, export and repeat, on a place of their own; what is missing in the words is said."""
    place, table = os.fspath(begun(tmp_path / "run", "conv_0")), os.fspath(tmp_path / "atlas.csv")
    words = ["--network", "conv_stack", "--size", "half", "--images", "noise"]
    assert main(["atlas-run", "--out", place, *words]) == 0
    assert capsys.readouterr().out.startswith("conv_stack conv_0 32x32x3 noise: done, 32 chunks")
    assert main(["atlas-run", "--out", place, *words]) == 0
    assert capsys.readouterr().out.startswith("conv_stack conv_0 32x32x3 noise: done, 0 chunks")
    assert main(["atlas-export", place, "--csv", table]) == 0
    assert capsys.readouterr().out == "1 rows, 0 maps\n"
    (row,) = jaxrf.atlas(table)
    assert main([*row.command.split()[1:], "--file", table]) == 0
    assert capsys.readouterr().out.endswith("the same bits\n")
    assert main(["atlas-run"]) == 2
    assert "The atlas needs a place to write to. Add --out FOLDER." in capsys.readouterr().err
    assert main(["atlas-export", place]) == 2
    assert "Nothing to write. Add --csv FILE, or --maps DIR, or both." in capsys.readouterr().err
