"""What a caller may hand in as a frame, and the model's inputs by name that are in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeflow.errors import UsageError
from edgeflow.model.graph import Array

Inputs = Array | bytes | Mapping[str, Array] | Sequence[Array]
"""`bytes` are a JPEG or PNG file, for a model that decodes."""


def named(
    inputs: Inputs, deployment: str, ask: Callable[[], tuple[str, ...] | None]
) -> dict[str, Array]:
    """By name; `ask` tells the names in order, or None while they are unknown. UsageError where the
    number of arrays is another."""
    if isinstance(inputs, bytes):
        inputs = np.frombuffer(inputs, np.uint8)
    if isinstance(inputs, Mapping):
        return {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    names = ask()
    if names is None and len(arrays) == 1:
        names = ("image",)
    if names is None or len(names) != len(arrays):
        wanted = ", ".join(names) if names else "unknown inputs"
        raise UsageError(f"{deployment} takes {wanted}; {len(arrays)} arrays were given")
    return {name: np.ascontiguousarray(array) for name, array in zip(names, arrays, strict=True)}
