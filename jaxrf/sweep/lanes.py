"""Several devices of one process: each has a thread, and what the threads yield comes out of one iterator."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def share(windows: Sequence[Any], part: int, parts: int) -> list[Any]:
    """One of `parts` equal stretches of each window, so that windows are worked on together, one after the other.

    >>> share([[1, 2, 3, 4], [5, 6, 7]], 0, 2), share([[1, 2, 3, 4], [5, 6, 7]], 1, 2)
    ([[1, 2], [5]], [[3, 4], [6, 7]])
    """
    return [work[len(work) * part // parts : len(work) * (part + 1) // parts] for work in windows]


def deal(items: Sequence[tuple[Item, list[Any]]], lanes: int) -> list[list[tuple[Item, list[Any]]]]:
    """Items with their windows of work, dealt out: whole rounds of items as they are, those left over in shares.

    >>> deal([("a", [[1, 2]]), ("b", [[3]]), ("c", [[4, 5], [6, 7, 8]])], 2)
    [[('a', [[1, 2]]), ('c', [[4], [6]])], [('b', [[3]]), ('c', [[5], [7, 8]])]]
    """
    whole = len(items) - len(items) % lanes
    dealt = [[*items[lane:whole:lanes]] for lane in range(lanes)]
    for item, windows in items[whole:]:
        for lane, given in enumerate(dealt):
            part = share(windows, lane, lanes)
            if any(part):
                given.append((item, part))
    return [given for given in dealt if given]


def on_device(device: Any, items: Iterable[T]) -> Generator[T, None, None]:
    """The items, made on a device."""
    import jax

    with jax.default_device(device):
        yield from items


def together(lanes: Sequence[Generator[T, None, None]]) -> Iterator[T]:
    """Items of all lanes as they come, each lane in a thread of its own.

    When one raises, the others end after the item in hand, and the error is raised here.

    >>> sorted(together([(n for n in (1, 2)), (n for n in (3,))]))
    [1, 2, 3]
    """
    if len(lanes) == 1:
        yield from lanes[0]
        return
    made: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    over = threading.Event()

    def run(lane: Generator[T, None, None]) -> None:
        try:
            for item in lane:
                made.put(("item", item))
                if over.is_set():
                    break
            lane.close()  # what it has begun is ended here, in its own thread
        except BaseException as error:
            over.set()
            made.put(("error", error))
        finally:
            made.put(("end", None))

    threads = [threading.Thread(target=run, args=(lane,), name="jaxrf-lane") for lane in lanes]
    for thread in threads:
        thread.start()
    running, failed = len(threads), None
    try:
        while running:
            kind, value = made.get()
            if kind == "item":
                yield value
            elif kind == "error":
                failed = failed or value
            else:
                running -= 1
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failed is not None:
        raise failed
