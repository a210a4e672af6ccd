"""What to say where a model raises an error: what it was given, where it failed, and what to look at."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Sequence

import jax

from jaxrf.base.place import LIBRARIES
from jaxrf.errors import InputError

_ARGUMENTS = re.compile(r"required (positional|keyword-only) argument|unexpected keyword|positional arguments? but")
_SHAPES = re.compile(
    r"\b(shapes?|dims?|ndim|dimension\w*|\d-dimensional|rank|ax[ei]s|sizes?|channels|divisible|height|width|broadcast\w*)\b"
    r"|values to unpack|out of (range|bounds)|ScopeParamShapeError",
    re.IGNORECASE,
)
"""How libraries and models speak of arguments that are lacking and of shapes that do not fit."""


def failure(
    name: str, images: jax.ShapeDtypeStruct, error: Exception, beside: Sequence[tuple[int, ...]] = ()
) -> InputError:
    """What to say where the model `name` raised `error` on such images, and arrays of the shapes `beside` them."""
    where = _place(error)
    found = f"{name} fails on inputs of shape {images.shape}, {images.dtype}: "
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        return InputError(
            f"{found}it takes the value of a traced array{where}, as float(x), int(x), x.item(), numpy.asarray(x) and "
            f"`if x:` do ({type(error).__name__}). Models are traced on shapes, where there are no values. "
            "Keep the number an array and use jax.numpy, jnp.where or lax.cond in place of `if`; "
            "or pass a fixed number by args or apply_kwargs."
        )
    first_line = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    parts = [
        f"{found}{type(error).__name__}: {first_line}",
        where and f"Raised{where}.",
        *_advice(images, error, beside),
    ]
    return InputError(" ".join(filter(None, parts)))


def _advice(images: jax.ShapeDtypeStruct, error: Exception, beside: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """What to look at: the arguments or the shapes, whichever the error speaks of; nothing where it is neither."""
    if isinstance(error, TypeError) and _ARGUMENTS.search(str(error)):
        yield "Pass what the call takes beside the image by args=(..., value) or apply_kwargs."
    elif "integer" in str(error):
        yield "Are these ids of tokens? Pass whole numbers: an array of integers, or dtype=numpy.int32 to jaxrf.trf."
    elif _of_shapes(error):
        yield "Check input_shape (one image, without the batch axis)."
        if images.shape[1] == 1 and len(images.shape) > 4:
            one = images.shape[1:]
            yield f"Is the 1 of {one} the batch? Then leave it out: {one[1:]}."
        for shape in beside:
            if shape and shape[0] > 1:
                yield (
                    f"Is {shape[0]} the batch of the argument of shape {shape}? Models are called with one image, so it "
                    f"must fit one, as shape {(1, *shape[1:])} does; call once for each where they differ."
                )


def _of_shapes(error: Exception) -> bool:
    """Whether the error speaks of shapes; an assertion without words may do so in its line of code."""
    if isinstance(error, KeyError | AttributeError | NameError | ImportError | OSError | NotImplementedError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    code = frames[-1].line or "" if isinstance(error, AssertionError) and frames else ""
    return _SHAPES.search(f"{error} {code}") is not None


def _place(error: Exception) -> str:
    """` at model.py:41 (Net.__call__)`: the innermost line of the user's that raised; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if not any(part in f.filename for part in LIBRARIES) and not f.filename.startswith("<")]
    return f" at {os.path.basename(mine[-1].filename)}:{mine[-1].lineno} ({mine[-1].name})" if mine else ""
