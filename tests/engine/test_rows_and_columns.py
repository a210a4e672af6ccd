"""Windows read by rows and columns hold the same bits as slices, whatever units make a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.engine.batches import Batches, product
from jaxrf.engine.reading import bits_of, lines, slices, windows_of, words_of
from jaxrf.engine.windows import Starts
from jaxrf.lowering.reads import TABLE, Batch, choose_reads
from jaxrf.primitives.rule import Span
from tests.running import drawn_run, with_pullback


def maps_read(run, reads: str, **changes) -> np.ndarray:
    """Maps (image, unit, *map) of a run, by one way of reading."""
    run = with_pullback(run, reads=reads, **changes)
    pull, key = run.prepared.pullback, jax.random.split(jax.random.key(1), run.prepared.images_per_call)
    shape = pull.program.image.shape
    images = np.random.default_rng(0).normal(size=(run.prepared.images_per_call, *shape)).astype(np.float32)
    return pull.maps(run.leaves(0), images, key).maps


UNEVEN = np.array([(y, x) for x in (9, 2, 5, 6, 11) for y in (7, 0, 4)])
"""Three rows and five columns, column by column and in no order."""


@pytest.mark.parametrize(
    "model, shape, request_, units_per_batch",
    [
        (zoo.conv_stack(depth=3, width=4), (9, 13, 3), {"units": UNEVEN[UNEVEN[:, 0] < 9]}, 5),
        (zoo.conv_stack(depth=2, width=4), (9, 13, 3), {"units": UNEVEN, "channels": "each"}, 20),
        pytest.param(
            zoo.resnet18(width=4, stages=2),
            (36, 44, 3),
            {"layer": "layer2", "units": "all"},
            12,
            marks=pytest.mark.slow,
        ),
        (zoo.unet(depth=2, width=4), (16, 24, 1), {"units": jaxrf.grid(5, 6)}, 12),
        (zoo.conv_stack(depth=2, width=4), (9, 13, 3), {"units": "all", "pool_units": True}, 26),
    ],
    ids=["no order", "each channel", "resnet", "phases", "pooled"],
)
def test_maps_have_the_same_bits(model, shape, request_, units_per_batch):
    """Batches that are products, with rows missing in the last one."""
    run = drawn_run(model, jaxrf.noise(2), shape, **request_)
    size = {"units_per_batch": units_per_batch, "batches_per_call": 2}
    wanted = maps_read(run, "slices", batching=size)
    assert wanted.any()
    exact = run.prepared.pullback.pool is None
    found = maps_read(run, "lines", batching=size)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0 if exact else 1e-6 * wanted.max())
    pull = with_pullback(run, size, reads="lines").prepared.pullback
    assert len(pull.dealt.shape) > 1 and set(range(len(pull.windows.starts.rows))) == set(pull.lines.along)


def test_units_come_back_in_their_order():
    """Whatever a batch holds, padding included, `restored` undoes how the units were dealt."""
    for units, size in ((UNEVEN, 4), (UNEVEN, 7), (UNEVEN, 100), (UNEVEN[:-1], 4), (np.repeat(UNEVEN, 2, 0), 6)):
        cells = product({1: units[:, 0], 2: units[:, 1]}, len(units))
        dealt = Batches(cells, size, 3)
        assert len(dealt.numbers) % 3 == 0 and dealt.numbers.shape[1] == np.prod(dealt.shape) <= max(size, 1)
        assert sorted(dealt.numbers[dealt.real]) == list(range(len(units)))
        assert dealt.restored(dealt.numbers.reshape(1, -1, 1))[0, :, 0].tolist() == list(range(len(units)))


@pytest.mark.slow
def test_windows_along_one_axis_and_along_the_same_axis_twice():
    """A window that moves with rows alone is one for all columns; one that moves twice with rows is read by slices."""
    array = jnp.arange(9 * 8 * 2.0).reshape(9, 8, 2)
    units = np.array([(y, x) for y in (0, 3, 4) for x in (1, 5)])
    starts = Starts()
    rows = [starts.row(units[:, 0]), starts.row(units[:, 1]), starts.row(units.sum(1)), starts.row(0 * units[:, 0] + 2)]
    dealt = Batches(product({0: units[:, 0], 1: units[:, 1]}, 6), 6)
    way, table = lines(dealt, starts), jnp.asarray(starts.table(6))
    assert way.along == {rows[0]: 0, rows[1]: 1, rows[3]: None}
    whole = Span(2, 2)
    cases = [(Span(3, 9, rows[0]), Span(8, 8)), (Span(3, 9, rows[0]), Span(3, 8, rows[1])), (Span(2, 9, rows[3]), Span(2, 8, rows[1])),
             (Span(3, 9, rows[1]), Span(2, 8, rows[0])), (Span(2, 9, rows[0]), Span(2, 8, rows[0]))]  # fmt: skip
    for spans in cases:
        spans = (*spans, whole)
        margins = [1, 0, 0]
        wide = jnp.pad(array, [(1, 0), (0, 0), (0, 0)])
        found, wanted = windows_of(wide, spans, table, margins, way), slices(wide, spans, table, margins)
        np.testing.assert_array_equal(found, wanted)
    assert not way.fit((Span(2, 9, rows[0]), Span(2, 8, rows[0]), whole))
    assert not way.fit((Span(2, 9, rows[2]), Span(2, 8, rows[0]), whole))


def test_the_plan_says_how_windows_are_read():
    """On a TPU units in rows and columns are read so; scattered ones, and all on a CPU, unit by unit."""
    shape = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def plan(units, platform):
        return jaxrf.prepare(zoo.conv_stack(depth=2, width=8), None, shape, units=units, platform=platform).plan

    assert [plan("all", p).reads for p in ("cpu", "gpu", "tpu")] == ["slices", "slices", "lines"]
    assert plan("all", "tpu").batching.units_per_batch == 8 * 64 and "reads       windows by rows and columns" in str(
        plan("all", "tpu")
    )
    for units in ("center", [(3, 4), (5, 9), (6, 6)]):
        assert plan(units, "tpu").reads == "slices"


def test_the_table_of_reads():
    """A line for each way, the last one for all that is left."""
    ways = [["whole", "tpu"], ["lines", "tpu"], ["slices", "any"]]
    assert [line.split()[:2] for line in str(TABLE).splitlines()] == ways


@pytest.mark.parametrize(
    "units, product, share, reads",
    [(64, True, 0.4, "lines"), (64, True, 0.6, "whole"), (64, False, 0.2, "slices"), (64, False, 0.4, "whole"),
     (1, False, 0.4, "slices"), (1, False, 0.6, "whole")],
)  # fmt: skip
def test_what_windows_hold_decides(units, product, share, reads):
    """Half of the work, or a quarter where each of several units would have slices of its own; on a TPU alone."""
    batch = Batch(units, product, share)
    assert choose_reads(batch, "tpu") == reads and choose_reads(batch, "gpu") == "slices"


def test_masks_are_read_as_bits_of_numbers():
    """Windows of more rows than a number has bits, at both borders, have the bits of the mask."""
    starts, rng = Starts(), np.random.default_rng(0)
    mask = rng.random((2, 80, 9)) < 0.5
    rows = starts.row(np.repeat([0, 7, 9], 2)), starts.row(np.tile([0, 3], 3))
    spans = Span(2, 2), Span(71, 80, rows[0]), Span(6, 9, rows[1])
    way = lines(Batches(np.arange(6).reshape(3, 2), 6), starts)
    assert way.fit(spans)
    found = bits_of(words_of(jnp.asarray(mask), 1), 1, spans, jnp.asarray(starts.table(6)), [0, 0, 0], way)
    wanted = [mask[:, y : y + 71, x : x + 6] for y in (0, 7, 9) for x in (0, 3)]
    assert found.dtype == bool
    np.testing.assert_array_equal(found, wanted)
