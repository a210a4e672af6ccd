"""Photos from disk become inputs: sizes, values, and errors by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxrf.errors import InputError
from jaxrf.inputs import photos


@pytest.fixture
def gradient():
    """A photo (20, 30, 3) whose red is the column and whose green is the row."""
    y, x = np.mgrid[:20, :30]
    return np.stack([x * 8, y * 8, 0 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".npy"])
def test_lossless_files_give_the_same_pixels(tmp_path, gradient, suffix):
    """What was saved is read back, normalized by ImageNet's mean and deviation."""
    file = tmp_path / f"photo{suffix}"
    np.save(file, gradient) if suffix == ".npy" else Image.fromarray(gradient).save(file)
    found = photos.read(file)
    assert found.dtype == np.float32
    expected = (gradient[3, 7] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found[3, 7], expected, rtol=1e-5)
    np.testing.assert_allclose(photos.displayable(found), gradient / 255, atol=1e-6)


def test_jpeg_and_gray_and_transparent_photos_become_rgb(tmp_path, gradient):
    """Whatever the mode of the file, the array has three channels."""
    Image.fromarray(gradient).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(gradient[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([gradient, gradient[..., :1]])).save(tmp_path / "transparent.png")
    for name in ("a.jpg", "gray.png", "transparent.png"):
        assert photos.read(tmp_path / name).shape == (20, 30, 3)
    gray = photos.displayable(photos.read(tmp_path / "gray.png"))
    np.testing.assert_allclose(gray[..., 2], gradient[..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 7), (7, 5), (40, 90), (20, 30)])
def test_a_photo_is_scaled_to_cover_and_cut_in_the_middle(gradient, size):
    """The middle of the photo stays in the middle, and proportions are kept."""
    fitted = photos.fit(gradient, size).astype(float)
    assert fitted.shape == (*size, 3)
    np.testing.assert_allclose(fitted[..., 0].mean(), gradient[..., 0].mean(), atol=1.5)
    np.testing.assert_allclose(fitted[..., 1].mean(), gradient[..., 1].mean(), atol=1.5)
    scale = max(size[0] / 20, size[1] / 30)
    inner = slice(size[1] // 4, -(size[1] // 4))
    np.testing.assert_allclose(np.diff(fitted[size[0] // 2, inner, 0]).mean(), 8 / scale, rtol=0.1)


def test_a_float_array_is_taken_as_it_is(tmp_path):
    """A normalized array keeps its values, and must have the input's size."""
    values = np.random.default_rng(0).normal(size=(5, 7, 3))
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_allclose(photos.read(tmp_path / "a.npy", (5, 7)), values.astype(np.float32))
    with pytest.raises(InputError, match=r"a.npy is \(5, 7, 3\); the input needs \(7, 5, 3\)"):
        photos.read(tmp_path / "a.npy", (7, 5))


def test_a_missing_photo_is_named(tmp_path):
    """The path that was looked for is in the message."""
    with pytest.raises(InputError, match=r"There is no photo at .*gone.png"):
        photos.read(tmp_path / "gone.png")


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n broken"])
@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_an_unreadable_photo_is_named(tmp_path, name, content):
    """A file that is not a photo says which one it is."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read as a photo"):
        photos.read(tmp_path / name)


def test_a_truncated_photo_is_named(tmp_path):
    """Half a PNG is an error, not half a photo."""
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"half.png cannot be read as a photo"):
        photos.read(tmp_path / "half.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 7)), r"has the shape \(5, 7\); a photo needs \(y, x, 3\)"),
        (np.zeros((5, 7, 4), np.uint8), r"has the shape \(5, 7, 4\)"),
        (np.zeros((0, 7, 3), np.uint8), r"has the shape \(0, 7, 3\)"),
        (np.full((5, 7, 3), 300), "outside of 0..255"),
        (np.zeros((5, 7, 3), bool), "is bool outside of"),
    ],
)
def test_arrays_that_are_no_photos_are_named(tmp_path, array, message):
    """Wrong shapes and values of .npy files are said."""
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=f"a.npy .*{message}|{message}"):
        photos.read(tmp_path / "a.npy", (5, 7))


def test_a_broken_array_is_named(tmp_path):
    """A .npy file that numpy cannot read says so."""
    (tmp_path / "a.npy").write_bytes(b"text")
    with pytest.raises(InputError, match=r"a.npy cannot be read as a numpy array"):
        photos.read(tmp_path / "a.npy")


def test_photos_are_prepared_as_a_family_was_trained(tmp_path, gradient):
    """Of a photo of 20 x 30 the middle 16 x 16 at a crop of 0.8, then mean and deviation of its own; displayable is the way back."""
    from jaxrf.loading.families import families
    from jaxrf.loading.preprocessing import Preprocessing

    file = tmp_path / "photo.png"
    Image.fromarray(gradient).save(file)
    how = Preprocessing(crop=0.8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), bicubic=True)
    found = photos.read(file, (16, 16), how)
    np.testing.assert_allclose(found, (gradient[2:18, 7:23] / 255 - 0.5) / 0.25, atol=1e-5)
    np.testing.assert_allclose(photos.displayable(found, how), gradient[2:18, 7:23] / 255, atol=1e-6)
    assert families["timm_vit"].preprocessing.mean == (0.5, 0.5, 0.5) and families["timm_vit"].preprocessing.crop == 0.9
    assert families["torchvision_convnext"].preprocessing.crop == 224 / 236
