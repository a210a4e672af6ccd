"""A model's variables from disk: an Orbax folder or a flax `.msgpack` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxrf.errors import InputError


def read_variables(text: str) -> dict[str, Any]:
    """The variables at the path `text`, as a dict of collections.

    A tree that has no collection `params` is taken to be the parameters themselves.

    Raises:
        InputError: nothing is there, or it is of neither kind.
    """
    path = Path(text)
    if not path.exists():
        raise InputError(
            f"There are no variables at {path}. Give an Orbax checkpoint folder, or a .msgpack file of flax."
        )
    try:
        variables = _restore(path)
    except Exception as error:
        raise InputError(
            f"The variables at {path} cannot be read: {type(error).__name__}: {error}. "
            "Give an Orbax checkpoint folder (as from StandardCheckpointer) or a .msgpack file of flax.serialization."
        ) from error
    if not isinstance(variables, dict) or not variables:
        raise InputError(f"{path} holds {type(variables).__name__}, not a dict of variables. Save model.init's result.")
    return variables if "params" in variables else {"params": variables}


def _restore(path: Path) -> Any:
    if path.is_dir():
        import orbax.checkpoint

        with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
            return checkpointer.restore(path.resolve())
    from flax.serialization import msgpack_restore

    return msgpack_restore(path.read_bytes())
