"""Which share of a sweep a process has, by what a cluster sets."""

from __future__ import annotations

import pytest

from jaxrf.cli.shards import find, gpu, shard
from jaxrf.errors import InputError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, (1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, (3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "4"}, (1, 3)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        ({"TPU_WORKER_HOSTNAMES": "a,b,c", "TPU_WORKER_ID": "2"}, (2, 3)),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, (0, 1)),
    ],
)
def test_clusters_are_found_by_their_variables(environment, expected):
    """Slurm steps, job arrays, Open MPI and hosts of a TPU pod are shards; a batch script alone is one process."""
    assert find(environment)[0] == expected


def test_an_array_of_steps_is_the_product():
    """Steps within a job array: every process of every element has its own share."""
    step = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "5", "SLURM_ARRAY_TASK_MIN": "0"}
    assert find({**step, **array}) == ((7, 10), "Slurm of a Slurm job array")


def test_mpirun_within_slurm_counts_once():
    """Ranks of mpirun have the variables of a Slurm step too, which are those of their launcher."""
    step = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    assert find({**step, "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"})[0] == (3, 8)


@pytest.mark.parametrize(("visible", "expected"), [("0,1,2,3", 2), ("0", None), ("0,1", None)])
def test_processes_of_a_machine_have_a_gpu_each(visible, expected):
    """Where a step's processes see several GPUs, each takes its own; bound ones are left as they are."""
    step = {"SLURM_PROCID": "6", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "2", "CUDA_VISIBLE_DEVICES": visible}
    assert gpu(step) == expected
    assert gpu({"CUDA_VISIBLE_DEVICES": visible}) is None


def test_contradictions_are_said():
    """Numbers out of range, and what is not a number."""
    with pytest.raises(InputError, match="SLURM_ARRAY_TASK_ID=9 is not one of 3 numbers in a row"):
        find({"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"})
    with pytest.raises(InputError, match="SLURM_STEP_NUM_TASKS='four' is not a number. Unset it"):
        find({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "four"})


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1" * 20 + "/" + "2" * 20])
def test_shards_are_written_as_index_of_count(text):
    """The last shard of four is 3/4."""
    assert shard("3/4") == (3, 4)
    with pytest.raises(InputError, match="is not a shard. Write 0/4 to 3/4"):
        shard(text)
