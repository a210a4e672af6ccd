"""`memory=` of a sweep: for all who compute on one machine, in equal shares, of which each plans its own."""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.base.executors import sharing
from jaxrf.errors import InputError, StoreError
from jaxrf.store.blocks import encode
from jaxrf.sweeps.blocks import plan_key
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.worker import COPIES, Terms, open_task
from tests.sweeps.small import last, made

MAPS = {"input": "24x25x3", "units": "all", "seeds": 2, "inputs": "noise:1"}


def allowed(place) -> str:
    """What the plan of the only task says of its limit."""
    (line,) = (line for line in jaxrf.open(place).result().provenance["plan"].splitlines() if "allowed" in line)
    return line


def test_who_shares_a_machine_is_counted():
    """Processes and threads of this machine; of Dask's workers, the most on one host; what says nothing is one."""
    with ProcessPoolExecutor(4) as processes, ThreadPoolExecutor(3) as threads:
        assert (sharing(processes), sharing(threads), sharing(object())) == (4, 3, 1)
    hosts = {"tcp://10.0.0.1:80": 1, "tcp://10.0.0.2:80": 2, "tcp://10.0.0.2:81": 1}
    assert sharing(SimpleNamespace(_client=SimpleNamespace(nthreads=lambda: hosts))) == 3
    assert sharing(SimpleNamespace(_client=SimpleNamespace(nthreads=dict))) == 1
    assert sharing(SimpleNamespace(num_workers=64, sharing=8)) == 8


def test_each_has_a_share():
    """Four processes plan with a quarter of what is given, or of half of what is free; one alone has all."""
    assert Terms().share is None
    assert [Terms(memory="1GB", sharing=count).share for count in (1, 4)] == [10**9, 25 * 10**7]
    whole, quarter = (Terms(sharing=count).share for count in (2, 8))
    assert 0.5 < whole / (4 * quarter) < 2  # what is free moves meanwhile


def test_the_limit_reaches_the_plan():
    """Two threads of 300 MB plan with 150 MB each; the maps are those of a call with that limit, to the last bit."""
    place = "memory://shared-out"
    with ThreadPoolExecutor(2) as threads:
        assert last(made(**MAPS), place, on=threads, memory="300MB").state == "done"
    assert "150 MB allowed" in allowed(place)
    with warnings.catch_warnings(action="ignore"):
        images, model = jaxrf.noise(1), zoo.conv_stack(depth=1, width=2)
        own = jaxrf.erf(model, None, images, input_shape=(24, 25, 3), units="all", seeds=2, memory="150MB")
    found = jaxrf.open(place).result()
    for name in ("mean", "stderr", "between"):
        np.testing.assert_array_equal(getattr(found, name), getattr(own, name))


def test_too_little_is_said():
    """A task that does not fit fails with what it needs; words that are not an amount do so as well."""
    with pytest.raises(InputError, match=r'1 of 1 tasks failed.*Use memory="'):
        jaxrf.sweep(made(**MAPS), "memory://too-little", memory="1MB")
    with pytest.raises(InputError, match=r"memory='much' is not an amount"):
        jaxrf.sweep(made(**MAPS), "memory://much", memory="much")


def test_maps_that_wait_to_be_written_count():
    """The maps of a chunk are held whole, several times over, until they are written: they are not the plan's to use."""
    (task,) = made(**{**MAPS, "inputs": "noise:16"}).tasks()
    plan = open_task(task, None, seed=0, terms=Terms(memory="2GB")).run.prepared.plan
    held = COPIES * 16 * 24 * 25 * 3 * 3 * 4
    tight = open_task(task, None, seed=0, terms=Terms(memory=plan.memory + held - 1)).run.prepared.plan
    assert tight.limit == plan.memory - 1 and tight.memory < plan.memory


def test_a_task_goes_on_in_its_batches_or_not_at_all():
    """Batches decide last bits: where those that a task was begun with need more than there is now, it is refused."""
    (task,) = made(seeds=1).tasks()
    assert last(made(seeds=1), "memory://batches").state == "done"
    _, (header, arrays) = Folder.at("memory://batches").plan(task.id)
    batching = {**header["batching"], "images_at_once": 2**24}
    plan = encode(plan_key(task.id), {**header, "batching": batching}, arrays)
    with pytest.raises(
        StoreError, match=r"was begun in batches that need .* [GT]B, .* has 1 GB.*fewer workers on a machine"
    ):
        open_task(task, plan, seed=0, terms=Terms(memory="2GB", sharing=2))
    assert open_task(task, plan, seed=0, terms=Terms(memory="900TB", sharing=2)).run.prepared.images_per_call == 2**24
