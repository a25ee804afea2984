"""One table beside the op set: each of our ops as nodes of ONNX.

    op + names of what it reads ──emit──▶ nodes, the last of which makes the tensor of the op

Invariant: a node that stands for a whole op is ONNX's own where ONNX has it with our meaning; what
it lacks is put together from smaller ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.executors.onnx.windows import WINDOWS
from edgeflow.executors.onnx.writer import ONNX_DTYPES, Emit, Job, Writer
from edgeflow.model.graph import Array


def emit(w: Writer, job: Job) -> None:
    """Write the op; ModelError where ONNX has nothing for it."""
    w.place = job.op.name
    TABLE[job.op.kind](w, job)


def _named(kind: str, **names: str) -> Emit:
    """ONNX's own node of one input; its attributes are ours under the names given."""

    def make(w: Writer, job: Job) -> None:
        w.node(
            kind, [job.x], job.out, **{theirs: job.attrs[ours] for theirs, ours in names.items()}
        )

    return make


def _fixed(kind: str, **attrs: Any) -> Emit:
    """ONNX's own node of one input, with attributes that are always the same."""
    return lambda w, job: w.node(kind, [job.x], job.out, **attrs)


def _binary(kind: str) -> Emit:
    """Two operands, of which one may be a constant."""

    def make(w: Writer, job: Job) -> None:
        constants = {role: w.scalar(value, job.dtype) for role, value in job.attrs.items()}
        constants.update(job.weights)
        sides = [constants.get("left"), *job.inputs, constants.get("right")]
        w.node(kind, [side for side in sides if side is not None], job.out)

    return make


def _linear(w: Writer, job: Job) -> None:
    if len(job.made) == 2:
        bias = [job.weights["bias"]] if "bias" in job.weights else []
        w.node("Gemm", [job.x, job.weights["weight"], *bias], job.out, transB=1)
        return
    weight = w.constant(job.arrays["weight"].T)
    if "bias" not in job.weights:
        w.node("MatMul", [job.x, weight], job.out)
    else:
        w.chain(job.x, ("MatMul", [weight]), ("Add", [job.weights["bias"]]), output=job.out)


def _clamp(w: Writer, job: Job) -> None:
    low, high = (
        w.scalar(job.attrs[side], job.dtype) if side in job.attrs else ""
        for side in ("low", "high")
    )
    w.node("Clip", [job.x, low, high], job.out)


def _prelu(w: Writer, job: Job) -> None:
    slope = job.arrays["slope"]
    rank = len(job.made)
    w.node("PRelu", [job.x, w.constant(_per_channel(slope, rank))], job.out)


def _per_channel(array: Array, rank: int) -> Array:
    """One number a channel, so that it meets axis 1 of a tensor of `rank`."""
    return array.reshape(-1, *[1] * (rank - 2)) if array.size > 1 else array.reshape([1] * rank)


def _silu(w: Writer, job: Job) -> None:
    w.node("Mul", [job.x, w.node("Sigmoid", [job.x])], job.out)


def _batch_norm(w: Writer, job: Job) -> None:
    mean, var = (job.arrays[role].astype(np.float64) for role in ("mean", "var"))
    factor = job.arrays.get("scale", np.ones_like(mean)) / np.sqrt(var + job.attrs["eps"])
    shift = job.arrays.get("shift", np.zeros_like(mean)) - mean * factor
    _scaled(w, job, job.x, factor, shift)


def _scaled(w: Writer, job: Job, source: str, factor: Array | None, shift: Array | None) -> None:
    """source · factor + shift, each one number a channel, into the op's tensor."""
    steps = [
        (kind, [w.constant(_per_channel(array, len(job.made)).astype(job.dtype))])
        for kind, array in (("Mul", factor), ("Add", shift))
        if array is not None
    ]
    w.chain(source, *(steps or [("Identity", [])]), output=job.out)


def _group_norm(w: Writer, job: Job) -> None:
    groups = job.attrs["groups"]
    one, none = (w.constant(fill(groups, job.dtype)) for fill in (np.ones, np.zeros))
    rows = w.node("Reshape", [job.x, w.ints([job.made[0], groups, -1])])
    even = w.node("InstanceNormalization", [rows, one, none], epsilon=job.attrs["eps"])
    back = w.node("Reshape", [even, w.ints(job.made)])
    _scaled(w, job, back, job.arrays.get("scale"), job.arrays.get("shift"))


def _layer_norm(w: Writer, job: Job) -> None:
    dims = job.attrs["dims"]
    scale = job.weights.get("scale") or w.constant(np.ones(job.made[-dims:], job.dtype))
    shift = [job.weights["shift"]] if "shift" in job.weights else []
    attrs = {"axis": len(job.made) - dims, "epsilon": job.attrs["eps"]}
    w.node("LayerNormalization", [job.x, scale, *shift], job.out, **attrs)


def _local_response_norm(w: Writer, job: Job) -> None:
    """ONNX's own, whose window leans to the other side where its size is even."""
    size, alpha, beta, k = (job.attrs[name] for name in ("size", "alpha", "beta", "k"))
    if size % 2:
        w.node("LRN", [job.x], job.out, size=size, alpha=alpha, beta=beta, bias=k)
        return
    batch, channels, *_ = job.made
    flat = w.node("Reshape", [job.x, w.ints([batch, 1, channels, -1])])
    squares = w.node("Mul", [flat, flat])
    pads = [size // 2, 0, (size - 1) // 2, 0]
    even = w.node("AveragePool", [squares], kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    power = w.node(
        "Add", [w.node("Mul", [even, w.scalar(alpha, job.dtype)]), w.scalar(k, job.dtype)]
    )
    rest = w.node("Div", [flat, w.node("Pow", [power, w.scalar(beta, job.dtype)])])
    w.node("Reshape", [rest, w.ints(job.made)], job.out)


def _reduce(kind: str) -> Emit:
    def make(w: Writer, job: Job) -> None:
        axes = w.ints(job.attrs["axes"])
        w.node(kind, [job.x, axes], job.out, keepdims=int(job.attrs["keepdim"]))

    return make


def _slice(w: Writer, job: Job) -> None:
    names = ("start", "stop", "axis", "step")
    w.node("Slice", [job.x, *(w.ints([job.attrs[name]]) for name in names)], job.out)


def _pad(w: Writer, job: Job) -> None:
    before, after = job.attrs["before"], job.attrs["after"]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[job.attrs["mode"]]
    value = [w.scalar(job.attrs["value"], job.dtype)] if mode == "constant" else []
    w.node("Pad", [job.x, w.ints([*before, *after]), *value], job.out, mode=mode)


def _channel_shuffle(w: Writer, job: Job) -> None:
    groups, (batch, channels, *sides) = job.attrs["groups"], job.made
    split = w.node("Reshape", [job.x, w.ints([batch, groups, channels // groups, *sides])])
    turned = w.node("Transpose", [split], perm=[0, 2, 1, 3, 4])
    w.node("Reshape", [turned, w.ints(job.made)], job.out)


def _pixel_shuffle(w: Writer, job: Job) -> None:
    w.node("DepthToSpace", [job.x], job.out, blocksize=job.attrs["factor"], mode="CRD")


def _decode(w: Writer, job: Job) -> None:
    raise ModelError(f"{job.op.name}: a picture is decoded before the session, not in it")


TABLE: Mapping[str, Emit] = {
    **WINDOWS,
    "linear": _linear,
    "matmul": _binary("MatMul"),
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "identity": _fixed("Identity"),
    "cast": lambda w, job: w.node("Cast", [job.x], job.out, to=ONNX_DTYPES[job.dtype]),
    "relu": _fixed("Relu"),
    "clamp": _clamp,
    "leaky_relu": _named("LeakyRelu", alpha="slope"),
    "prelu": _prelu,
    "elu": _named("Elu", alpha="alpha"),
    "gelu": _named("Gelu", approximate="approximate"),
    "silu": _silu,
    "hardswish": _fixed("HardSwish"),
    "hardsigmoid": _fixed("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": _fixed("Sigmoid"),
    "tanh": _fixed("Tanh"),
    "exp": _fixed("Exp"),
    "sqrt": _fixed("Sqrt"),
    "abs": _fixed("Abs"),
    "neg": _fixed("Neg"),
    "reciprocal": _fixed("Reciprocal"),
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "local_response_norm": _local_response_norm,
    "softmax": _named("Softmax", axis="axis"),
    "log_softmax": _named("LogSoftmax", axis="axis"),
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "amax": _reduce("ReduceMax"),
    "concat": lambda w, job: w.node("Concat", job.inputs, job.out, axis=job.attrs["axis"]),
    "reshape": lambda w, job: w.node("Reshape", [job.x, w.ints(job.made)], job.out),
    "expand": lambda w, job: w.node("Expand", [job.x, w.ints(job.made)], job.out),
    "permute": _named("Transpose", perm="axes"),
    "slice": _slice,
    "pad": _pad,
    "channel_shuffle": _channel_shuffle,
    "pixel_shuffle": _pixel_shuffle,
    "decode": _decode,
}
