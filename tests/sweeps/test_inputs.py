"""What a sweep can take its images from, besides noise and photos."""

from __future__ import annotations

import numpy as np
import pytest

import jaxrf
from jaxrf.errors import InputError
from jaxrf.inputs.named import Inputs, ahead
from tests.sweeps.small import last, made

IMAGES = np.random.default_rng(0).normal(size=(7, 5, 6, 2)).astype(np.float32)
SOURCE = """
import numpy as np

images = np.random.default_rng(0).normal(size=(7, 5, 6, 2)).astype(np.float32)

class Source:
    def __len__(self):
        return 7
    def __getitem__(self, i):
        if i >= 7:
            raise IndexError
        return {"image": images[i], "label": i}

source = Source()

def one_by_one():
    yield from images

def batches():
    for first in range(0, 7, 3):
        yield images[first : first + 3], "labels"

def integers():
    yield np.zeros((5, 6, 2), np.uint8)

once = iter(images)
number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.py"
    path.write_text(SOURCE)
    return path


def read(words, size=2, passes=2):
    inputs = Inputs(str(words))
    found = []
    for _ in range(passes):
        spans = [(i, min(i + size, inputs.count)) for i in range(0, inputs.count, size)]
        found.append(np.concatenate([chunk.images for chunk in ahead(inputs, spans, (5, 6, 2), False)]))
    assert all((one == found[0]).all() for one in found)
    return found[0]


@pytest.mark.parametrize("name", ["images", "source", "one_by_one", "batches"])
def test_images_of_python_are_read_as_often_as_needed(file, name):
    """An array, a sequence of dicts, a generator and one of batches give the same images, in each pass."""
    np.testing.assert_array_equal(read(f"{file}:{name}[:7]"), IMAGES)
    np.testing.assert_array_equal(read(f"{file}:{name}[:5]"), IMAGES[:5])


def test_any_stretch_can_be_asked_for(file):
    """A process that takes up the work in the middle reads from there, and may go back."""
    inputs = Inputs(f"{file}:batches[:7]")
    for first, stop in ((4, 6), (6, 7), (1, 3)):
        np.testing.assert_array_equal(inputs.chunk(first, stop, (5, 6, 2)).images, IMAGES[first:stop])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_by_one[:8]", r"ended before image 8, and \[:8\] asks for 8"),
        ("once[:7]", "gives its images only once"),
        ("integers[:1]", r"gave uint8 of shape \(5, 6, 2\)"),
        ("number[:1]", "is of type int. Name a sequence"),
        ("one_by_one[:0]", "holds no images"),
    ],
)
def test_images_that_do_not_fit_are_explained(file, name, message):
    """Too few, only once, of another type: it is said which, and what to do."""
    with pytest.raises(InputError, match=message):
        read(f"{file}:{name}")


def test_the_identity_of_python_is_its_source(file):
    """Another source is another sweep."""
    before = Inputs(f"{file}:images[:7]").digest()
    file.write_text(SOURCE + "\n")
    assert Inputs(f"{file}:images[:7]").digest() != before


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_arrays_are_read_in_stretches(tmp_path, version):
    """Both formats of Zarr; what is in them is in the hash."""
    import zarr

    place = tmp_path / "images.zarr"
    array = zarr.create_array(store=str(place), data=IMAGES, chunks=(2, 5, 6, 2), zarr_format=version)
    before = Inputs(str(place)).digest()
    np.testing.assert_array_equal(read(place), IMAGES)
    array[0, 0, 0, 0] = 9
    assert Inputs(str(place)).digest() != before


def test_groups_and_whole_numbers_are_refused(tmp_path):
    """A Zarr group is no array, and photos in whole numbers are to be scaled first."""
    import zarr

    zarr.create_group(store=str(tmp_path / "group.zarr"))
    with pytest.raises(InputError, match="cannot be read as an array"):
        read(tmp_path / "group.zarr")
    np.save(tmp_path / "whole.npy", np.zeros((2, 5, 6, 2), np.uint8))
    with pytest.raises(InputError, match="holds uint8 of shape"):
        read(tmp_path / "whole.npy")
    with pytest.raises(InputError, match=r"nor module:attribute\[:COUNT\]"):
        read("nothing-here")


def test_pipelines_of_grain_are_read(tmp_path):
    """A dataset with a shuffle of fixed seed, in batches of dicts, and a data loader: the same images in each pass."""
    pytest.importorskip("grain")
    file = tmp_path / "data.py"
    file.write_text(
        f"{SOURCE}\nimport grain\n"
        "def pipeline():\n"
        "    return grain.MapDataset.source(images).map(lambda image: {'image': image}).batch(3)\n"
        "shuffled = grain.MapDataset.source(images).shuffle(seed=3).to_iter_dataset()\n"
        "def loader():\n"
        "    sampler = grain.samplers.IndexSampler(7, shuffle=False, num_epochs=1)\n"
        "    batches = [grain.transforms.Batch(3)]\n"
        "    return grain.DataLoader(data_source=images, sampler=sampler, operations=batches, worker_count=0)\n"
    )
    for name in ("pipeline", "loader"):
        np.testing.assert_array_equal(read(f"{file}:{name}[:7]"), IMAGES)
    found = read(f"{file}:shuffled[:7]")
    assert not np.array_equal(found, IMAGES)
    np.testing.assert_array_equal(np.sort(found.sum((1, 2, 3))), np.sort(IMAGES.sum((1, 2, 3))))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_photo_that_cannot_be_read_never_fails_a_task(tmp_path, size):
    """Whichever chunk it falls into, also one of its own or the first, it is left out and counted."""
    from PIL import Image

    for name in ("b", "c", "e"):
        Image.fromarray(np.full((8, 9, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    for name in ("a", "d"):
        (tmp_path / f"{name}.png").write_bytes(b"not a photo")
    place = f"memory://unreadable-{size}"
    assert last(made(inputs=str(tmp_path), seeds=2, images_per_chunk=size), place).state == "done"
    found = jaxrf.open(place).result()
    assert found.count == 6 and len(found.provenance["unreadable"]) == 2
    assert {text.partition(":")[0] for text in found.provenance["unreadable"]} == {"a.png", "d.png"}
