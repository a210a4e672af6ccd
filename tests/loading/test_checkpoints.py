"""Variables from disk for the command line."""

from __future__ import annotations

import flax.serialization
import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.loading.checkpoints import read_variables

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_msgpack_file_is_read(tmp_path):
    """What flax wrote comes back, and collections stay as they are."""
    variables = {"params": {"conv": {"kernel": KERNEL}}, "batch_stats": {"mean": KERNEL[0]}}
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(variables))
    found = read_variables(str(tmp_path / "a.msgpack"))
    assert set(found) == {"params", "batch_stats"}
    np.testing.assert_array_equal(found["params"]["conv"]["kernel"], KERNEL)


def test_bare_parameters_become_the_collection_params(tmp_path):
    """A tree of parameters alone is put under params."""
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes({"conv": {"kernel": KERNEL}}))
    np.testing.assert_array_equal(read_variables(str(tmp_path / "a.msgpack"))["params"]["conv"]["kernel"], KERNEL)


@pytest.mark.filterwarnings("ignore")
def test_an_orbax_folder_is_read(tmp_path):
    """A checkpoint written by Orbax comes back."""
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", {"params": {"conv": {"kernel": KERNEL}}})
    found = read_variables(str(tmp_path / "checkpoint"))
    np.testing.assert_array_equal(found["params"]["conv"]["kernel"], KERNEL)


def test_missing_variables_are_named(tmp_path):
    """The path that was looked for is in the message."""
    with pytest.raises(InputError, match="There are no variables at .*gone"):
        read_variables(str(tmp_path / "gone"))


@pytest.mark.parametrize("content", [b"", b"text"])
def test_a_damaged_file_is_named(tmp_path, content):
    """A file that is no msgpack of flax says so."""
    (tmp_path / "a.msgpack").write_bytes(content)
    with pytest.raises(InputError, match=r"a.msgpack (cannot be read|holds)"):
        read_variables(str(tmp_path / "a.msgpack"))


@pytest.mark.filterwarnings("ignore")
def test_a_foreign_folder_is_named(tmp_path):
    """A folder that Orbax did not write says so."""
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(InputError, match="cannot be read: "):
        read_variables(str(tmp_path))


def test_a_tree_that_is_no_dict_is_named(tmp_path):
    """A single array is no set of variables."""
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(KERNEL))
    with pytest.raises(InputError, match="holds ndarray, not a dict of variables"):
        read_variables(str(tmp_path / "a.msgpack"))
