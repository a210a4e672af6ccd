"""Results in physical units, beside positions."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from jaxrf.errors import InputError
from tests.results.test_result import result_of


def test_sizes_and_places_are_positions_times_their_distance():
    """Per axis where there is a number for each; the root of an area is the root of the area in the unit."""
    result = result_of()
    found = result.scaled((0.5, 2.0), "µm").physical
    np.testing.assert_allclose(found.center, result.center * [0.5, 2])
    np.testing.assert_allclose(found.box, result.box * np.array([[0.5], [2]]))
    np.testing.assert_allclose(found.sigma, result.measure("sigma") * [0.5, 2])
    np.testing.assert_allclose(found.size("half_width"), result.size("half_width") * [0.5, 2])
    np.testing.assert_allclose(found.size() ** 2, result.size() ** 2 * 0.5 * 2)
    assert found.stride == (2.0, 8.0) and found.theoretical.size == (7.5, 30.0)


def test_a_saved_result_keeps_its_scale(tmp_path):
    """Text and files say both."""
    result = result_of().scaled(0.5, "µm")
    result.save(tmp_path / "r.npz")
    assert jaxrf.load(tmp_path / "r.npz").physical.stride == (2.0, 2.0)
    assert "theoretical size 15 x 15 (7.5 x 7.5 µm)" in repr(result) and "µm" not in repr(result_of())


def test_distances_in_both():
    """Equal spacing changes no ring; where it differs, rings are ellipses in positions and circles in the unit."""
    plain = result_of(mean=np.ones((2, 15, 15)))
    equal = plain.scaled(0.5, "mm").by_distance()
    np.testing.assert_array_equal(equal.mean.value, plain.by_distance().mean.value)
    np.testing.assert_allclose(equal.physical.distance, equal.distance / 2)
    np.testing.assert_allclose(equal.physical.average.value, equal.average.value / 2)
    assert "mean distance in mm" in repr(equal)
    mean = np.zeros((2, 15, 15))
    mean[0, 4 + 3, 8 - 1 + 2] = 1  # 0 along y and 2 along x from the center of unit 0, at (4, 8)
    result = result_of(mean=mean).scaled((0.5, 1.5), "mm")
    far = result.by_distance()
    assert far.physical.average.value[0] == pytest.approx(3.0) and far.average.value[0] == pytest.approx(6)
    assert np.flatnonzero(np.nan_to_num(far.mean.value[0])).tolist() == [6]


def test_tokens_are_as_far_apart_as_their_patch():
    """Steps of tokens have a length where it is the same along all axes."""
    pitch = result_of().scaled(0.25, "mm").by_distance("token")
    np.testing.assert_allclose(pitch.physical.distance, pitch.distance)  # 4 positions of 0.25 mm
    with pytest.raises(InputError, match="not equally far apart along all axes"):
        result_of().scaled((0.25, 0.5)).by_distance("token").physical  # noqa: B018


def test_what_nobody_said_is_not_known():
    for ask in (lambda r: r.physical, lambda r: r.by_distance().physical):
        with pytest.raises(InputError, match="nobody said how far|no physical units.*result.scaled"):
            ask(result_of())
    with pytest.raises(InputError, match="needed is one of them"):
        jaxrf.erf(lambda x: x, None, np.ones((1, 8, 1), np.float32), spacing=2, rate=3)


def test_maps_figures_and_signals():
    """`erf`, `halo` and `stream` take a rate, and say numbers in both."""

    def net(x):
        return x[:, 2:] + x[:, 1:-1] + x[:, :-2]

    signal = np.random.default_rng(0).normal(size=(2, 40, 1)).astype(np.float32)
    result = jaxrf.erf(net, None, signal, rate=1000, unit="ms")
    assert result.physical.theoretical.size == (0.003,)
    figure = result.plot()
    texts = [child.get_xlabel() for child in figure.axes[0].child_axes]
    assert texts == ["in ms"] and any("3; 0.003 ms" in t.get_text() for t in figure.axes[0].get_legend().get_texts())
    plan = jaxrf.stream(net, None, 4, input_shape=(None, 1), rate=1000).plan
    assert plan.physical_latency == pytest.approx(plan.latency / 1000) and "s)" in str(plan)
    assert plan.row.physical.look_ahead == pytest.approx((0.002,))
    found = jaxrf.halo(net, None, signal, rate=1000)
    assert found.context == ((0, 2),) and found.physical == ((0.0, pytest.approx(0.002)),)
    assert "0 before, 2 after (0 s, 0.002 s)" in str(found)
    with pytest.raises(InputError, match="no physical units.*jaxrf.halo"):
        jaxrf.halo(net, None, signal).physical  # noqa: B018
