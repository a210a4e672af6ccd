"""Every registered measure is one function for arrays of NumPy and of JAX: values, transformations, derivatives."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.registry import parts_of

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
    "radial": [{}, {"rings": 3, "metric": "chebyshev", "spacing": 1.5}, {"rings": 3}],
    "size_half_width": [{}, {"kind": "slice"}],
    "unevenness": [{}, {"period": 3}],
    "dark_phases": [{}, {"period": 3, "threshold": 0.5}],
}
"""Of a measure, where its defaults are not all that is to be tried."""
CASES = [
    pytest.param(
        name, options, d, id=f"{d}-{name}-{'-'.join(map(str, options.values()))}", marks=[pytest.mark.slow] * (d == 3)
    )
    for d in (1, 2, 3)
    for name in ANYWHERE
    for options in OPTIONS.get(name, [{}])[0 if d == 2 else -1 :]
]
LEAD = (3, 2)
quick = functools.partial(jit, quick=True)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def maps_of(d: int) -> np.ndarray:
    """(3, 2, *spatial): mass off the middle, tilted, with zeros between; one map of zeros, one of a single pixel."""
    rng = np.random.default_rng(d)
    shape = (9, 7, 5)[:d]
    relative = np.moveaxis(np.indices(shape), 0, -1) - np.array([6.0, 1.5, 3.0])[:d]
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
    for one, other in zip(*((value if isinstance(value, tuple) else [value]) for value in (found, right)), strict=True):
        assert np.shape(one) == np.shape(other), name
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol / 100, err_msg=name)


def test_the_public_names_are_the_registered_ones():
    """`jaxrf.measures.sigma` is `measures["sigma"]`, and so for each; nothing registered is left out."""
    assert {name: getattr(jaxrf.measures, name) for name in measures} == dict(measures)
    assert {*measures} <= {*jaxrf.measures.__all__}


def stacked(rows: list):
    """Measures of several maps as one."""
    if not parts_of(rows[0]):
        return np.stack([np.asarray(row) for row in rows])
    return type(rows[0])(*(np.stack([np.asarray(part) for part in parts]) for parts in zip(*rows, strict=True)))


@pytest.mark.parametrize(("name", "options", "d"), CASES)
def test_jax_gives_the_number_of_numpy(name, options, d):
    """Under jit and vmap: over images that share their units' places, and over units with centers, origins and boxes."""
    maps, place = maps_of(d), place_of(d)
    shape = place.pop("input_shape")
    measure, traced = asked(name, options, {**place, "input_shape": shape}), name != "radial" or "rings" in options

    def placed(maps, place):
        return asked(name, options, {**place, "input_shape": shape})(maps)

    @quick
    def program(maps, place):
        known = measure(maps), jax.vmap(measure)(maps)
        if not traced:
            return known
        return *known, placed(maps, place), jax.vmap(placed, in_axes=(1, 0), out_axes=1)(maps, place)

    found, right = program(maps, place), measure(maps)
    assert_same(found[0], right, name)
    assert_same(found[1], stacked([measure(part) for part in maps]), name)
    for value in found[2:]:
        assert_same(value, right, name) if name != "radial" else assert_same(value[1:], right[1:], name)


def moving(value):
    """The array of what a measure gave that moves with the map."""
    return value if not parts_of(value) else value.mean if hasattr(value, "mean") else value.value


@pytest.mark.parametrize(("name", "options", "d"), [case for case in CASES if case.values[0] in SMOOTH])
def test_derivatives_by_the_map_are_those_of_differences(name, options, d):
    """Along random directions, against central differences of what NumPy measures, in double precision."""
    rng = np.random.default_rng(0)
    maps = maps_of(d)[:1] + 0.01 * (maps_of(d)[:1] > 0)
    measure = asked(name, options, place_of(d))
    weights = rng.normal(size=np.shape(moving(measure(maps))))

    def number(maps, xp=np):
        return (xp.nan_to_num(moving(measure(maps))) * weights).sum()

    slope = quick(jax.grad(lambda maps: number(maps, jnp)))(maps)
    assert np.isfinite(slope).all()
    for direction in rng.normal(size=(4, *maps.shape)) * maps:
        step = 1e-5
        difference = (number(maps + step * direction) - number(maps - step * direction)) / (2 * step)
        assert (slope * direction).sum() == pytest.approx(difference, rel=1e-6, abs=1e-6)
    assert np.abs(slope).max() > 1e-6 or (d == 1 and name in ("anisotropy", "orientation"))


def slopes(function, *arguments):
    """Each way in which JAX asks for a derivative."""
    yield lambda: jax.grad(function)(*arguments)
    yield lambda: jax.jit(jax.grad(function))(*arguments)
    yield lambda: jax.grad(jax.jit(function))(*arguments)
    yield lambda: jax.jacfwd(function)(*arguments)
    yield lambda: jax.linearize(function, *arguments)
    yield lambda: jax.grad(lambda stack: jax.vmap(function)(stack).sum())(jnp.stack([arguments[0]] * 2), *arguments[1:])


@pytest.mark.parametrize("name", sorted(IN_STEPS))
def test_measures_in_steps_refuse_a_derivative(name):
    """However it is asked for; the error names the measure and a smooth one, which is registered."""
    maps, place = jnp.array(maps_of(2)), place_of(2)
    measure = asked(name, {}, place)
    assert measures[name].instead in SMOOTH
    message = rf"'{name}' is a step function of the map.*such as '{measures[name].instead}'.*stop_gradient"
    for ask in slopes(lambda maps: measure(maps).sum(), maps):
        with pytest.raises(InputError, match=message):
            ask()


@pytest.mark.parametrize("name", list(measures))
def test_what_is_read_off_a_curve_moves_in_steps(name):
    """What is declared of the error of a measure and of its derivative agrees."""
    declared = getattr(measures[name], "uncertainty", None)
    assert getattr(declared, "curve", None) is None or name in IN_STEPS


@pytest.mark.parametrize("name", sorted(IN_STEPS))
def test_measures_in_steps_may_be_looked_at_beside_a_derivative(name):
    """Of maps under `stop_gradient` they have their values, as an auxiliary output of a loss."""
    maps, measure = maps_of(2), asked(name, {}, place_of(2))

    def loss(maps):
        return (maps**2).sum(), measure(jax.lax.stop_gradient(maps))

    slope, value = jax.jit(jax.grad(loss, has_aux=True))(maps)
    np.testing.assert_allclose(slope, 2 * maps)
    np.testing.assert_allclose(value, measure(maps), rtol=1e-9)


def test_what_is_a_step_of_the_place_alone_refuses_that_derivative():
    """The disk of `energy_within` and the border of `border_power` move in steps, while both are smooth in the map."""
    maps, place = jnp.array(maps_of(2)), place_of(2)
    with pytest.raises(InputError, match=r"'energy_within' is a step function of the center.*'energy_within_soft'"):
        jax.grad(lambda center: jnp.nansum(jaxrf.measures.energy_within(maps, 2, center=center)))(place["center"])
    origin = place["origin"].astype(float)
    with pytest.raises(InputError, match="'border_power' is a step function of the origin"):
        jax.grad(lambda origin: jaxrf.measures.border_power(maps, center=place["center"], origin=origin).sum())(origin)
    with pytest.raises(InputError, match="'area_ratio' is a step function"):
        jax.grad(lambda center: jaxrf.measures.area_ratio(maps, center=center).sum())(place["center"])


def test_the_soft_disk_has_derivatives_by_its_place_and_size():
    """Center, radius and softness, against central differences; with little softness it is the hard disk."""
    maps, start = maps_of(2)[0], (np.array([3.2, 4.7]), 2.6, 0.7)

    def energy(center, radius, softness):
        return jaxrf.measures.energy_within_soft(maps, radius, softness, center=center).sum()

    slope = jax.jit(jax.grad(energy, argnums=(0, 1, 2)))(*start)
    for index, direction in enumerate((np.array([0.6, -0.8]), 1.0, 1.0)):
        ends = [
            energy(*(a + sign * direction if i == index else a for i, a in enumerate(start))) for sign in (1e-6, -1e-6)
        ]
        assert np.sum(slope[index] * direction) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)
    hard = jaxrf.measures.energy_within(maps, 2.6, center=start[0]).sum()
    assert energy(start[0], 2.6, 1e-4) == pytest.approx(hard, rel=1e-9)
    for bad in ({"radius": 0}, {"softness": -1.0}):
        name, value = next(iter(bad.items()))
        with pytest.raises(
            InputError, match=f"A {name} of {value} was asked for. It is one length in input positions, above 0"
        ):
            jaxrf.measures.energy_within_soft(maps, **bad, center=start[0])


def test_the_fit_of_a_gaussian_is_made_on_the_host():
    """Arrays of JAX are read back; within a transformation it says what to do."""
    maps, center = maps_of(2), np.array([4.0, 3.0])
    fit = jaxrf.measures.gaussian
    assert_same(fit(jnp.array(maps), center=jnp.array(center)), fit(maps, center=center), "gaussian")
    message = "fitted by SciPy on the host.*not possible within jit, vmap, scan or grad.*'sigma', 'covariance'"
    for transformed in (
        jax.jit(lambda m: fit(m, center=center).sigma),
        jax.grad(lambda m: fit(m, center=center).mean[0]),
    ):
        with pytest.raises(InputError, match=message):
            transformed(maps[0, 0])


def test_what_must_be_known_says_so():
    """Rings about a traced center, traced shapes, shares, widths: what came, and what to do."""
    maps, center = maps_of(2), np.array([4.0, 3.0])
    of = jaxrf.measures
    with pytest.raises(InputError, match=r"how far its rings go.*rings=20, or close over center"):
        jax.jit(lambda c: of.radial(maps, center=c).mean)(center)
    rings = jax.jit(lambda c: of.radial(maps, 4, center=c).mean)(center)
    np.testing.assert_allclose(rings, of.radial(maps, center=center).mean[..., :4])
    with pytest.raises(InputError, match="'input_shape' of a measure came as a traced array.*static_argnames"):
        jax.jit(lambda m, shape: of.area_ratio(m, center=center, input_shape=shape))(maps, (9, 7))
    for name, option in (
        ("area_ratio", "share"), ("smallest_area", "share"), ("coverage", "threshold"), ("border_power", "width"),
        ("energy_within", "radius"), ("axial", "axis"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"'{option}' of a measure came as a traced array"):
            jax.jit(lambda value, name=name, option=option: asked(name, {option: value}, place_of(2))(maps))(1)
    with pytest.raises(InputError, match=r"input_shape \(9, 7, 3\) does not have the 2 spatial axes"):
        of.area_ratio(maps, center=center, input_shape=(9, 7, 3))


@pytest.mark.parametrize("name", ANYWHERE)
def test_maps_of_jax_with_negative_entries_have_no_field(name):
    """Their values need not be known, so that the number is NaN where NumPy raises; the map beside is not harmed."""
    maps = maps_of(2)[0] + 0.1
    spoiled = maps.copy()
    spoiled[0, 2, 3] = -0.5
    measure = asked(name, {}, place_of(2))
    found = moving(quick(measure)(spoiled))
    assert np.isnan(found[0]).all() or (name == "radial" and np.isnan(found[0][:7]).all())  # the rest is outside of it
    np.testing.assert_allclose(found[1], moving(measure(maps))[1], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
@pytest.mark.parametrize(
    "name", sorted({"area_ratio", "energy_radius", "anisotropy", "kurtosis", "sigma", "smallest_area"})
)
def test_single_precision_and_less(name, dtype):
    """Maps of single precision and below are measured in single precision, shares and steps met within its rounding."""
    maps = jnp.array(np.round(maps_of(2)[0] * 100), dtype)
    place = place_of(2)
    right = asked(name, {}, place)(np.asarray(maps, np.float64))
    found = quick(asked(name, {}, place))(maps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, right, rtol=2e-5)


def test_shapes_that_do_not_fit_are_refused():
    """A center or an origin with other leading axes, or another number of axes, is named with what is needed."""
    maps = np.ones((3, 2, 5, 7))
    for bad in (np.zeros((3, 2)), np.zeros((4, 3, 2, 2))):
        with pytest.raises(InputError, match=r"do not fit center of shape .*leading axes of the maps: \(3, 2, 2\)"):
            jaxrf.measures.sigma(maps, center=bad)
    with pytest.raises(InputError, match=r"do not fit origin of shape \(3,\). It is \(2,\)"):
        jaxrf.measures.sigma(maps, center=np.zeros(2), origin=np.zeros(3))


def test_nothing_is_moved_and_nothing_is_nan_on_the_way():
    """A program of measures runs under the transfer guard and `jax_debug_nans`, values and derivatives."""
    maps, place = jnp.array(maps_of(2)[0]), place_of(2)
    chosen = [asked(name, {}, place) for name in ("sigma", "participation", "entropy_positions", "anisotropy")]
    program = jax.jit(jax.value_and_grad(lambda maps: sum(measure(maps).sum() for measure in chosen)))
    with jax.debug_nans(True):
        program(maps)
        with jax.transfer_guard("disallow"):
            program(maps)


ON_A_MESH = """
import inspect, os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxrf.statistics.measures import measures

place = {"center": np.array([[4, 3.0], [2, 2.5]]), "origin": np.array([[1, 0], [0, 2]]), "box": np.array([[0, 9], [0, 7]])}
place["input_shape"] = (12, 11)

def all_of_them(maps):
    found = {}
    for name in set(measures) - {"gaussian"}:
        wanted = inspect.signature(measures[name]).parameters
        value = measures[name](maps, **{key: given for key, given in place.items() if key in wanted})
        found[name] = value.mean if name == "radial" else value.value if name == "axial" else value
    return found

maps = np.random.default_rng(0).random((4, 2, 9, 7)).astype(np.float32)
right = all_of_them(maps.astype(np.float64))
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        spread = jax.device_put(maps, NamedSharding(mesh, PartitionSpec("data")))
        one = PartitionSpec("data")
        for program in (jax.jit(all_of_them), jax.jit(jax.shard_map(all_of_them, in_specs=one, out_specs=one))):
            for name, value in program(spread).items():
                assert value.sharding.spec[0] == "data", name
                np.testing.assert_allclose(value, right[name], rtol=2e-4, atol=1e-5, err_msg=name)
print("same")
"""


@pytest.mark.slow
def test_on_meshes():
    """Maps spread over devices stay there: Auto and Explicit axes, GSPMD and `shard_map`."""
    done = subprocess.run([sys.executable, "-c", ON_A_MESH], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "same", done.stderr[-3000:]


def test_maps_of_numpy_need_no_jax():
    """Measures of NumPy arrays load neither JAX nor, but for the fit, SciPy."""
    code = (
        "import sys, numpy, jaxrf; c = {'center': numpy.array([2.0, 1.0])}\n"
        "jaxrf.measures.sigma(numpy.ones((5, 7)), **c); jaxrf.measures.area_ratio(numpy.ones((5, 7)), **c)\n"
        "print({'jax', 'scipy'} & {name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
