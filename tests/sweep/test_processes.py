"""How many processes there are, and which one this is."""

from __future__ import annotations

import pytest

from jaxrf.errors import InputError
from jaxrf.sweep.processes import Processes, find, shard

JAX = {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}


def test_a_plain_machine_is_alone_and_starts_nothing():
    """Without flags and variables there is one process, and no runtime."""
    assert find({}) == Processes()
    assert find({}).started() == Processes()


@pytest.mark.parametrize(
    ("environment", "index", "count"),
    [
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, 1, 4),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, 3, 4),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "4"}, 1, 3),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, 0, 1),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, 0, 1),
    ],
)
def test_clusters_are_found_by_their_variables(environment, index, count):
    """Slurm steps, job arrays and Open MPI are shards without a runtime; a batch script alone is one process."""
    found = find(environment)
    assert (found.index, found.count, found.coordinator) == (index, count, None)


def test_an_array_of_steps_is_the_product():
    """Steps within a job array: every process of every element has its own share."""
    step = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "5", "SLURM_ARRAY_TASK_MIN": "0"}
    found = find({**step, **array})
    assert (found.index, found.count) == (7, 10)


def test_mpirun_within_slurm_counts_once():
    """Ranks of mpirun have the variables of a Slurm step too, which are those of their launcher."""
    step = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    found = find({**step, "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"})
    assert (found.index, found.count) == (3, 8)


@pytest.mark.parametrize(("visible", "gpu"), [("0,1,2,3", 2), ("0", None), ("0,1", None)])
def test_processes_of_a_machine_have_a_gpu_each(visible, gpu):
    """Where a step's processes see several GPUs, each takes its own; bound ones are left as they are."""
    step = {"SLURM_PROCID": "6", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "2", "CUDA_VISIBLE_DEVICES": visible}
    assert find(step).gpu == gpu


def test_the_gpu_is_told_to_jax():
    """JAX is asked to start that GPU alone."""
    import jax

    before = jax.config.values["jax_cuda_visible_devices"]
    try:
        Processes(6, 8, gpu=2).started()
        assert jax.config.values["jax_cuda_visible_devices"] == "2"
    finally:
        jax.config.update("jax_cuda_visible_devices", before)


def test_jax_is_named_by_variables_or_flags():
    """The two are the same, and flags complete variables."""
    assert find(JAX) == Processes(2, 4, "host:1", found="JAX_* variables")
    assert find({}, coordinator="host:1", processes=4, process_id=2) == Processes(2, 4, "host:1", found="flags")
    assert find({k: v for k, v in JAX.items() if k != "JAX_PROCESS_ID"}, process_id=0).index == 0


def test_a_pod_is_left_to_jax():
    """Several TPU workers, or several slices, start the runtime that finds itself; one worker does not."""
    assert find({"TPU_WORKER_HOSTNAMES": "a,b"}).automatic
    assert find({"TPU_WORKER_HOSTNAMES": "a,b"}).address == "a:8476"
    assert find({"MEGASCALE_COORDINATOR_ADDRESS": "c:8080", "TPU_WORKER_HOSTNAMES": "a,b"}).address == "c:8476"
    assert find({"MEGASCALE_COORDINATOR_ADDRESS": "a"}).automatic
    assert not find({"TPU_WORKER_HOSTNAMES": "localhost"}).automatic


def test_a_shard_given_wins():
    """With --shard no variable is looked at."""
    assert find(JAX, given=(1, 3)) == Processes(1, 3, found="--shard")


def test_contradictions_are_said():
    """Flags against variables, half of the flags, a shard with a runtime, numbers out of range."""
    with pytest.raises(InputError, match="--processes is 3, and JAX_NUM_PROCESSES is 4"):
        find(JAX, processes=3)
    with pytest.raises(InputError, match="--coordinator and --process-id must come with"):
        find({}, processes=3)
    with pytest.raises(InputError, match="--shard needs no runtime, and --processes start one"):
        find({}, given=(0, 2), processes=3)
    with pytest.raises(InputError, match="process 4 of 4 is out of range"):
        find({**JAX, "JAX_PROCESS_ID": "4"})
    with pytest.raises(InputError, match="--processes and --process-id are numbers"):
        find({**JAX, "JAX_PROCESS_ID": "x"})
    with pytest.raises(InputError, match="SLURM_ARRAY_TASK_ID=9 is not one of 3 numbers in a row"):
        find({"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"})


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2"])
def test_shards_are_written_as_index_of_count(text):
    """The last shard of four is 3/4."""
    assert shard("3/4") == (3, 4)
    with pytest.raises(InputError, match="is no shard. Write 0/4 to 3/4"):
        shard(text)
