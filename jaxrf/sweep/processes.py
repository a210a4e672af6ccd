"""How many processes share a sweep, and which one this is: from flags, or from what a cluster sets.

With a coordinator, devices are started through JAX's own runtime, as pods of accelerators need it.
Nothing is exchanged through it: processes agree through the place that they write to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxrf.errors import InputError

SHARDS = {
    "Slurm job array": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
}
"""Variables with the number of a process and of all.

SLURM_NTASKS will not do: a batch script has it too, and runs as one process until it calls srun.
"""

LOCAL = {"Slurm": "SLURM_LOCALID", "Open MPI": "OMPI_COMM_WORLD_LOCAL_RANK"}
"""Variables with the number of a process on its machine."""

POD_PORT = 8476
"""Where JAX's runtime has its coordinator on the first worker of a pod, which is known to be open between workers."""


@dataclass(frozen=True)
class Processes:
    """The processes of a sweep.

    Attributes:
        index: of this one.
        count: of all.
        coordinator: host and port of JAX's runtime; None where there is none to start.
        automatic: whether JAX finds coordinator, index and count itself.
        address: host and port at which the processes that JAX's runtime joined watch each other; None for no watch.
        gpu: which of the visible GPUs is this process's, where its machine runs several processes; None for all.
        found: where this is from.
    """

    index: int = 0
    count: int = 1
    coordinator: str | None = None
    automatic: bool = False
    address: str | None = None
    gpu: int | None = None
    found: str = "alone"

    def started(self) -> Processes:
        """Start JAX's devices through its runtime if there is one; the processes as it knows them.

        The runtime is closed again as soon as all processes have their devices.
        Left open, it would abort all of them when one dies, in the middle of what they do; `jaxrf.sweep.peers` watches
        them instead, at the same address.

        Raises:
            InputError: it does not start.
        """
        if self.gpu is not None:
            import jax

            jax.config.update("jax_cuda_visible_devices", str(self.gpu))
        if self.coordinator is None and not self.automatic:
            return self
        import jax

        try:
            if self.automatic:
                jax.distributed.initialize()
            else:
                jax.distributed.initialize(self.coordinator, self.count, self.index)
            found = replace(
                self, index=jax.process_index(), count=jax.process_count(), address=self.coordinator or self.address
            )
            jax.distributed.shutdown()
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"JAX's runtime did not start ({self.found}): {error}. "
                "Check the coordinator's address, or give each process its --shard instead."
            ) from error
        return found


def shard(text: str) -> tuple[int, int]:
    """A shard as `index/count`.

    >>> shard("0/4")
    (0, 4)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"{text!r} is no shard. Write 0/4 to 3/4 for four processes.")
    return int(found[1]), int(found[2])


def find(
    environment: Mapping[str, str],
    *,
    given: tuple[int, int] | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
) -> Processes:
    """The processes that flags name, or else JAX's variables, or else a cluster's.

    Args:
        environment: of this process.
        given: a shard; then nothing else is looked at.
        coordinator, processes, process_id: for JAX's runtime; all three.

    Raises:
        InputError: flags contradict each other, or some are missing.

    Example:
        >>> find({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"})
        Processes(index=1, count=4, coordinator=None, automatic=False, address=None, gpu=None, found='Slurm')
    """
    flags = {"--coordinator": coordinator, "--processes": processes, "--process-id": process_id}
    named = [name for name, value in flags.items() if value is not None]
    if given is not None:
        if named:
            raise InputError(f"--shard needs no runtime, and {' and '.join(named)} start one. Leave one of them out.")
        return Processes(*given, found="--shard")
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    variables = {flag: environment.get(name) for flag, name in zip(flags, names, strict=True)}
    for flag, name in zip(flags, names, strict=True):
        if flags[flag] is not None and variables[flag] is not None and str(flags[flag]) != variables[flag]:
            raise InputError(f"{flag} is {flags[flag]}, and {name} is {variables[flag]}. Leave one of them out.")
    merged = {flag: flags[flag] if flags[flag] is not None else variables[flag] for flag in flags}
    if any(value is not None for value in merged.values()):
        return _runtime(merged, "flags" if named else "JAX_* variables")
    workers, slices = environment.get("TPU_WORKER_HOSTNAMES", ""), environment.get("MEGASCALE_COORDINATOR_ADDRESS")
    if "," in workers or slices:
        host = slices.partition(":")[0] if slices else workers.partition(",")[0]
        return Processes(automatic=True, address=f"{host}:{POD_PORT}", found="TPU pod")
    return _cluster(environment)


def _runtime(named: Mapping[str, object], found: str) -> Processes:
    missing = [flag for flag, value in named.items() if value is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} must come with the other two of {', '.join(named)} ({found}).")
    try:
        count, index = int(str(named["--processes"])), int(str(named["--process-id"]))
    except ValueError as error:
        raise InputError(f"--processes and --process-id are numbers ({found}): {error}.") from error
    if not 0 <= index < count:
        raise InputError(f"The process {index} of {count} is out of range ({found}): they are 0 to {count - 1}.")
    return Processes(index, count, str(named["--coordinator"]), found=found)


def _cluster(environment: Mapping[str, str]) -> Processes:
    """The shard that a cluster's variables name; the processes of an element of an array are shards of its share."""
    array, steps = (
        SHARDS["Slurm job array"],
        [name for name in ("Open MPI", "Slurm") if _has(environment, *SHARDS[name])],
    )
    shard, names = (0, 1), steps[:1]  # processes of mpirun within a Slurm step have both
    if _has(environment, *array):
        shard = _number(environment, *array, first=int(environment.get("SLURM_ARRAY_TASK_MIN", "0")))
        names = [*names, "Slurm job array"]
    for name in steps[:1]:
        number, count = _number(environment, *SHARDS[name])
        shard = (shard[0] * count + number, shard[1] * count)
    gpu = _gpu(environment, LOCAL[steps[0]]) if steps else None
    return Processes(*shard, gpu=gpu, found=" of a ".join(names) or "alone")


def _gpu(environment: Mapping[str, str], local: str) -> int | None:
    """Of several visible GPUs the one with this process's number on its machine; two processes would share all."""
    visible, number = environment.get("CUDA_VISIBLE_DEVICES", "").split(","), int(environment.get(local, "0"))
    return number if len(visible) > 1 and number < len(visible) else None


def _has(environment: Mapping[str, str], index: str, count: str) -> bool:
    return index in environment and int(environment.get(count) or 1) > 1


def _number(environment: Mapping[str, str], index: str, count: str, first: int = 0) -> tuple[int, int]:
    number, every = int(environment[index]) - first, int(environment[count])
    if not 0 <= number < every:
        raise InputError(
            f"{index}={environment[index]} is not one of {every} numbers in a row from {first} on. "
            "Number the array without gaps, or give --shard."
        )
    return number, every
