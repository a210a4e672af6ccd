"""Plans of tiles against the boxes of units, one by one."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError
from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.layer_field import LayerField


def made(size: int, units: int, step: int, lo: list[int], hi: list[int]) -> LayerField:
    """A row whose units have a pattern of phases."""
    endless = Continuation(0, len(lo), step, np.array(lo), np.array(hi))
    first, last = endless.at(np.arange(units))
    return LayerField("made", "Made", (units, 1), (units,), (Field(size, first.clip(0), last.clip(0, size), endless),))


def drawn(seed: int) -> tuple[LayerField, int]:
    """A row of random phases, and the largest size that a unit has."""
    rng = np.random.default_rng(seed)
    period, step = rng.integers(1, 5, 2).tolist()
    lo = (np.arange(period) * step // period + rng.integers(-4, 3, period)).tolist()
    hi = [int(a + rng.integers(1, 7)) for a in lo]
    size = int(rng.integers(40, 80))
    return made(size, size // step * period + int(rng.integers(0, 3)), step, lo, hi), max(np.subtract(hi, lo))


@pytest.mark.parametrize("seed", range(24))
def test_each_unit_is_computed_once_from_all_that_it_sees(seed):
    """Units are divided among tiles; none sees beyond a cut; tiles are of one length, at multiples of the step."""
    row, _ = drawn(seed)
    (size,), step = row.input_shape, row.fields[0].continuation.step
    with pytest.raises(InputError, match="Use tile=(\\d+) or more|whole"):
        jaxrf.tile_plan(row, size, 1)
    least = next((n for n in range(1, size) if plans(row, n)), None)
    for most in range(least or size, size):
        (axis,) = jaxrf.tile_plan(row, size, most).axes
        assert axis.borders[0] == 0 and axis.borders[-1] == row.unit_shape[0]
        assert axis.length == size or (size - axis.length) % step == 0
        for start, _, first, last in axis.pieces:
            assert start % step == 0 and first < last
            for unit in range(first, last):
                ((lo, hi),) = row.box(unit)
                assert lo >= start or start == 0
                assert hi <= start + axis.length or start + axis.length == size


def plans(row: LayerField, most: int) -> bool:
    try:
        return len(jaxrf.tile_plan(row, row.input_shape, most)) > 0
    except InputError:
        return False


@pytest.mark.parametrize("seed", range(10))
def test_the_smallest_tile_named_is_the_smallest(seed):
    """A message names a tile that would do, and no smaller one does."""
    row, _ = drawn(seed)
    least = next((n for n in range(1, row.input_shape[0]) if plans(row, n)), None)
    with pytest.raises(InputError) as caught:
        jaxrf.tile_plan(row, row.input_shape, 1)
    assert (f"tile={least} or more" if least else "tile=None") in str(caught.value)


def test_a_plan_prints_what_it_costs():
    """Tiles, overlap and waste in a few lines; depth is what `dask.array.map_overlap` asks for."""
    row = jaxrf.trf(zoo.unet(depth=2, width=2), (64, 64, 1))[-1]
    plan = jaxrf.tile_plan(row, (400, 64), (128, None))
    assert str(plan) == (
        "5 tiles for 'output': the same as the whole, 60% computed twice\n"
        "  axis 0: 5 of 128 every 84, overlapping by 44 or more\n"
        "  axis 1: whole, 64"
    )
    assert len(plan) == 5 and plan.waste == pytest.approx(0.6) and plan.tile == (128, 64)
    assert plan.depth == ((24, 24), (0, 0)) and row.halo()[0] == (22, 22)


def test_a_smaller_context_makes_smaller_overlaps():
    """What units own and a context around it, in place of all that they see."""
    row = jaxrf.trf(zoo.conv_stack(depth=9), (64, 64, 3))[-1]
    whole, part = jaxrf.tile_plan(row, 200, 40), jaxrf.tile_plan(row, 200, 40, context=((2, 2), (2, 2)))
    assert whole.exact and not part.exact
    assert len(part) == 36 < len(whole) == 81
    assert "context that is left out" in str(part)


def test_a_row_serves_other_sizes_that_fall_alike():
    """A row of a small input plans for a large one that is the same modulo the period; others are refused."""
    row = jaxrf.trf(zoo.unet(depth=2, width=2), (64, 64, 1))[-1]
    assert jaxrf.tile_plan(row, 4096, 512).unit_shape == (4096, 4096)
    with pytest.raises(InputError, match="64 positions does not tell what 4097 give.*64 modulo 4.*trace the model"):
        jaxrf.tile_plan(row, 4097, 512)
    with pytest.raises(
        InputError, match="4100 positions on axis 0 is not divisible by 8.*Pad it to 4104, or cut it to 4096"
    ):
        jaxrf.tile_plan(row, (4100, 4096), 512, divisible_by=8)


@pytest.mark.parametrize(
    ("size", "tile", "options", "message"),
    [
        (0, 4, {}, "size=0 is not a whole number of at least 1"),
        (64, -4, {}, "tile=-4 is not"),
        (64, True, {}, "tile=True is not"),
        (64, 32, {"divisible_by": 0}, "divisible_by=0 is not"),
        (64, 32, {"context": ((-1, 2),)}, "not a pair .before, after. of at least 0"),
    ],
)
def test_numbers_that_make_no_plan(size, tile, options, message):
    row = made(64, 64, 1, [-1], [2])
    with pytest.raises(InputError, match=message):
        jaxrf.tile_plan(row, size, tile, **options)


def test_tokens_have_no_axis_to_cut():
    """Two axes of an image along one of tokens: nothing to cut by one stride."""
    net = zoo.vit_small_16(depth=1, width=8, heads=2, patch=8)
    table = jaxrf.trf(net, (32, 32, 3))
    tokens = next(row for row in table if len(row.unit_shape) == 1)
    with pytest.raises(InputError, match="as those of tokens have|sees its input whole"):
        jaxrf.tile_plan(tokens, 32, 16)
