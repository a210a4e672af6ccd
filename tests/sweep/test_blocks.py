"""Chunks in blocks: none is lost, whatever the cut; what is listed and read grows with the blocks and no faster."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from jaxrf.store.blocks import decode
from jaxrf.store.location import Location
from jaxrf.sweep.blocks import Area, Cover, Made, areas, by_task, chunks_of, spans, to_bytes
from jaxrf.sweep.folder import Folder
from jaxrf.sweep.merge import Merger, Place


def made(seed, span, bad=()) -> Made:
    count = span[1] - span[0] - len(bad)
    value = (1 if seed is None else seed + 1) * 100 + span[0]
    arrays = {"maps": np.full((count, 1, 2, 3), value, np.float32), "elsewhere": np.zeros((count, 1), np.float32)}
    return Made((seed, span), arrays, bad)


@pytest.mark.parametrize("seeds", [[None], [0, 1, 2, 3, 7, 8]])
@pytest.mark.parametrize("images", [1, 3, 5])
def test_any_cut_covers_all_chunks(seeds, images):
    """However consecutive chunks are cut into blocks, each chunk lies in one, under a key that says so."""
    pieces = spans(images, 2)
    work = [(seed, span) for seed in seeds for span in pieces]
    chance = random.Random(0)
    for _ in range(20):
        cuts = sorted({0, len(work), *(chance.randrange(len(work)) for _ in range(3))})
        found = [one for a, b in pairwise(cuts) for one in areas([made(*w) for w in work[a:b]])]
        assert [chunk.work for _, chunks in found for chunk in chunks] == work
        for area, chunks in found:
            key = area.key("task")
            assert Area.of(key) == area
            assert list(area.chunks(pieces)) == [chunk.work for chunk in chunks]


def test_whole_seeds_share_a_block():
    """A stretch that begins and ends within a seed is three blocks: the rest of one, whole ones, the start of another."""
    work = [(seed, span) for seed in range(5) for span in spans(4, 2)][1:-1]
    assert [area for area, _ in areas([made(*one) for one in work])] == [
        Area(range(0, 1), (2, 4)), Area(range(1, 4), (0, 4)), Area(range(4, 5), (0, 2)),
    ]  # fmt: skip


def test_a_block_gives_its_chunks_back():
    """Chunks of different sizes, with images that were left out, come out as they went in."""
    chunks = [made(3, (0, 2), ("a.png: none",)), made(3, (2, 5)), made(4, (0, 2)), made(4, (2, 5))]
    key = Area(range(3, 5), (0, 5)).key("task")
    found = chunks_of(*decode(key, to_bytes(key, chunks, {"host": "here"})))
    assert list(found) == [one.work for one in chunks]
    for one in chunks:
        np.testing.assert_array_equal(found[one.work].arrays["maps"], one.arrays["maps"])
        assert found[one.work].bad == one.bad


def test_foreign_files_and_other_chunks_cover_nothing():
    """Keys that are no blocks are passed over, and so are blocks that were cut in another way than these chunks."""
    keys = ["blocks/notes.txt", "blocks/a/00000000-00000002/00000000-00000003", "blocks/a/given/x", "blocks/b/0-1/0-1"]
    assert by_task(keys) == {"a": [keys[1]], "b": [keys[3]]}
    assert (0, (0, 2)) not in Cover([keys[1]], spans(4, 4))
    assert (1, (0, 2)) in Cover([keys[1]], spans(3, 2)) and (2, (0, 2)) not in Cover([keys[1]], spans(3, 2))


def test_the_cut_changes_no_bit(tmp_path):
    """The sum over blocks of one chunk each, of three chunks, and over two cuts that overlap, are the same."""
    work = [(seed, span) for seed in range(9) for span in spans(3, 2)]
    rng = np.random.default_rng(0)
    data = [
        Made(one, {"maps": rng.normal(size=(one[1][1] - one[1][0], 1, 5, 7)).astype(np.float32),
                   "elsewhere": np.zeros((one[1][1] - one[1][0], 1), np.float32)})
        for one in work
    ]  # fmt: skip
    totals = []
    for number, sizes in enumerate(((1,), (3,), (4, 6))):
        folder = Folder.at(tmp_path / str(number))
        for size in sizes:
            for first in range(0, len(data), size):
                for area, chunks in areas(data[first : first + size]):
                    folder.location.add(area.key("task"), to_bytes(area.key("task"), chunks, {"host": "here"}))
        cover = Cover(folder.present("task"), spans(3, 2))
        merger = Merger(folder, ({"average": "weighted", "tied": False}, {}), list(range(9)))
        merger.take(Place(cover[one], one[0], one) for one in work)
        assert merger.taken == len(work)
        totals.append(merger.total.samples.mean.tobytes() + merger.total.samples.m2.tobytes())
    assert totals[0] == totals[1] == totals[2]


def test_reading_is_linear_and_never_holds_more_than_a_few_blocks(monkeypatch):
    """Each block is listed once and read once, and no more of them are in memory than are read ahead, however many."""
    import tracemalloc

    peaks = []
    for count in (300, 1200):
        folder = Folder.at(f"memory://linear-{count}")
        for seed in range(count):
            key = Area(range(seed, seed + 1), (0, 1)).key("task")
            one = Made((seed, (0, 1)), {"maps": np.ones((1, 1, 50, 50)), "elsewhere": np.zeros((1, 1))})
            folder.location.put(key, to_bytes(key, [one], {"host": "here"}))
        reads, read_all = [], Location.read_all

        def counted(self, keys, reads=reads, read_all=read_all):
            for key, data in read_all(self, keys):
                reads.append(key)
                yield key, data

        monkeypatch.setattr(Location, "read_all", counted)
        tracemalloc.start()
        cover = Cover(folder.present("task"), spans(1, 1))
        merger = Merger(folder, ({"average": "weighted", "tied": False}, {}), list(range(count)))
        before = tracemalloc.get_traced_memory()[0]
        merger.take(Place(cover[(seed, (0, 1))], seed, (seed, (0, 1))) for seed in range(count))
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.stop()
        monkeypatch.undo()
        assert merger.total.count == count and len(reads) == len(set(reads)) == count
    assert peaks[1] < 1.5 * peaks[0]
