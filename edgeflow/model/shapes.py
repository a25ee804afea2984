"""The shape of an op's output, out of the shapes of its inputs and weights.

    attrs, (shape, …), {role: shape}  ──▶  shape, or ValueError that says what does not fit

Invariant: the answer follows from the arguments alone, so a manifest cannot lie about a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from edgeflow.model.graph import OPEN_MAX

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
Infer = Callable[[Attrs, Sequence[Shape], Mapping[str, Shape]], Shape]


def _need(truth: bool, text: str) -> None:
    if not truth:
        raise ValueError(text)


def _axis(axis: int, rank: int) -> int:
    _need(0 <= axis < rank, f"axis {axis} of a tensor with {rank} dimensions")
    return axis


def _nchw(shape: Shape) -> Shape:
    _need(len(shape) == 4, f"{shape} is not (N, C, H, W)")
    return shape


def _bias(weights: Mapping[str, Shape], channels: int) -> None:
    bias = weights.get("bias", (channels,))
    _need(bias == (channels,), f"bias {bias} does not fit {channels} channels")


def same(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Elementwise: the shape of the input."""
    return inputs[0]


def channelwise(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Elementwise with one number a channel (axis 1) in every weight."""
    shape = inputs[0]
    _need(len(shape) >= 2, f"{shape} has no channels")
    for role, weight in weights.items():
        _need(weight == (shape[1],), f"{role} {weight} does not fit {shape[1]} channels")
    return shape


def grouped(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Channels in `groups` equal groups; weights have one number a channel."""
    shape = channelwise(attrs, inputs, weights)
    _need(attrs["groups"] > 0 and shape[1] % attrs["groups"] == 0, "groups do not divide channels")
    return shape


def prelu(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """One slope for all, or one a channel."""
    return inputs[0] if weights["slope"] == (1,) else channelwise(attrs, inputs, weights)


def layer_norm(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Over the last `dims` dimensions."""
    shape, dims = inputs[0], attrs["dims"]
    _need(1 <= dims <= len(shape), f"{dims} dimensions of {shape}")
    for role, weight in weights.items():
        _need(weight == shape[-dims:], f"{role} {weight} does not fit {shape}")
    return shape


def along(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Elementwise in shape, with an axis (softmax)."""
    _axis(attrs["axis"], len(inputs[0]))
    return inputs[0]


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of shapes of which each dimension is equal or 1."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    out = tuple(max(dims) for dims in zip(*padded, strict=True))
    fits = all(d in (1, o) for shape in padded for d, o in zip(shape, out, strict=True))
    _need(fits, f"{shapes} do not fit together")
    return out


def binary(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Two operands: tensors, or one tensor and a `left` or `right` constant."""
    sides = [*attrs, *weights]
    _need(len(inputs) + len(sides) == 2, "needs two operands: tensors, or one and a constant")
    return broadcast(*inputs, *weights.values())


def matmul(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """(…, m, k) by (…, k, n)."""
    _need(len(inputs) + len(weights) == 2, "needs two operands: tensors, or one and a constant")
    a, b = (
        ([weights["left"]] if "left" in weights else [])
        + list(inputs)
        + ([weights["right"]] if "right" in weights else [])
    )
    _need(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"{a} by {b} does not multiply")
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def linear(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """(…, k) by the transpose of (n, k)."""
    shape, weight = inputs[0], weights["weight"]
    fits = len(weight) == 2 and len(shape) >= 1 and shape[-1] == weight[1]
    _need(fits, f"weight {weight} does not fit {shape}")
    _bias(weights, weight[0])
    return (*shape[:-1], weight[0])


def window(size: int, pads: int, kernel: int, stride: int, dilation: int) -> int:
    """Positions of a sliding window, floor division: at least one or ValueError."""
    _need(min(kernel, stride, dilation) >= 1 and pads >= 0, "kernel, stride, dilation must be >= 1")
    span = size + pads - dilation * (kernel - 1) - 1
    _need(span >= 0, f"a window of {kernel} does not fit {size}")
    return span // stride + 1


def conv2d(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """(N, C, H, W) by (O, C / groups, kH, kW); padding is top, left, bottom, right."""
    (n, c, h, w), weight = _nchw(inputs[0]), weights["weight"]
    _need(len(weight) == 4, f"weight {weight} is not (O, C, kH, kW)")
    groups, (top, left, bottom, right) = attrs["groups"], attrs["padding"]
    fits = groups >= 1 and weight[1] * groups == c and weight[0] % groups == 0
    _need(fits, f"weight {weight} in {groups} groups does not fit {c} channels")
    _need(min(attrs["padding"]) >= 0, "negative padding")
    _bias(weights, weight[0])
    (sh, sw), (dh, dw) = attrs["stride"], attrs["dilation"]
    rows = window(h, top + bottom, weight[2], sh, dh)
    return n, weight[0], rows, window(w, left + right, weight[3], sw, dw)


def conv_transpose2d(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """(N, C, H, W) by (C, O / groups, kH, kW)."""
    (n, c, *size), weight = _nchw(inputs[0]), weights["weight"]
    groups = attrs["groups"]
    fits = len(weight) == 4 and groups >= 1 and weight[0] == c and c % groups == 0
    _need(fits, f"weight {weight} in {groups} groups does not fit {c} channels")
    _bias(weights, weight[1] * groups)
    _need(min(*attrs["stride"], *attrs["dilation"]) >= 1, "stride and dilation must be >= 1")
    extra_fits = all(
        0 <= extra < max(stride, dilation)
        for extra, stride, dilation in zip(
            attrs["output_padding"], attrs["stride"], attrs["dilation"], strict=True
        )
    )
    _need(extra_fits and min(attrs["padding"]) >= 0, "padding does not fit")
    sides = zip(
        size,
        attrs["stride"],
        attrs["padding"],
        attrs["dilation"],
        weight[2:],
        attrs["output_padding"],
        strict=True,
    )
    rows, columns = ((x - 1) * s - 2 * p + d * (k - 1) + e + 1 for x, s, p, d, k, e in sides)
    return n, weight[1] * groups, rows, columns


def pool2d(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """A window in each channel; with ceil_mode the last one may hang over, not start in the pad."""
    n, c, *size = _nchw(inputs[0])
    dilation = attrs.get("dilation", (1, 1))
    _need(attrs.get("divisor_override", 1) != 0, "a divisor of 0")
    out = []
    for x, k, s, p, d in zip(
        size, attrs["kernel"], attrs["stride"], attrs["padding"], dilation, strict=True
    ):
        _need(0 <= p <= k // 2, f"padding {p} is more than half of the window {k}")
        count = window(x, 2 * p + (s - 1 if attrs["ceil_mode"] else 0), k, s, d)
        if attrs["ceil_mode"] and (count - 1) * s >= x + p:
            count -= 1
        out.append(count)
    return (n, c, *out)


def resized(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """A map of `size` (rows, columns): adaptive pools, upsampling."""
    n, c, _, _ = _nchw(inputs[0])
    return (n, c, *attrs["size"])


def reduced(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Without `axes`, or with 1 in their place."""
    shape = inputs[0]
    axes = {_axis(axis, len(shape)) for axis in attrs["axes"]}
    _need(len(axes) == len(attrs["axes"]) > 0, "axes must be named once each")
    kept = (1 if axis in axes else dim for axis, dim in enumerate(shape))
    if attrs["keepdim"]:
        return tuple(kept)
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def concat(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """One behind the other along `axis`."""
    axis = _axis(attrs["axis"], len(inputs[0]))
    rest = {shape[:axis] + shape[axis + 1 :] for shape in inputs}
    same_rank = {len(shape) for shape in inputs} == {len(inputs[0])}
    _need(len(rest) == 1 and same_rank, f"{list(inputs)} do not fit along axis {axis}")
    return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


def reshape(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """The same elements in order."""
    shape: Shape = attrs["shape"]
    _need(min(shape, default=1) >= 0, f"{shape} has a negative dimension")
    _need(prod(shape) == prod(inputs[0]), f"{inputs[0]} does not reshape to {shape}")
    return shape


def expand(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Dimensions of 1 repeated."""
    shape: Shape = attrs["shape"]
    _need(broadcast(inputs[0], shape) == shape, f"{inputs[0]} does not expand to {shape}")
    return shape


def permute(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Dimensions in the order of `axes`."""
    axes: Shape = attrs["axes"]
    _need(sorted(axes) == list(range(len(inputs[0]))), f"axes {axes} do not permute {inputs[0]}")
    return tuple(inputs[0][axis] for axis in axes)


def slice_(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """Elements start, start + step, … before stop, along `axis`."""
    shape, axis = inputs[0], _axis(attrs["axis"], len(inputs[0]))
    start, stop, step = attrs["start"], attrs["stop"], attrs["step"]
    _need(0 <= start < stop <= shape[axis] and step >= 1, f"[{start}:{stop}:{step}] of {shape}")
    return (*shape[:axis], -(-(stop - start) // step), *shape[axis + 1 :])


def pad(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """`before` and `after` each dimension; negative numbers cut off.

    With reflect or replicate only rows and columns of (N, C, H, W), and never less.
    """
    shape, before, after = inputs[0], attrs["before"], attrs["after"]
    _need(len(before) == len(after) == len(shape), f"pads do not fit {shape}")
    if attrs["mode"] != "constant":
        inner = len(shape) == 4 and not any(before[:2] + after[:2]) and min(before + after) >= 0
        _need(inner, f"{attrs['mode']} pads rows and columns of (N, C, H, W) only")
    if attrs["mode"] == "reflect":
        reach = zip(shape, before, after, strict=True)
        _need(all(max(b, a) < dim for dim, b, a in reach), f"{shape} is too small to reflect")
    return tuple(dim + a + b for dim, a, b in zip(shape, before, after, strict=True))


def decoded(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """One RGB picture of the wanted size, whatever the size of the encoded one."""
    height, width = attrs["height"], attrs["width"]
    _need(1 <= min(height, width) <= max(height, width) <= 16384, f"{height} by {width} pixels")
    _need(0 < attrs["crop"] <= 1, f"crop {attrs['crop']} is not above 0 and at most 1")
    _need(1 <= attrs["bytes_expected"] <= OPEN_MAX, f"{attrs['bytes_expected']} bytes expected")
    return (1, 3, height, width) if attrs["layout"] == "NCHW" else (1, height, width, 3)


def pixel_shuffle(attrs: Attrs, inputs: Sequence[Shape], weights: Mapping[str, Shape]) -> Shape:
    """(N, C r², H, W) to (N, C, H r, W r)."""
    (n, c, h, w), r = _nchw(inputs[0]), attrs["factor"]
    _need(r >= 1 and c % (r * r) == 0, f"{c} channels do not shuffle by {r}")
    return n, c // (r * r), h * r, w * r
