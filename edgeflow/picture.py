"""A picture file becomes the model's input, as the model's recipe says.

    file ─▶ upright RGB ─▶ centred box of the target's aspect ─▶ resized ─▶ uint8 array

Arithmetic (to float, mean, deviation) is no part of this: it belongs into the graph, so that the
small uint8 picture can cross the first wire. A model that begins with the op `decode` takes the
file's bytes as they are (`edgeflow.encoded`), and does the same to them, wherever it runs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from edgeflow.errors import InputError, ModelError, UsageError
from edgeflow.model.graph import OPEN_MAX, Array, Graph

PIXELS_MAX = 1 << 26
"""Of a picture that a node decodes: 67 megapixels are 200 MB as RGB, more than small boards have to
spare. Every camera that fits into a hand stays below it."""
FORMATS: Mapping[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
}
"""What a node decodes, by its first bytes: what cameras deliver, read by the two readers that are
tried most. Pillow knows dozens more, and each would be open to strangers' bytes."""

_Side = Annotated[int, Meta(ge=1, le=16384)]


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """How a picture becomes the tensor `input`. Data: it stands in the manifest."""

    input: str
    height: _Side
    width: _Side
    crop: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Part of the largest centred box that is kept. Less drops the border, as in training."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    layout: Literal["NHWC", "NCHW"] = "NHWC"


def recipe_of(graph: Graph) -> Recipe:
    """The graph's recipe, checked; ModelError where it has none or a wrong one."""
    if not graph.recipe:
        raise ModelError(
            f"{graph.name} has no picture recipe; give it an array, or export it with one"
        )
    return read_recipe(graph.recipe)


def read_recipe(fields: Mapping[str, Any]) -> Recipe:
    """ModelError names the field that is wrong."""
    try:
        return msgspec.convert(dict(fields), Recipe)
    except msgspec.ValidationError as error:
        raise ModelError(f"the picture recipe is malformed: {error}") from None


def read_picture(path: str | os.PathLike[str], recipe: Recipe) -> NDArray[np.uint8]:
    """uint8 (1, height, width, 3), or (1, 3, height, width) where the recipe says NCHW.

    UsageError where the file is missing or no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _fit(picture, recipe)
    except UnidentifiedImageError:
        raise UsageError(f"{path} is no picture that Pillow can read (JPEG, PNG, …)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(f"{path} has too many pixels for a picture; scale it down first") from None
    except OSError as error:
        text = error.strerror or "damaged or truncated"
        raise UsageError(f"cannot read the picture {path}: {text}") from None
    except (ValueError, SyntaxError) as error:
        raise UsageError(f"{path} is a damaged picture: {error}") from None


def read_encoded(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of a JPEG or PNG file, (bytes,) uint8, as they are.

    UsageError where the file is missing, of another format or too long.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(OPEN_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read the picture {path}: {error.strerror}") from None
    if len(data) > OPEN_MAX:
        raise UsageError(
            f"{path} is longer than {OPEN_MAX >> 20} MiB; scale the picture down first"
        )
    if not any(map(data.startswith, FORMATS)):
        raise UsageError(f"{path} is neither JPEG nor PNG, all that an encoded input may be")
    return np.frombuffer(data, np.uint8)


def decode(encoded: Array, recipe: Recipe) -> NDArray[np.uint8]:
    """What `read_picture` makes of the file with these bytes, (bytes,) uint8, bit for bit.

    InputError where they are no JPEG or PNG, damaged, or of more than PIXELS_MAX pixels.
    """
    data = encoded.tobytes()
    reader = next((FORMATS[start] for start in FORMATS if data.startswith(start)), None)
    if reader is None:
        raise InputError("the input is neither a JPEG nor a PNG picture")
    try:
        with reader(BytesIO(data)) as picture:
            pixels = picture.width * picture.height
            if pixels <= PIXELS_MAX:
                return _fit(picture, recipe)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise InputError(f"the picture is damaged or truncated: {error}"[:300]) from None
    raise InputError(f"the picture has {pixels} pixels, more than {PIXELS_MAX}: scale it down")


def is_encoded(graph: Graph) -> bool:
    """Does the graph take its picture as the bytes of a file? ModelError where it takes none."""
    name = recipe_of(graph).input
    return name in graph.tensors and graph.tensors[name].is_open


def inputs_of(graph: Graph, path: str | os.PathLike[str]) -> dict[str, NDArray[np.uint8]]:
    """The graph's input by name, out of a picture file: fitted, or as it is where encoded."""
    recipe = recipe_of(graph)
    return {recipe.input: read_encoded(path) if is_encoded(graph) else read_picture(path, recipe)}


def _fit(picture: Image.Image, recipe: Recipe) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    scale = min(upright.width / recipe.width, upright.height / recipe.height) * recipe.crop
    width, height = scale * recipe.width, scale * recipe.height
    left, top = (upright.width - width) / 2, (upright.height - height) / 2
    small = upright.resize(
        (recipe.width, recipe.height),
        Image.Resampling[recipe.filter.upper()],
        box=(left, top, left + width, top + height),
    )
    array = np.array(small, dtype=np.uint8)[None]
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if recipe.layout == "NCHW" else array)
