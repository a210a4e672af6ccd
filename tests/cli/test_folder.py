"""The folder of a run: made, recognized, refused."""

from __future__ import annotations

import json

import pytest

from jaxrf.cli.folder import RunFolder
from jaxrf.errors import StoreError


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    """A path that is not there becomes a folder."""
    folder = RunFolder.claim(tmp_path / "a" / "b")
    assert folder.path.is_dir()


def test_an_empty_folder_is_taken(tmp_path):
    """A folder without files may be used."""
    assert RunFolder.claim(tmp_path).path == tmp_path


def test_a_described_folder_is_ours(tmp_path):
    """After describe, a second run needs overwrite and may then use the folder; the options are in run.json."""
    RunFolder.claim(tmp_path).describe("erf", options={"seeds": 3})
    assert json.loads((tmp_path / "run.json").read_text())["options"] == {"seeds": 3}
    with pytest.raises(StoreError, match=r"holds an earlier run. Add --overwrite"):
        RunFolder.claim(tmp_path)
    assert RunFolder.claim(tmp_path, overwrite=True).path == tmp_path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mark", [None, "not json", "[]", '{"program": "other"}'])
def test_a_foreign_folder_is_refused(tmp_path, mark, overwrite):
    """A folder that somebody else filled is never written to, not even with overwrite."""
    (tmp_path / "thesis.tex").write_text("text")
    if mark is not None:
        (tmp_path / "run.json").write_text(mark)
    with pytest.raises(StoreError, match="exists and was not written by jaxrf: it holds .*thesis.tex"):
        RunFolder.claim(tmp_path, overwrite=overwrite)


def test_a_long_list_of_foreign_files_is_cut(tmp_path):
    """The message names three files and counts the rest."""
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text("")
    with pytest.raises(StoreError, match=r"0.txt, 1.txt, 2.txt and 2 more"):
        RunFolder.claim(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    """A path that is a file, or lies below one, is refused."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match="is a file; --out needs a folder"):
        RunFolder.claim(file)
    with pytest.raises(StoreError, match="cannot be made"):
        RunFolder.claim(file / "below")
