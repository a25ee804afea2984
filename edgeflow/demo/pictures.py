"""Photographs that lie in the wheels of scikit-image and scikit-learn, and what the network sees.

`right` is what a person would call them, where ImageNet has a class for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edgeflow.encoded import jpeg
from edgeflow.errors import UsageError
from edgeflow.model.graph import Array, Graph
from edgeflow.picture import inputs_of, is_encoded, read_picture, recipe_of

FILES = (
    ("chelsea.png", "skimage", "data", "Egyptian cat"),
    ("coffee.png", "skimage", "data", "espresso"),
    ("motorcycle_left.png", "skimage", "data", "moped"),
    ("rocket.jpg", "skimage", "data", ""),
    ("china.jpg", "sklearn", "datasets/images", ""),
    ("flower.jpg", "sklearn", "datasets/images", ""),
)
"""(file, package, folder in it, the right label or empty where none is undisputed)."""
SUM_OFF_MAX = 1e-2
"""Probabilities sum up to 1 but for the rounding of some thousand classes."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One picture, as the model's input."""

    name: str
    path: Path
    right: str
    inputs: dict[str, NDArray[np.uint8]]


def find(name: str, package: str, folder: str) -> Path:
    """Where the picture lies; UsageError where its package is missing."""
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place) / folder / name
        if path.is_file():
            return path
    raise UsageError(f"{name} of {package} is missing: pip install 'edgeflow-dnn[demo]'")


def read_all(graph: Graph) -> tuple[Photograph, ...]:
    """Every photograph, fitted to the model's input; for a model that decodes, as a JPEG of that
    size: what a camera delivers that was told which pictures the model takes."""
    paths = [find(name, package, folder) for name, package, folder, _ in FILES]
    return tuple(
        Photograph(name, path, right, _inputs(graph, path))
        for path, (name, _, _, right) in zip(paths, FILES, strict=True)
    )


def _inputs(graph: Graph, path: Path) -> dict[str, NDArray[np.uint8]]:
    if not is_encoded(graph):
        return inputs_of(graph, path)
    recipe = recipe_of(graph)
    rows = read_picture(path, replace(recipe, layout="NHWC"))
    return {recipe.input: jpeg(rows[0])}


def best_label(graph: Graph, output: Array) -> tuple[str, float]:
    """(label, probability) of the likeliest class, of an output (1, classes); its number where the
    model has no labels. Scores that are no probabilities go through a softmax."""
    scores = output[0].astype(np.float64)
    if scores.min() < 0 or abs(scores.sum() - 1) > SUM_OFF_MAX:
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    index = int(np.argmax(scores))
    label = graph.labels[index] if graph.labels else f"class {index}"
    return label, float(scores[index])
