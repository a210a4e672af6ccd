"""Random programs: boxes are hulls, maps are gradients; `python -m tests.fuzz.run` judges as many more as one likes."""

from __future__ import annotations

import pytest

from tests.fuzz.judge import NO_PATH, judge

QUICK, ALL = 24, 100


@pytest.mark.parametrize("seed", [pytest.param(n, marks=() if n < QUICK else pytest.mark.slow) for n in range(ALL)])
def test_boxes_are_hulls_and_maps_are_gradients(seed):
    """No box misses a derivative, an exact one is their hull, and maps equal the Jacobian's rows."""
    verdict = judge(seed, "float64" if seed % 4 else "float32")
    assert not verdict.wrong, (verdict.wrong, verdict.steps)
    assert verdict.refused in ("", NO_PATH), (verdict.refused, verdict.steps)
