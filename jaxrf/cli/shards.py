"""Which share of a sweep is this process's, and which GPU: from a flag, or from what a cluster sets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jaxrf.errors import InputError

Shard = tuple[int, int]
"""Number of this process and of all."""
ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
STEPS = {
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}
"""Variables with the number of a process, of all, and of a process on its machine.

SLURM_NTASKS will not do: a batch script has it too, and runs as one process until it calls srun.
"""


def shard(text: str) -> Shard:
    """A shard as `index/count`.

    >>> shard("0/4")
    (0, 4)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"{text!r} is not a shard. Write 0/4 to 3/4 for four processes.")
    return int(found[1]), int(found[2])


def find(environment: Mapping[str, str]) -> tuple[Shard, str]:
    """The shard that a cluster's variables name, and whose they are.

    Processes of an element of a job array are shards of its share.

    Raises:
        InputError: the variables contradict each other.

    Example:
        >>> find({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}), find({})
        (((1, 4), 'Slurm'), ((0, 1), ''))
    """
    found, names = (0, 1), []
    if _has(environment, *ARRAY):
        found = _number(environment, *ARRAY, first=_whole(environment, "SLURM_ARRAY_TASK_MIN", "0"))
        names = ["Slurm job array"]
    for name in [name for name in STEPS if _has(environment, *STEPS[name][:2])][:1]:  # mpirun in a step has both
        number, count = _number(environment, *STEPS[name][:2])
        found, names = (found[0] * count + number, found[1] * count), [name, *names]
    workers = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if not names and len(workers) > 1 and "TPU_WORKER_ID" in environment:
        found, names = (_whole(environment, "TPU_WORKER_ID"), len(workers)), ["TPU pod"]
    return found, " of a ".join(names)


def gpu(environment: Mapping[str, str]) -> int | None:
    """Which of several visible GPUs is this process's, by its number on its machine; None for all of them.

    >>> gpu({"SLURM_PROCID": "6", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "2", "CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    2
    """
    for index, count, local in STEPS.values():
        if _has(environment, index, count):
            visible, number = environment.get("CUDA_VISIBLE_DEVICES", "").split(","), _whole(environment, local, "0")
            return number if len(visible) > 1 and number < len(visible) else None
    return None


def _has(environment: Mapping[str, str], index: str, count: str) -> bool:
    return index in environment and _whole(environment, count, "1") > 1


def _number(environment: Mapping[str, str], index: str, count: str, first: int = 0) -> Shard:
    number, every = _whole(environment, index) - first, _whole(environment, count)
    if not 0 <= number < every:
        raise InputError(
            f"{index}={environment[index]} is not one of {every} numbers in a row from {first} on. "
            "Number the array without gaps, or give --shard."
        )
    return number, every


def _whole(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name) or default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise InputError(f"{name}={text!r} is not a number. Unset it, or give --shard.")
    return int(text)
