"""Converters of what slides a window over maps, and how the window's padding is found.

ONNX pads each side as it likes; our pools pad both alike and at most half a window. Where a pool
wants more, a `pad` stands in front of it, as long as the answer stays exactly the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.importer.convert import Node, converts

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right."""


def pair(value: Sequence[int] | None, default: int = 1) -> Pair:
    """(rows, columns) of an attribute; ModelError where it is for another number of dimensions."""
    if not value:
        return default, default
    if len(value) != 2:
        raise ModelError(f"it names {len(value)} numbers for rows and columns")
    return int(value[0]), int(value[1])


def pads_of(node: Node, size: Pair, kernel: Sequence[int], stride: Pair, dilation: Pair) -> Sides:
    """Padding of a window, written out or by `auto_pad`."""
    auto = node.attr("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = node.attr("pads") or (0, 0, 0, 0)
        if len(pads) != 4:
            raise ModelError(f"it names {len(pads)} pads, not top, left, bottom, right")
        return int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])
    if auto == "VALID":
        return 0, 0, 0, 0
    if auto not in ("SAME_UPPER", "SAME_LOWER") or min(stride) < 1:
        raise ModelError(f"auto_pad {auto!r} with stride {stride} is none of ONNX's")
    less, more = [], []
    for x, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max(0, (-(-x // s) - 1) * s + (k - 1) * d + 1 - x)
        less.append(total // 2)
        more.append(total - total // 2)
    first, last = (less, more) if auto == "SAME_UPPER" else (more, less)
    return first[0], first[1], last[0], last[1]


@dataclass(frozen=True, slots=True)
class _Window:
    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: Sides
    is_ceil: bool

    def fits(self) -> bool:
        """Are both sides padded alike, and at most half a window?"""
        top, left, bottom, right = self.pads
        half = top <= self.kernel[0] // 2 and left <= self.kernel[1] // 2
        return (top, left) == (bottom, right) and half

    def sides(self, size: Pair) -> Sides:
        """As much padding as the windows reach, so that plain rounding down finds them all."""
        ends = []
        for axis, x in enumerate(size):
            k, s, before = self.kernel[axis], self.stride[axis], self.pads[axis]
            span = (k - 1) * self.dilation[axis] + 1
            room = x + before + self.pads[axis + 2] - span
            count = (-(-room // s) if self.is_ceil else room // s) + 1
            if self.is_ceil and (count - 1) * s >= x + before:
                count -= 1
            ends.append(max(0, (count - 1) * s + span - x - before))
        return (*self.pads[:2], ends[0], ends[1])


def _window(node: Node) -> _Window:
    node.alone()
    size, kernel = node.maps(), pair(node.attr("kernel_shape"))
    stride, dilation = pair(node.attr("strides")), pair(node.attr("dilations"))
    if min(*kernel, *stride, *dilation) < 1:
        raise ModelError(f"a window of {kernel}, stride {stride}, dilation {dilation} is none")
    pads = pads_of(node, size, kernel, stride, dilation)
    is_ceil = bool(node.attr("ceil_mode", 0)) and not node.attr("auto_pad", "").startswith("SAME")
    return _Window(kernel, stride, dilation, pads, is_ceil)


def _padded(node: Node, window: _Window, value: float) -> str:
    sides = window.sides(node.maps())
    before, after = (0, 0, *sides[:2]), (0, 0, *sides[2:])
    if not any(sides):
        return node.tensor()
    return node.emit("pad", before=before, after=after, mode="constant", value=value)


def _pool(node: Node, kind: str, source: str, window: _Window, **attrs: Any) -> str:
    direct = window.fits()
    return node.emit(
        kind,
        [source],
        kernel=window.kernel,
        stride=window.stride,
        padding=window.pads[:2] if direct else (0, 0),
        ceil_mode=direct and window.is_ceil,
        **attrs,
    )


@converts("MaxPool")
def max_pool(node: Node) -> str:
    """Without the indices."""
    window = _window(node)
    source = node.tensor()
    if not window.fits():
        if not node.dtype().startswith("float"):
            raise ModelError(f"it pools {node.dtype()}; the op set pools floats")
        source = _padded(node, window, float(np.finfo(node.dtype()).min))
    return _pool(node, "max_pool2d", source, window, dilation=window.dilation)


@converts("AveragePool")
def average_pool(node: Node) -> str:
    """Pads that differ from side to side must count, or the divisor would differ as well."""
    window, counts = _window(node), bool(node.attr("count_include_pad", 0))
    if window.dilation != (1, 1):
        raise ModelError("its window has holes (dilations); the op set averages without")
    if window.fits():
        return _pool(node, "avg_pool2d", node.tensor(), window, count_include_pad=counts)
    if not counts or window.is_ceil:
        raise ModelError(
            f"it averages with pads {window.pads} that do not count; the op set pads both sides "
            "alike: pad in a node of its own, or pool by whole windows"
        )
    source = _padded(node, window, 0.0)
    return _pool(node, "avg_pool2d", source, window, count_include_pad=True)


@converts("GlobalAveragePool")
def global_average_pool(node: Node) -> str:
    """One number a channel."""
    rank = len(node.shape())
    if rank == 4:
        return node.emit("adaptive_avg_pool2d", size=(1, 1))
    return node.emit("mean", axes=tuple(range(2, rank)), keepdim=True)


@converts("GlobalMaxPool")
def global_max_pool(node: Node) -> str:
    """One number a channel."""
    rank = len(node.shape())
    if rank == 4:
        return node.emit("adaptive_max_pool2d", size=(1, 1))
    return node.emit("amax", axes=tuple(range(2, rank)), keepdim=True)
