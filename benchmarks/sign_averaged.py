"""What does the sign-averaged estimator gain, and how far is it off, against sampling the same random networks?

Both estimators run on the same networks, images and units.
Bias: of the total and of sigma, from the ratio of mean maps, the same networks left out of both for the error.
Gain: how many times fewer samples give the same error of the mean map, of its shape, of its width and of its total.
Time: to a mean map of a ResNet-50's `layer2` with a relative error of 1 %, beside loops that sample in PyTorch and JAX:
the time of a sample, times the samples that it takes by the variance that was measured.

    python benchmarks/sign_averaged.py --repeats 3
    python benchmarks/sign_averaged.py --tables bias --cases U-Net --precise 0.2 --seconds 150 --seeds 16384
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from _common import Report, interleaved, is_there, parser, seconds
from _jobs import _torch as torch_network
from _peers import Samples, TorchSeeds, jax_seed_forms

from jaxrf import zoo
from jaxrf.engine.run import Pullback
from jaxrf.engine.units import grid
from jaxrf.fields.opening import open_call
from jaxrf.fields.run import Run as LayerRun
from jaxrf.fields.run import sample_keys
from jaxrf.inputs.images import as_images, noise
from jaxrf.planning.options import Options

TABLES = ("bias", "gain", "time")
ERROR = 0.01
"""Relative L2 error of the mean map that `time` is measured to."""
PRECISE = (0.0125, 0.0025)
"""Standard errors of the bias in total and in sigma below which a case has been measured."""
AIMS = {"normalized map": 30.0, "raw map": 10.0, "sigma": 4.0, "total": None}
FASTER = 50.0
"""How many times less time than the loop in PyTorch on the whole image is aimed at."""
CALL = 8
"""Networks in a call that is timed, of every candidate."""


@dataclass(frozen=True)
class Case:
    """A network with a unit, and how far the estimator is allowed to be off, relative, in total and in sigma."""

    model: Any
    shape: tuple[int, ...]
    layer: str | None = None
    allowed: tuple[float, float] | None = (0.05, 0.01)
    init: Any = None


class PooledStack(nn.Module):
    """Convolutions with overlapping average pools of three positions and stride two between them."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(3):
            x = nn.relu(nn.Conv(self.width, (3, 3), use_bias=False)(x))
            x = nn.avg_pool(x, (3, 3), (2, 2), "SAME")
        return nn.Conv(self.width, (3, 3), use_bias=False)(x)


class NormedStack(nn.Module):
    """Convolutions with a norm over groups of channels and all positions behind each."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(4):
            x = nn.Conv(self.width, (3, 3), use_bias=False)(x)
            x = nn.relu(nn.GroupNorm(min(8, self.width))(x))
        return nn.Conv(self.width, (3, 3), use_bias=False)(x)


class GatedBlocks(nn.Module):
    """Residual blocks with squeeze-and-excitation: channels are scaled by what their means over all positions give."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.width, (3, 3), (2, 2), use_bias=False)(x)
        for _ in range(3):
            y = nn.relu(nn.Conv(self.width, (3, 3), use_bias=False)(x))
            y = nn.Conv(self.width, (3, 3), use_bias=False)(y)
            gate = nn.relu(nn.Dense(max(self.width // 4, 1))(y.mean((1, 2), keepdims=True)))
            x = nn.relu(x + y * nn.sigmoid(nn.Dense(self.width)(gate)))
        return x


def cases(small: bool) -> dict[str, Case]:
    """The architectures whose bias is measured."""
    n, side, unet = (4, 24, (8, 12, 1)) if small else (32, 96, (48, 64, 1))
    stack = {"width": n, "depth": 3 if small else 6}
    net: dict[str, Any] = {"width": 4} if small else {}
    shape, plain = (side, side, 3), (17, 19, 3) if small else (33, 35, 3)
    found = {
        "ReLU stack": Case(zoo.conv_stack(**stack), plain, allowed=(0.02, 0.005)),
        "tanh stack": Case(zoo.conv_stack(**stack, activation="tanh"), plain),
        "SiLU stack": Case(zoo.conv_stack(**stack, activation="silu"), plain, allowed=None),
        "dilated stack": Case(zoo.conv_stack(**stack, dilation=2), (41, 43, 3)),
        "orthogonal ReLU stack": Case(zoo.conv_stack(**stack), plain, init={"*/kernel": "orthogonal"}),
        "ResNet-18 layer1": Case(zoo.resnet18(stages=1, **net), shape, "layer1"),
        "ResNet-18 layer2": Case(zoo.resnet18(stages=2, **net), shape, "layer2"),
        "ResNet-50 layer1": Case(zoo.resnet50(stages=1, **net), shape, "layer1"),
        "ResNet-50 layer2": Case(zoo.resnet50(stages=2, **net), shape, "layer2"),
        "MobileNet-V2": Case(zoo.mobilenet_v2(width=0.125 if small else 1.0), shape, allowed=(0.10, 0.015)),
        "ConvNeXt, layer scale 1": Case(zoo.convnext_tiny(layer_scale=1.0, stages=1), shape, allowed=None),
        "GroupNorm stack": Case(NormedStack(n), plain, allowed=None),
        "squeeze-and-excitation": Case(GatedBlocks(n), (49, 51, 3), allowed=None),
        "overlapping average pools": Case(PooledStack(n), shape, allowed=None),
        **{
            f"U-Net, {up}": Case(zoo.unet(depth=2, width=n // 2, up=up), unet)
            for up in ("nearest", "transposed", "bilinear")
        },
    }
    return dict(list(found.items())[::6]) if small else found


def prepared(case: Case, pool: bool = False) -> LayerRun:
    """The estimator's job for the center unit; with `pool` for a grid of units, averaged."""
    options = Options(
        units=grid(2, 2) if pool else "center", layer=case.layer, pool_units=pool, crop=not pool,
        estimator="sign_averaged", certify=False, init=case.init,
    )  # fmt: skip
    (run,) = open_call(case.model, None, as_images(noise(1), case.shape), options).runs.values()
    return run


class Run:
    """Maps of both estimators, network by network."""

    def __init__(self, run: LayerRun, images: int = 1):
        self.run = run
        layer = run.prepared
        self.pulls = {"averaged": layer.pullback, "sampled": replace(layer.pullback, signs=None)}
        self.images = layer.cropped(noise(images).images(0, images, layer.subject.input_shape, np.float32))[:, None]

    def maps(self, name: str, seed: int) -> np.ndarray:
        """The mean over images of the maps of one network, (*spatial)."""
        pull: Pullback = self.pulls[name]
        keys = sample_keys(seed, 0, len(self.images))
        return pull.maps(self.run.leaves(seed), self.images, keys).maps[:, 0].mean(axis=0, dtype=np.float64)

    def first_calls(self) -> dict[str, float]:
        """Seconds of the first call of each estimator, compilation among them."""
        return {name: seconds(lambda name=name: self.maps(name, 0)) for name in self.pulls}

    def of(self, name: str, seeds: range) -> np.ndarray:
        """Maps (network, *spatial) of one estimator."""
        return np.stack([self.maps(name, seed) for seed in seeds])

    def both(self, seeds: range) -> dict[str, np.ndarray]:
        """Maps (network, *spatial) of each estimator."""
        return {name: self.of(name, seeds) for name in self.pulls}


def total(maps: np.ndarray) -> np.ndarray:
    """Sum of each map (..., y, x)."""
    return maps.sum((-2, -1))


def sigma(maps: np.ndarray) -> np.ndarray:
    """Width of each map, the geometric mean of both axes."""
    variances = []
    for axis in (-2, -1):
        profile = maps.sum(-3 - axis)
        profile = profile / profile.sum(-1, keepdims=True)
        at = np.arange(profile.shape[-1])
        middle = (profile * at).sum(-1, keepdims=True)
        variances.append((profile * np.square(at - middle)).sum(-1))
    return (variances[0] * variances[1]) ** 0.25


def left_out(maps: np.ndarray) -> np.ndarray:
    """Mean maps without each of the networks."""
    return (maps.sum(0) - maps) / (len(maps) - 1)


def error(of_left_out: np.ndarray) -> np.ndarray:
    """Jackknife standard error of what was measured without each network, along the first axis."""
    return of_left_out.std(0) * np.sqrt(len(of_left_out) - 1)


def bias(maps: dict[str, np.ndarray], measure: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """How far the estimator is above sampling, relative, and the standard error of that."""
    value = np.log(measure(maps["averaged"].mean(0)) / measure(maps["sampled"].mean(0)))
    parts = np.log(measure(left_out(maps["averaged"])) / measure(left_out(maps["sampled"])))
    return float(value), float(error(parts))


def gains(maps: dict[str, np.ndarray]) -> dict[str, float]:
    """Ratios of squared relative errors of the two mean maps: how many times fewer samples the estimator needs."""
    squared: dict[str, list[float]] = {"raw map": [], "normalized map": [], "sigma": [], "total": []}
    for name in ("sampled", "averaged"):
        mean, parts = maps[name].mean(0), left_out(maps[name])
        shapes = parts / total(parts)[:, None, None]
        squared["raw map"].append(np.square(error(parts)).sum() / np.square(mean).sum())
        squared["normalized map"].append(np.square(error(shapes)).sum() / np.square(mean / mean.sum()).sum())
        squared["sigma"].append(float(error(sigma(parts)) / sigma(mean)) ** 2)
        squared["total"].append(float(error(total(parts)) / total(mean)) ** 2)
    return {name: float(sampled / averaged) for name, (sampled, averaged) in squared.items()}


def samples_for(maps: np.ndarray, wanted: float = ERROR) -> float:
    """How many samples a relative L2 error of the mean map takes, from its error with those at hand."""
    relative = np.square(error(left_out(maps))).sum() / np.square(maps.mean(0)).sum()
    return float(len(maps) * relative / wanted**2)


def gain_errors(maps: dict[str, np.ndarray], groups: int = 16) -> dict[str, float]:
    """Standard errors of the logarithms of `gains`, by leaving out groups of networks."""
    number = np.arange(len(maps["sampled"])) % groups
    parts = [gains({name: found[number != one] for name, found in maps.items()}) for one in range(groups)]
    return {name: float(error(np.log([part[name] for part in parts]))) for name in parts[0]}


def measure_bias(report: Report, chosen: dict[str, Case], seeds: int, budget: float, share: float) -> None:
    """Of each case, with networks until it is known well, or `budget` seconds or the `seeds` are over.

    Well is a standard error of at most this `share` of `PRECISE`.
    """
    for name, case in chosen.items():
        run, found = Run(prepared(case, pool=True), images=4), {}
        maps, start = run.both(range(2)), time.perf_counter()
        while len(maps["sampled"]) < seeds and time.perf_counter() - start < budget:
            more = run.both(range(len(maps["sampled"]), min(len(maps["sampled"]) + 16, seeds)))
            maps = {key: np.concatenate([maps[key], more[key]]) for key in maps}
            found = {measure: bias(maps, measure) for measure in (total, sigma)}
            precise = all(e < share * wanted for (_, e), wanted in zip(found.values(), PRECISE))
            if precise and len(maps["sampled"]) > 100:
                break
        columns: dict[str, Any] = {}
        for (measure, (value, stderr)), limit in zip(found.items(), case.allowed or (None, None)):
            columns[f"{measure.__name__} %"], columns[f"± ({measure.__name__})"] = 100 * value, 100 * stderr
            columns[f"allowed % ({measure.__name__})"] = None if limit is None else 100 * limit
        report.add("Bias", name, {**columns, "networks": len(maps["sampled"])}, {"images": 4, "units": 4})


def layer2(small: bool) -> Case:
    model = zoo.resnet50(stages=1, width=4) if small else zoo.resnet50(stages=2)
    return Case(model, (48, 48, 3) if small else (224, 224, 3), "layer1" if small else "layer2")


def measure_gain(report: Report, maps: dict[str, np.ndarray]) -> None:
    found, errors = gains(maps), gain_errors(maps)
    for name, aim in AIMS.items():
        columns = {"times fewer": found[name], "± %": 100 * errors[name], "aim": aim}
        report.add("Gain in samples, ResNet-50 layer2", name, columns, {"networks": len(maps["sampled"])})


def measure_time(
    report: Report, run: Run, first_calls: dict[str, float], maps: dict[str, np.ndarray], repeats: int, small: bool
) -> None:
    """Seconds of one sample of each way to the same mean map, and what they come to."""
    peers = _peers(layer2(small), run, small)
    candidates: dict[str, tuple[Callable[[], Any], int]] = {
        "sign-averaged, cone": (lambda: run.of("averaged", range(CALL)), CALL),
        "sampled, cone": (lambda: run.of("sampled", range(CALL)), CALL),
        **peers,
    }
    first = {name: seconds(call) for name, (call, _) in peers.items()}
    first |= {"sign-averaged, cone": first_calls["averaged"], "sampled, cone": first_calls["sampled"]}
    rounds = interleaved({name: call for name, (call, _) in candidates.items()}, repeats)
    needed = {name: samples_for(kind) for name, kind in maps.items()}
    each = {name: statistics.median(times) / candidates[name][1] for name, times in rounds.items()}
    samples = {name: needed["averaged" if name.startswith("sign") else "sampled"] for name in candidates}
    whole = {name: each[name] * samples[name] for name in each}
    for name in each:
        columns = {
            "ms a sample": 1000 * each[name],
            "samples": round(samples[name]),
            "minutes": whole[name] / 60,
            "first call s": first[name],
            "times faster than PyTorch": whole[TORCH] / whole[name] if TORCH in whole else None,
            "aim": FASTER if name.startswith("sign") else None,
        }
        report.add("Time to 1 %, ResNet-50 layer2", name, columns, {"networks": len(maps["sampled"])})


TORCH = "PyTorch, whole image"


def _peers(case: Case, run: Run, small: bool) -> dict[str, tuple[Callable[[], Any], int]]:
    """Loops over networks on the whole image, and on the crop that the unit depends on; and the samples of a call."""
    layer, size = run.run.prepared, run.images.shape[2:4]
    center = np.asarray(layer.units)
    moved = center - np.array(layer.shift or (0, 0)) // np.array(layer.row.stride)
    found: dict[str, tuple[Callable[[], Any], int]] = {}
    for name, shape, units in (("whole image", case.shape[:2], center), ("crop", size, moved)):
        samples = _samples(shape, units, layer.pullback.channel_count, CALL)
        if name == "whole image":
            vmapped, looped = jax_seed_forms(case.model, jax.random.split(jax.random.key(0), CALL), samples, (CALL,))
            found["naive JAX, whole image"] = next(iter(vmapped.values())), CALL
            found["JAX seed by seed, whole image"] = next(iter(looped.values())), CALL
        if is_there("torch"):
            network = {"stages": 1, "width": 4} if small else {"stages": 2}
            forms = TorchSeeds(torch_network("resnet", **network), lambda seed: None, samples).forms().values()
            trials = {form: [seconds(form) for _ in range(2)][1] for form in forms}
            found[f"PyTorch, {name}"] = min(trials, key=lambda form: trials[form]), CALL
    return found


def _samples(shape: tuple[int, ...], units: np.ndarray, channels: int, seeds: int) -> Samples:
    """One image and a probe for each of the seeds."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, *shape, 3)).astype(np.float32)
    probes = rng.choice(np.array([-1, 1], np.float32), size=(seeds, 1, channels))
    return Samples(image, np.zeros(1, int), units, probes)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tables", default=",".join(TABLES), help=f"which of {','.join(TABLES)} (default: all)")
    options.add_argument("--seeds", type=int, help="networks per estimator, at most (default: 1024; 32 if --small)")
    options.add_argument("--seconds", type=float, default=15.0, help="for each case of `bias` (default: 15)")
    options.add_argument("--cases", default="", help="those of `bias` with this in their names (default: all)")
    options.add_argument("--precise", type=float, default=1.0, help="errors of `bias`, as a share of the usual")
    given = options.parse_args()
    chosen = given.tables.split(",")
    if wrong := [name for name in chosen if name not in TABLES]:
        options.error(f"no table {wrong[0]!r}; there are {', '.join(TABLES)}")
    of_bias = {name: case for name, case in cases(given.small).items() if given.cases in name}
    if not of_bias:
        options.error(f"no case with {given.cases!r} in its name; there are {', '.join(cases(given.small))}")
    jax.config.update("jax_default_matmul_precision", "highest")
    report, seeds = Report("sign_averaged", given), given.seeds or (32 if given.small else 1024)
    if "gain" in chosen or "time" in chosen:
        run = Run(prepared(layer2(given.small)))
        first_calls = run.first_calls()
        maps = run.both(range(seeds))
        if "gain" in chosen:
            measure_gain(report, maps)
        if "time" in chosen:
            measure_time(report, run, first_calls, maps, given.repeats, given.small)
    if "bias" in chosen:
        measure_bias(report, of_bias, seeds, given.seconds, given.precise)


if __name__ == "__main__":
    main()
