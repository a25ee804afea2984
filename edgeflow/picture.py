"""A picture file becomes the model's input, as the model's recipe says.

    file ─▶ upright RGB ─▶ centred box of the target's aspect ─▶ resized ─▶ uint8 array

Arithmetic (to float, mean, deviation) is no part of this: it belongs into the graph, so that the
small uint8 picture can cross the first wire.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edgeflow.errors import ModelError, UsageError
from edgeflow.graph import Graph

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
                return _tensor(picture, recipe)
    except UnidentifiedImageError:
        raise UsageError(f"{path} is no picture that Pillow can read (JPEG, PNG, …)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(f"{path} has too many pixels for a picture; scale it down first") from None
    except OSError as error:
        text = error.strerror or "damaged or truncated"
        raise UsageError(f"cannot read the picture {path}: {text}") from None
    except (ValueError, SyntaxError) as error:
        raise UsageError(f"{path} is a damaged picture: {error}") from None


def inputs_of(graph: Graph, path: str | os.PathLike[str]) -> dict[str, NDArray[np.uint8]]:
    """The graph's input by name, out of a picture file."""
    recipe = recipe_of(graph)
    return {recipe.input: read_picture(path, recipe)}


def _tensor(picture: Image.Image, recipe: Recipe) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    scale = min(upright.width / recipe.width, upright.height / recipe.height) * recipe.crop
    width, height = scale * recipe.width, scale * recipe.height
    left, top = (upright.width - width) / 2, (upright.height - height) / 2
    small = upright.resize(
        (recipe.width, recipe.height),
        Image.Resampling[recipe.filter.upper()],
        box=(left, top, left + width, top + height),
    )
    array = np.asarray(small, dtype=np.uint8)[None]
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if recipe.layout == "NCHW" else array)
