"""What torch does for an op of each kind: a closure over weights and attributes, built once.

    kernel(op, weights, rank) ──▶ f(tensor, …) -> tensor

`scratch` says that the input is ours and nobody else reads it: f may then work in its place.

Invariant: with or without `scratch` the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its common name

from edgeflow import picture
from edgeflow.encoded import recipe_in
from edgeflow.model.graph import Op

Kernel = Callable[..., Tensor]
Weights = Mapping[str, Tensor]
Maker = Callable[[Mapping[str, Any], Weights, bool], Kernel]

aten: Any = torch.ops.aten
MAKERS: dict[str, Maker] = {}


def kernel(op: Op, weights: Weights, scratch: bool) -> Kernel:
    """The closure for an op."""
    return MAKERS[op.kind](op.attrs, weights, scratch)


def _makes(kind: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        MAKERS[kind] = maker
        return maker

    return register


@_makes("conv2d")
def _conv2d(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    weight, bias = weights["weight"], weights.get("bias")
    stride, dilation, groups = attrs["stride"], attrs["dilation"], attrs["groups"]
    top, left, bottom, right = attrs["padding"]
    if (top, left) == (bottom, right):
        padding = (top, left)
        return lambda x: torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    pads = (left, right, top, bottom)
    return lambda x: torch.conv2d(F.pad(x, pads), weight, bias, stride, (0, 0), dilation, groups)


@_makes("conv_transpose2d")
def _conv_transpose2d(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    weight, bias = weights["weight"], weights.get("bias")
    rest = (attrs["stride"], attrs["padding"], attrs["output_padding"], attrs["groups"])
    dilation = attrs["dilation"]
    return lambda x: torch.conv_transpose2d(x, weight, bias, *rest, dilation)


@_makes("linear")
def _linear(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    weight, bias = weights["weight"], weights.get("bias")
    return lambda x: F.linear(x, weight, bias)


def _two_sided(function: Callable[[Any, Any], Tensor]) -> Maker:
    """For ops whose one operand may be a constant `left` or `right`."""

    def make(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
        constants = {**attrs, **weights}
        if "left" in constants:
            left = constants["left"]
            return lambda x: function(left, x)
        if "right" in constants:
            right = constants["right"]
            return lambda x: function(x, right)
        return function

    return make


def _extreme(by_tensor: Callable[[Tensor, Tensor], Tensor], by_number: str) -> Maker:
    """maximum and minimum, which torch has for tensors only."""

    def apply(a: Any, b: Any) -> Tensor:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return by_tensor(a, b)
        tensor, number = (a, b) if isinstance(a, Tensor) else (b, a)
        return torch.clamp(tensor, **{by_number: number})

    return _two_sided(apply)


MAKERS.update(
    add=_two_sided(lambda a, b: a + b),
    sub=_two_sided(lambda a, b: a - b),
    mul=_two_sided(lambda a, b: a * b),
    div=_two_sided(lambda a, b: a / b),
    matmul=_two_sided(lambda a, b: a @ b),
    maximum=_extreme(torch.maximum, "min"),
    minimum=_extreme(torch.minimum, "max"),
)


@_makes("max_pool2d")
def _max_pool2d(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    rest = (attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"])
    ceil_mode = attrs["ceil_mode"]
    return lambda x: torch.max_pool2d(x, *rest, ceil_mode)


@_makes("avg_pool2d")
def _avg_pool2d(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    rest = (attrs["kernel"], attrs["stride"], attrs["padding"], attrs["ceil_mode"])
    include, divisor = attrs["count_include_pad"], attrs.get("divisor_override")
    return lambda x: F.avg_pool2d(x, *rest, include, divisor)


@_makes("upsample_nearest")
def _upsample_nearest(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    size, scale = attrs["size"], attrs.get("scale", (None, None))
    return lambda x: aten.upsample_nearest2d(x, size, *scale)


@_makes("upsample_bilinear")
def _upsample_bilinear(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    size, scale = attrs["size"], attrs.get("scale", (None, None))
    corners = attrs["align_corners"]
    return lambda x: aten.upsample_bilinear2d(x, size, corners, *scale)


def _either(pure: Callable[..., Tensor], in_place: Callable[..., Tensor], *names: str) -> Maker:
    """Elementwise, in place where the input is scratch; attributes in the order of `names`."""

    def make(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
        function = in_place if scratch else pure
        rest = tuple(attrs.get(name) for name in names)
        return (lambda x: function(x, *rest)) if rest else function

    return make


MAKERS.update(
    relu=_either(torch.relu, torch.relu_),
    clamp=_either(torch.clamp, torch.clamp_, "low", "high"),
    leaky_relu=_either(F.leaky_relu, F.leaky_relu_, "slope"),
    elu=_either(F.elu, F.elu_, "alpha"),
    silu=_either(F.silu, lambda x: F.silu(x, inplace=True)),
    hardswish=_either(F.hardswish, lambda x: F.hardswish(x, inplace=True)),
    hardsigmoid=_either(F.hardsigmoid, lambda x: F.hardsigmoid(x, inplace=True)),
    sigmoid=_either(torch.sigmoid, torch.sigmoid_),
    tanh=_either(torch.tanh, torch.tanh_),
    exp=_either(torch.exp, torch.exp_),
    sqrt=_either(torch.sqrt, torch.sqrt_),
    abs=_either(torch.abs, torch.abs_),
    neg=_either(torch.neg, torch.neg_),
    reciprocal=_either(torch.reciprocal, torch.reciprocal_),
)

_SIMPLE: Mapping[str, Callable[[Tensor, Mapping[str, Any], Weights], Tensor]] = {
    "identity": lambda x, a, w: x,
    "cast": lambda x, a, w: x.to(getattr(torch, a["dtype"])),
    "prelu": lambda x, a, w: F.prelu(x, w["slope"]),
    "gelu": lambda x, a, w: F.gelu(x, approximate=a["approximate"]),
    "adaptive_avg_pool2d": lambda x, a, w: F.adaptive_avg_pool2d(x, a["size"]),
    "adaptive_max_pool2d": lambda x, a, w: F.adaptive_max_pool2d(x, a["size"]),
    "batch_norm": lambda x, a, w: torch.batch_norm(
        x, w.get("scale"), w.get("shift"), w["mean"], w["var"], False, 0.0, a["eps"], False
    ),
    "group_norm": lambda x, a, w: F.group_norm(
        x, a["groups"], w.get("scale"), w.get("shift"), a["eps"]
    ),
    "layer_norm": lambda x, a, w: F.layer_norm(
        x, x.shape[-a["dims"] :], w.get("scale"), w.get("shift"), a["eps"]
    ),
    "local_response_norm": lambda x, a, w: F.local_response_norm(
        x, a["size"], a["alpha"], a["beta"], a["k"]
    ),
    "softmax": lambda x, a, w: torch.softmax(x, a["axis"]),
    "log_softmax": lambda x, a, w: torch.log_softmax(x, a["axis"]),
    "mean": lambda x, a, w: torch.mean(x, a["axes"], a["keepdim"]),
    "sum": lambda x, a, w: torch.sum(x, a["axes"], a["keepdim"]),
    "amax": lambda x, a, w: torch.amax(x, a["axes"], a["keepdim"]),
    "reshape": lambda x, a, w: x.reshape(a["shape"]),
    "expand": lambda x, a, w: x.expand(a["shape"]),
    "permute": lambda x, a, w: x.permute(a["axes"]),
    "slice": lambda x, a, w: aten.slice(x, a["axis"], a["start"], a["stop"], a["step"]),
    "channel_shuffle": lambda x, a, w: F.channel_shuffle(x, a["groups"]),
    "pixel_shuffle": lambda x, a, w: F.pixel_shuffle(x, a["factor"]),
}


def _simple(function: Callable[[Tensor, Mapping[str, Any], Weights], Tensor]) -> Maker:
    return lambda attrs, weights, scratch: lambda x: function(x, attrs, weights)


MAKERS.update({kind: _simple(function) for kind, function in _SIMPLE.items()})


@_makes("concat")
def _concat(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    axis = attrs["axis"]
    return lambda *tensors: torch.cat(tensors, axis)


@_makes("decode")
def _decode(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    recipe = recipe_in(attrs)  # Pillow runs on the processor, wherever the rest does
    return lambda x: torch.from_numpy(picture.decode(x.cpu().numpy(), recipe)).to(x.device)


@_makes("pad")
def _pad(attrs: Mapping[str, Any], weights: Weights, scratch: bool) -> Kernel:
    before, after, mode = attrs["before"], attrs["after"], attrs["mode"]
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    if mode == "constant":
        return lambda x: F.pad(x, sides, "constant", attrs["value"])
    return lambda x: F.pad(x, sides[:4], mode)
