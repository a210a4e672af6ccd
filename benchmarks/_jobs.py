"""The jobs of the engine's benchmark: networks, images and units that studies of effective fields ask for.

A `Job` is what is asked; `Mine` is jaxrf's side of it, prepared as `jaxrf.erf` prepares it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from _peers import Samples

from jaxrf import zoo
from jaxrf.engine.channels import channel_rule
from jaxrf.fields.opening import open_call
from jaxrf.fields.run import sample_keys
from jaxrf.inputs.images import as_images
from jaxrf.planning.options import Options


@dataclass(frozen=True, eq=False)
class Job:
    """Maps of some units of a layer.

    Attributes:
        name: the letter of the job, and the network.
        question: what is asked, in words.
        model: the Flax network that jaxrf gets.
        layer: the layer asked for; None for the output.
        peer: the network up to that layer, for plain JAX.
        torch: makes the same network in PyTorch, without importing it here.
        shape: of one image.
        floors: the least ratios that are aimed at, to PyTorch and to plain JAX.
        images: how many images.
        units: "center", "all", or how many drawn at random.
        seeds: how many random initializations; None for one given set of weights.
        sizes: how many units (or seeds) the batched forms of the peers take at once.
        measured: of how many samples the peers are timed; their time per sample does not depend on it.
    """

    name: str
    question: str
    model: Any
    peer: Any
    torch: Callable[[], Any]
    shape: tuple[int, int, int]
    floors: tuple[float, float]
    layer: str | None = None
    images: int = 1
    units: str | int = "center"
    seeds: int | None = None
    sizes: tuple[int, ...] = (8, 32)
    measured: int = 32


def jobs(small: bool) -> list[Job]:
    """All jobs, at their full or at tiny sizes."""
    return [*_centers(small), *_residual(small), *_stacks(small)]


def _torch(name: str, *args: Any, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        import _torch_models

        return getattr(_torch_models, name)(*args, **options)

    return build


def _centers(small: bool) -> list[Job]:
    """Center unit of the last layer of several images."""
    shape, n = ((24, 24, 3), 2) if small else ((224, 224, 3), 8)
    resnet = {"stages": 1, "width": 8} if small else {}
    convnext = {"stages": 1} if small else {}
    mobilenet = {"width": 0.125} if small else {}
    scaled = zoo.convnext_tiny(layer_scale=1.0, **convnext)  # at the published 1e-6 the blocks would hardly count
    what = f"center unit of the last layer, {n} images {shape[0]}²"
    found = [
        ("A ResNet-50", zoo.resnet50(**resnet), _torch("resnet", **resnet), (1.1, 1.2)),
        ("A ConvNeXt-T", scaled, _torch("convnext_tiny", **convnext), (0.8, 2.5)),
        ("A MobileNet-V2", zoo.mobilenet_v2(**mobilenet), _torch("mobilenet_v2", **mobilenet), (1.2, 7.0)),
    ]
    return [Job(name, what, model, model, build, shape, floors, images=n) for name, model, build, floors in found]


def _residual(small: bool) -> list[Job]:
    """Units of inner layers of a ResNet-50."""
    width, side, large = (8, 24, 64) if small else (64, 224, 1024)
    lower, upper, last = (1, 1, 1) if small else (2, 3, 4)
    sizes = (4,) if small else (8, 32)
    model = zoo.resnet50(width=width, stages=last)

    def job(name: str, stage: int, side: int, units: str, floors: tuple[float, float]) -> Job:
        peer = zoo.resnet50(width=width, stages=stage)
        torch = _torch("resnet", width=width, stages=stage)
        words = f"{'all units' if units == 'all' else 'center unit'} of `layer{stage}`, one image {side}²"
        return Job(name, words, model, peer, torch, (side, side, 3), floors, f"layer{stage}", units=units, sizes=sizes)

    return [
        job("B ResNet-50", lower, side, "all", (10.0, 25.0)),
        job("C ResNet-50", upper, side, "all", (1.1, 2.5)),
        job("D ResNet-50", last, large, "center", (3.5, 4.0)),
    ]


def _stacks(small: bool) -> list[Job]:
    """Plain stacks and a U-Net."""
    depth, width, side = (3, 4, 10) if small else (10, 32, 64)
    stack = zoo.conv_stack(depth=depth, width=width)
    deep, seeds, inputs = (4, 3, 2) if small else (20, 64, 4)
    many = zoo.conv_stack(depth=deep, width=width)
    levels, base, large, units = (1, 4, 16, 10) if small else (4, 16, 256, 256)
    unet = zoo.unet(depth=levels, width=base)
    return [
        Job(
            "E conv stack",
            f"all {side}² units, {depth} layers 3×3 of {width} channels",
            stack, stack, _torch("conv_stack", depth, width), (side, side, 3), (8.0, 15.0), units="all",
            sizes=(16,) if small else (16, 64), measured=256,
        ),
        Job(
            "F U-Net",
            f"{units} units drawn over all phases, depth {levels}, base width {base}, one image {large}²",
            unet, unet, _torch("UNet", levels, base), (large, large, 1), (3.0, 6.0), units=units,
            sizes=(5,) if small else (8, 32),
        ),
        Job(
            "G seeds",
            f"{seeds} random initializations × {inputs} inputs, {deep} layers 3×3 of {width} channels, {side}²",
            many, many, _torch("conv_stack", deep, width), (side, side, 3), (2.0, 8.0), images=inputs, seeds=seeds,
            sizes=(2,) if small else (4, 16),
        ),
    ]  # fmt: skip


@dataclass(eq=False)
class Mine:
    """jaxrf's side of a job."""

    asked: Job
    dtype: type[np.floating] = np.float32
    variables: Any = None
    images: np.ndarray = field(init=False)
    prepared: float = field(init=False)
    """Seconds of tracing, finding boxes and planning windows."""

    def __post_init__(self) -> None:
        asked, rng = self.asked, np.random.default_rng(0)
        self.images = rng.normal(size=(asked.images, *asked.shape)).astype(self.dtype)
        if asked.seeds is None:
            drawn = jax.jit(asked.model.init)(jax.random.key(0), self.images[:1])
            self.variables = jax.tree.map(lambda a: a.astype(self.dtype), drawn)
        start = time.perf_counter()
        options = Options(units=self._units(rng), layer=asked.layer, seeds=asked.seeds)
        opened = open_call(asked.model, self.variables, as_images(self.images, None), options)
        self.inputs, self.seeds = opened.images, opened.seeds
        (self.work,) = opened.runs.values()
        self.layer = self.work.prepared
        self.prepared = time.perf_counter() - start

    def _units(self, rng: np.random.Generator) -> Any:
        if isinstance(self.asked.units, str):
            return self.asked.units
        side = self.asked.shape[:2]
        drawn = rng.choice(side[0] * side[1], self.asked.units, replace=False)
        return np.stack(np.unravel_index(drawn, side), axis=1)

    @property
    def count(self) -> int:
        """How many maps a run makes: units times images times seeds."""
        return len(self.layer.units) * len(self.images) * len(self.seeds)

    def run(self) -> Any:
        """What `jaxrf.erf` does once a map is prepared."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*zero everywhere.*")
            return self.work.result(self.inputs, self.seeds)

    def maps(self) -> np.ndarray:
        """Maps of every sample (seed, image, unit, *window)."""
        return np.stack([np.concatenate([s.maps for s in self.work.samples(self.inputs, seed)]) for seed in self.seeds])

    def cotangents(self) -> np.ndarray:
        """The random signs of every sample (seed, image, unit, channel)."""
        pull, units = self.layer.pullback, np.arange(len(self.layer.units))

        def of_image(key: jax.Array) -> jax.Array:
            return channel_rule("probe").cotangents(key, units, pull.channel_count, np.dtype(self.dtype))

        keys = [sample_keys(seed, 0, len(self.images)) for seed in self.seeds]
        return np.stack([jax.vmap(of_image)(k) for k in keys])

    def samples(self) -> tuple[Samples, np.ndarray]:
        """What the peers get: at most `measured` samples of the first seed, evenly spread; and their numbers."""
        image, unit = np.divmod(np.arange(len(self.images) * len(self.layer.units)), len(self.layer.units))
        chosen = np.unique(np.linspace(0, len(unit) - 1, min(self.asked.measured, len(unit))).astype(int))
        signs = self.cotangents()[0].reshape(len(unit), -1)
        return Samples(self.images, image[chosen], self.layer.units[unit[chosen]], signs[chosen]), chosen
