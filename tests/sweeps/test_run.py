"""Sweeps in one process: they resume, extend, mend, fail in part, and give what `jaxrf.erf` gives."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, StoreError
from jaxrf.store.location import Location
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.run import run
from jaxrf.tasks import Specification
from tests.sweeps.small import MODEL, digests, last, made


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished sweep of one task with two images and four seeds, and its folder."""
    place = tmp_path_factory.mktemp("sweep") / "out"
    assert last(made(), place).state == "done"
    return place


def copied(finished, tmp_path):
    """A copy of the finished sweep without its results."""
    place = tmp_path / "copy"
    source, target = Location.at(finished), Location.at(place)
    for key in source.listed():
        if key.partition("/")[0] in ("blocks", "plans", "sweep.json"):
            target.put(key, source.read(key))
    return place


def test_a_task_gives_the_bits_of_erf(finished):
    """Maps, errors, counts and geometry are those of `jaxrf.erf`, to the last bit."""
    found = jaxrf.open(finished).result()
    model = zoo.conv_stack(depth=1, width=2)
    with warnings.catch_warnings(action="ignore"):
        own = jaxrf.erf(model, None, jaxrf.noise(2), input_shape=(8, 9, 3), seeds=4)
    for name in ("mean", "stderr", "between", "within", "effective", "origin", "units"):
        np.testing.assert_array_equal(getattr(found, name), getattr(own, name))
    assert (found.count, found.theoretical.to_dict()) == (8, own.theoretical.to_dict())
    assert found.provenance["certificate"] == own.provenance["certificate"]


def test_a_finished_sweep_opens_no_task(finished, counting):
    """Running it again computes nothing and traces nothing."""
    end = last(made(), finished)
    assert (end.state, end.computed, counting) == ("done", 0, [])


def test_shards_and_stops_give_the_same_bits(finished, tmp_path, singly):
    """Two shards, one of them stopped after its first block and started again, give the bits of one process."""
    place = tmp_path / "out"
    one = last(made(), place, shard=(0, 2))
    assert (one.state, one.computed) == ("waiting", 2)
    computed = [0]
    for stopped in run(made(), place, shard=(1, 2), stop=lambda: computed[-1] > 0):
        computed.append(stopped.computed)
    assert (stopped.state, stopped.computed) == ("stopped", 1)
    assert not (place / "run.json").exists()
    rest = last(made(), place, shard=(1, 2))
    assert (rest.state, rest.computed) == ("done", 1)
    assert digests(place) == digests(finished)


def test_what_a_dead_shard_left_is_taken_up(finished, tmp_path, counting):
    """With the work of one of two shards there, a single process does the rest."""
    place = tmp_path / "out"
    last(made(), place, shard=(1, 2))
    end = last(made(), place)
    assert (end.state, end.computed) == ("done", 2)
    assert digests(place) == digests(finished)


def test_more_seeds_extend(finished, tmp_path):
    """Seeds that are added are computed alone, and the result is that of all at once."""
    place = copied(finished, tmp_path)
    end = last(made(seeds="0:6"), place)
    assert (end.state, end.computed) == ("done", 2)
    last(made(seeds="0:6"), "memory://at-once")
    assert digests(place) == digests("memory://at-once") != digests(finished)


def test_another_sweep_is_refused_with_a_difference(finished):
    """What differs is said by key, and nothing is changed."""
    before = Location.at(finished).read("sweep.json")
    with pytest.raises(StoreError, match="(?s)holds another sweep.*score: 'square' there, 'abs' now.*choose another"):
        last(made(score="abs"), finished)
    assert Location.at(finished).read("sweep.json") == before


def test_other_versions_are_refused(finished, tmp_path):
    """A sweep that was begun under another version of JAX does not go on under this one."""
    place = copied(finished, tmp_path)
    record = json.loads((place / "sweep.json").read_text())
    del record["checksum"]  # as records of earlier versions are
    record["environment"]["versions"]["jax"] = "0.1"
    (place / "sweep.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"versions.jax: '0.1' there, '0\."):
        last(made(), place)


def test_other_devices_are_refused_unless_asked(finished, tmp_path, monkeypatch):
    """Blocks of another kind of device are added only where that was allowed."""
    place = copied(finished, tmp_path)
    from jaxrf.planning import layers as planning

    whole = planning.provenance
    monkeypatch.setattr(planning, "provenance", lambda *a: {**whole(*a), "device": "tpu: v9"})
    with pytest.raises(StoreError, match="was begun on cpu: cpu, and this is tpu: v9.*--mix-devices"):
        last(made(seeds="0:5"), place)
    assert last(made(seeds="0:5"), place, mix_devices=True).state == "done"


def test_foreign_folders_are_refused_and_foreign_files_left_alone(finished, tmp_path):
    """A folder with anything else in it is not taken; what lies in ours later is not touched."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"is not empty and holds no sweep: notes\.txt"):
        last(made(), tmp_path)
    place = copied(finished, tmp_path)
    for name in ("notes.txt", "blocks/notes.txt"):
        (place / name).write_text("mine")
    assert last(made(), place).state == "done"
    assert (place / "notes.txt").read_text() == (place / "blocks/notes.txt").read_text() == "mine"
    assert digests(place) == digests(finished)


def test_the_mark_of_a_sweep_that_starts_at_the_same_moment_is_no_foreign_file(tmp_path, monkeypatch):
    """Its mark may appear after ours was looked for, and before the place is found not to be empty."""
    place, read, late = Location.at(tmp_path / "out"), Location.read_json, [True]
    assert last(made(), tmp_path / "out").state == "done"
    before = digests(tmp_path / "out")
    place.remove("done.json")

    def reads(self, key):
        return None if key == "sweep.json" and late and late.pop() else read(self, key)

    monkeypatch.setattr(Location, "read_json", reads)
    assert last(made(), tmp_path / "out").state == "done"
    assert not late
    assert digests(tmp_path / "out") == before


def test_damaged_blocks_are_set_aside_and_computed_anew(finished, tmp_path, singly):
    """A flipped byte and a cut block are noticed at the merge, reported, kept aside, and mended to the same bits."""
    place = tmp_path / "copy"
    last(made(), place)
    (place / "done.json").unlink()
    one, two, *_ = sorted(file for file in (place / "blocks").rglob("*-*") if file.is_file())
    data = bytearray(one.read_bytes())
    data[len(data) // 2] ^= 1
    one.write_bytes(bytes(data))
    two.write_bytes(two.read_bytes()[:-5])
    told = [message for progress in run(made(), place) for message in progress.messages]
    assert len(told) == 2 and all("was damaged; it was set aside" in message for message in told)
    assert digests(place) == digests(finished)
    assert len([file for file in (place / "damaged").rglob("*") if file.is_file()]) == 2


def test_a_block_that_goes_after_it_was_listed_is_made_anew(finished, tmp_path, singly, monkeypatch):
    """Another process may set a block aside just before it is read: it is not left out of the sum."""
    place = tmp_path / "copy"
    last(made(), place)
    (place / "done.json").unlink()
    one, *_ = (file for file in (place / "blocks").rglob("*-*") if file.is_file())
    whole, going = Folder.present, [one.unlink, lambda: None]  # it is listed at the start, and before it is read
    monkeypatch.setattr(Folder, "present", lambda *a: (whole(*a), going and going.pop()())[0])
    told = [message for progress in run(made(), place) for message in progress.messages]
    assert len(told) == 1 and str(one.relative_to(place)) in told[0]
    assert digests(place) == digests(finished)


def test_a_damaged_plan_is_made_anew(finished, tmp_path):
    """The record of how a task is run is mended by opening the task again."""
    place = copied(finished, tmp_path)
    (plan,) = (place / "plans").iterdir()
    plan.write_bytes(b"")
    assert last(made(), place).state == "done"
    assert digests(place) == digests(finished)


def test_the_batches_of_the_plan_are_kept(finished, tmp_path):
    """A sweep goes on with the batches that it was begun with, not with those that this machine would choose."""
    from jaxrf.store.blocks import encode
    from jaxrf.sweeps.blocks import plan_key
    from jaxrf.sweeps.worker import Terms, open_task

    (task,) = made().tasks()
    _, (header, arrays) = Folder.at(finished).plan(task.id)
    plan = encode(plan_key(task.id), {**header, "batching": {**header["batching"], "images_at_once": 1}}, arrays)
    assert header["batching"]["images_at_once"] == 2
    assert open_task(task, plan, seed=0, terms=Terms()).run.prepared.images_per_call == 1


def test_a_task_that_fails_leaves_the_others_alone(tmp_path):
    """The failure is recorded with its traceback; the results of the others are written; the next start tries again."""
    place = tmp_path / "out"
    sweep = made(model={**MODEL, "activation": ["relu", "rilu"]}, seeds=1)
    end = last(sweep, place)
    assert (end.state, end.failed, end.computed) == ("failed", 1, 1)
    assert len(digests(place)) == 1
    (traceback,) = jaxrf.open(place).failures().values()
    assert "Traceback" in traceback and "activation='rilu' is not known" in traceback
    assert next(iter(Location.at(place).read_json("run.json")["failed"].values())).startswith("InputError")
    assert last(sweep, place).state == "failed"


def test_chunks_of_images_are_numbered_through(tmp_path):
    """A task without seeds in several blocks gives the bits of the same images in one."""
    images = np.random.default_rng(0).normal(size=(5, 8, 9, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    source = tmp_path / "net.py"
    source.write_text(
        "import jax\ndef make():\n    kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 2))\n"
        "    dims = ('NHWC', 'HWIO', 'NHWC')\n"
        "    return lambda x: jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=dims)\n"
    )
    found = []
    for size in (2, 5):
        sweep = Specification(
            model={"source": f"{source}:make"}, input="8x9x3", inputs=str(tmp_path / "images.npy"),
            variables=None, images_per_chunk=size,
        )  # fmt: skip
        end = last(sweep, f"memory://chunks-{size}")
        found.append(jaxrf.open(f"memory://chunks-{size}"))
        assert (end.state, end.computed) == ("done", -(-5 // size)), found[-1].failures()
    np.testing.assert_allclose(found[0].result().mean, found[1].result().mean, rtol=1e-12)
    assert found[0].result().count == 5


def test_shards_out_of_range_are_refused(tmp_path):
    """Shards are counted from 0."""
    with pytest.raises(InputError, match="The shard 2/2 is out of range"):
        last(made(), tmp_path, shard=(2, 2))


def test_the_estimator_is_an_axis(tmp_path):
    """Both estimators in one sweep: each result says which, and both agree within their errors."""
    last(made(estimator=["sampled", "sign_averaged"], inputs="noise:1", seeds=64), "memory://estimators")
    opened = jaxrf.open("memory://estimators")
    sampled, averaged = (opened.result(estimator=name) for name in ("sampled", "sign_averaged"))
    assert averaged.provenance["estimator"]["name"] == "sign_averaged" and "estimator" not in sampled.provenance
    assert abs(sampled.mean.sum() / averaged.mean.sum() - 1) < 0.5


def test_images_of_python_must_stay_the_same(tmp_path):
    """A sweep takes its images from a user's generator; one that gives other images the next time is refused."""
    (tmp_path / "data.py").write_text(
        "import pathlib, numpy as np\n"
        "def images():\n"
        "    seed = int((pathlib.Path(__file__).parent / 'seed').read_text())\n"
        "    yield from np.random.default_rng(seed).normal(size=(3, 8, 9, 3)).astype(np.float32)\n"
    )
    (tmp_path / "seed").write_text("0")
    words = f"{tmp_path / 'data.py'}:images[:3]"
    assert last(made(inputs=words, seeds=2), tmp_path / "out").state == "done"
    found = jaxrf.open(tmp_path / "out").result()
    np.save(tmp_path / "same.npy", np.random.default_rng(0).normal(size=(3, 8, 9, 3)).astype(np.float32))
    last(made(inputs=str(tmp_path / "same.npy"), seeds=2), "memory://same")
    np.testing.assert_array_equal(found.mean, jaxrf.open("memory://same").result().mean)
    (tmp_path / "seed").write_text("1")
    with pytest.raises(StoreError, match="does not give the images with which the task was begun"):
        last(made(inputs=words, seeds=3), tmp_path / "out")


def test_progress_says_how_sure_it_is(singly):
    """The standard error of what was computed comes with the progress, and falls with more seeds."""
    errors = [one.error for one in run(made(inputs="noise:1", seeds=40), "memory://sure") if one.computed]
    assert errors[0] is None and 0 < errors[-1] < errors[3]
