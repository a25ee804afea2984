"""Converters of the heavy ops: convolutions, products, norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.importer.convert import Node, Value, converts
from edgeflow.importer.elements import as_float, combine
from edgeflow.importer.windows import pads_of, pair
from edgeflow.model.graph import Array


def _weight(node: Node) -> Array:
    """Of a convolution over maps; ModelError where it is none or belies `kernel_shape`."""
    node.maps()
    weight = node.constant(1, "weight")
    kernel = node.attr("kernel_shape")
    if weight.ndim != 4 or (kernel is not None and tuple(kernel) != weight.shape[2:]):
        raise ModelError(f"its weight {weight.shape} is none of a kernel {kernel or '(kH, kW)'}")
    return weight


@converts("Conv")
def conv(node: Node) -> str:
    """Over (N, C, H, W), with any padding."""
    weight, size = _weight(node), node.maps()
    stride, dilation = pair(node.attr("strides")), pair(node.attr("dilations"))
    return node.emit(
        "conv2d",
        weights={"weight": weight, "bias": node.optional(2, "bias")},
        stride=stride,
        padding=pads_of(node, size, weight.shape[2:], stride, dilation),
        dilation=dilation,
        groups=int(node.attr("group", 1)),
    )


@converts("ConvTranspose")
def conv_transpose(node: Node) -> str:
    """Ours pads all sides alike: what the last sides lack or have too much is added or cut off."""
    weight = _weight(node)
    stride, dilation = pair(node.attr("strides")), pair(node.attr("dilations"))
    spans = [_span(node, axis, weight.shape[2 + axis], stride, dilation) for axis in (0, 1)]
    (top, height, rows), (left, width, columns) = spans
    made = node.emit(
        "conv_transpose2d",
        weights={"weight": weight, "bias": node.optional(2, "bias")},
        stride=stride,
        padding=(top, left),
        output_padding=(max(0, height - rows), max(0, width - columns)),
        dilation=dilation,
        groups=int(node.attr("group", 1)),
    )
    if height < rows:
        made = node.emit("slice", [made], axis=2, start=0, stop=height, step=1)
    if width < columns:
        made = node.emit("slice", [made], axis=3, start=0, stop=width, step=1)
    return made


def _span(
    node: Node, axis: int, kernel: int, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int]:
    """Where the output begins in all that is made, its length, and that with this pad on both
    sides."""
    size = node.maps()[axis]
    full = stride[axis] * (size - 1) + (kernel - 1) * dilation[axis] + 1
    extra = pair(node.attr("output_padding"), 0)[axis]
    auto, pads = node.attr("auto_pad", "NOTSET"), node.attr("pads") or (0, 0, 0, 0)
    wanted = node.attr("output_shape")
    if wanted is None and not auto.startswith("SAME"):
        before, after = (0, 0) if auto == "VALID" else (int(pads[axis]), int(pads[axis + 2]))
        return before, full + extra - before - after, full - 2 * before
    length = size * stride[axis] if wanted is None else int(wanted[len(wanted) - 2 + axis])
    total = full + extra - length
    if total < 0:
        raise ModelError(f"its output of {length} is longer than what it makes, {full + extra}")
    before = total // 2 if auto == "SAME_UPPER" else total - total // 2
    return before, length, full - 2 * before


@converts("Gemm")
def gemm(node: Node) -> str:
    """alpha A' B' + beta C: one `linear` where B is constant and C one number a column."""
    value, right = node.tensor(), node.value(1)
    if len(node.shape()) != 2:
        raise ModelError(f"its A has {len(node.shape())} dimensions, not 2")
    if node.attr("transA", 0):
        value = node.emit("permute", [value], axes=(1, 0))
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    shift = _scaled(node, node.value(2), beta)
    if isinstance(node.value(1), str):
        right = node.tensor(1)
        if node.attr("transB", 0):
            right = node.emit("permute", [right], axes=(1, 0))
        made = node.emit("matmul", [value, right])
        made = made if alpha == 1 else node.emit("mul", [made], right=alpha)
        return made if shift is None else combine(node, "add", made, shift)
    weight = node.constant(1, "B")
    weight = _times(weight if node.attr("transB", 0) else weight.T, alpha)
    bias = _columns(shift, weight.shape[0])
    made = node.emit("linear", [value], {"weight": weight, "bias": bias})
    return made if shift is None or bias is not None else combine(node, "add", made, shift)


def _scaled(node: Node, value: Value | None, factor: float) -> Value | None:
    if value is None or factor == 1:
        return value
    if isinstance(value, str):
        return node.emit("mul", [value], right=factor)
    return _times(value, factor)


def _times(constant: Array, factor: float) -> Array:
    made = constant if factor == 1 else (as_float(constant) * factor).astype(constant.dtype)
    return np.array(made, order="C")


def _columns(shift: Value | None, count: int) -> Array | None:
    """A constant that is one number a column; None where it is not."""
    if shift is None or isinstance(shift, str):
        return None
    rows = (1,) * (2 - shift.ndim) + shift.shape
    if len(rows) != 2 or rows[0] != 1 or rows[1] not in (1, count):
        return None
    return np.array(np.broadcast_to(shift.reshape(-1), (count,)))


@converts("MatMul")
def matmul(node: Node) -> str:
    """By a constant matrix on the right: `linear`."""
    left, right = node.value(0), node.value(1)
    if isinstance(left, str) and isinstance(right, str):
        return node.emit("matmul", [left, right])
    if isinstance(right, str):
        return node.emit("matmul", [right], {"left": node.constant(0, "left side")})
    weight = node.constant(1, "right side")
    if weight.ndim > 2:
        return node.emit("matmul", [node.tensor()], {"right": weight})
    rows = np.array(weight.T.reshape(-1, weight.shape[0]), order="C")
    made = node.emit("linear", weights={"weight": rows})
    return made if weight.ndim == 2 else node.reshape(made, node.shape(made)[:-1])


def _affine(node: Node, count: tuple[int, ...], *roles: str) -> dict[str, Array | None]:
    """Weights of a norm, in the dtype of what is normed."""
    found: dict[str, Array | None] = {}
    for index, role in enumerate(roles, 1):
        weight = node.optional(index, role)
        if weight is not None:
            weight = np.broadcast_to(weight.astype(node.dtype()), count)
            found[role] = np.array(weight)
    return found


@converts("BatchNormalization")
def batch_norm(node: Node) -> str:
    """Folded into the convolution before it where there is one (`edgeflow.draft.passes`)."""
    if node.attr("training_mode", 0):
        raise ModelError("it is a batch norm in training; export the model for inference")
    node.alone()
    shape = node.shape()
    if len(shape) < 2:
        raise ModelError(f"{shape} has no channels")
    weights = _affine(node, shape[1:2], "scale", "shift", "mean", "var")
    return node.emit("batch_norm", weights=weights, eps=_epsilon(node))


@converts("InstanceNormalization")
def instance_norm(node: Node) -> str:
    """A group norm with a group for each channel."""
    shape = node.shape()
    weights = _affine(node, shape[1:2], "scale", "shift")
    return node.emit("group_norm", weights=weights, groups=shape[1], eps=_epsilon(node))


@converts("GroupNormalization")
def group_norm(node: Node) -> str:
    """Before set 21 scale and shift have one number a group, since then one a channel."""
    groups, channels = int(node.attr("num_groups")), node.shape()[1]
    each = channels // groups if node.opset < 21 else 1
    weights: dict[str, Array | None] = {
        role: node.constant(index, role).astype(node.dtype()).repeat(each)
        for index, role in enumerate(("scale", "shift"), 1)
    }
    return node.emit("group_norm", weights=weights, groups=groups, eps=_epsilon(node))


@converts("LayerNormalization")
def layer_norm(node: Node) -> str:
    """Over the dimensions from `axis` on."""
    node.alone()
    shape, axis = node.shape(), node.axis(-1)
    weights = _affine(node, shape[axis:], "scale", "shift")
    return node.emit("layer_norm", weights=weights, dims=len(shape) - axis, eps=_epsilon(node))


def _epsilon(node: Node) -> float:
    return float(node.attr("epsilon", 1e-5))


@converts("LRN")
def local_response_norm(node: Node) -> str:
    """Over an odd number of channels: with an even one ONNX and torch begin at different ones."""
    size = int(node.attr("size"))
    if size % 2 == 0:
        raise ModelError(f"it norms over {size} channels; the op set has odd numbers of them only")
    settings: dict[str, Any] = {
        "alpha": float(node.attr("alpha", 1e-4)),
        "beta": float(node.attr("beta", 0.75)),
        "k": float(node.attr("bias", 1.0)),
    }
    return node.emit("local_response_norm", size=size, **settings)
