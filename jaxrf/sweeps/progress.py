"""How far a sweep is, for people who watch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    What is counted are chunks: up to `images_per_chunk` images under one seed.

    Attributes:
        task: the task of which chunks came last, in words.
        done: chunks that are there, of all processes as far as known.
        total: chunks that there will be; fewer where `until` stops earlier.
        computed: chunks computed by this start.
        failed: tasks that failed in this start.
        state: "running"; and at the end "done", "waiting" (for other shards), "stopped" (when asked to) or "failed"
            (some tasks, the others are done).
        error: of what this start computed of `task`, the relative standard error of the maps' sums.
        rate: chunks a second, from this start's own work without its compilation; None before that is known.
        messages: what is to be told: failures, damaged blocks.
    """

    task: str
    done: int
    total: int
    computed: int = 0
    failed: int = 0
    state: str = "running"
    error: float | None = None
    rate: float | None = None
    messages: tuple[str, ...] = ()
