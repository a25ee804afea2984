"""Converters of Resize and Upsample, of which ONNX has dozens and the op set three.

    nearest                 pixel by pixel: does ours take the same one? Then it is ours
    linear, half_pixel      ours
    linear, align_corners   ours
    all else                named, and refused

Invariant: what is taken picks the very pixels, and weighs them alike; nothing is only similar.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.errors import ModelError
from edgeflow.importer.convert import Node, converts, within

SIDE_MAX = 1 << 16
"""Rows or columns of a result: each is looked at."""

_Numbers = NDArray[np.float64]


@converts("Resize", "Upsample")
def resize(node: Node) -> str:
    """Of rows and columns; set 10 and Upsample know `asymmetric` only."""
    old, (size, scale) = node.maps(), _wanted(node)
    if max(size) > SIDE_MAX:
        raise ModelError(f"it makes maps of {size}, at most {SIDE_MAX} a side")
    mode = node.attr("mode", "nearest")
    if mode == "nearest":
        return _nearest(node, old, size, scale)
    if mode != "linear":
        raise ModelError(f"mode {mode!r} is outside the op set: nearest and linear are in it")
    return _linear(node, old, size, scale)


def _coordinates(node: Node) -> str:
    if node.opset < 11 or node.proto.op_type == "Upsample":
        return "asymmetric"
    return str(node.attr("coordinate_transformation_mode", "half_pixel"))


def _wanted(node: Node) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """Rows and columns of the result, and the scales where these were given."""
    old = node.opset < 11 or node.proto.op_type == "Upsample"
    scales = node.optional(1 if old else 2, "scales")
    sizes = None if old else node.optional(3, "sizes")
    shape = node.shape()
    axes = [within(int(axis), 4) for axis in node.attr("axes") or range(4)]
    given = scales if scales is not None and scales.size else sizes
    if given is None or given.size != len(axes):
        raise ModelError("it names neither a scale nor a size for each of its axes")
    factors, sides = [1.0] * 4, list(shape)
    if given is scales:
        for axis, factor in zip(axes, given.reshape(-1), strict=True):
            factors[axis] = float(factor)
            sides[axis] = math.floor(np.float32(shape[axis]) * np.float32(factor))
    elif node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ModelError("it keeps the aspect ratio by a policy; name the size itself")
    else:
        for axis, side in zip(axes, given.reshape(-1), strict=True):
            sides[axis] = int(side)
    if tuple(sides[:2]) != shape[:2] or min(sides) < 1 or min(factors) <= 0:
        raise ModelError(f"it makes {sides} of {shape}; the op set resizes rows and columns only")
    scale = (factors[2], factors[3]) if given is scales else None
    return (sides[2], sides[3]), scale


def _original(how: str, at: _Numbers, old: int, new: int, scale: float) -> _Numbers:
    """Where each pixel of the result comes from, by the words of the standard."""
    ways: dict[str, Callable[[], _Numbers]] = {
        "asymmetric": lambda: at / scale,
        "half_pixel": lambda: (at + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda: (at + 0.5) / scale - 0.5 if new > 1 else at * 0,
        "align_corners": lambda: at * (old - 1) / (new - 1) if new > 1 else at * 0,
        "half_pixel_symmetric": lambda: (
            old / 2 * (1 - new / (old * scale)) + (at + 0.5) / scale - 0.5
        ),
    }
    if how not in ways:
        raise ModelError(f"coordinate_transformation_mode {how!r} is outside the op set")
    return ways[how]()


_ROUND: dict[str, Callable[[_Numbers], _Numbers]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _theirs(node: Node, old: int, new: int, scale: float) -> _Numbers:
    how = "floor" if node.opset < 11 else node.attr("nearest_mode", "round_prefer_floor")
    if how not in _ROUND:
        raise ModelError(f"nearest_mode {how!r} is none of ONNX's")
    at = _original(_coordinates(node), np.arange(new, dtype=np.float64), old, new, scale)
    found: _Numbers = np.clip(_ROUND[how](at), 0, old - 1)
    return found


def _ours(old: int, new: int, scale: float | None) -> _Numbers:
    """As torch reckons, in float32."""
    step = np.float32(1) / np.float32(scale) if scale else np.float32(old) / np.float32(new)
    at = np.floor(np.arange(new, dtype=np.float32) * step)
    return np.asarray(at.clip(0, old - 1), dtype=np.float64)


def _nearest(
    node: Node, old: tuple[int, int], size: tuple[int, int], scale: tuple[float, float] | None
) -> str:
    factors = scale or (size[0] / old[0], size[1] / old[1])
    wanted = [_theirs(node, *sides) for sides in zip(old, size, factors, strict=True)]
    if all(np.array_equal(each, np.arange(side)) for each, side in zip(wanted, old, strict=True)):
        return node.tensor()
    choices: list[tuple[float, float] | None] = [scale, None] if scale else [None]
    for choice in choices:
        made = [_ours(*sides) for sides in zip(old, size, choice or (None, None), strict=True)]
        if all(np.array_equal(a, b) for a, b in zip(wanted, made, strict=True)):
            return node.emit("upsample_nearest", size=size, **_scaled(choice))
    raise ModelError(
        f"nearest with {_coordinates(node)!r} from {old} to {size} takes other pixels than the op "
        "set does; export it with 'asymmetric' and 'floor'"
    )


def _linear(
    node: Node, old: tuple[int, int], size: tuple[int, int], scale: tuple[float, float] | None
) -> str:
    how = _coordinates(node)
    if old == size and (scale is None or scale == (1.0, 1.0)):
        return node.tensor()
    if node.attr("antialias", 0) and any(new < was for new, was in zip(size, old, strict=True)):
        raise ModelError("it smooths before it makes smaller (antialias); the op set does not")
    flat = how == "pytorch_half_pixel" and any(
        new == 1 and was > 1 for new, was in zip(size, old, strict=True)
    )
    if how == "align_corners":
        return node.emit("upsample_bilinear", size=size, align_corners=True)
    if how not in ("half_pixel", "pytorch_half_pixel") or flat:
        raise ModelError(
            f"linear with {how!r} is outside the op set; export it with 'half_pixel' or "
            "'align_corners'"
        )
    return node.emit("upsample_bilinear", size=size, align_corners=False, **_scaled(scale))


def _scaled(scale: tuple[float, float] | None) -> dict[str, Any]:
    return {} if scale is None else {"scale": scale}
