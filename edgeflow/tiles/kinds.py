"""Which kinds of op keep locality, by which rule along rows and columns, and why the others do not.

    op ──▶ (rows, columns), each an axis by `axes`      or      why not: "sums over rows"

What keeps locality: convolutions, pools, transposed convolutions, upsampling by a whole factor,
everything element by element, and what works along batch or channels only. All else reads the whole
map, or its tensors are no maps.

Invariant: a rule is given only where a tile has the arithmetic of the whole map, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from edgeflow.model.graph import ELEMENTWISE, Graph, Op
from edgeflow.tiles.axes import Axis, Blend, Pool, Same, Transposed, Window, Zoom
from edgeflow.tiles.rect import whole

Axes = tuple[Axis, Axis]
Attrs = Mapping[str, Any]
Maker = Callable[[Op, Graph], Axes | str]

SAME: Axes = (Same(), Same())
BORDERS = (2, 3)
"""The axes of rows and columns."""
ROWS_MAX = 1 << 20
"""Of an enlarged map: up to here the places of rows are exact in float32."""


def axes_of(op: Op, graph: Graph) -> Axes | str:
    """The rules along rows and columns; where there are none, why, to go on from "it"."""
    maker = MAKERS.get(op.kind)
    if maker is None:
        return _ENDS.get(op.kind, "is of a kind that no rule is known for")
    for contract in (*(graph.tensors[name] for name in op.inputs), op.output):
        if whole(contract) is None:
            return f"has {contract.name} {contract.shape}, which is no map (N, C, rows, columns)"
    return maker(op, graph)


def _size(op: Op, graph: Graph) -> tuple[int, int]:
    """Rows and columns of its first input."""
    _, _, rows, columns = graph.tensors[op.inputs[0]].shape
    assert isinstance(rows, int)
    assert isinstance(columns, int)
    return rows, columns


Side = tuple[int, int, int]


def _sides(op: Op, kernel: Sequence[int], size: Sequence[int]) -> tuple[Side, Side]:
    """(length, span, stride) of rows and of columns."""
    dilation: Any = op.attrs.get("dilation", (1, 1))
    stride: Any = op.attrs["stride"]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    return (size[0], spans[0], stride[0]), (size[1], spans[1], stride[1])


def _conv(op: Op, graph: Graph) -> Axes:
    attrs: Attrs = op.attrs
    kernel = graph.weights[op.weights["weight"]].shape[2:]
    rows, columns = _sides(op, kernel, _size(op, graph))
    shape = Window if op.kind == "conv2d" else Transposed
    top, left = attrs["padding"][:2]
    return shape(*rows, top), shape(*columns, left)


def _pool(op: Op, graph: Graph) -> Axes:
    attrs: Attrs = op.attrs
    rows, columns = _sides(op, attrs["kernel"], _size(op, graph))
    top, left = attrs["padding"]
    return Pool(*rows, top), Pool(*columns, left)


def _pad(op: Op, graph: Graph) -> Axes | str:
    if op.attrs["mode"] != "constant":
        return "repeats what lies along the end of the map"
    before: Any = op.attrs["before"]
    rows, columns = (
        Window(length, 1, 1, pad) for length, pad in zip(_size(op, graph), before[2:], strict=True)
    )
    return rows, columns


def _slice(op: Op, graph: Graph) -> Axes:
    attrs: Attrs = op.attrs
    axis, start, step = attrs["axis"], attrs["start"], attrs["step"]
    rows, columns = (
        Window(length, 1, step, -start) if at == axis else SAME[0]
        for at, length in zip(BORDERS, _size(op, graph), strict=True)
    )
    return rows, columns


def _shuffle(op: Op, graph: Graph) -> Axes:
    factor: Any = op.attrs["factor"]
    return Zoom(factor), Zoom(factor)


def _enlarged(op: Op, graph: Graph) -> tuple[int, int] | str:
    """The whole factors by which rows and columns grow; why it has no tiles where they are none."""
    attrs: Attrs = op.attrs
    size, scale = attrs["size"], attrs.get("scale", (None, None))
    if max(size) > ROWS_MAX:
        return f"makes more than {ROWS_MAX} rows or columns"
    factors = []
    for made, had, by in zip(size, _size(op, graph), scale, strict=True):
        if made % had or by not in (None, made // had):
            return "does not enlarge by a whole factor"
        factors.append(made // had)
    return factors[0], factors[1]


@lru_cache(maxsize=1024)
def _is_even(factor: int, length: int) -> bool:
    """Does floor(row / factor), in floats as engines reckon it, give every row its own source?"""
    made = np.arange(factor * length)
    singly = np.floor(made.astype(np.float32) * (np.float32(1) / np.float32(factor)))
    doubly = np.floor(made.astype(np.float64) * (1.0 / factor))
    source = made // factor
    return bool((singly == source).all() and (doubly == source).all())


def _nearest(op: Op, graph: Graph) -> Axes | str:
    factors = _enlarged(op, graph)
    if isinstance(factors, str):
        return factors
    if not all(map(_is_even, factors, _size(op, graph))):
        return f"enlarges by {factors}, where rounding decides which row some rows come from"
    return Zoom(factors[0]), Zoom(factors[1])


def _bilinear(op: Op, graph: Graph) -> Axes | str:
    factors = _enlarged(op, graph)
    if op.attrs["align_corners"]:
        return "aligns corners: each row depends on the size of the whole map"
    if isinstance(factors, str):
        return factors
    if any(factor & (factor - 1) for factor in factors):
        return "does not enlarge by a power of two: its weights are rounded by their position"
    rows, columns = _size(op, graph)
    return Blend(rows, factors[0]), Blend(columns, factors[1])


def _adaptive(op: Op, graph: Graph) -> Axes | str:
    if op.attrs["size"] == _size(op, graph):
        return SAME
    return "has windows that depend on the size of the whole map"


def _elementwise(op: Op, graph: Graph) -> Axes | str:
    for role in ("left", "right"):
        name = op.weights.get(role)
        if name is not None and any(dim != 1 for dim in graph.weights[name].shape[-2:]):
            return "has a constant that varies over rows or columns"
    return SAME


def _along(op: Op, graph: Graph) -> Axes | str:
    axes: Any = op.attrs["axes"] if "axes" in op.attrs else (op.attrs["axis"],)
    return "goes along rows or columns" if set(axes) & set(BORDERS) else SAME


MAKERS: dict[str, Maker] = {
    **dict.fromkeys(ELEMENTWISE | {"local_response_norm", "channel_shuffle"}, _elementwise),
    **dict.fromkeys(["concat", "softmax", "log_softmax", "mean", "sum", "amax"], _along),
    **dict.fromkeys(["conv2d", "conv_transpose2d"], _conv),
    **dict.fromkeys(["max_pool2d", "avg_pool2d"], _pool),
    **dict.fromkeys(["adaptive_avg_pool2d", "adaptive_max_pool2d"], _adaptive),
    "upsample_nearest": _nearest,
    "upsample_bilinear": _bilinear,
    "pixel_shuffle": _shuffle,
    "slice": _slice,
    "pad": _pad,
}
"""Kinds that can be made in tiles, if all else of the op allows it."""

_ENDS = {
    "linear": "multiplies whole vectors",
    "matmul": "multiplies whole matrices",
    "group_norm": "norms over rows and columns",
    "layer_norm": "norms over rows and columns",
    "reshape": "gives rows and columns another meaning",
    "permute": "gives rows and columns another meaning",
    "expand": "repeats what it reads",
    "decode": "reads a whole file",
}
"""Kinds that no rule is for, and why."""
