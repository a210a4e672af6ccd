"""Random programs: boxes are hulls, maps are gradients; `python -m tests.fuzz.run` judges as many more as one likes."""

from __future__ import annotations

import pytest

from tests.fuzz.judge import NO_PATH, judge

QUICK, ALL = 6, 100


@pytest.mark.parametrize("seed", [pytest.param(n, marks=() if n < QUICK else pytest.mark.slow) for n in range(ALL)])
def test_boxes_are_hulls_and_maps_are_gradients(seed):
    """No box misses a derivative, an exact one is their hull, and maps equal the Jacobian's rows."""
    verdict = judge(seed, "float64" if seed % 4 else "float32")
    assert not verdict.wrong, (verdict.wrong, verdict.steps)
    assert verdict.refused in ("", NO_PATH), (verdict.refused, verdict.steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [187, 913])
def test_models_that_xla_computes_wrongly_are_mapped(seed):
    """Fused, their own forward passes are garbage on CPUs with jaxlib 0.10.2, which is not a fault of the maps."""
    verdict = judge(seed)
    assert not verdict.wrong and not verdict.refused, verdict
