"""The op set: small, named, versioned. What an op of each kind looks like, makes and costs.

    kind ──▶ attributes (name: type) · weights (role) · inputs (how many) · shape rule · FLOPs

Rules that hold for all: an op has one output; every tensor is contiguous; inputs and weights have
the output's dtype, but for `cast`. A constant operand of a binary op is the weight or the attribute
`left` or `right`, after the side on which it stands. Axes count from 0. Only `decode` reads an open
dimension: the bytes of a JPEG or PNG, which it makes a picture as `edgeflow.picture` does.

Invariant: OPSET rises when a kind comes, goes or changes its meaning; a manifest names the lowest
one that has all its kinds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgeflow.model import shapes
from edgeflow.model.attributes import fits
from edgeflow.model.graph import Attribute, Contract, Graph, Layer, Op
from edgeflow.model.shapes import Shape

OPSET = 2
DTYPES = frozenset(
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What an op of one kind may look like. A name ending in `?` may be left out."""

    infer: shapes.Infer
    attrs: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    arity: tuple[int, int] = (1, 1)
    flops: float = 0.0
    """For each element of the output; convolutions and products count for themselves."""
    since: int = 1
    """The first op set that has it."""


def _attrs(text: str) -> dict[str, str]:
    return dict(item.split(":") for item in text.split())


def _unary(flops: float, attrs: str = "") -> Kind:
    return Kind(shapes.same, _attrs(attrs), flops=flops)


_BINARY = Kind(
    shapes.binary, _attrs("left?:number right?:number"), ("left?", "right?"), (1, 2), flops=1
)
_POOL = "kernel:ints2 stride:ints2 padding:ints2 ceil_mode:bool"
_REDUCE = _attrs("axes:ints keepdim:bool")

KINDS: Mapping[str, Kind] = {
    "conv2d": Kind(
        shapes.conv2d,
        _attrs("stride:ints2 padding:ints4 dilation:ints2 groups:int"),
        ("weight", "bias?"),
    ),
    "conv_transpose2d": Kind(
        shapes.conv_transpose2d,
        _attrs("stride:ints2 padding:ints2 output_padding:ints2 dilation:ints2 groups:int"),
        ("weight", "bias?"),
    ),
    "linear": Kind(shapes.linear, {}, ("weight", "bias?")),
    "matmul": Kind(shapes.matmul, {}, ("left?", "right?"), (1, 2)),
    "max_pool2d": Kind(shapes.pool2d, _attrs(_POOL + " dilation:ints2")),
    "avg_pool2d": Kind(
        shapes.pool2d, _attrs(_POOL + " count_include_pad:bool divisor_override?:int")
    ),
    "adaptive_avg_pool2d": Kind(shapes.resized, _attrs("size:ints2")),
    "adaptive_max_pool2d": Kind(shapes.resized, _attrs("size:ints2")),
    "upsample_nearest": Kind(shapes.resized, _attrs("size:ints2 scale?:floats2")),
    "upsample_bilinear": Kind(
        shapes.resized, _attrs("size:ints2 scale?:floats2 align_corners:bool"), flops=8
    ),
    "add": _BINARY,
    "sub": _BINARY,
    "mul": _BINARY,
    "div": _BINARY,
    "maximum": _BINARY,
    "minimum": _BINARY,
    "identity": _unary(0),
    "cast": _unary(1, "dtype:str"),
    "relu": _unary(1),
    "clamp": _unary(2, "low?:number high?:number"),
    "leaky_relu": _unary(2, "slope:float"),
    "prelu": Kind(shapes.prelu, {}, ("slope",), flops=2),
    "elu": _unary(10, "alpha:float"),
    "gelu": _unary(20, "approximate:str"),
    "silu": _unary(12),
    "hardswish": _unary(5),
    "hardsigmoid": _unary(4),
    "sigmoid": _unary(10),
    "tanh": _unary(12),
    "exp": _unary(8),
    "sqrt": _unary(2),
    "abs": _unary(1),
    "neg": _unary(1),
    "reciprocal": _unary(1),
    "batch_norm": Kind(
        shapes.channelwise, _attrs("eps:float"), ("mean", "var", "scale?", "shift?"), flops=4
    ),
    "group_norm": Kind(
        shapes.grouped, _attrs("groups:int eps:float"), ("scale?", "shift?"), flops=8
    ),
    "layer_norm": Kind(
        shapes.layer_norm, _attrs("dims:int eps:float"), ("scale?", "shift?"), flops=8
    ),
    "local_response_norm": _unary(16, "size:int alpha:float beta:float k:float"),
    "softmax": Kind(shapes.along, _attrs("axis:int"), flops=12),
    "log_softmax": Kind(shapes.along, _attrs("axis:int"), flops=12),
    "mean": Kind(shapes.reduced, _REDUCE),
    "sum": Kind(shapes.reduced, _REDUCE),
    "amax": Kind(shapes.reduced, _REDUCE),
    "concat": Kind(shapes.concat, _attrs("axis:int"), arity=(1, 1024)),
    "reshape": Kind(shapes.reshape, _attrs("shape:ints")),
    "expand": Kind(shapes.expand, _attrs("shape:ints")),
    "permute": Kind(shapes.permute, _attrs("axes:ints")),
    "slice": Kind(shapes.slice_, _attrs("axis:int start:int stop:int step:int")),
    "pad": Kind(shapes.pad, _attrs("before:ints after:ints mode:str value:number")),
    "channel_shuffle": Kind(shapes.grouped, _attrs("groups:int")),
    "pixel_shuffle": Kind(shapes.pixel_shuffle, _attrs("factor:int")),
    "decode": Kind(
        shapes.decoded,
        _attrs("height:int width:int crop:float filter:str layout:str bytes_expected:int"),
        since=2,
    ),
}

_CHOICES: Mapping[tuple[str, str], frozenset[str]] = {
    ("cast", "dtype"): DTYPES,
    ("gelu", "approximate"): frozenset({"none", "tanh"}),
    ("pad", "mode"): frozenset({"constant", "reflect", "replicate"}),
    ("decode", "filter"): frozenset({"nearest", "bilinear", "bicubic", "lanczos"}),
    ("decode", "layout"): frozenset({"NHWC", "NCHW"}),
}
_ANY_DTYPE = frozenset({"identity", "cast", "concat", "reshape", "expand", "permute", "slice"})
_ANY_NUMBER = _ANY_DTYPE.union(
    ["add", "sub", "mul", "maximum", "minimum", "clamp", "pad", "sum", "amax"]
)
"""Kinds that take integers too. All others are for floats."""
DECODE_FLOPS, RESIZE_FLOPS = 100.0, (160.0, 180.0)
"""Integer operations, about: a pixel of a JPEG; of it, and of the result, where sizes differ."""
PIXELS_A_BYTE = 2.8
"""Of a JPEG of quality 90: photographs of 224 to 640 pixels a side."""
_RANK4_ONLY = frozenset({"local_response_norm", "channel_shuffle"})


def _check_names(found: Iterable[str], schema: Iterable[str], what: str) -> None:
    known = {name.rstrip("?") for name in schema}
    needed = {name for name in schema if not name.endswith("?")}
    for name in sorted(set(found) - known):
        raise ValueError(f"unknown {what} {name!r}")
    for name in sorted(needed - set(found)):
        raise ValueError(f"{what} {name!r} is missing")


def check_schema(op: Op) -> None:
    """ValueError where kind, attributes, weight roles or inputs are not as the op set has them."""
    kind = KINDS.get(op.kind)
    if kind is None:
        raise ValueError(f"unknown op {op.kind!r} (this edgeflow knows op set {OPSET})")
    _check_names(op.attrs, kind.attrs, "attribute")
    _check_names(op.weights, kind.weights, "weight")
    types = {name.rstrip("?"): schema for name, schema in kind.attrs.items()}
    for name, value in op.attrs.items():
        if not fits(value, types[name]):
            raise ValueError(f"attribute {name} = {value!r} is not {types[name]}")
        if value not in _CHOICES.get((op.kind, name), {value}):
            raise ValueError(f"attribute {name} = {value!r} is none of its choices")
    low, high = kind.arity
    if not low <= len(op.inputs) <= high:
        raise ValueError(f"{len(op.inputs)} inputs, not {low} to {high}")


def opset_of(ops: Iterable[Op]) -> int:
    """The lowest op set that has all of these ops, whose kinds are known."""
    return max((KINDS[op.kind].since for op in ops), default=1)


def infer(
    kind: str,
    attrs: Mapping[str, Attribute],
    inputs: tuple[Contract, ...],
    weights: Mapping[str, Contract],
) -> tuple[str, Shape]:
    """dtype and shape of the output, given a checked schema; ValueError where it does not fit."""
    if kind == "decode":
        (given,) = inputs
        if given.dtype != "uint8" or len(given.shape) != 1 or not given.is_open:
            raise ValueError(f"{given.name} is no uint8 of one open dimension")
        return given.dtype, KINDS[kind].infer(attrs, (), {})
    known = [_whole_shape(contract) for contract in inputs]
    constants = {role: _whole_shape(contract) for role, contract in weights.items()}
    if kind in _RANK4_ONLY and len(known[0]) != 4:
        raise ValueError(f"{known[0]} is not (N, C, H, W)")
    dtype = _common_dtype(kind, (*inputs, *weights.values()))
    dtype = str(attrs["dtype"]) if kind == "cast" else dtype
    return dtype, KINDS[kind].infer(attrs, known, constants)


def _common_dtype(kind: str, operands: Iterable[Contract]) -> str:
    dtype, *others = sorted({contract.dtype for contract in operands})
    if others:
        raise ValueError(f"mixes dtypes {dtype}, {', '.join(others)}; a cast is missing")
    if dtype == "bool" and kind not in _ANY_DTYPE:
        raise ValueError("does not take bool; a cast is missing")
    if not dtype.startswith("float") and kind not in _ANY_NUMBER:
        raise ValueError(f"takes floats, not {dtype}; a cast is missing")
    return dtype


def _whole_shape(contract: Contract) -> Shape:
    for dim in contract.shape:
        if not isinstance(dim, int):
            raise ValueError(f"{contract.name} has the open dimension {dim!r}")
    return tuple(dim for dim in contract.shape if isinstance(dim, int))


def _elements(contract: Contract) -> int:
    return math.prod(dim for dim in contract.shape if isinstance(dim, int))


def op_flops(op: Op, graph: Graph) -> float:
    """Floating-point operations of one run; a multiply-add counts two."""
    out = _elements(op.output)
    inputs = [graph.tensors[name] for name in op.inputs]
    match op.kind:
        case "conv2d":
            _, per_group, rows, columns = graph.weights[op.weights["weight"]].shape
            return out * (2.0 * per_group * rows * columns + ("bias" in op.weights))
        case "conv_transpose2d":
            _, per_group, rows, columns = graph.weights[op.weights["weight"]].shape
            return 2.0 * _elements(inputs[0]) * per_group * rows * columns
        case "linear":
            return out * (
                2.0 * graph.weights[op.weights["weight"]].shape[1] + ("bias" in op.weights)
            )
        case "matmul":
            return 2.0 * out * _inner(op, graph)
        case "max_pool2d" | "avg_pool2d":
            kernel = op.attrs["kernel"]
            assert isinstance(kernel, tuple)
            return float(out * int(kernel[0]) * int(kernel[1]))
        case "adaptive_avg_pool2d" | "adaptive_max_pool2d" | "mean" | "sum" | "amax":
            return float(_elements(inputs[0]))
        case "decode":
            return _decode_flops(op, graph)
    return out * KINDS[op.kind].flops


def _inner(op: Op, graph: Graph) -> int:
    """The dimension over which a matmul sums."""
    if "left" in op.weights:
        return graph.weights[op.weights["left"]].shape[-1]
    dim = graph.tensors[op.inputs[0]].shape[-1]
    assert isinstance(dim, int)
    return dim


def _decode_flops(op: Op, graph: Graph) -> float:
    """By the pixels that a file of the expected length has, and those of the result."""
    kept = _elements(op.output) / 3
    coded = max(kept, graph.tensors[op.inputs[0]].nbytes * PIXELS_A_BYTE)
    is_resized = op.attrs["crop"] != 1 or coded > 1.5 * kept
    resized = RESIZE_FLOPS[0] * coded + RESIZE_FLOPS[1] * kept
    return DECODE_FLOPS * coded + is_resized * resized


def op_bytes(op: Op, graph: Graph) -> int:
    """Bytes that one run reads and writes: inputs, weights, output, each once."""
    read = sum(graph.tensors[name].nbytes for name in op.inputs)
    read += sum(graph.weights[name].nbytes for name in op.weights.values())
    return read + op.output.nbytes


def op_class(op: Op, graph: Graph) -> str:
    """Which rate of a node bounds it: conv, depthwise, matmul, decode or memory."""
    if op.kind in ("conv2d", "conv_transpose2d"):
        groups = op.attrs["groups"]
        channels = graph.tensors[op.inputs[0]].shape[1]
        return "depthwise" if groups == channels and channels != 1 else "conv"
    classes = {"linear": "matmul", "matmul": "matmul", "decode": "decode"}
    return classes.get(op.kind, "memory")


def layer_flops(layer: Layer, graph: Graph) -> float:
    """Sum over the layer's ops."""
    return sum(op_flops(op, graph) for op in layer.ops)


def layer_bytes(layer: Layer, graph: Graph) -> int:
    """Sum over the layer's ops."""
    return sum(op_bytes(op, graph) for op in layer.ops)
