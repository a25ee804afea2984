"""Pictures: what comes out of a file, and what is said of a file that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeflow.errors import ModelError, UsageError
from edgeflow.picture import Recipe, read_picture, read_recipe

SQUARE = Recipe(input="image", height=8, width=8, filter="nearest")


def save(path: Path, array: object) -> Path:
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)
    return path


def test_a_picture_of_the_right_size_comes_through_unchanged(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = read_picture(save(tmp_path / "a.png", pixels), SQUARE)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels[None])


def test_the_layout_is_as_the_recipe_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    planes = read_picture(
        save(tmp_path / "a.png", pixels), Recipe("image", 8, 8, filter="nearest", layout="NCHW")
    )
    np.testing.assert_array_equal(planes, pixels.transpose(2, 0, 1)[None])
    assert planes.flags.c_contiguous


def test_a_wide_picture_is_cropped_in_the_middle_and_not_squeezed(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24, 3))
    pixels[:, 8:16] = 200
    found = read_picture(save(tmp_path / "a.png", pixels), SQUARE)
    assert (found == 200).all()


def test_crop_keeps_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3))
    pixels[4:12, 4:12] = 200
    path = save(tmp_path / "a.png", pixels)
    assert (read_picture(path, Recipe("image", 8, 8, crop=0.5, filter="nearest")) == 200).all()
    assert not (read_picture(path, SQUARE) == 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode).save(path)
    found = read_picture(path, SQUARE)
    assert found.shape == (1, 8, 8, 3)
    assert (found == 255).all()


def test_a_picture_taken_upright_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = read_picture(tmp_path / "a.png", SQUARE)
    assert (found[0, :4] == 255).all()
    assert (found[0, 4:] == 0).all()


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"#!/bin/sh\necho no picture\n")
    with pytest.raises(UsageError, match=r"a\.jpg is no picture"):
        read_picture(path, SQUARE)
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="is no picture"):
        read_picture(path, SQUARE)
    with pytest.raises(UsageError, match="No such file"):
        read_picture(tmp_path / "none.png", SQUARE)
    with pytest.raises(UsageError, match="directory"):
        read_picture(tmp_path, SQUARE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff", "webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    path = save(tmp_path / f"a.{kind}", pixels)
    whole = path.read_bytes()
    for length in (len(whole) // 2, 40, 12):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError):
            read_picture(path, SQUARE)


def test_a_picture_of_endless_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", np.zeros((40, 40, 3)))
    for limit in (1000, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UsageError, match="too many pixels"):
            read_picture(path, SQUARE)


@pytest.mark.parametrize(
    "fields",
    [
        {"height": 8, "width": 8},
        {"input": "x", "height": 0, "width": 8},
        {"input": "x", "height": 1 << 20, "width": 8},
        {"input": "x", "height": 8, "width": 8, "crop": 0.0},
        {"input": "x", "height": 8, "width": 8, "filter": "best"},
        {"input": "x", "height": 8, "width": 8, "run": "rm"},
    ],
)
def test_a_malformed_recipe_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="recipe is malformed"):
        read_recipe(fields)
