"""`jaxrf erf`: effective receptive fields of a model's units, on photos or on noise."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jaxrf.cli import figures, progress, values
from jaxrf.cli.folder import RunFolder
from jaxrf.cli.models import ModelOptions
from jaxrf.cli.options import Command, commands, option, positional
from jaxrf.cli.scale import ScaleOptions
from jaxrf.errors import InputError
from jaxrf.loading.preprocessing import Preprocessing

if TYPE_CHECKING:
    from jaxrf.loading.models import Loaded
    from jaxrf.results.result import Result
    from jaxrf.statistics.distances import ByDistance


def stopping_rule(text: str) -> tuple[str, float]:
    """A measure and the relative error wanted of it.

    >>> stopping_rule("0.01"), stopping_rule("total=0.02")
    (('sigma', 0.01), ('total', 0.02))
    """
    measure, _, error = text.rpartition("=")
    try:
        return measure or "sigma", float(error)
    except ValueError:
        raise InputError(f"{text!r} is not a relative error. Write for example 0.01, or total=0.02.") from None


def initializer(text: str) -> tuple[str, str]:
    """A pattern of parameter names and the name of an initializer.

    >>> initializer("*/kernel=orthogonal")
    ('*/kernel', 'orthogonal')
    """
    pattern, _, name = text.rpartition("=")
    if not pattern or not name:
        raise InputError(f"{text!r} is not PATTERN=NAME. Write for example */kernel=orthogonal.")
    return pattern, name


@commands.register("erf")
@dataclass(frozen=True, kw_only=True)
class Erf(ModelOptions, ScaleOptions, Command):
    """Map the effective fields of units.

    The inputs are photos, or standard normal noise where none are given.
    The weights are random, drawn anew for each seed, unless --variables names a checkpoint.
    """

    EXAMPLES: ClassVar[str] = """examples:
  jaxrf erf zoo:resnet50 photo.jpg --layer layer2 --seeds 16 --out runs/r50
  jaxrf erf zoo:conv_stack --model-option depth=5 --input 64x64x3 --noise 4 --plot erf.png
  jaxrf erf my_models.py:make_net --input 224x224x3 --variables checkpoint/ --units grid:8x8 --json
  jaxrf erf zoo:resnet50 --layer layer2 --estimator sign_averaged --until 0.01 --init '*/kernel=orthogonal'"""

    photos: tuple[str, ...] = positional("PNG, JPEG or .npy files", metavar="PHOTO", many=True)
    noise: int | None = option(
        "how many noise images to use where no photos are given (default: 1)", parse=values.count, metavar="N"
    )
    noise_seed: int = option("where the noise starts", default=0, parse=int, metavar="SEED")
    variables: str | None = option(
        "a checkpoint with the weights, here or at a URL: an Orbax folder, .msgpack, .npz, .safetensors or a PyTorch "
        "state_dict",
        metavar="PATH",
    )
    family: str | None = option(
        "whose names a state_dict has, as torchvision_resnet; photos are prepared as for its networks", metavar="NAME"
    )
    match: str = option(
        "match the checkpoint's arrays by name, or by kind, shape and order, and print what was matched",
        default="names",
        choices=("names", "order"),
    )
    step: int | None = option(
        "of a folder with a checkpoint for each step (default: the newest)", parse=int, metavar="N"
    )
    seeds: int | None = option("how many random initializations to average over", parse=values.count, metavar="N")
    units: Any = option(
        "center, all, grid:8x8, or positions as 3,3;5,5 (default: center)", parse=values.units, metavar="UNITS"
    )
    layer: str | None = option("the layer whose units are mapped (default: the output)", metavar="NAME")
    output: str | None = option("which of several outputs", metavar="NAME")
    wrt: str | None = option("the layer that is mapped onto (default: the input)", metavar="NAME")
    channels: int | str | None = option(
        "what is pulled back: probe, sum, relu_sum, each, or a channel's index (default: probe)",
        parse=values.index_or_name,
        metavar="RULE",
    )
    score: str | None = option("square, abs, relu or signed (default: square)", metavar="NAME")
    average: str | None = option("weighted, or normalized: each map is divided by its sum first", metavar="NAME")
    until: Any = option(
        "stop at this relative standard error of sigma, or of another measure as total=0.02; as many seeds as it "
        "takes if --seeds is not given",
        parse=stopping_rule,
        metavar="ERROR",
    )
    init: tuple[tuple[str, str], ...] = option(
        "an initializer for the parameters of a pattern, as */kernel=orthogonal; may be repeated",
        parse=initializer,
        metavar="PATTERN=NAME",
        repeat=True,
    )
    protocol: str | None = option(
        "choices as published: luo2016, replknet2022, slak2023, vmamba2024, mambair2024, openerf", metavar="NAME"
    )
    estimator: str | None = option("sampled, or sign_averaged for random weights", metavar="NAME")
    by_distance: str | None = option(
        "print the mean score by distance from the unit, and which law it follows",
        choices=("euclidean", "chebyshev", "token"),
    )
    out: str | None = option("a folder for the maps (Zarr) and a description of the run", metavar="DIR")
    overwrite: bool = option("let --out replace an earlier run", default=False)
    plot: str | None = option("save a figure here: .png, .pdf or .svg", metavar="FILE")

    def run(self) -> int:
        if self.photos and self.noise is not None:
            raise InputError("Photos and --noise were both given. Choose one kind of input.")
        if self.variables is not None and self.seeds is not None:
            raise InputError("--seeds draws random weights and --variables reads trained ones. Choose one.")
        loaded, input_shape = self.load()
        folder = RunFolder.claim(self.out, overwrite=self.overwrite) if self.out is not None else None
        result = self._map(loaded, input_shape)
        written = self._write(result, folder, loaded)
        far = result.by_distance(self.by_distance) if self.by_distance is not None else None
        if self.json:
            profile = {} if far is None else {"by_distance": profile_facts(far)}
            print(json.dumps({**summary(result), **profile, "written": written}, indent=2))
        else:
            lines = [] if far is None else describe_profile(far)
            print("\n".join([*describe(summary(result)), *lines, *(f"wrote {path}" for path in written)]))
        return 0

    def _variables(self, loaded: Any, input_shape: tuple[int, ...]) -> Any:
        """The weights of the checkpoint, if there is one."""
        import jaxrf

        if self.variables is None:
            if self.family is not None or self.step is not None or self.match != "names":
                raise InputError(
                    "--family, --step and --match say how a checkpoint is read. Give it: --variables PATH."
                )
            return None
        named = self.family or loaded.names_of_torch or self.match == "order"
        needed = {"model": loaded.model, "input_shape": input_shape, **self.call_arguments()} if named else {}
        how = {"family": self.family, "step": self.step, "match": self.match}
        return jaxrf.load_variables(self.variables, **how, **needed)

    def _map(self, loaded: Any, input_shape: tuple[int, ...]) -> Result:
        import jaxrf

        units = jaxrf.grid(*self.units.counts) if isinstance(self.units, values.GridSpec) else self.units
        named = ("channels", "score", "average", "protocol", "estimator")
        options = {"units": units, "until": _rule(self.until), **{name: getattr(self, name) for name in named}}
        chosen = {name: value for name, value in options.items() if value is not None}
        with progress.bar("samples") as moved:
            return jaxrf.erf(
                loaded.model,
                self._variables(loaded, input_shape),
                self._inputs(loaded, input_shape),
                input_shape=input_shape,
                layer=self.layer,
                wrt=self.wrt,
                output=self.output,
                seeds=self.seeds,
                init=dict(self.init) or None,
                progress=moved,
                **chosen,
                **self.scale_arguments,
                **self.call_arguments(),
            )

    def _inputs(self, loaded: Loaded, input_shape: tuple[int, ...]) -> Any:
        """The photos as one array, or noise."""
        import jaxrf

        if self.photos:
            return read_photos(self.photos, input_shape, self._preprocessing(loaded))
        return jaxrf.noise(self.noise or 1, self.noise_seed)

    def _preprocessing(self, loaded: Loaded) -> Preprocessing:
        """That of the weights' family, or of the model's library."""
        from jaxrf.loading.families import families

        return loaded.preprocessing if self.family is None else families[self.family].preprocessing

    def _write(self, result: Result, folder: RunFolder | None, loaded: Loaded) -> list[str]:
        """Save what was asked for; the paths that were written."""
        written = []
        if folder is not None:
            asked = {name: value for name, value in asdict(self).items() if name not in ("json", "debug", "out")}
            folder.describe("erf", options=asked)
            result.save(folder.path / "erf.zarr", overwrite=self.overwrite)
            written.append(str(folder.path / "erf.zarr"))
        if self.plot is not None:
            beneath = self.photos[0] if len(self.photos) == 1 and self.wrt is None else None
            save_figure(result, self.plot, photo=beneath, crop=self._preprocessing(loaded).crop)
            written.append(self.plot)
        return written


def _rule(asked: tuple[str, float] | None) -> Any:
    from jaxrf.statistics import Until

    return Until(asked[1], asked[0]) if asked is not None else None


def read_photos(paths: tuple[str, ...], input_shape: tuple[int, ...], how: Preprocessing) -> Any:
    """The photos at `paths` as one array (photo, y, x, 3) or (photo, 3, y, x), prepared and of the model's input size."""
    import numpy as np

    from jaxrf.inputs import photos

    if len(input_shape) != 3 or 3 not in (input_shape[0], input_shape[-1]):
        raise InputError(
            f"Photos are inputs of the shape (y, x, 3) or (3, y, x), and this model's is {input_shape}. "
            "Leave the photos out to use noise, or call jaxrf.erf with an array."
        )
    if input_shape[-1] == 3:
        return np.stack([photos.read(path, input_shape[:2], how) for path in paths])
    return np.stack([np.moveaxis(photos.read(path, input_shape[1:], how), -1, 0) for path in paths])


def save_figure(result: Result, file: str, photo: str | None = None, crop: float = 1.0) -> None:
    """The map of the result's first unit, over the photo (cropped) where there is one, saved at `file`."""
    from jaxrf.inputs import photos

    figures.without_window()
    height, width = result.input_shape[0], result.input_shape[-1]
    how = Preprocessing(crop=crop)
    seen = None if photo is None else photos.displayable(photos.read(photo, (height, width), how), how)
    figures.save(result.plot(photo=seen), file)


def summary(result: Result) -> dict[str, Any]:
    """The numbers of a result that tell most, in JSON's types; measures are those of the first unit."""
    row = result.theoretical
    unit = f"in_{row.scale.unit or 'units'}" if row.scale else ""
    physical = (
        {}
        if not unit
        else {
            f"theoretical_size_{unit}": list(result.physical.theoretical.size),
            f"effective_size_{unit}": _first(result.physical.size("luo2016")),
        }
    )
    return {
        "layer": row.name,
        "units": len(result.units),
        "first_unit": [int(position) for position in result.units[0]],
        "samples": int(result.count),
        "dead": int(result.dead),
        "nonfinite": int(result.nonfinite),
        "score": result.score,
        "channels": result.channels,
        "input_shape": list(result.input_shape),
        "theoretical_size": [int(size) for size in row.size],
        "effective_size": _first(result.size("luo2016")),
        "area_ratio_50": _area_ratio(result, 0.5),
        "area_ratio_95": _area_ratio(result, 0.95),
        **physical,
    }


def profile_facts(far: ByDistance) -> dict[str, Any]:
    """The profile of the first unit in JSON's types; what is not known is None."""

    def plain(numbers: Any) -> list[float | None]:
        return [float(n) if math.isfinite(n) else None for n in numbers]

    facts = {"metric": far.metric, "distance": plain(far.distance), "law": far.law[0]}
    if far.rings.step is not None:
        facts[f"distance_in_{far.rings.unit or 'units'}"] = plain(far.physical.distance)
    facts |= {
        name: plain(getattr(far.mean, end)[0]) for name, end in (("mean", "value"), ("low", "low"), ("high", "high"))
    }
    return facts | {name: plain(getattr(far, name).value)[0] for name in ("average", "length", "exponent", "advantage")}


def describe_profile(far: ByDistance) -> list[str]:
    """The profile of the first unit as lines of text, rings without a position left out."""
    heading = [f"{far.metric} distance  mean score"]
    rings = zip(far.distance, far.mean.value[0], far.positions[0])
    rows = [f"{distance:18g}  {mean:.4g}" for distance, mean, positions in rings if positions]
    return [*heading, *rows, *repr(far).splitlines()[1:]]


def describe(facts: dict[str, Any]) -> list[str]:
    """`summary` as lines of text."""
    first = ", ".join(map(str, facts["first_unit"]))
    lines = [
        f"layer {facts['layer']}, {facts['units']} unit(s), the first is ({first}); {facts['samples']} sample(s)",
        f"theoretical size  {' x '.join(map(str, facts['theoretical_size']))} input positions",
        f"effective size    {facts['effective_size']:.1f} (luo2016: root of the area above 4.55 % of the peak)",
    ]
    lines += [f"{name.replace('_', ' ')}  {facts[name]}" for name in facts if "_size_in_" in name]
    if facts["area_ratio_50"] is None:
        lines.append("area ratio        not defined: a unit has no center, as behind global pooling")
    else:
        half, most = facts["area_ratio_50"], facts["area_ratio_95"]
        lines.append(f"area ratio        {half:.4f} for 50 %, {most:.4f} for 95 % of the map")
    if facts["dead"] or facts["nonfinite"]:
        lines.append(f"warning: {facts['dead']} dead and {facts['nonfinite']} non-finite sample(s)")
    return lines


def _area_ratio(result: Result, share: float) -> float | None:
    """The number of the first unit; None where a unit has no center."""
    import numpy as np

    return None if np.isnan(result.center).any() else _first(result.area_ratio(share))


def _first(numbers: Any) -> float:
    """The value of the first unit, from an array over units or from a number."""
    import numpy as np

    return float(np.ravel(np.asarray(numbers, float))[0])
