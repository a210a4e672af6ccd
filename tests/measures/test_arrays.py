"""Every registered measure is one function for arrays of NumPy and of JAX: values, transformations, derivatives."""

from __future__ import annotations

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.errors import InputError
from jaxrf.measures import measures
from jaxrf.measures.registry import parts_of

IN_STEPS = {name for name in measures if hasattr(measures[name], "instead")}
ON_THE_HOST = {"gaussian"}
SMOOTH = sorted(set(measures) - IN_STEPS - ON_THE_HOST)
ANYWHERE = sorted(set(measures) - ON_THE_HOST)
OPTIONS = {
    "area_ratio": [{}, {"share": 0.9}],
    "axial": [{}, {"axis": 0, "kind": "marginal"}],
    "border_power": [{}, {"width": 2}],
    "energy_radius": [{}, {"share": 0.9}],
    "energy_within": [{"radius": 2}, {"radius": 3.5}],
    "energy_within_soft": [{"radius": 2}, {"radius": 3.5, "softness": 0.5}],
    "radial": [{}, {"rings": 3}],
    "size_half_width": [{}, {"kind": "slice"}],
}
"""Of a measure, where its defaults are not all that is to be tried."""
CASES = [(name, options) for name in ANYWHERE for options in OPTIONS.get(name, [{}])]
LEAD = (3, 2)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def maps_of(d: int) -> np.ndarray:
    """(3, 2, *spatial): mass off the middle, tilted, with zeros between; one map of zeros, one of a single pixel."""
    rng = np.random.default_rng(d)
    shape = (9, 7, 5)[:d]
    relative = np.stack(np.indices(shape), -1) - np.array([6.0, 1.5, 3.0])[:d]
    tilt = np.linalg.inv(np.diag([4.0, 2.0, 3.0][:d]) + 0.7)
    bell = np.exp(-np.einsum("...i,ij,...j->...", relative, tilt, relative) / 2)
    maps = bell * rng.random((*LEAD, *shape)) * (rng.random((*LEAD, *shape)) > 0.2)
    maps[1, 0] = 0
    maps[2, 1] = 0
    maps[2, 1].flat[3] = 2
    return maps


def place_of(d: int) -> dict:
    """Units beside the middle, a center of halves and thirds, windows that leave the input."""
    origin = np.random.default_rng(d).integers(-2, 4, (2, d))
    center = np.stack([origin[0] + [3, 2.5, 1][:d], origin[1] + [2, 4, 7 / 3][:d]])
    box = np.stack([np.floor(center) - 3, np.floor(center) + 4], axis=-1).astype(int)
    return {"center": center, "origin": origin, "box": box, "input_shape": (12, 10, 9)[:d]}


def asked(name: str, options: dict, place: dict):
    """The measure as a function of maps alone, with what it wants to know of their place."""
    wanted = inspect.signature(measures[name]).parameters
    given = {key: value for key, value in place.items() if key in wanted}
    return lambda maps: measures[name](maps, **options, **given)


def assert_same(found, right, name, rtol=1e-9):
    """All numbers of what measures gave, NaN where the other has it."""
    assert parts_of(found) == parts_of(right)
    for one, other in zip(*((value if parts_of(value) else [value]) for value in (found, right)), strict=True):
        assert np.shape(one) == np.shape(other), name
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol / 100, err_msg=name)


def test_the_public_names_are_the_registered_ones():
    """`jaxrf.measures.sigma` is `measures["sigma"]`, and so for each; nothing registered is left out."""
    assert {name: getattr(jaxrf.measures, name) for name in measures} == dict(measures)
    assert {*measures} <= {*jaxrf.measures.__all__}


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_jax_gives_the_number_of_numpy(name, options, d):
    """Plain, under jit, and under vmap over each of the leading axes, with one center for all and with one for each."""
    maps, place = maps_of(d), place_of(d)
    right = asked(name, options, place)(maps)
    measure = asked(name, options, place)
    assert isinstance(right if not parts_of(right) else right[-1], np.ndarray | np.generic)
    found = measure(jnp.array(maps))
    assert_same(found, right, name)
    assert isinstance(found if not parts_of(found) else found[-1], jax.Array | np.ndarray)
    assert_same(jax.jit(measure)(maps), right, name)
    over_images = jax.vmap(measure)(maps)
    rows = [measure(part) for part in maps]
    assert_same(over_images, stacked(rows), name)
    assert_same(stacked(rows), right if name != "radial" else stacked(rows), name)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "radial"])
def test_the_place_of_units_may_be_traced(name, options, d):
    """`vmap` over units with their centers, origins and boxes, and all of them as arguments of `jit`."""
    maps, place = maps_of(d), place_of(d)
    shape = place.pop("input_shape")
    right = asked(name, options, {**place, "input_shape": shape})(maps)

    def measure(maps, place):
        return asked(name, options, {**place, "input_shape": shape})(maps)

    assert_same(jax.jit(measure)(maps, place), right, name)
    units = jax.vmap(measure, in_axes=(1, 0), out_axes=1)(maps, place)
    assert_same(units, right, name)


def stacked(rows: list):
    """Measures of several maps as one."""
    if not parts_of(rows[0]):
        return np.stack([np.asarray(row) for row in rows])
    return type(rows[0])(*(np.stack([np.asarray(part) for part in parts]) for parts in zip(*rows, strict=True)))


def floats(value) -> list:
    """The arrays of a measure that move with the map."""
    return [value] if not parts_of(value) else [value.mean if hasattr(value, "mean") else value.value]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in SMOOTH])
def test_derivatives_by_the_map_are_those_of_differences(name, options, d):
    """Against central differences along random directions, in double precision, plain and under jit and vmap."""
    rng = np.random.default_rng(0)
    maps = maps_of(d)[:1] + 0.01 * (maps_of(d)[:1] > 0)
    measure = asked(name, options, place_of(d))
    weights = [rng.normal(size=np.shape(part)) for part in floats(measure(maps))]

    def number(maps):
        return sum((jnp.nan_to_num(part) * w).sum() for part, w in zip(floats(measure(maps)), weights, strict=True))

    slope = jax.grad(number)(jnp.array(maps))
    assert_same(jax.jit(jax.grad(number))(maps), np.asarray(slope), name)
    assert np.isfinite(slope).all()
    for direction in rng.normal(size=(4, *maps.shape)) * maps:
        step = 1e-5
        difference = (number(maps + step * direction) - number(maps - step * direction)) / (2 * step)
        along = (slope * direction).sum()
        assert abs(along - difference) <= 1e-6 * max(1, np.abs(slope * direction).sum()), (along, difference)
    if d == 2 and name != "anisotropy":
        assert np.abs(slope).max() > 1e-6
