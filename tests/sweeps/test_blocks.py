"""Chunks in blocks: none is lost, whatever the cut; what is listed and read grows with the blocks and no faster."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from jaxrf.base.ranges import Ranges
from jaxrf.store.blocks import decode
from jaxrf.sweeps import merge
from jaxrf.sweeps.blocks import GIVEN, Area, Chunks, Cover, Made, areas, by_task, chunks_of, to_bytes
from jaxrf.sweeps.folder import Folder
from jaxrf.sweeps.merge import Merger

PLAN = ({"average": "weighted", "images_interact": False}, {})


def made(seed, span, bad=()) -> Made:
    count = span[1] - span[0] - len(bad)
    value = (1 if seed is None else seed + 1) * 100 + span[0]
    return Made((seed, span), np.full((count, 1, 2, 3), value, np.float32), np.zeros((count, 1), np.float32), bad)


@pytest.mark.parametrize("seeds", [None, Ranges([(0, 4), (7, 9)])])
@pytest.mark.parametrize("images", [1, 3, 5])
def test_any_cut_covers_all_chunks(seeds, images):
    """However consecutive chunks are cut into blocks, with some computed twice, each is found where it is."""
    chunks = Chunks(seeds, images, 2)
    chance = random.Random(0)
    for _ in range(20):
        cuts = sorted({0, len(chunks), *(chance.randrange(len(chunks)) for _ in range(3))})
        pieces = [*pairwise(cuts), tuple(sorted(chance.sample(range(len(chunks) + 1), 2)))]
        found = [one for a, b in pieces for one in areas([made(*work) for work in list(chunks)[a:b]], images)]
        holds = {area: [one.work for one in part] for area, part in found}
        blocks = by_task(area.key("task") for area in holds)["task"]
        assert {Area(*row) for row in blocks.tolist()} == set(holds)
        cover = Cover(chunks, blocks)
        assert len(cover) == len(chunks) and not cover.missing()
        stretches = [(area, number) for area, numbers in cover.stretches() for number in numbers]
        assert [number for _, number in stretches] == list(range(len(chunks)))
        assert all(chunks[number] in holds[area] for area, number in stretches)


def test_what_is_missing_is_known():
    """Blocks of whole seeds and of parts of one count, in any order; parts of several seeds, or other seeds, do not."""
    chunks = Chunks(Ranges([(0, 3), (10, 13)]), images=5, size=2)
    foreign = [Area(11, 13, 0, 4), Area(5, 6, 0, 5), Area(12, 13, 3, 4)]
    blocks = np.array([Area(11, 12, 0, 4), Area(1, 3, 0, 5), Area(10, 11, 4, 5), Area(2, 3, 0, 4), *foreign])
    there = {(1, 0), (1, 2), (1, 4), (2, 0), (2, 2), (2, 4), (10, 4), (11, 0), (11, 2)}
    cover = Cover(chunks, blocks)
    assert {(chunks[number][0], chunks[number][1][0]) for number in cover.there} == there
    assert list(cover.missing(4, 14)) == [number for number in range(4, 14) if number not in list(cover.there)]
    assert [(tuple(area), list(numbers)) for area, numbers in cover.stretches(12)] == [
        ((1, 3, 0, 5), [3, 4, 5, 6, 7, 8]), ((10, 11, 4, 5), [11]),
    ]  # fmt: skip


def test_seeds_that_this_sweep_does_not_have_are_passed_over():
    """Blocks of one that was extended meanwhile hold more seeds than are asked for; of those the place is known."""
    cover = Cover(Chunks(Ranges([(2, 4), (6, 8)]), 1, 1), np.array([Area(0, 7, 0, 1)]))
    assert list(cover.there) == [0, 1, 2]
    given = Cover(Chunks(None, 4, 2), np.array([Area(0, 7, 0, 4), Area(GIVEN, 0, 2, 4)]))
    assert list(given.there) == [1]


def test_whole_seeds_share_a_block():
    """A stretch that begins and ends within a seed is three blocks: the rest of one, whole ones, the start of another."""
    work = list(Chunks(Ranges([(0, 5)]), 4, 2))[1:-1]
    assert [area for area, _ in areas([made(*one) for one in work], 4)] == [
        Area(0, 1, 2, 4), Area(1, 4, 0, 4), Area(4, 5, 0, 2),
    ]  # fmt: skip


def test_a_block_gives_its_chunks_back():
    """Chunks of different sizes, with images that were left out, come out as they went in."""
    chunks = [made(3, (0, 2), ("a.png: none",)), made(3, (2, 5)), made(4, (0, 2)), made(4, (2, 5))]
    key = Area(3, 5, 0, 5).key("task")
    found = chunks_of(*decode(key, to_bytes(key, chunks, {"host": "here"})))
    assert list(found) == [one.work for one in chunks]
    for one in chunks:
        np.testing.assert_array_equal(found[one.work].maps, one.maps)
        assert found[one.work].bad == one.bad


def test_foreign_files_and_other_chunks_cover_nothing():
    """Keys that are no blocks are passed over, and so are blocks that were cut in another way than these chunks."""
    keys = ["blocks/notes.txt", "blocks/a/00000000-00000002/00000000-00000003", "blocks/a/given/x", "blocks/b/0-1/0-1"]
    found = by_task(keys)
    assert {task: blocks.tolist() for task, blocks in found.items()} == {"a": [[0, 2, 0, 3]], "b": [[0, 1, 0, 1]]}
    three = Ranges([(0, 3)])
    assert not Cover(Chunks(three, 4, 4), found["a"])
    assert list(Cover(Chunks(three, 3, 2), found["a"]).there) == [0, 1, 2, 3]
    assert not Cover(Chunks(three, 3, 2), None) and list(Cover(Chunks(three, 3, 2), None).stretches()) == []


def test_the_cut_changes_no_bit(tmp_path):
    """The sum over blocks of one chunk each, of three chunks, and over two cuts that overlap, are the same."""
    chunks = Chunks(Ranges([(0, 9)]), 3, 2)
    rng = np.random.default_rng(0)
    data = [
        Made(one, rng.normal(size=(images, 1, 5, 7)).astype(np.float32), np.zeros((images, 1), np.float32))
        for one in chunks
        for images in [one[1][1] - one[1][0]]
    ]
    totals = []
    for number, sizes in enumerate(((1,), (3,), (4, 6))):
        folder = Folder.at(tmp_path / str(number))
        for size in sizes:
            for first in range(0, len(data), size):
                for area, part in areas(data[first : first + size], 3):
                    folder.add(area.key("task"), to_bytes(area.key("task"), part, {"host": "here"}))
        merger = Merger(folder, "task", PLAN, folder.present({"task": chunks})["task"]).take(gaps=False)
        assert merger.total.count == 9 * 3
        totals.append(merger.total.samples.mean.tobytes() + merger.total.samples.m2.tobytes())
    assert totals[0] == totals[1] == totals[2]


def test_blocks_of_tasks_are_found(tmp_path):
    """Of one task or several, with seeds of many digits, and nothing of foreign files."""
    folder, all_seeds = Folder.at(tmp_path), Ranges([(0, 5), (99_999_998, 100_000_003)])
    asked = {"b": Chunks(all_seeds, 5, 2), "a": Chunks(Ranges([(0, 4)]), 1, 1), "c": Chunks(None, 4, 2)}
    for task, chunks in asked.items():
        for work in chunks:
            ((area, _),) = areas([made(*work)], chunks.images)
            folder.put(area.key(task), b"")
    folder.put("blocks/a/0-notes", b"")
    folder.put("blocks/d/00000000-00000001/00000000-00000001", b"")
    for tasks in (asked, {"b": asked["b"]}):
        found = folder.present(tasks)
        assert all(len(found[task]) == len(chunks) for task, chunks in tasks.items())
        assert all(len(list(found[task].stretches())) == len(chunks) for task, chunks in tasks.items())


def peak(count: int, per_block: int, monkeypatch) -> tuple[int, list[str]]:
    """The memory, in bytes, that finding and merging `count` blocks takes at most; and the keys that were read."""
    folder, chunks = Folder.at(f"memory://linear-{count}-{per_block}"), Chunks(Ranges([(0, count * per_block)]), 1, 1)
    maps = np.ones((1, 1, 10, 10), np.float32), np.zeros((1, 1), np.float32)
    for first in range(0, count * per_block, per_block):
        part = [Made(work, *maps) for work in list(chunks)[first : first + per_block]]
        key = Area(first, first + per_block, 0, 1).key("task")
        folder.put(key, to_bytes(key, part, {"host": "here"}))
    read, whole = [], merge.checked
    monkeypatch.setattr(merge, "checked", lambda key, data: read.append(key) or whole(key, data))
    tracemalloc.start()
    merger = Merger(folder, "task", PLAN, folder.present({"task": chunks})["task"]).take(gaps=False)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    monkeypatch.undo()
    assert merger.total.count == count * per_block
    return found, read


def test_memory_does_not_grow_with_the_seeds_of_a_block(monkeypatch):
    """A hundred times as many seeds in as many blocks take no more memory, but for what one block holds."""
    few, _ = peak(20, 4, monkeypatch)
    many, _ = peak(20, 400, monkeypatch)
    assert many - few < 10 * 400 * 400


@pytest.mark.slow
def test_a_block_is_read_once_and_takes_few_bytes_of_memory(monkeypatch):
    """What is kept of a block are some whole numbers; its name, and what is in it, are held for a moment."""
    some, _ = peak(300, 1, monkeypatch)
    more, read = peak(2300, 1, monkeypatch)
    assert len(read) == len(set(read)) == 2300
    assert more - some < 2000 * 200
