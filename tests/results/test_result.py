"""A result: what it hands to measures, how it prints, and that saving and loading loses nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import jaxrf.results.result
from jaxrf import store
from jaxrf.errors import InputError, StoreError, UnknownNameError
from jaxrf.geometry.field import Continuation, Field
from jaxrf.geometry.row import Row
from jaxrf.results.record import record
from jaxrf.results.result import Result
from jaxrf.statistics import gathered
from jaxrf.statistics.measures import measures
from jaxrf.statistics.measures.registry import parts_of


def row_of(units: tuple[int, ...], stride: int, size: int, padding: int) -> Row:
    """A layer whose unit u sees [stride u - padding, ... + size) of stride * units positions, on each axis."""
    fields = []
    for axis, n in enumerate(units):
        shape = [1] * len(units)
        shape[axis] = n
        lo = (stride * np.arange(n) - padding).reshape(shape)
        one = np.reshape(-padding, [1] * len(units))
        endless = Continuation(axis=axis, period=1, step=stride, lo=one, hi=one + size)
        fields.append(Field(stride * n, np.maximum(lo, 0), np.minimum(lo + size, stride * n), endless))
    return Row("body/conv", "Conv", (*units, 8), units, tuple(fields))


def result_of(units=((1, 2), (0, 4)), origin=((-3, 1), (-7, 9)), **changes) -> Result:
    """Two windows of 15 x 15 positions of a layer with stride 4 and size 15 on 20 x 28 positions."""
    rng = np.random.default_rng(0)
    mean = rng.random((len(units), 15, 15))
    values = {
        "mean": mean,
        "stderr": mean / 7,
        "count": 12,
        "origin": np.array(origin),
        "units": np.array(units),
        "theoretical": row_of((5, 7), stride=4, size=15, padding=7),
        "score": "square",
        "channels": "probe",
        "input_shape": (20, 28),
        "dead": 1,
        "provenance": {"seeds": [0, 1], "device": "cpu"},
    }
    return Result(**(values | changes))


def test_centers_and_boxes_come_from_the_geometry():
    """Unit (1, 2) of stride 4 is centered on (4, 8); boxes are clipped to the input."""
    result = result_of()
    np.testing.assert_array_equal(result.center, [[4, 8], [0, 16]])
    np.testing.assert_array_equal(result.box, [[[0, 12], [1, 16]], [[0, 8], [9, 24]]])


def test_measures_get_the_place_of_each_window():
    """Through the result a window is measured as the full map would be."""
    result = result_of()
    full = np.zeros((2, 20, 28))
    full[0, 0:12, 1:16] = result.mean[0, 3:, :]
    full[1, 0:8, 9:24] = result.mean[1, 7:, :]
    mean = result.mean.copy()
    mean[0, :3], mean[1, :7] = 0, 0
    window = result_of(mean=mean)
    arguments = {"center": result.center}
    np.testing.assert_allclose(window.area_ratio(0.6), measures["area_ratio"](full, 0.6, **arguments))
    np.testing.assert_allclose(window.size("luo2016"), measures["size_luo2016"](full, **arguments))
    np.testing.assert_allclose(window.coverage(), measures["coverage"](full, **arguments, box=result.box))
    np.testing.assert_allclose(window.measure("border_power"), measures["border_power"](full, **arguments))
    np.testing.assert_allclose(window.radial().mean[:, :10], measures["radial"](full, **arguments).mean[:, :10])
    np.testing.assert_allclose(window.gaussian().cut, measures["gaussian"](full, **arguments).cut)


@pytest.mark.parametrize("name", list(measures))
def test_every_measure_runs_on_a_result(name):
    """A registered measure needs nothing that a result does not have."""
    assert result_of().measure(name) is not None


def test_names_and_options_are_checked():
    """Unknown measures, sizes and options are named with what there is."""
    result = result_of()
    with pytest.raises(UnknownNameError, match="Unknown measure 'sizes'"):
        result.measure("sizes")
    with pytest.raises(
        UnknownNameError, match=r"Unknown definition of size 'luo'. Did you mean 'luo2016'\? Known: 'half_width'"
    ):
        result.size("luo")
    with pytest.raises(InputError, match=r"'area_ratio' has no option 'shares'. It has: share"):
        result.measure("area_ratio", shares=0.5)
    with pytest.raises(InputError, match=r"'sigma' has no option 'center'. It has: none"):
        result.measure("sigma", center=(0, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {"stderr": np.zeros((2, 15, 14))},
        {"origin": np.zeros((2, 3), int)},
        {"units": np.zeros((3, 2), int)},
        {"units": np.zeros((2, 1), int)},
        {"input_shape": (20,)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes):
    """A result checks the shapes of its parts."""
    with pytest.raises(InputError, match="arrays of a result do not fit each other"):
        result_of(**changes)


def test_a_unit_without_a_path_is_measured_about_the_middle_of_its_map():
    """It has no center, measures still give numbers or NaN, and never fail: its map is zero."""
    row = row_of((5, 7), stride=4, size=0, padding=0)
    result = result_of(theoretical=row)
    assert np.isnan(result.center).all()
    assert np.isnan(result.coverage()).all()
    assert np.isfinite(result.radial().positions).all()


ABOUT_THE_CENTER = {
    "area_ratio",
    "axial",
    "center_offset",
    "energy_radius",
    "energy_within",
    "energy_within_soft",
    "radial",
}


@pytest.mark.parametrize("name", measures)
def test_measures_about_a_center_that_does_not_exist_are_refused(name):
    """Behind global pooling they say why and what works; the others give the numbers of a center anywhere."""
    whole = tuple(
        replace(one, lo=np.array([[0]]), hi=np.array([[one.extent]])) for one in result_of().theoretical.fields
    )
    pooled = tuple(replace(one, continuation=None, local=()) for one in whole)
    row = replace(result_of().theoretical, fields=pooled, global_cause={"y": "reduce_sum in layer 'mean'"})
    result = result_of(theoretical=row)
    assert np.isnan(result.center).all()
    if name in ABOUT_THE_CENTER:
        match = (
            rf"'{name}' is about the center.*of unit \(1, 2\) of layer 'body/conv'.*y is seen whole behind reduce_sum"
        )
        with pytest.raises(InputError, match=match + r".*such as 'participation'"):
            result.measure(name)
        return
    some = result_of(theoretical=replace(row, fields=tuple(replace(one, local=None) for one in pooled)))
    for found, right in zip(numbers(result.measure(name)), numbers(some.measure(name)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-12)
    with pytest.raises(InputError, match="'size_half_width' is about the center"):
        result.measure("size_half_width", kind="slice")


def numbers(value):
    return list(value) if parts_of(value) else [value]


def test_repr_says_what_was_measured():
    """Printing gives layer, shape, score, samples and theoretical size, and no arrays."""
    text = repr(result_of())
    assert "2 units of 'body/conv', maps of 15 x 15 positions" in text
    assert "score 'square', channels 'probe', 12 samples, 1 dead" in text
    assert "theoretical size 15 x 15 on an input of 20 x 28" in text
    assert "unit (1, 2) of" in repr(result_of(units=[(1, 2)], origin=[(-3, 1)]))


@pytest.mark.parametrize("name", ["r.zarr", "folder", "r.npz", "r.nc"])
def test_save_and_load_lose_nothing(tmp_path, name):
    """Every format gives back the same arrays, numbers and row."""
    result = result_of(stderr=np.full((2, 15, 15), np.nan), channels=3)
    path = result.save(tmp_path / "new" / name)
    assert path == (tmp_path / "new" / name).resolve()
    again = jaxrf.results.result.load(path)
    for array in ("mean", "stderr", "origin", "units", "center", "box"):
        np.testing.assert_array_equal(getattr(again, array), getattr(result, array))
        assert getattr(again, array).dtype == getattr(result, array).dtype
    for field in ("count", "score", "channels", "input_shape", "dead", "nonfinite", "provenance"):
        assert getattr(again, field) == getattr(result, field)
    assert again.theoretical.to_dict() == result.theoretical.to_dict()
    assert [entry.name for entry in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["r.zarr", "r.npz", "r.nc"])
def test_layers_without_unit_axes_and_other_dimensions(tmp_path, name):
    """A pooled layer has a unit with no index, and volumes have three spatial axes; both are kept."""
    fields = tuple(Field(n, np.array(0), np.array(n)) for n in (4, 5, 6))
    pooled = Row("pool", "mean", (8,), (), fields)
    result = Result(
        mean=np.ones((1, 4, 5, 6)), stderr=np.zeros((1, 4, 5, 6)), count=2, origin=np.zeros((1, 3)),
        units=np.zeros((1, 0)), theoretical=pooled, score="abs", channels="sum", input_shape=(4, 5, 6),
    )  # fmt: skip
    again = jaxrf.results.result.load(result.save(tmp_path / name))
    np.testing.assert_array_equal(again.mean, result.mean)
    assert again.units.shape == (1, 0)
    np.testing.assert_array_equal(again.center, [[1.5, 2, 2.5]])


def test_xarray_opens_the_folder(tmp_path):
    """The Zarr group opens in xarray with named dimensions, the header, and zeros that stay zeros."""
    xarray = pytest.importorskip("xarray")
    result = result_of(mean=np.zeros((2, 15, 15)))
    data = xarray.open_zarr(result.save(tmp_path / "r.zarr"), consolidated=False)
    assert data["mean"].dims == ("unit", "y", "x")
    assert data["origin"].dims == ("unit", "axis")
    np.testing.assert_array_equal(data["mean"], 0)
    np.testing.assert_array_equal(data["origin"], result.origin)
    assert data.attrs["score"] == "square"
    assert data.attrs["theoretical"]["name"] == "body/conv"


def test_to_xarray_has_centers_and_axes():
    """The dataset in memory carries the true centers and names the axes."""
    pytest.importorskip("xarray")
    data = result_of().to_xarray()
    assert data["axis"].values.tolist() == ["y", "x"]
    np.testing.assert_array_equal(data["center"].sel(axis="x"), [8, 16])
    assert data["stderr"].dims == ("unit", "y", "x")


def test_a_header_that_does_not_fit_is_damage(tmp_path):
    """A header that was changed is called damaged; so is one that lacks an entry, or whose row is not a row."""
    path = result_of().save(tmp_path / "r.zarr")
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"square"', '"squire"'))
    with pytest.raises(StoreError, match="is damaged: its header does not have its checksum"):
        jaxrf.results.result.load(path)
    whole = record(result_of())
    header = {name: value for name, value in whole.header.items() if name != "score"}
    store.save(tmp_path / "lacks.zarr", replace(whole, header=header))
    with pytest.raises(StoreError, match="is damaged: 'score' is missing"):
        jaxrf.results.result.load(tmp_path / "lacks.zarr")
    row = {name: value for name, value in whole.header["theoretical"].items() if name != "kind"}
    store.save(tmp_path / "row.zarr", replace(whole, header={**whole.header, "theoretical": row}))
    with pytest.raises(StoreError, match=r"is damaged: .*not a row of a table"):
        jaxrf.results.result.load(tmp_path / "row.zarr")


def sampled(seeds=6, images=3, average="weighted", **changes) -> Result:
    """A result with the samples of two units under several seeds and images."""
    shape = (2, 15, 15)
    y, x = np.mgrid[-7:8, -7:8]
    bell = np.exp(-(y**2 / 8 + x**2 / 18))
    found = gathered.init(shape, average)
    for seed in range(seeds):
        noise = (seed + 1) * np.random.default_rng(seed).gamma(4.0, size=(images, *shape))
        found = gathered.update(found, bell * noise, seed, range(images))
    return result_of(**(vars(gathered.finalize(found)) | changes))


def test_intervals_of_measures():
    """An interval has the measure's value, one number per unit, over seeds or images as asked."""
    result = sampled()
    with pytest.warns(UserWarning, match=r"The 18 samples are worth 4\.\d+ equally strong ones.*some 30"):
        found = result.interval("sigma")
    np.testing.assert_array_equal(found.value, result.measure("sigma"))
    assert found.stderr.shape == (2, 2)
    assert (found.stderr > 0).all() and (found.low < found.value).all()
    assert (found.over, found.blocks, found.missing) == ("seeds", 6, "")
    with pytest.warns(UserWarning, match="equally strong"):
        other = result.interval("energy_radius", over="images", level=0.5)
    assert (other.over, other.blocks, other.level) == ("images", 3, 0.5)
    assert (other.low <= other.value).all() and (other.value <= other.high).all()


@pytest.mark.filterwarnings("ignore:The 18 samples")
def test_measures_without_an_interval_have_a_value_and_a_reason():
    """Luo's size counts noise: its value is there, and NaN for what is not known."""
    found = sampled().interval("size_luo2016")
    np.testing.assert_array_equal(found.value, sampled().measure("size_luo2016"))
    assert np.isnan([found.stderr, found.low, found.high]).all()
    assert "counts entries above a part of the peak" in found.missing


def test_bands():
    """Every position has an interval that holds its mean, farther above than below; signed maps have even ones."""
    result = sampled()
    found = result.band()
    np.testing.assert_array_equal(found.value, result.mean)
    assert found.low.shape == result.mean.shape and found.over == "seeds and images"
    given = np.isfinite(found.low)
    assert given.mean() > 0.9
    assert (found.low[given] > 0).all() and (found.high - found.value > found.value - found.low)[given].all()
    signed = result_of(**(vars(result) | {"mean": result.mean - result.mean.max() / 2, "score": "signed"})).band()
    np.testing.assert_allclose(signed.high - signed.value, signed.value - signed.low)
    with pytest.raises(InputError, match="holds no sums over seeds or images"):
        result_of().band()


@pytest.mark.filterwarnings("ignore:There are 6 independent")
def test_intervals_of_measures_with_several_numbers():
    """A part is chosen by name, a property too; without one, or with a wrong one, the parts are named."""
    result = sampled(average="normalized")
    assert result.interval("gaussian", part="sigma").value.shape == (2, 2)
    np.testing.assert_array_equal(
        result.interval("gaussian", part="residual").value, result.measure("gaussian").residual
    )
    with pytest.raises(InputError, match=r"'gaussian' has no part 'width'. It has: amplitude, mean, covariance"):
        result.interval("gaussian", part="width")
    with pytest.raises(InputError, match=r"The measure 'gaussian' gives several numbers.*part='amplitude'"):
        result.interval("gaussian")
    with pytest.raises(InputError, match=r"'sigma' has no part 'x'. It has: a single number"):
        result.interval("sigma", part="x")


def test_few_seeds_are_told_of_either_average():
    """A normalized mean of six seeds warns as a weighted one does; thirty seeds do not."""
    result = sampled(average="normalized")
    with pytest.warns(UserWarning, match=r"There are 6 independent samples.*some 30 to be known to a tenth"):
        assert result.interval("sigma").blocks == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampled(seeds=30, average="normalized").interval("sigma")
    assert "worth" not in repr(result)
    assert "18 samples worth 4." in repr(sampled())


def test_intervals_need_samples():
    """A result of one network and one image says what to run."""
    with pytest.raises(InputError, match=r"12 samples holds no sums over seeds or images, which intervals need"):
        result_of().interval("sigma")
    with pytest.raises(InputError, match="Run it with several seeds"):
        sampled(seeds=1).interval("sigma", over="seeds")
    with pytest.raises(UnknownNameError, match="Unknown factor 'probes'. Known: 'images', 'seeds'"):
        sampled().interval("sigma", over="probes")


def test_root_mean_square_and_its_error():
    """The root of the mean, with stderr / (2 rms); exact zeros have no error; other scores and averages have none."""
    mean, stderr = np.full((2, 15, 15), 4.0), np.full((2, 15, 15), 0.5)
    mean[0, 0, 0] = stderr[0, 0, 0] = 0
    root, error = result_of(mean=mean, stderr=stderr).rms()
    assert (root[1, 0, 0], error[1, 0, 0]) == (2, 0.125)
    assert (root[0, 0, 0], error[0, 0, 0]) == (0, 0)
    with pytest.raises(InputError, match="needs the score 'square' and the weighted average; this result has 'abs'"):
        result_of(score="abs").rms()
    with pytest.raises(InputError, match="this result has 'square' and 'normalized'"):
        sampled(average="normalized").rms()


def test_root_mean_square_errors_are_true():
    """Over repeated experiments the error of the root is its standard deviation, to 10 %."""
    rng = np.random.default_rng(0)
    samples = np.square(rng.standard_normal((50, 15 * 15)))
    repeated = np.sqrt(np.square(rng.standard_normal((50, 4000))).mean(0))
    mean, stderr = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(50)
    error = result_of(mean=np.tile(mean, 2).reshape(2, 15, 15), stderr=np.tile(stderr, 2).reshape(2, 15, 15)).rms()[1]
    assert error.mean() == pytest.approx(repeated.std(), rel=0.1)


@pytest.mark.filterwarnings("ignore:There are 6 independent")
@pytest.mark.parametrize("name", ["r.zarr", "r.npz", "r.nc"])
def test_samples_survive_saving(tmp_path, name):
    """Sums by seed and image, variances and the average come back, and give the same intervals."""
    result = sampled(average="normalized")
    again = jaxrf.results.result.load(result.save(tmp_path / name))
    assert again.average == "normalized"
    for array in ("between", "within", "effective"):
        np.testing.assert_array_equal(getattr(again, array), getattr(result, array))
    for over in ("seeds", "images"):
        ours, theirs = result.interval("sigma", over=over), again.interval("sigma", over=over)
        np.testing.assert_array_equal(ours.low, theirs.low)
    assert (again.groups["seeds"].seen, again.groups["seeds"].levels) == (0b111111, 6)
