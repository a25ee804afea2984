"""Models that take a picture as a camera delivers it: the bytes of a JPEG or PNG.

    image: uint8 (1, height, width, 3) ─▶ …                       the graph, with a recipe
    image: uint8 (bytes,) ─▶ decode: uint8 (1, height, width, 3) ─▶ …          with_decode(graph)

The picture is a tenth of its pixels then, and "ship the JPEG" is among the cuts. How long one is
differs from frame to frame; plans are made for the expected number of bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeflow.errors import ModelError
from edgeflow.model.check import check
from edgeflow.model.graph import OPEN_MAX, Array, Contract, Graph, Op
from edgeflow.model.ops import PIXELS_A_BYTE, infer, opset_of
from edgeflow.picture import Recipe, read_encoded, recipe_of

BYTES = "bytes"
"""The symbol of the open dimension."""
QUALITY = 90
"""Of the JPEGs made here; cameras use 85 to 95."""
SIDE_MAX = 4096
"""Of an example; a larger one only takes longer."""
GRAIN = 9
"""Noise that makes clouds as hard to encode as photographs: some PIXELS_A_BYTE at QUALITY."""

_FIELDS = ("height", "width", "crop", "filter", "layout")


def with_decode(graph: Graph, bytes_expected: int | None = None) -> Graph:
    """The graph behind a `decode`, as its recipe has it: its picture comes as a file's bytes.

    `bytes_expected` is what plans reckon with, by default those of a JPEG of just the size that the
    model takes. ModelError where the graph has no recipe, or takes something else than its recipe
    makes.
    """
    recipe = recipe_of(graph)
    given = next((each for each in graph.inputs if each.name == recipe.input), None)
    pixels = recipe.height * recipe.width
    size = round(pixels / PIXELS_A_BYTE) if bytes_expected is None else bytes_expected
    encoded = Contract(recipe.input, "uint8", (BYTES,))
    attrs = attributes(recipe, size)
    name = _unused(graph)
    try:
        output = Contract(name, *infer("decode", attrs, (encoded,), {}))
    except ValueError as error:
        raise ModelError(f"{graph.name} cannot decode: {error}") from None
    if given is None or (given.dtype, given.shape) != (output.dtype, output.shape):
        raise ModelError(
            f"{graph.name} takes {given.dtype if given else 'no'} {given.shape if given else ''} "
            f"{recipe.input}, its recipe makes {output.dtype} {output.shape}"
        )
    first = Op(name, "decode", (recipe.input,), {}, attrs, output)
    ops = (first, *(_reading(op, recipe.input, name) for op in graph.ops))
    inputs = tuple(encoded if each is given else each for each in graph.inputs)
    made = replace(graph, opset=opset_of(ops), inputs=inputs, ops=ops)
    check(made)
    return made


def attributes(recipe: Recipe, bytes_expected: int) -> dict[str, Any]:
    """Those of a `decode` that does what the recipe says."""
    fields = {name: getattr(recipe, name) for name in _FIELDS}
    return {**fields, "bytes_expected": bytes_expected}


def recipe_in(attrs: Mapping[str, Any]) -> Recipe:
    """What a `decode` with these attributes does, as a recipe."""
    return Recipe("", **{name: attrs[name] for name in _FIELDS})


def mean_bytes(paths: Iterable[Any]) -> int:
    """Of photographs as frames will be; UsageError where one is no JPEG or PNG."""
    sizes = [len(read_encoded(path)) for path in paths]
    return round(sum(sizes) / len(sizes))


def jpeg(pixels: NDArray[np.uint8], quality: int = QUALITY) -> NDArray[np.uint8]:
    """A picture (rows, columns, 3) as the bytes of a JPEG, (bytes,) uint8."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.frombuffer(file.getvalue(), np.uint8)


def example(graph: Graph, name: str, seed: int = 0) -> Array:
    """An input that the graph decodes: a JPEG of clouds, about as long as expected."""
    reader = next(op for op in graph.ops if op.kind == "decode" and name in op.inputs)
    recipe, size = recipe_in(reader.attrs), min(graph.tensors[name].nbytes, OPEN_MAX)
    scale = math.sqrt(size * PIXELS_A_BYTE / (recipe.height * recipe.width))
    sides = [round(min(max(8, side * scale), SIDE_MAX)) for side in (recipe.width, recipe.height)]
    random = np.random.default_rng(seed)
    few = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    clouds = np.asarray(Image.fromarray(few).resize((sides[0], sides[1])), dtype=np.int16)
    grain = random.integers(-GRAIN, GRAIN, clouds.shape, dtype=np.int16, endpoint=True)
    return jpeg((clouds + grain).clip(0, 255).astype(np.uint8))


def _unused(graph: Graph) -> str:
    """A name for the op."""
    name, count = "decode", 1
    while name in graph.tensors:
        count += 1
        name = f"decode_{count}"
    return name


def _reading(op: Op, old: str, new: str) -> Op:
    if old not in op.inputs:
        return op
    return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))
