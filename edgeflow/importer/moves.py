"""Converters of ops that only move elements: reshape, transpose, slice, concat, pad."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.importer.convert import Node, converts, within


@converts("Reshape")
def reshape(node: Node) -> str:
    """0 keeps a dimension, -1 takes what is left."""
    shape, wanted = node.shape(), list(node.ints("shape", 1) or ())
    if not node.attr("allowzero", 0):
        if any(dim == 0 and axis >= len(shape) for axis, dim in enumerate(wanted)):
            raise ModelError(f"it keeps a dimension that {shape} does not have")
        wanted = [dim or shape[axis] for axis, dim in enumerate(wanted)]
    return node.reshape(node.tensor(), _filled(wanted, math.prod(shape)))


def _filled(wanted: list[int], count: int) -> list[int]:
    """With a number in the place of one -1."""
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ModelError(f"{wanted} is no shape")
    if -1 not in wanted:
        return wanted
    rest = -math.prod(wanted)
    if not rest or count % rest:
        raise ModelError(f"{count} elements do not reshape to {wanted}")
    return [count // rest if dim == -1 else dim for dim in wanted]


@converts("Flatten")
def flatten(node: Node) -> str:
    """To two dimensions, divided at `axis`."""
    shape, axis = node.shape(), int(node.attr("axis", 1))
    axis = axis if axis == len(shape) else within(axis, len(shape))
    return node.reshape(node.tensor(), (math.prod(shape[:axis]), math.prod(shape[axis:])))


@converts("Squeeze")
def squeeze(node: Node) -> str:
    """Without these dimensions of 1, or without all of them."""
    shape, named = node.shape(), node.ints("axes", 1)
    ones = [axis for axis, dim in enumerate(shape) if dim == 1]
    axes = ones if named is None else [within(axis, len(shape)) for axis in named]
    if not set(axes) <= set(ones):
        raise ModelError(f"it drops dimensions {axes} of {shape}, which are not all 1")
    return node.reshape(node.tensor(), [d for a, d in enumerate(shape) if a not in axes])


@converts("Unsqueeze")
def unsqueeze(node: Node) -> str:
    """With dimensions of 1 put in, counted in the result."""
    shape, named = list(node.shape()), node.ints("axes", 1) or ()
    for axis in sorted(within(axis, len(shape) + len(named)) for axis in named):
        shape.insert(axis, 1)
    return node.reshape(node.tensor(), shape)


@converts("Expand")
def expand(node: Node) -> str:
    """To the common shape of the tensor and the wanted one."""
    shape = np.broadcast_shapes(node.shape(), node.ints("shape", 1) or ())
    return node.tensor() if shape == node.shape() else node.emit("expand", shape=shape)


@converts("Tile")
def tile(node: Node) -> str:
    """Every dimension repeated: by an `expand` of a dimension in front of it."""
    shape, repeats = node.shape(), node.ints("repeats", 1) or ()
    if len(repeats) != len(shape) or min(repeats, default=1) < 1:
        raise ModelError(f"{shape} is not repeated {repeats} times")
    split, wide, value = list[int](), list[int](), node.tensor()
    for dim, count in zip(shape, repeats, strict=True):
        split += [1, dim] if count > 1 else [dim]
        wide += [count, dim] if count > 1 else [dim]
    if split == wide:
        return value
    value = node.emit("expand", [node.reshape(value, split)], shape=tuple(wide))
    return node.reshape(value, [a * b for a, b in zip(shape, repeats, strict=True)])


@converts("Transpose")
def transpose(node: Node) -> str:
    """By default the other way round."""
    rank = len(node.shape())
    axes = tuple(int(axis) for axis in node.attr("perm") or reversed(range(rank)))
    return node.tensor() if axes == tuple(range(rank)) else node.emit("permute", axes=axes)


@converts("Concat")
def concat(node: Node) -> str:
    """Of tensors that depend on the input."""
    tensors = [node.tensor(index) for index in range(len(node.inputs))]
    return tensors[0] if len(tensors) == 1 else node.emit("concat", tensors, axis=node.axis(1))


def _cut(node: Node, value: str, axis: int, bounds: slice) -> str:
    size = node.shape(value)[axis]
    start, stop, step = bounds.indices(size)
    if step < 1:
        raise ModelError(f"it steps backwards ({step}) along axis {axis}; the op set goes forward")
    if (start, stop, step) == (0, size, 1):
        return value
    return node.emit("slice", [value], axis=axis, start=start, stop=stop, step=step)


@converts("Slice")
def slice_(node: Node) -> str:
    """One step for each axis."""
    starts, stops = node.ints("starts", 1) or (), node.ints("ends", 2) or ()
    axes, steps = node.ints("axes", 3), node.ints("steps", 4)
    rank, value = len(node.shape()), node.tensor()
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if 0 in steps or not len(starts) == len(stops) == len(axes) == len(steps):
        raise ModelError(f"it cuts from {starts} to {stops} along {axes} by {steps}")
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        value = _cut(node, value, within(axis, rank), slice(start, stop, step))
    return value


@converts("Split")
def split(node: Node) -> list[str]:
    """One slice for each part; what nobody reads is dropped later."""
    axis, parts = node.axis(0), len(node.proto.output)
    size = node.shape()[axis]
    sizes = node.ints("split", 1)
    if sizes is None:
        each = -(-size // parts)
        sizes = tuple(max(0, min(each, size - each * index)) for index in range(parts))
    if sum(sizes) != size or len(sizes) != parts or min(sizes) < 1:
        raise ModelError(f"it splits {size} into {sizes}")
    ends = np.cumsum(sizes)
    return [
        _cut(node, node.tensor(), axis, slice(int(end) - length, int(end)))
        for end, length in zip(ends, sizes, strict=True)
    ]


@converts("Gather")
def gather(node: Node) -> str:
    """One index, or several at equal distances: a slice. Others move what we cannot."""
    axis, indices = node.axis(0), node.constant(1, "indices")
    shape = node.shape()
    if indices.size == 0 or indices.dtype.kind not in "iu":
        raise ModelError(f"its indices {indices.shape} name nothing")
    places = [within(int(index), shape[axis]) for index in indices.reshape(-1)]
    steps = {b - a for a, b in pairwise(places)} or {1}
    step = min(steps)
    if len(steps) > 1 or step < 1 or indices.ndim > 1:
        raise ModelError(f"it picks {str(places[:8])[1:-1]}, …: only indices at equal distances")
    value = _cut(node, node.tensor(), axis, slice(places[0], places[-1] + 1, step))
    return node.reshape(value, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


@converts("Pad")
def pad(node: Node) -> str:
    """With one number, the picture reflected, or its edge repeated."""
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    mode, rank = modes.get(node.attr("mode", "constant")), len(node.shape())
    if mode is None:
        raise ModelError(
            f"pad mode {node.attr('mode')!r} is outside the op set: {', '.join(modes)}"
        )
    pads, axes = node.ints("pads", 1) or (), node.ints("axes", 3)
    given = [within(axis, rank) for axis in (range(rank) if axes is None else axes)]
    if len(pads) != 2 * len(given):
        raise ModelError(f"it names {len(pads)} pads for {len(given)} dimensions")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(given):
        before[axis], after[axis] = pads[index], pads[index + len(given)]
    if not any(pads):
        return node.tensor()
    number = node.optional(2, "constant_value")
    value = node.attr("value", 0.0) if number is None or not number.size else number.item()
    return node.emit(
        "pad", before=tuple(before), after=tuple(after), mode=mode, value=node.number(value)
    )


@converts("DepthToSpace")
def depth_to_space(node: Node) -> str:
    """Blocks of channels become blocks of pixels; which channel goes where, says the mode."""
    size, (n, c, h, w) = _blocks(node), node.shape()
    if node.attr("mode", "DCR") == "CRD":
        return node.emit("pixel_shuffle", factor=size)
    parted = node.reshape(node.tensor(), (n, size, size, c // size**2, h, w))
    moved = node.emit("permute", [parted], axes=(0, 3, 4, 1, 5, 2))
    return node.reshape(moved, (n, c // size**2, h * size, w * size))


@converts("SpaceToDepth")
def space_to_depth(node: Node) -> str:
    """The other way."""
    size, (n, c, h, w) = _blocks(node), node.shape()
    parted = node.reshape(node.tensor(), (n, c, h // size, size, w // size, size))
    order = (0, 1, 3, 5, 2, 4) if node.attr("mode") == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = node.emit("permute", [parted], axes=order)
    return node.reshape(moved, (n, c * size**2, h // size, w // size))


def _blocks(node: Node) -> int:
    node.maps()
    size = int(node.attr("blocksize"))
    if size < 1:
        raise ModelError(f"blocks of {size}")
    return size
