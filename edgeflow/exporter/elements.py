"""Converters of the cheap ops: elementwise, softmax and reductions."""

from __future__ import annotations

from typing import Any

import torch

from edgeflow.errors import ModelError
from edgeflow.exporter.convert import CONVERTERS, Call, Converter, aten, converts

_UNARY = ["relu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "exp", "sqrt", "abs"]
for _kind in [*_UNARY, "neg", "reciprocal"]:

    def _unary(call: Call, kind: str = _kind) -> str:
        return call.emit(kind, [call["self"]])

    CONVERTERS[getattr(aten, _kind).default] = _unary


def _clamp(call: Call, low: Any, high: Any) -> str:
    number = float if call.dtype.startswith("float") else int
    limits = {"low": low, "high": high}
    attrs: dict[str, Any] = {
        name: number(value) for name, value in limits.items() if value is not None
    }
    return call.emit("clamp", [call["self"]], **attrs)


@converts(aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default)
def clamp(call: Call) -> str:
    """Either limit may be missing."""
    return _clamp(call, call.args.get("min"), call.args.get("max"))


@converts(aten.hardtanh.default)
def hardtanh(call: Call) -> str:
    """relu6 among them."""
    return _clamp(call, call["min_val"], call["max_val"])


@converts(aten.relu6.default)
def relu6(call: Call) -> str:
    """Clamped to [0, 6]."""
    return _clamp(call, 0, 6)


@converts(aten.leaky_relu.default)
def leaky_relu(call: Call) -> str:
    """Slope below zero."""
    return call.emit("leaky_relu", [call["self"]], slope=float(call["negative_slope"]))


@converts(aten.elu.default)
def elu(call: Call) -> str:
    """Without the scales of selu."""
    if (call["scale"], call["input_scale"]) != (1, 1):
        raise ModelError(f"{call.builder.place}: elu with scales (selu) is outside the op set")
    return call.emit("elu", [call["self"]], alpha=float(call["alpha"]))


@converts(aten.gelu.default)
def gelu(call: Call) -> str:
    """Exact or by tanh."""
    return call.emit("gelu", [call["self"]], approximate=str(call["approximate"]))


@converts(aten.prelu.default, aten._prelu_kernel.default)
def prelu(call: Call) -> str:
    """One slope, or one a channel."""
    return call.emit("prelu", [call["self"]], {"slope": call["weight"].reshape(-1)})


def _binary(kind: str) -> Converter:
    def convert(call: Call) -> str:
        left, right = call["self"], call["other"]
        if call.args.get("alpha", 1) != 1:
            right = _scaled(call, right, call["alpha"])
        return _combine(call, kind, left, right)

    return convert


def _scaled(call: Call, value: Any, factor: float) -> Any:
    return _combine(call, "mul", value, factor) if isinstance(value, str) else value * factor


def _combine(call: Call, kind: str, left: Any, right: Any) -> str:
    """Two tensors, or one and a constant; all in the dtype that torch promotes to."""
    inputs, weights, attrs = [], {}, {}
    number = float if call.dtype.startswith("float") else int
    for side, value in (("left", left), ("right", right)):
        if isinstance(value, int | float):
            attrs[side] = number(value)
        elif isinstance(value, torch.Tensor):
            weights[side] = call.cast(value, call.dtype)
        else:
            inputs.append(call.cast(value, call.dtype))
    return call.emit(kind, inputs, weights, **attrs)


for _kind in ("add", "sub", "mul", "div"):
    for _form in ("Tensor", "Scalar"):
        CONVERTERS[getattr(getattr(aten, _kind), _form)] = _binary(_kind)
CONVERTERS[aten.maximum.default] = _binary("maximum")
CONVERTERS[aten.minimum.default] = _binary("minimum")


@converts(aten.rsub.Scalar)
def rsub(call: Call) -> str:
    """The constant on the left."""
    return _combine(call, "sub", call["other"], _scaled(call, call["self"], call["alpha"]))


@converts(aten.pow.Tensor_Scalar)
def power(call: Call) -> Any:
    """Only powers that are an op of the set."""
    value, exponent = call["self"], float(call["exponent"])
    if exponent == 1:
        return value
    if exponent == 2:
        return call.emit("mul", [value, value])
    if exponent in (0.5, -1):
        return call.emit("sqrt" if exponent == 0.5 else "reciprocal", [value])
    raise ModelError(
        f"{call.builder.place}: power {exponent} is outside the op set; have 2, 1/2, -1"
    )


@converts(aten.softmax.int, aten._softmax.default)
def softmax(call: Call) -> str:
    """Along one axis."""
    return call.emit("softmax", [call.cast(call["self"], call.dtype)], axis=call.axis("dim"))


@converts(aten.log_softmax.int, aten._log_softmax.default)
def log_softmax(call: Call) -> str:
    """Along one axis."""
    return call.emit("log_softmax", [call.cast(call["self"], call.dtype)], axis=call.axis("dim"))


def _reduction(kind: str) -> Converter:
    def convert(call: Call) -> Any:
        source = call.cast(call["self"], call.dtype)
        axes = call.axes("dim") if "dim" in call.args else tuple(range(call.rank("self")))
        return call.emit(kind, [source], axes=axes, keepdim=bool(call.args.get("keepdim", False)))

    return convert


CONVERTERS.update(
    {
        aten.mean.dim: _reduction("mean"),
        aten.mean.default: _reduction("mean"),
        aten.sum.dim_IntList: _reduction("sum"),
        aten.sum.default: _reduction("sum"),
        aten.amax.default: _reduction("amax"),
    }
)
