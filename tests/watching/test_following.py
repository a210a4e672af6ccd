"""`jaxrf watch` follows a folder of checkpoints: each once, in order, and says what it cannot read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

import jaxrf
from jaxrf import zoo
from jaxrf.cli import main
from jaxrf.errors import StoreError
from jaxrf.watching.following import follow

NET = zoo.conv_stack(depth=2, width=2)
SHAPE = (11, 13, 3)


def variables(seed):
    return jax.device_get(NET.init(jax.random.key(seed), np.zeros((1, *SHAPE), np.float32)))


def save(folder, step, seed=None):
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save((folder / str(step) / "default").resolve(), variables(step if seed is None else seed))


def words(folder, out, *more):
    return [
        "watch", str(folder), "--model", "zoo:conv_stack", "--model-option", "depth=2", "--model-option", "width=2",
        "--input", "11x13x3", "--layer", "conv_1", "--noise", "2", "--out", str(out), *more,
    ]  # fmt: skip


def test_each_checkpoint_is_mapped_once(tmp_path, capsys):
    """Two checkpoints, then a third with the same words; one that is being written is left alone."""
    folder, out = tmp_path / "checkpoints", tmp_path / "fields"
    save(folder, 10)
    save(folder, 20)
    (folder / "30.orbax-checkpoint-tmp-1").mkdir()
    assert main(words(folder, out)) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["step 10", "step 20"]
    save(folder, 30)
    assert main(words(folder, out, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["mapped"] == [30]
    history = jaxrf.history(out)
    assert history.steps == [10, 20, 30]
    images = jax.device_get(jax.random.normal(jax.random.key(0), (2, *SHAPE)))
    field = jaxrf.prepare(NET, variables(0), images, layer="conv_1")
    right = field.result(field(variables(20), jax.numpy.asarray(images), field.key())).mean
    np.testing.assert_allclose(history.result("conv_1", 20).mean, right, rtol=1e-5, atol=1e-6 * right.max())


def test_what_it_says_of_a_folder(tmp_path, capsys):
    """No folder, no checkpoint in it, a file, and options that are left out."""
    folder, out = tmp_path / "checkpoints", tmp_path / "fields"
    assert main(words(folder, out)) == 2
    assert "within 0 s, which is not there. Give the folder above" in capsys.readouterr().err
    (folder / "30.orbax-checkpoint-tmp-1").mkdir(parents=True)
    assert main(words(folder, out)) == 2
    assert "No checkpoint with a step in its name came to" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(words(tmp_path / "file", out)) == 2
    assert "is a file; a folder with checkpoints" in capsys.readouterr().err
    assert main(["watch", str(folder), "--model", "zoo:conv_stack", "--layer", "conv_1"]) == 2
    assert "--out is needed" in capsys.readouterr().err


def test_a_checkpoint_that_is_written_late_or_removed(tmp_path):
    """One that comes while it waits is given; one that is not whole is waited for; one that is gone is named."""
    like, found = variables(0), []
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "2" / "default" / "_METADATA").rename(tmp_path / "kept")
    (tmp_path / "2" / "default" / "_METADATA").write_text("half")
    mend = threading.Timer(1.0, lambda: (tmp_path / "kept").replace(tmp_path / "2" / "default" / "_METADATA"))
    mend.start()
    for one in follow(tmp_path, like, timeout=30.0, every=0.1, stop=lambda: len(found) == 2):
        found.append(one)
    assert [(one.step, one.problem) for one in found] == [(1, ""), (2, "")]
    (tmp_path / "2" / "default" / "_METADATA").write_text("half")
    (broken,) = follow(tmp_path, like, after=1)
    assert broken.variables is None and "not yet written to its end" in broken.problem


def test_a_checkpoint_that_does_not_fit_is_named(tmp_path, capsys):
    """One that lost a layer is named at once, one that stays damaged after the wait; those behind both are mapped."""
    folder, out = tmp_path / "checkpoints", tmp_path / "fields"
    save(folder, 1)
    with ocp.PyTreeCheckpointer() as checkpointer:
        lost = {"params": {"conv_0": variables(2)["params"]["conv_0"]}}
        checkpointer.save((folder / "2" / "default").resolve(), lost)
    save(folder, 3)
    save(folder, 4)
    (folder / "3" / "default" / "_METADATA").write_text("half")
    assert main(words(folder, out)) == 0
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["step 1", "step 4"]
    assert "jaxrf: step 2: " in printed.err and "conv_1" in printed.err.splitlines()[0]
    assert "jaxrf: step 3: " in printed.err and "not yet written to its end" in printed.err


def test_sigterm_ends_the_command_and_it_resumes(tmp_path, capsys):
    """While it waits it ends at once with the status that asks for another start, which goes on behind what is there."""
    folder, out = tmp_path / "checkpoints", tmp_path / "fields"
    save(folder, 1)
    threading.Thread(target=ended_when_mapped, args=(out,), daemon=True).start()
    assert main(words(folder, out, "--timeout", "240")) == 75
    save(folder, 2)
    assert main(words(folder, out)) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["step 1", "step 2"]


def ended_when_mapped(out):
    """Send SIGTERM to this process when the first step is recorded."""
    while True:
        time.sleep(0.05)
        try:
            if jaxrf.history(out).steps:
                return os.kill(os.getpid(), signal.SIGTERM)
        except StoreError:
            continue


def test_a_checkpoint_that_is_removed_is_named(tmp_path, monkeypatch):
    """The next ones are still given."""
    import jaxrf.watching.following as module

    save(tmp_path, 1)
    save(tmp_path, 2)
    reading = module.read_variables

    def removed(path, **options):
        if path.name == "1":
            shutil.rmtree(path)
        return reading(path, **options)

    monkeypatch.setattr(module, "read_variables", removed)
    found = list(follow(tmp_path, variables(0)))
    assert [(one.step, one.problem) for one in found] == [(1, "step 1 was removed before it was read"), (2, "")]


def test_it_stops_when_it_is_told(tmp_path):
    """A wish to stop ends the waiting."""
    save(tmp_path, 1)
    asked = iter([False, False, False, True])
    assert [one.step for one in follow(tmp_path, variables(0), timeout=60.0, stop=lambda: next(asked))] == [1]
