"""Several iterators in threads, as one."""

from __future__ import annotations

import threading

import pytest

from jaxrf.sweep.lanes import deal, together


def test_lanes_run_side_by_side():
    """Each lane waits for the other to have begun, which would never end one after the other."""
    meet = threading.Barrier(2, timeout=20)

    def lane(name):
        meet.wait()
        yield name
        meet.wait()
        yield name

    assert sorted(together([lane("a"), lane("b")])) == ["a", "a", "b", "b"]


def test_an_error_ends_all_lanes_and_is_raised():
    """The lane beside the one that fails ends and is closed in its thread; its items until then come out."""
    closed = []

    def endless():
        try:
            while True:
                yield "item"
        finally:
            closed.append(threading.current_thread().name)

    def failing():
        yield "item"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        assert set(together([endless(), failing()])) == {"item"}
    assert closed == ["jaxrf-lane"]


def test_leaving_early_ends_all_lanes():
    """Closing the iterator leaves no thread behind."""

    def endless():
        while True:
            yield 0

    items = together([endless(), endless()])
    next(items)
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "jaxrf-lane"]


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_all_work_is_dealt_once(lanes):
    """Whatever the number of lanes, each piece of work is in one of them, and none is empty."""
    items = [("a", [[1, 2, 3], []]), ("b", [[4]]), ("c", [[5], [6]]), ("d", [[7, 8, 9], [10]])]
    dealt = deal(items, lanes)
    found = sorted((item, piece) for given in dealt for item, windows in given for work in windows for piece in work)
    assert found == sorted((item, piece) for item, windows in items for work in windows for piece in work)
    assert all(dealt)
    whole = dict(items)
    assert all(len(windows) == len(whole[item]) for given in dealt for item, windows in given)
