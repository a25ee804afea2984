"""Converters of the cheap ops: elementwise, softmax and reductions."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from edgeflow.errors import ModelError
from edgeflow.importer.convert import CONVERTERS, Converter, Node, Value, converts, scalar, within
from edgeflow.importer.source import dtype_of
from edgeflow.model.ops import DTYPES

_UNARY = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "HardSwish": "hardswish",
    "Tanh": "tanh",
    "Exp": "exp",
    "Sqrt": "sqrt",
    "Abs": "abs",
    "Neg": "neg",
    "Reciprocal": "reciprocal",
    "Erf": "erf",
}


def _unary(kind: str) -> Converter:
    return lambda node: node.emit(kind)


CONVERTERS.update({name: _unary(kind) for name, kind in _UNARY.items()})


@converts("Identity", "Dropout")
def same(node: Node) -> str:
    """Nothing to do: a dropout is one in training only."""
    node.alone()
    training = node.optional(2, "training_mode")
    if training is not None and training.any():
        raise ModelError("it is a dropout in training; export the model for inference")
    return node.tensor()


@converts("Clip")
def clip(node: Node) -> str:
    """Limits as attributes or as inputs; either may be missing, or infinite."""
    limits: dict[str, Any] = {}
    for index, (name, role) in enumerate((("min", "low"), ("max", "high")), 1):
        limit = node.optional(index, name)
        value = node.attr(name) if limit is None else limit.item()
        if value is not None and math.isfinite(value):
            limits[role] = node.number(value)
    return node.emit("clamp", **limits) if limits else node.tensor()


@converts("LeakyRelu")
def leaky_relu(node: Node) -> str:
    """Slope below zero."""
    return node.emit("leaky_relu", slope=float(node.attr("alpha", 0.01)))


@converts("PRelu")
def prelu(node: Node) -> str:
    """One slope, or one a channel."""
    slope, shape = node.constant(1, "slope"), node.shape()
    padded = (1,) * (len(shape) - slope.ndim) + slope.shape
    if any(dim != 1 for axis, dim in enumerate(padded) if axis != 1):
        raise ModelError(f"its slope {slope.shape} is neither one nor one a channel of {shape}")
    return node.emit("prelu", weights={"slope": slope.reshape(-1)})


@converts("Elu")
def elu(node: Node) -> str:
    """alpha (exp(x) - 1) below zero."""
    return node.emit("elu", alpha=float(node.attr("alpha", 1.0)))


@converts("Selu")
def selu(node: Node) -> str:
    """An elu, scaled."""
    inner = node.emit("elu", alpha=float(node.attr("alpha", 1.67326319217681884765625)))
    return node.emit("mul", [inner], right=float(node.attr("gamma", 1.05070102214813232421875)))


@converts("Gelu")
def gelu(node: Node) -> str:
    """Exact or by tanh."""
    return node.emit("gelu", approximate=str(node.attr("approximate", "none")))


@converts("Swish")
def swish(node: Node) -> str:
    """x · sigmoid(alpha x)."""
    alpha = float(node.attr("alpha", 1.0))
    if alpha == 1:
        return node.emit("silu")
    gate = node.emit("sigmoid", [node.emit("mul", right=alpha)])
    return node.emit("mul", [node.tensor(), gate])


@converts("HardSigmoid")
def hard_sigmoid(node: Node) -> str:
    """Ours has slope 1/6 and 1/2 at zero; any other is spelled out."""
    alpha, beta = float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))
    if beta == 0.5 and math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        return node.emit("hardsigmoid")
    line = node.emit("add", [node.emit("mul", right=alpha)], right=beta)
    return node.emit("clamp", [line], low=0.0, high=1.0)


@converts("Softsign")
def softsign(node: Node) -> str:
    """x / (1 + |x|)."""
    below = node.emit("add", [node.emit("abs")], right=1.0)
    return node.emit("div", [node.tensor(), below])


_NEUTRAL = {
    ("add", "left", 0),
    ("add", "right", 0),
    ("sub", "right", 0),
    ("mul", "left", 1),
    ("mul", "right", 1),
    ("div", "right", 1),
}
"""What changes nothing."""


def combine(node: Node, kind: str, left: Value, right: Value) -> str:
    """Two tensors, or one and a constant: a number where one will do, else a weight."""
    inputs, weights, attrs = [], {}, {}
    tensor = left if isinstance(left, str) else str(right)
    for side, value in (("left", left), ("right", right)):
        if isinstance(value, str):
            inputs.append(value)
        elif (number := scalar(value)) is not None and value.ndim <= len(node.shape(tensor)):
            if value.dtype.name != node.dtype(tensor):
                raise ModelError(f"it mixes {value.dtype} and {node.dtype(tensor)}")
            if (kind, side, number) in _NEUTRAL:
                return tensor
            attrs[side] = node.number(number)
        else:
            weights[side] = value
    return node.emit(kind, inputs, weights, **attrs)


def _chain(kind: str) -> Converter:
    """Of two inputs or any number of them; constants are joined to what stands before them."""

    def convert(node: Node) -> Any:
        values = [value for value in node.inputs if value is not None]
        return reduce(lambda left, right: combine(node, kind, left, right), _tensor_first(values))

    return convert


def _tensor_first(values: list[Value]) -> list[Value]:
    """Only a chain of more than two, whose order does not matter, begins with a tensor."""
    return sorted(values, key=lambda v: not isinstance(v, str)) if len(values) > 2 else values


_CHAINS = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sum": "add"}
CONVERTERS.update({name: _chain(kind) for name, kind in _CHAINS.items()})
CONVERTERS.update({"Max": _chain("maximum"), "Min": _chain("minimum")})


@converts("Mean")
def mean(node: Node) -> str:
    """Of several tensors, element by element."""
    total: str = _chain("add")(node)
    return (
        total if len(node.inputs) == 1 else node.emit("div", [total], right=len(node.inputs) * 1.0)
    )


@converts("Pow")
def power(node: Node) -> str:
    """Only powers that the op set can make."""
    value, exponent = node.tensor(), scalar(node.constant(1, "exponent"))
    if exponent == 1:
        return value
    if exponent in (2, 3):
        square = node.emit("mul", [value, value])
        return square if exponent == 2 else node.emit("mul", [square, value])
    if exponent in (0.5, -0.5):
        root = node.emit("sqrt")
        return root if exponent == 0.5 else node.emit("reciprocal", [root])
    if exponent == -1:
        return node.emit("reciprocal")
    raise ModelError(f"power {exponent} is outside the op set; it has 1, 2, 3, 1/2, -1/2 and -1")


@converts("Cast")
def cast(node: Node) -> str:
    """To another dtype; no step to the same."""
    dtype = dtype_of(int(node.attr("to")))
    if dtype not in DTYPES:
        raise ModelError(f"it makes {dtype}, which edgeflow does not have")
    return node.tensor() if node.dtype() == dtype else node.emit("cast", dtype=dtype)


@converts("CastLike")
def cast_like(node: Node) -> str:
    """To the dtype of another value."""
    like = node.value(1)
    assert like is not None
    dtype = node.dtype(like)
    return node.tensor() if node.dtype() == dtype else node.emit("cast", dtype=dtype)


def _softmax(kind: str) -> Converter:
    def convert(node: Node) -> str:
        shape = node.shape()
        if node.opset >= 13:
            return node.emit(kind, axis=node.axis(-1))
        axis = node.axis(1)
        if math.prod(shape[axis + 1 :]) == 1:
            return node.emit(kind, axis=axis)
        flat = node.reshape(node.tensor(), (math.prod(shape[:axis]), math.prod(shape[axis:])))
        return node.reshape(node.emit(kind, [flat], axis=1), shape)

    return convert


CONVERTERS["Softmax"] = _softmax("softmax")
"""Before set 13 over all dimensions from `axis` on, since then along one."""
CONVERTERS["LogSoftmax"] = _softmax("log_softmax")


def _reduced(node: Node, kind: str, value: str) -> str:
    rank = len(node.shape(value))
    axes = tuple(within(axis, rank) for axis in node.ints("axes", 1) or ())
    if not axes and node.attr("noop_with_empty_axes", 0):
        return value
    keepdim = bool(node.attr("keepdims", 1))
    return node.emit(kind, [value], axes=axes or tuple(range(rank)), keepdim=keepdim)


@converts("ReduceMean", "ReduceSum", "ReduceMax")
def reduction(node: Node) -> str:
    """Over some axes, or all."""
    kinds = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax"}
    return _reduced(node, kinds[node.proto.op_type], node.tensor())


@converts("ReduceMin")
def smallest(node: Node) -> str:
    """The negative of the largest negative."""
    return node.emit("neg", [_reduced(node, "amax", node.emit("neg"))])


@converts("ReduceL1", "ReduceL2", "ReduceSumSquare")
def length(node: Node) -> str:
    """Sums of what has no sign."""
    value = node.tensor()
    if node.proto.op_type == "ReduceL1":
        return _reduced(node, "sum", node.emit("abs"))
    total = _reduced(node, "sum", node.emit("mul", [value, value]))
    return node.emit("sqrt", [total]) if node.proto.op_type == "ReduceL2" else total


def as_float(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A constant for exact arithmetic before it becomes a weight."""
    return np.asarray(value, dtype=np.float64)
