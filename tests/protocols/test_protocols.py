"""Protocols: that they are complete, that nothing contradicts them, and what they read off a map."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.protocols import Protocol, displays, protocols
from jaxrf.statistics.measures import measures
from tests.results.test_result import result_of, row_of


@pytest.mark.parametrize("protocol", protocols.values(), ids=list(protocols))
def test_every_choice_exists(protocol):
    """Names of measures, options, display transforms and scores are those of the registries."""
    from jaxrf.engine.channels import check_channels
    from jaxrf.engine.scores import scores

    assert protocols[protocol.name] is protocol
    assert protocol.score in scores and protocol.display in displays
    check_channels(protocol.channels, 8, "layer")
    for reading in protocol.readings:
        assert set(reading.options) <= set(inspect.signature(measures[reading.measure]).parameters)
    assert protocol.known and protocol.unknown and protocol.incomparable and protocol.source


@pytest.mark.parametrize("protocol", protocols.values(), ids=list(protocols))
def test_options_may_repeat_and_not_contradict(protocol):
    """What is fixed may be said again; another value is refused, with both."""
    fixed = protocol.settings()
    assert protocol.settings({**fixed, "layer": "stem"}) == fixed
    for name, other in (("score", "signed"), ("channels", "probe"), ("units", "all"), ("average", "normalized")):
        with pytest.raises(InputError, match=f"The protocol '{protocol.name}' fixes {name}=.*, and {name}='{other}'"):
            protocol.settings({name: other})
    with pytest.raises(InputError, match="fixes units="):
        protocol.settings({"units": np.array([[3, 3]])})


PUBLISHED = {
    "luo2016": (None, "center", 0, "abs", "weighted", "as_is"),
    "mambair2024": ((120, 120), "middle", "sum", "relu", "weighted", "power_0.25"),
    "openerf": (None, "middle", "sum", "positive_sum", "weighted", "sum_to_one"),
    "replknet2022": ((1024, 1024), "middle", "relu_sum", "relu", "weighted", "log10_of_one_more"),
    "slak2023": ((1024, 1024), "middle", "relu_sum", "relu", "weighted", "peak_to_one"),
    "vmamba2024": ((1024, 1024), "middle", "relu_sum", "relu", "weighted", "power_0.2"),
}
"""Written down once more from papers and scripts: size of images, units, channels, score, average, display."""


def test_choices_are_those_of_the_sources():
    """Each protocol's choices, the radii of OpenERF and the shares of RepLKNet's script."""
    found = {p.name: (p.input_size, p.units, p.channels, p.score, p.average, p.display) for p in protocols.values()}
    assert found == PUBLISHED

    def options(name, option):
        return [r.options[option] for r in protocols[name].readings if option in r.options]

    assert options("openerf", "radius") == [5, 10, 20, 30, 40, 60, 80]
    assert options("replknet2022", "share") == options("slak2023", "share") == [0.2, 0.3, 0.5, 0.99]
    assert not protocols["vmamba2024"].readings and not protocols["mambair2024"].readings


def test_requests_take_what_is_fixed():
    """Options left at their defaults are replaced; a choice of units of any kind contradicts."""
    from jaxrf.engine.units import Grid
    from jaxrf.planning.options import Options

    found = Options(layer="stem", protocol="openerf").settled()
    assert (found.units, found.channels, found.score, found.layer) == ("middle", "sum", "positive_sum", "stem")
    for units in (Grid((2, 2)), [[3, 3]], np.array([[3, 3]]), "all"):
        with pytest.raises(InputError, match="'openerf' fixes units='middle', and units="):
            Options(units=units, protocol="openerf").settled()


@pytest.mark.parametrize("option", [{"channels": "probe"}, {"score": "square"}])
def test_a_default_that_is_given_is_a_choice(option):
    """What equals a default and was written down contradicts as well; what was not is replaced."""
    model, call = zoo.conv_stack(depth=2, width=4), {"inputs": jaxrf.noise(1), "input_shape": (9, 11, 3)}
    for function in (jaxrf.erf, jaxrf.plan, jaxrf.check):
        (name, value) = next(iter(option.items()))
        with pytest.raises(InputError, match=f"'luo2016' fixes {name}=.*, and {name}='{value}' was given"):
            function(model, protocol="luo2016", **call, **option)
    found = jaxrf.erf(model, protocol="luo2016", units="center", average="weighted", **call)
    assert (found.channels, found.score) == (0, "abs")
    plain = jaxrf.erf(model, **call)
    assert [type(value) for value in (plain.channels, plain.score, plain.average)] == [str] * 3


def test_sizes():
    """RepLKNet's images have 1024 positions a side; the others take any."""
    protocols["replknet2022"].check_size((1024, 1024))
    protocols["openerf"].check_size((224, 192))
    with pytest.raises(InputError, match="'replknet2022' is for images of 1024x1024 positions, and these have 224x224"):
        protocols["replknet2022"].check_size((224, 224))


def test_unknown_protocols_name_the_nearest():
    """A misspelled protocol is answered with the known ones."""
    with pytest.raises(UnknownNameError, match="Unknown protocol 'replknet'.*Did you mean 'replknet2022'"):
        protocols["replknet"]


def made_with(protocol: Protocol, mean: np.ndarray, **changes):
    place = {"units": [(16, 16)], "origin": [(0, 0)], "theoretical": row_of((32, 32), stride=32, size=991, padding=495)}
    choices = {"channels": protocol.channels, "score": protocol.score, "input_shape": mean.shape[1:]}
    return result_of(mean=mean, stderr=mean, **(place | choices | changes))


def test_replknet_reads_what_the_script_reads():
    """The four ratios on a made map, against the loop of the paper's script written out; and the scale matters."""
    y, x = np.mgrid[:1024, :1024] - 512
    erf_map = 30 * np.exp(-np.hypot(y, x) / 60)[None]
    protocol = protocols["replknet2022"]
    readings = protocol.read(made_with(protocol, erf_map))
    shown = np.log10(erf_map[0] + 1)
    shown /= shown.max()
    np.testing.assert_allclose(protocol.shown(erf_map)[0], shown, rtol=1e-12)
    for share, (label, ratio) in zip((0.2, 0.3, 0.5, 0.99), readings.items(), strict=True):
        half = next(i for i in range(1, 512) if shown[512 - i : 513 + i, 512 - i : 513 + i].sum() > share * shown.sum())
        assert label == f"area ratio at {share:.0%}"
        np.testing.assert_allclose(ratio, (2 * half + 1) ** 2 / 1024**2)
    weaker = protocol.read(made_with(protocol, erf_map / 1000))
    assert all(weaker[label] < 0.9 * readings[label] for label in list(readings)[:3])


def test_openerf_reads_the_sigma_that_openerf_fits():
    """A tilted ellipse read under the protocol has the two widths that five parameters without tilt get, as there."""
    from scipy.optimize import curve_fit

    y, x = np.mgrid[:40, :44].astype(float)
    erf_map = np.exp(-((y - 18) ** 2 / 30 + (x - 25) ** 2 / 70 - (y - 18) * (x - 25) / 50))

    def bell(_, volume, mx, my, sx, sy):
        shape = np.exp(-((x - mx) ** 2 / (2 * sx**2) + (y - my) ** 2 / (2 * sy**2)))
        return (volume * shape / (2 * np.pi * sx * sy)).ravel()

    theirs, _ = curve_fit(bell, None, (erf_map / erf_map.sum()).ravel(), p0=(2, 20, 16, 3, 5))
    ours = protocols["openerf"].read(made_with(protocols["openerf"], erf_map[None]))["sigma of the Gaussian"]
    np.testing.assert_allclose(ours[0], theirs[[4, 3]], rtol=1e-4)


def test_other_choices_are_not_the_protocols_numbers():
    """A result that was made with another score is refused."""
    protocol = protocols["luo2016"]
    mean = np.random.default_rng(0).random((1, 40, 40))
    assert set(protocol.read(made_with(protocol, mean))) == {"ERF size", "ERF size / theoretical size"}
    with pytest.raises(InputError, match="'luo2016' fixes score='abs', and score='square' was given"):
        protocol.read(made_with(protocol, mean, score="square"))


def test_displays():
    """Maps of zeros stay zeros, sums become one, and peaks one."""
    maps = np.array([[[0.0, 9.0], [9.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert displays["as_is"](maps) is maps
    np.testing.assert_allclose(displays["sum_to_one"](maps).sum((1, 2)), [1, 0])
    np.testing.assert_allclose(displays["log10_of_one_more"](maps).max((1, 2)), [1, 0])
    for name in ("power_0.2", "power_0.25", "peak_to_one"):
        np.testing.assert_allclose(displays[name](maps).max((1, 2)), [1, 0])


def test_displays_of_the_same_map_differ_as_the_protocols_say():
    """A thousandth of the peak is a quarter of it, a sixth, and a thousandth."""
    maps = np.array([[[1000.0, 1.0]]])
    shown = {name: protocols[name].shown(maps)[0, 0, 1] for name in ("vmamba2024", "mambair2024", "slak2023")}
    np.testing.assert_allclose(list(shown.values()), [1e-3**0.2, 1e-3**0.25, 1e-3])
    assert protocols["vmamba2024"].read(made_with(protocols["vmamba2024"], np.ones((1, 1024, 1024)))) == {}
