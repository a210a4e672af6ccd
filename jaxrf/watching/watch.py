"""Layers mapped every N steps of somebody's training loop."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from jaxrf.adapters.subject import leaf_name
from jaxrf.base.compiler import jit
from jaxrf.errors import InputError, StoreError
from jaxrf.fields.field import Field
from jaxrf.fields.opening import prepare_field
from jaxrf.fields.statistics import Statistics
from jaxrf.inputs.images import shapes_only
from jaxrf.planning.options import Options
from jaxrf.results.result import Result
from jaxrf.store.growing import Growing
from jaxrf.watching import entry, writers
from jaxrf.watching.history import KIND, History

Found = Mapping[str, Statistics]


@dataclass(eq=False)
class Watch:
    """Layers of a model in training, mapped every `every` steps on held images; made by `jaxrf.watch`.

    Attributes:
        field: of the layers, prepared.
        images: held.
        every: how many steps lie between two maps.
        out: the folder of the record.
        resume: whether a record that is there is gone on with.
        writer: gets the numbers, or None.
        key: of the probes, the same at every step, so that maps of two steps differ by their weights alone.
    """

    field: Field
    images: Any
    every: int
    out: Path
    resume: bool
    writer: Any
    key: jax.Array
    _fingerprint: str
    _group: Growing | None = None
    _waiting: tuple[int, Found] | None = None
    _held: dict[Any, Any] = dataclass_field(default_factory=dict)

    def __post_init__(self):
        self._mapped = jit(self._statistics)
        self._writes = jax.process_index() == 0
        if self._writes:
            self._group = self._opened()

    def __call__(self, step: int | jax.Array, variables: Any) -> bool:
        """Map the layers, if this is one of the steps; whether it is.

        The maps are computed beside the loop and recorded at one of the next calls, when they are there.

        Args:
            step: its number; an `int`, or an array that is read from its device.
            variables: of the model, as the field was prepared for; an NNX module or its state; replicated over a mesh or not.

        Raises:
            InputError: the variables are of another structure or shape; says which are missing.
            StoreError: the record cannot be written.
        """
        self._write_what_is_there()
        number = _number(step)
        if number % self.every:
            return False
        variables = nnx.state(variables) if isinstance(variables, nnx.Module) else variables
        self._check(number, variables)
        images, key = self._beside(variables)
        self._begin(number, self._mapped(variables, images, key))
        return True

    def inside(self, variables: Any, images: Any, key: jax.Array, *, step: Any = None) -> Found:
        """Statistics of the layers within somebody's jitted step, to be handed to `add`; a pure function.

        Args:
            variables: of the model.
            images: those of the step, or held ones.
            key: of the probes.
            step: its number; then maps are computed at every N-th step alone, and there are no samples at others.
        """
        # The step's own arithmetic shall not be fused with what is computed here.
        variables, images = jax.lax.optimization_barrier((variables, images))
        if step is None:
            return self._statistics(variables, images, key)
        return jax.lax.cond(
            step % self.every == 0,
            lambda: self._statistics(variables, images, key),
            lambda: self._by_name(self.field.statistics()),
        )

    def add(self, step: int | jax.Array, found: Found) -> bool:
        """Record what `inside` returned, if this is one of the steps; whether it is."""
        self._write_what_is_there()
        number = _number(step)
        if number % self.every:
            return False
        self._begin(number, found)
        return True

    def flush(self) -> None:
        """Wait for the maps that are being computed, and record them. To be called before a checkpoint is saved."""
        if self._waiting is not None:
            (step, found), self._waiting = self._waiting, None
            if self._writes:
                self._write(step, found)

    def last_step(self) -> int:
        """The last step that was recorded; -1 where there is none."""
        self.flush()
        steps = [] if self._group is None else self._group.steps
        return int(steps[-1]) if len(steps) else -1

    def history(self) -> History:
        """What was recorded; everything that was mapped is in it.

        Raises:
            InputError: this process does not write the record; the one of index 0 does.
        """
        self.flush()
        if self._group is None:
            why = "nothing was mapped yet" if self._writes else "the process of index 0 writes it"
            raise InputError(f"There is no record at hand: {why}. Read one that is there with jaxrf.history(path).")
        return History(self._group, dict(self._group.facts["layers"]))

    def plot(self, layer: str, **options: Any) -> Any:
        """A strip of a layer's maps over steps; see `History.plot`."""
        return self.history().plot(layer, **options)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _statistics(self, variables: Any, images: Any, key: jax.Array) -> Found:
        return self._by_name(self.field.statistics(self.field(variables, images, key)))

    def _by_name(self, found: Any) -> dict[str, Any]:
        return found if self.field.several else dict.fromkeys(self.field.layers, found)

    def _begin(self, step: int, found: Found) -> None:
        self.flush()
        self._waiting = step, found

    def _write_what_is_there(self) -> None:
        if self._waiting is not None and all(leaf.is_ready() for leaf in jax.tree.leaves(self._waiting[1])):
            self.flush()

    def _check(self, step: int, variables: Any) -> None:
        """Raise where variables are missing, or are others."""
        needed, found = (
            {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
            for tree in (self.field.subject.abstract, variables)
        )
        missing, extra = (sorted(set(a) - set(b)) for a, b in ((needed, found), (found, needed)))
        if missing or extra:
            words = [
                f"{what} {', '.join(names[:6])}" for what, names in (("missing:", missing), ("new:", extra)) if names
            ]
            raise InputError(
                f"At step {step} the variables are not those of the model that is watched ({'; '.join(words)}). "
                f"The layers {', '.join(map(repr, self.field.layers))} cannot be mapped any more. "
                "Watch the changed model with another jaxrf.watch(..., out=another path)."
            )

    def _beside(self, variables: Any) -> tuple[Any, Any]:
        """Images and key where the weights are: on their mesh, replicated, unless the images are placed already."""
        leaf = next((leaf for leaf in jax.tree.leaves(variables) if isinstance(leaf, jax.Array)), None)
        sharding: Any = None if leaf is None else leaf.sharding
        if isinstance(sharding, NamedSharding) and sharding.mesh.size > 1:
            sharding = NamedSharding(sharding.mesh, PartitionSpec())
        if sharding not in self._held:
            self._held = {sharding: tuple(_placed(array, sharding) for array in (self.images, self.key))}
        return self._held[sharding]

    def _opened(self) -> Growing | None:
        """The record that is there, if it is to be gone on with; None where it is yet to be made."""
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return None
        group = Growing.open(self.out, KIND)
        if not self.resume:
            raise StoreError(f"{self.out} holds the record of an earlier training. Pass resume=True, or another path.")
        if group.facts["fingerprint"] != self._fingerprint:
            raise StoreError(
                f"{self.out} is the record of other layers, images or options: {', '.join(group.facts['layers'])} every "
                f"{group.facts['every']} steps. Watch the same, or choose another path."
            )
        group.cut(len(group.steps))
        return group

    def _write(self, step: int, found: Found) -> None:
        """Record a step; those from it on, which a training that went back to a checkpoint left behind, are dropped."""
        host = {name: _on_host(one) for name, one in found.items()}
        results = self._by_name(self.field.result(host if self.field.several else next(iter(host.values()))))
        group, written = self._into_group(step, results, {name: len(one.images.highest) for name, one in host.items()})
        steps = group.steps
        if len(steps) and step <= steps[-1]:
            group.cut(int(np.searchsorted(steps, step)))
        group.append(step, {name: one.data for name, one in written.items()})
        writers.write(self.writer, step, scalars(results), pictures(results))

    def _into_group(self, step: int, results: Mapping[str, Result], blocks: Mapping[str, int]) -> tuple[Growing, dict]:
        """The group, made with the first step, and the arrays of this step."""
        folders = {name: name.replace("/", ".") for name in results}
        written = {
            f"{folders[name]}/{key}": one
            for name, result in results.items()
            for key, one in entry.arrays(result, blocks[name], step).items()
        }
        if self._group is None:
            facts = {"format": KIND, "layers": folders, "every": self.every, "fingerprint": self._fingerprint}
            said = {folders[name]: entry.header(result) for name, result in results.items()}
            self._group = Growing.create(self.out, written, said, facts)
        return self._group, written


def watch(
    model: Any,
    variables: Any,
    images: Any,
    *,
    layer: str | list[str],
    out: str | os.PathLike[str],
    every: int = 100,
    resume: bool = False,
    writer: Any = None,
    seed: int = 0,
    **options: Any,
) -> Watch:
    """An object for a training loop, `watch(step, variables)`, that maps layers every N steps and records them.

    Args:
        model, variables: as for `jaxrf.prepare`; only structure, shapes and types are read.
        images: held images (n, ...), the same at every step; errors are over them. Arrays that are spread over a mesh stay so.
        layer: a name, or a list of names.
        out: a folder for the record, a Zarr group that grows with `step`; read by `jaxrf.history`.
        every: steps between two maps; step 0 is one of them.
        resume: go on with a record that is there. Where the training went back to a checkpoint, the steps from there on are
            recorded anew.
        writer: with `write_scalars(step, dict)`, `add_scalar(name, value, step)` or `log(dict, step=)`; None for none.
        seed: of the probes.
        options: as for `jaxrf.prepare`.

    Returns:
        A `Watch`.

    Raises:
        InputError: something does not fit, as for `jaxrf.prepare`.
        StoreError: another record is at `out`, or one that is not to be gone on with.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(f"every={every!r} is not a number of steps. Give a whole number from 1 on.")
    writers.check_writer(writer)
    chosen = Options.of({**options, "layer": layer})
    chosen.check_of_a_field()
    abstract = None if variables is None else jax.eval_shape(lambda tree: tree, variables)
    prepared = prepare_field(model, abstract, shapes_only(images), chosen.settled())[1]
    folders = [name.replace("/", ".") for name in prepared.layers]
    if len(set(folders)) < len(folders):
        raise InputError(f"The layers {', '.join(prepared.layers)} would share a folder. Watch them apart.")
    path = Path(out).expanduser().resolve()
    mark = _fingerprint(prepared, images, seed, every)
    return Watch(prepared, images, every, path, resume, writer, prepared.key(seed), mark)


def scalars(results: Mapping[str, Result]) -> dict[str, float]:
    """Numbers by names such as `field/conv_1/sigma_y` and `field/conv_1/sigma_y_error`; units are numbered if several."""
    found: dict[str, float] = {}
    for layer, result in results.items():
        for name, (value, error) in entry.numbers(result).items():
            for unit in range(len(result.units)):
                base = f"field/{layer}/{name}" if len(result.units) == 1 else f"field/{layer}/{unit}/{name}"
                along = [""] if value.ndim == 1 else [f"_{axis}" for axis in _axes(value.shape[1])]
                for end, v, e in zip(along, np.ravel(value[unit]), np.ravel(error[unit]), strict=True):
                    found |= {f"{base}{end}": float(v), f"{base}{end}_error": float(e)}
        found[f"field/{layer}/nonfinite"] = float(result.nonfinite)
    return found


def pictures(results: Mapping[str, Result]) -> dict[str, np.ndarray]:
    """The fourth root of each first unit's map over its peak, (y, x, 1); of maps of two axes that are finite."""
    found = {}
    for layer, result in results.items():
        values = np.abs(result.mean[0])
        if values.ndim == 2 and np.isfinite(values).all() and values.any():
            found[f"field/{layer}"] = ((values / values.max()) ** 0.25)[..., None].astype(np.float32)
    return found


def _axes(count: int) -> list[str]:
    return list("zyx"[3 - count :]) if count <= 3 else [str(axis) for axis in range(count)]


def _number(step: Any) -> int:
    return int(jax.device_get(step))


def _placed(array: Any, sharding: Any) -> Any:
    """An array where the weights are, put there in so many words; one that is spread over a mesh stays as it is."""
    if isinstance(array, jax.Array) and len(array.sharding.device_set) > 1:
        return array
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_placed(jax.random.key_data(array), sharding))
    host = np.asarray(jax.device_get(array))  # each process hands in its own part of what all of them have
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _on_host(found: Statistics) -> Statistics:
    """Statistics as NumPy's; those that are spread over processes are the same in each of them."""
    return jax.tree.map(
        lambda a: np.asarray(a.addressable_data(0)) if not a.is_fully_addressable else jax.device_get(a), found
    )


def _fingerprint(field: Field, images: Any, seed: int, every: int) -> str:
    """Hash what a record depends on beside the weights."""
    what = [
        (name, one.row.to_dict(), [part.tolist() for part in one.where(one.count)], one.pullback.score,
         one.pullback.channels, one.options.average, one.facts["wrt"])
        for name, one in field.layers.items()
    ]  # fmt: skip
    found = hashlib.sha256(repr((what, seed, every, np.shape(images))).encode())
    if getattr(images, "is_fully_addressable", True):
        found.update(np.ascontiguousarray(jax.device_get(images)).tobytes())
    return found.hexdigest()
