"""Convolutions, pools and resizing as ONNX nodes.

ONNX rounds sizes by rules of its own where a pool rounds up; here every window is laid by explicit
pads, out of the size that our shape rules gave, so that a tile is cut like any map.
"""

from __future__ import annotations

import numpy as np

from edgeflow.executors.onnx.writer import Emit, Job, Writer
from edgeflow.model.graph import Array


def conv2d(w: Writer, job: Job) -> None:
    """Conv with ONNX's own pads: top, left, bottom, right, as ours.

    A fence is an activation that changes nothing, and costs next to nothing: onnxruntime joins a
    convolution with one thing behind it only.
    """
    attrs = job.attrs
    made = w.node(
        "Conv",
        [job.x, *_weights(job)],
        None if job.is_fenced else job.out,
        kernel_shape=job.arrays["weight"].shape[2:],
        strides=attrs["stride"],
        pads=attrs["padding"],
        dilations=attrs["dilation"],
        group=attrs["groups"],
    )
    if job.is_fenced:
        w.node("LeakyRelu", [made], job.out, alpha=1.0)


def conv_transpose2d(w: Writer, job: Job) -> None:
    """ConvTranspose."""
    attrs = job.attrs
    w.node(
        "ConvTranspose",
        [job.x, *_weights(job)],
        job.out,
        kernel_shape=job.arrays["weight"].shape[2:],
        strides=attrs["stride"],
        pads=attrs["padding"] * 2,
        output_padding=attrs["output_padding"],
        dilations=attrs["dilation"],
        group=attrs["groups"],
    )


def _weights(job: Job) -> list[str]:
    return [job.weights[role] for role in ("weight", "bias") if role in job.weights]


def max_pool2d(w: Writer, job: Job) -> None:
    """MaxPool; a window that reaches over the end finds nothing there.

    onnxruntime refuses pads as large as the kernel; these are laid before.
    """
    kernel, stride, dilation = (job.attrs[name] for name in ("kernel", "stride", "dilation"))
    source, begin, end = job.x, job.attrs["padding"], _ends(w, job, dilation)
    if any(reach >= size for reach, size in zip(end, kernel, strict=True)):
        source = _padded(w, job, begin, end, _lowest(job.dtype))
        begin = end = (0, 0)
    w.node(
        "MaxPool",
        [source],
        job.out,
        kernel_shape=kernel,
        strides=stride,
        pads=[*begin, *end],
        dilations=dilation,
    )


def _lowest(dtype: str) -> float:
    kind = np.dtype(dtype)
    return -np.inf if kind.kind == "f" else int(np.iinfo(kind).min)


def _ends(w: Writer, job: Job, dilation: tuple[int, int] = (1, 1)) -> tuple[int, ...]:
    """Rows below and columns to the right that the last window reaches over the map; at least the
    padding."""
    sizes = w.shape(job.op.inputs[0])[2:]
    found = []
    for axis, size in enumerate(sizes):
        begin, kernel = job.attrs["padding"][axis], job.attrs["kernel"][axis]
        last = (job.made[2 + axis] - 1) * job.attrs["stride"][axis] - begin
        reach = last + dilation[axis] * (kernel - 1) + 1 - size
        found.append(max(begin, reach) if job.attrs["ceil_mode"] else begin)
    return tuple(found)


def avg_pool2d(w: Writer, job: Job) -> None:
    """AveragePool. Padding that counts is laid first, as zeros; what ceil_mode adds never counts.

    A divisor of one's own divides sums of a convolution with ones.
    """
    attrs, source = job.attrs, job.x
    begin, end = attrs["padding"], _ends(w, job)
    divisor = attrs.get("divisor_override")
    if (divisor or attrs["count_include_pad"]) and (any(end) or any(begin)):
        source = _padded(w, job, begin, begin)
        end = tuple(reach - pad for reach, pad in zip(end, begin, strict=True))
        begin = (0, 0)
    pads = [*begin, *end]
    if divisor:
        channels = job.made[1]
        ones = w.constant(np.ones((channels, 1, *attrs["kernel"]), job.dtype))
        shape = {"kernel_shape": attrs["kernel"], "strides": attrs["stride"], "pads": pads}
        sums = w.node("Conv", [source, ones], group=channels, **shape)
        w.node("Div", [sums, w.scalar(divisor, job.dtype)], job.out)
        return
    w.node(
        "AveragePool",
        [source],
        job.out,
        kernel_shape=attrs["kernel"],
        strides=attrs["stride"],
        pads=pads,
        count_include_pad=0,
    )


def _padded(
    w: Writer, job: Job, before: tuple[int, ...], after: tuple[int, ...], value: float = 0
) -> str:
    sides = w.ints([0, 0, *before, 0, 0, *after])
    return w.node("Pad", [job.x, sides, w.scalar(value, job.dtype)], mode="constant")


def adaptive_avg_pool2d(w: Writer, job: Job) -> None:
    """A mean over all, a plain pool, or where windows differ in size, two products with shares."""
    if not _is_even(w, job, "ReduceMean", "AveragePool"):
        sizes, made = w.shape(job.op.inputs[0])[2:], job.made[2:]
        rows, columns = (
            _shares(size, wish).astype(job.dtype) for size, wish in zip(sizes, made, strict=True)
        )
        _two_products(w, job, rows, columns)


def _is_even(w: Writer, job: Job, over_all: str, pool: str) -> bool:
    """Whether an adaptive pool is one over all, or a plain one, and then it is written."""
    sizes, made = w.shape(job.op.inputs[0])[2:], job.made[2:]
    if made == (1, 1):
        w.node(over_all, [job.x, w.ints([2, 3])], job.out, keepdims=1)
    elif all(size % wish == 0 for size, wish in zip(sizes, made, strict=True)):
        kernel = [size // wish for size, wish in zip(sizes, made, strict=True)]
        w.node(pool, [job.x], job.out, kernel_shape=kernel, strides=kernel)
    else:
        return False
    return True


def _windows(size: int, made: int) -> list[tuple[int, int]]:
    """Of an adaptive pool: start and stop of each window."""
    return [(at * size // made, -((-(at + 1) * size) // made)) for at in range(made)]


def _shares(size: int, made: int) -> Array:
    """(made, size): what each input counts in each output's mean."""
    found = np.zeros((made, size))
    for at, (start, stop) in enumerate(_windows(size, made)):
        found[at, start:stop] = 1 / (stop - start)
    return found


def _two_products(w: Writer, job: Job, rows: Array, columns: Array) -> None:
    """rows (H', H) · x · columns (W', W) transposed."""
    wide = w.node("MatMul", [w.constant(rows), job.x])
    w.node("MatMul", [wide, w.constant(np.ascontiguousarray(columns.T))], job.out)


def adaptive_max_pool2d(w: Writer, job: Job) -> None:
    """A maximum over all, a plain pool, or the maximum of each strip of rows, then of columns."""
    if not _is_even(w, job, "ReduceMax", "MaxPool"):
        sizes, made = w.shape(job.op.inputs[0])[2:], job.made[2:]
        rows = _strips(w, job.x, 2, sizes[0], made[0], None)
        _strips(w, rows, 3, sizes[1], made[1], job.out)


def _strips(w: Writer, source: str, axis: int, size: int, made: int, output: str | None) -> str:
    axes = w.ints([axis])
    strips = []
    for start, stop in _windows(size, made):
        strip = w.node("Slice", [source, w.ints([start]), w.ints([stop]), axes])
        strips.append(w.node("ReduceMax", [strip, axes], keepdims=1))
    return w.node("Concat", strips, output, axis=axis)


def upsample_nearest(w: Writer, job: Job) -> None:
    """Resize by whole factors; else rows and columns are gathered by our own reckoning."""
    sizes, made = w.shape(job.op.inputs[0])[2:], job.made[2:]
    scale = job.attrs.get("scale", tuple(m / s for m, s in zip(made, sizes, strict=True)))
    whole = all(m == s * f for m, s, f in zip(made, sizes, scale, strict=True))
    if whole and all(float(factor).is_integer() for factor in scale):
        factors = w.constant(np.array([1, 1, *scale], np.float32))
        w.node(
            "Resize",
            [job.x, "", factors],
            job.out,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return
    rows, columns = (
        np.minimum(np.floor(np.arange(m, dtype=np.float32) * _step(s, m, f)), s - 1)
        for s, m, f in zip(sizes, made, job.attrs.get("scale", (None, None)), strict=True)
    )
    tall = w.node("Gather", [job.x, w.constant(rows.astype(np.int64))], axis=2)
    w.node("Gather", [tall, w.constant(columns.astype(np.int64))], job.out, axis=3)


def _step(size: int, made: int, scale: float | None) -> np.float32:
    """Of the input, for one row of the output: as torch reckons it, in float32."""
    return np.float32(1.0 / scale) if scale else np.float32(np.float32(size) / np.float32(made))


def upsample_bilinear(w: Writer, job: Job) -> None:
    """Resize; with a scale that is not the ratio of the sizes, two products with weights."""
    sizes, made = w.shape(job.op.inputs[0])[2:], job.made[2:]
    corners, scale = job.attrs["align_corners"], job.attrs.get("scale")
    ratios = [m / s for m, s in zip(made, sizes, strict=True)]
    if corners or scale is None or list(scale) == ratios:
        mode = "align_corners" if corners else "half_pixel"
        w.node(
            "Resize",
            [job.x, "", "", w.ints(w.shape(job.op.inputs[0])[:2] + made)],
            job.out,
            mode="linear",
            coordinate_transformation_mode=mode,
        )
        return
    rows, columns = (
        _lerp(size, wish, factor).astype(job.dtype)
        for size, wish, factor in zip(sizes, made, scale, strict=True)
    )
    _two_products(w, job, rows, columns)


def _lerp(size: int, made: int, scale: float) -> Array:
    """(made, size): how much of each input is in each output, half a pixel aside."""
    place = np.maximum((np.arange(made) + 0.5) / scale - 0.5, 0)
    low = np.minimum(np.floor(place).astype(int), size - 1)
    high, part = np.minimum(low + 1, size - 1), place - low
    found = np.zeros((made, size))
    np.add.at(found, (np.arange(made), low), 1 - part)
    np.add.at(found, (np.arange(made), high), part)
    return found


WINDOWS: dict[str, Emit] = {
    each.__name__: each
    for each in (
        conv2d,
        conv_transpose2d,
        max_pool2d,
        avg_pool2d,
        adaptive_avg_pool2d,
        adaptive_max_pool2d,
        upsample_nearest,
        upsample_bilinear,
    )
}
