"""`jaxrf.task`: tasks from models in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from jaxrf.errors import InputError, unknown
from jaxrf.inputs.named import Given, Inputs
from jaxrf.loading import words
from jaxrf.loading.fingerprint import Unhashed, model_hash
from jaxrf.loading.sources import environment
from jaxrf.store.record import plain
from jaxrf.tasks.specification import ASKED, Specification
from jaxrf.tasks.task import Held, Task


def task(
    model: Any,
    variables: Any = None,
    inputs: Any = "noise:1",
    *,
    place: Mapping[str, Any] | None = None,
    name: str | None = None,
    input: tuple[int, ...] | None = None,
    **options: Any,
) -> Task:
    """A task of a sweep, from a model in memory.

    Args:
        model: a Linen module, an NNX module or a function, as for `jaxrf.erf`. Workers in other processes get a pickle.
        variables: of the model; None where it draws them, or holds them.
        inputs: an array (n, *shape), or words as in a sweep's file: `noise:4`, a folder of photos.
        place: its values on the axes of the sweep, as {"depth": 10}: what tells tasks of one sweep apart.
        name: stands for the model, its source and its weights, in the task's identity: then you answer for its being
            another one whenever they are. Without it they are hashed.
        input: shape of one input, where `inputs` has none of its own.
        options: as the keys of a sweep's file: layer, units, channels, score, ...

    Raises:
        InputError: something in the model has no hash and there is no `name`; an option is not one of those.

    Example:
        >>> import jaxrf
        >>> small = jaxrf.task(jaxrf.zoo.conv_stack(depth=1, width=2), input=(8, 9, 3), place={"depth": 1})
        >>> jaxrf.sweep([small], "memory://held", seeds=2).result(depth=1).count
        2
    """
    if not isinstance(place or {}, Mapping):
        raise InputError(f'place={place!r} is not a table. Write place={{"depth": 10}}.')
    if not isinstance(name, str | None):
        raise InputError(f"name={name!r} is not text.")
    try:
        digest = name or model_hash((model, variables))
    except Unhashed as error:
        raise InputError(
            f"{error} in the model has no hash that would be the same in another process. Pass name=, a word that stands "
            "for the model, its source and its weights."
        ) from error
    given = Inputs(inputs) if isinstance(inputs, str) else Given(inputs)
    shape = input if isinstance(inputs, str) else given.array.shape[1:]
    if not isinstance(shape, tuple | list):
        found = "" if shape is None else f"; found input={shape!r}"
        raise InputError(f"The images of {inputs!r} have no shape of their own. Pass input=(224, 224, 3){found}.")
    text = "x".join(map(str, shape))
    words.shape(text)  # so that what is not a shape is said now
    asked = Specification(model={"source": f"memory:{digest}"}, inputs=given.words, input=text, **_known(options))
    ((settings, _),) = asked.product()
    facts = {**environment(), "source": digest, "inputs": given.digest()}
    return Task(plain(place or {}, "place"), settings, facts, Held(model, variables, given))


def _known(options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = {f.name for f in fields(Specification)} - {"model", "inputs", "input", "variables", *ASKED}
    for key, value in options.items():
        if key not in known:
            raise unknown("option of a task", key, known)
        if isinstance(value, list) and key != "spatial_axes":
            raise InputError(f"{key} = {value!r} is a list, and a task is one point. Make a task for each value.")
    return options
