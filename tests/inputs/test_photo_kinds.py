"""Photos as cameras and instruments write them: turned, of 16 bits, of floating-point numbers, damaged."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError
from jaxrf.inputs import photos
from jaxrf.inputs.images import as_images

RAMP = np.linspace(0, 255, 5 * 7 * 3).reshape(5, 7, 3).astype(np.uint8)


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    """EXIF orientation 6 is a photo whose first row is the right-hand side."""
    turned = Image.fromarray(np.rot90(RAMP).copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(photos.read(tmp_path / "a.png"), photos.normalize(RAMP))


def test_gray_values_of_16_bits_are_scaled(tmp_path):
    """White is white and the middle is the middle; nothing is clipped."""
    gray = np.array([[0, 32768, 65535], [257, 514, 0]], np.uint16)
    Image.fromarray(gray).save(tmp_path / "a.png")
    expected = np.repeat(np.array([[0, 128, 255], [1, 2, 0]], np.uint8)[..., None], 3, -1)
    np.testing.assert_array_equal(photos.read(tmp_path / "a.png"), photos.normalize(expected))


@pytest.mark.parametrize(
    ("value", "words"), [(np.float32(0.5), "floating-point"), (np.int32(70000), "integers outside")]
)
def test_pixels_without_a_scale_are_refused(tmp_path, value, words):
    """Floating-point and 32-bit pixels have no scale that is known."""
    Image.fromarray(np.full((4, 5), value)).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=f"a.tiff holds {words}.*save uint8"):
        photos.read(tmp_path / "a.tiff")


@pytest.mark.parametrize("damage", ["cut", "header", "zip", "large"])
def test_a_damaged_array_is_named(tmp_path, damage):
    """Whatever is wrong with an .npy file, the message has its name, and no memory is taken for what it declares."""
    file = tmp_path / "a.npy"
    np.save(file, RAMP)
    data = file.read_bytes()
    if damage == "cut":
        data = data[:-9]
    elif damage == "header":
        data = data.replace(b"descr", b"\xff\xfe{((")
    elif damage == "large":
        data = data.replace(b"(5, 7, 3), }", b"(1000000000000, 7, 3), }")
    else:
        with (tmp_path / "a.npz").open("wb") as other:
            np.savez(other, a=RAMP)
        data = (tmp_path / "a.npz").read_bytes()
    file.write_bytes(data)
    for read in (photos.read, lambda path: as_images(path, None)):
        with pytest.raises(InputError, match=r"a\.npy cannot be read as"):
            read(file)


def test_a_path_is_read(tmp_path):
    """A photo, a folder of photos, or an array of images, by its path."""
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    one = as_images(str(tmp_path / "a.png"), None)
    np.testing.assert_array_equal(one.source[0], photos.read(tmp_path / "a.png"))
    Image.fromarray(RAMP[::-1].copy()).save(tmp_path / "b.png")
    assert as_images(tmp_path, (5, 7, 3)).source.shape == (2, 5, 7, 3)
    np.save(tmp_path / "c.npy", np.zeros((4, 9, 2), np.float32))
    assert as_images(tmp_path / "c.npy", (9, 2)).source.shape == (4, 9, 2)
    with pytest.raises(InputError, match="There is nothing at"):
        jaxrf.erf(zoo.conv_stack(depth=1, width=2), None, str(tmp_path / "d.png"), seeds=1)
