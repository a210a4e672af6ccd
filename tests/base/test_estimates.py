"""What is read of the text of a compiled program."""

from __future__ import annotations

from jaxrf.base.estimates import Computations

TEXT = """HloModule m

%fused (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %r = f32[8]{0} transpose(%p), dimensions={0}
}

%gathered (p: f32[8]) -> f32[16] {
  ROOT %g = f32[16]{0} all-gather(%p), dimensions={0}
}

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %a = f32[8]{0} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/transpose"}, backend_config={"estimated_cycles":"10"}
  %b = f32[8]{0} convolution(%a), backend_config={"estimated_cycles":"5"}
  %h = f32[16]{0} fusion(%b), kind=kCustom, calls=%gathered
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]) while(%t), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"7"}}
  %v = bf16[3,20,40]{1,2,0:T(8,128)(2,1)} parameter(1)
  %s = s8[5,3]{1,0:T(8,128)(4,1)} select-and-scatter(%v, %v, %z), select=%ge, scatter=%add
  %n = f32[8]{0} all-reduce-start(%v), to_apply=%sum
  %o = f32[8]{0} all-reduce-done(%n)
  ROOT %e = f32[8]{0} add(%w, %w), backend_config={"estimated_cycles":"3"}
}
"""


def test_cycles_of_a_loop_count_as_often_as_it_runs():
    """Operations are named after what they hold, and after the line of the program that they come from."""
    kinds, origins = Computations(TEXT).cycles()
    assert kinds == {"layout": 70, "convolution": 35, "elementwise": 3}
    assert origins == {"while/body/transpose": 70, "": 38}


def test_operations_without_an_estimate_count_as_memory_that_passes():
    """Arrays are as large as their tiles: 3 x 40 x 128 in two bytes, twice, and 8 x 128 in one; a fusion in the loop, 7 times."""
    found = Computations(TEXT).uncounted()
    assert found == {"select-and-scatter": 2 * 3 * 40 * 128 * 2 + 8 * 128, "fusion": 7 * (16 + 8) * 4}


def test_what_chips_say_to_each_other():
    """Counted once where it begins, also inside of a fusion; in loops apart."""
    assert Computations(TEXT).collectives() == {"all-gather in a loop": 1, "all-reduce": 1}
