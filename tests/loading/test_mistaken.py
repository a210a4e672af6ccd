"""What users hand over in the place of a checkpoint: files of other kinds, other names, another order."""

from __future__ import annotations

import numpy as np
import pytest

from jaxrf.errors import InputError
from jaxrf.loading.checkpoints import read_variables
from jaxrf.loading.matching import MatchedByOrder

NEEDED = {"params": {"conv": {"kernel": np.ones((3, 1, 2, 4), np.float32), "bias": np.ones(4, np.float32)}}}


def test_a_folder_names_the_files_that_can_be_read(tmp_path):
    """Beside files of other kinds too; shards of a network stay what they are."""
    for name in ("net.onnx", "b.npz", "a.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"Give one of its files: a.safetensors, b.npz\."):
        read_variables(tmp_path)
    (tmp_path / "group1-shard1of2.bin").write_bytes(b"")
    with pytest.raises(InputError, match="looks like a network of TensorFlow.js"):
        read_variables(tmp_path)


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".msgpack"])
@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS.*Run git lfs pull"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page.*Download the file itself"),
    ],
)
def test_what_lies_in_the_place_of_a_file_is_said(tmp_path, ending, start, says):
    """A pointer of Git LFS and the page of a failed download are told from a damaged file."""
    (tmp_path / f"a{ending}").write_bytes(start)
    with pytest.raises(InputError, match=f"a{ending} {says}"):
        read_variables(tmp_path / f"a{ending}")


def test_torchscript_is_refused_by_name(tmp_path):
    """A program of TorchScript is code, whatever its file is called; the advice of PyTorch to run it is not passed on."""
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a.pt is a program of TorchScript.*If you trust it, save what it holds"):
        read_variables(tmp_path / "a.pt")
    torch.save(torch.jit.load(tmp_path / "a.pt").state_dict(), tmp_path / "b.pt")
    assert set(read_variables(tmp_path / "b.pt")["params"]) == {"weight", "bias"}
    (tmp_path / "c.bin").write_bytes(b"no pickle")
    with pytest.raises(InputError, match="c.bin .* cannot be read: ValueError: it is of another kind") as caught:
        read_variables(tmp_path / "c.bin")
    assert "weights_only" not in str(caught.value)


def test_names_with_nothing_in_common_say_how_to_match(tmp_path):
    """Names of both sides, and match="order"."""
    kernel = NEEDED["params"]["conv"]["kernel"]
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, **{"conv.weight": np.ones((4, 2, 3, 1), np.float32)})
    with pytest.raises(
        InputError, match=r'params/conv.weight, and not params/conv/bias, params/conv/kernel. Pass match="order"'
    ):
        read_variables(tmp_path / "a.npz", like=NEEDED)
    with pytest.warns(MatchedByOrder):
        found = read_variables(tmp_path / "b.npz", like={"params": {"conv": {"kernel": kernel}}}, order=["conv"])
    assert found["params"]["conv"]["kernel"].shape == (3, 1, 2, 4)


def test_a_safetensors_file_has_the_order_of_its_names(tmp_path):
    """Numbers count as numbers, and every reading gives the same order; the library's own changes from call to call."""
    import safetensors.numpy

    names = [f"block.{i}.conv{j}.weight" for i in range(12) for j in (1, 2)]
    arrays = {name: np.full((2, 3), i, np.float32) for i, name in enumerate(names)}
    safetensors.numpy.save_file(dict(reversed(arrays.items())), tmp_path / "a.safetensors")
    for _ in range(3):
        found = read_variables(tmp_path / "a.safetensors")["params"]
        assert list(found) == names and [one[0, 0] for one in found.values()] == list(range(24))
