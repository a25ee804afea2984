"""Converters of the heavy ops: convolutions, products, pools, norms, resampling."""

from __future__ import annotations

from typing import Any

import torch

from edgeflow.errors import ModelError
from edgeflow.exporter.convert import Call, aten, converts, pair
from edgeflow.exporter.trace import LOCAL_RESPONSE_NORM


def _conv(call: Call, padding: tuple[int, int]) -> str:
    top, left = padding
    return call.emit(
        "conv2d",
        [call["input"]],
        {"weight": call["weight"], "bias": call["bias"]},
        stride=pair(call["stride"]),
        padding=(top, left, top, left),
        dilation=pair(call["dilation"]),
        groups=int(call["groups"]),
    )


@converts(aten.conv2d.default)
def conv2d(call: Call) -> str:
    """Symmetric padding; a pad in front makes it asymmetric later."""
    return _conv(call, pair(call["padding"]))


@converts(aten.convolution.default)
def convolution(call: Call) -> str:
    """The general form, for two dimensions."""
    if call.rank("input") != 4:
        raise ModelError(
            f"{call.builder.place}: only convolutions over (N, C, H, W) are in the set"
        )
    if not call["transposed"]:
        return _conv(call, pair(call["padding"]))
    return call.emit(
        "conv_transpose2d",
        [call["input"]],
        {"weight": call["weight"], "bias": call["bias"]},
        stride=pair(call["stride"]),
        padding=pair(call["padding"]),
        output_padding=pair(call["output_padding"]),
        dilation=pair(call["dilation"]),
        groups=int(call["groups"]),
    )


@converts(aten.linear.default)
def linear(call: Call) -> str:
    """Weight is (out, in)."""
    return call.emit("linear", [call["input"]], {"weight": call["weight"], "bias": call["bias"]})


@converts(aten.addmm.default)
def addmm(call: Call) -> str:
    """What `linear` is called where the weight is transposed by hand."""
    weight = call["mat2"]
    if not isinstance(weight, torch.Tensor) or (call["beta"], call["alpha"]) != (1, 1):
        raise ModelError(f"{call.builder.place}: addmm is in the set with a constant weight only")
    return call.emit("linear", [call["mat1"]], {"weight": weight.t(), "bias": call["self"]})


@converts(aten.mm.default, aten.bmm.default, aten.matmul.default)
def matmul(call: Call) -> str:
    """One side may be constant."""
    left, right = call["self"], call.args.get("mat2", call.args.get("other"))
    if isinstance(left, torch.Tensor):
        return call.emit("matmul", [right], {"left": left})
    if isinstance(right, torch.Tensor):
        return call.emit("matmul", [left], {"right": right})
    return call.emit("matmul", [left, right])


@converts(aten.max_pool2d.default, aten.max_pool2d_with_indices.default)
def max_pool2d(call: Call) -> Any:
    """Without the indices."""
    name = call.emit(
        "max_pool2d",
        [call["self"]],
        kernel=pair(call["kernel_size"]),
        stride=pair(call["stride"] or call["kernel_size"]),
        padding=pair(call["padding"]),
        ceil_mode=bool(call["ceil_mode"]),
        dilation=pair(call["dilation"]),
    )
    return [name, None] if isinstance(call.values, list | tuple) else name


@converts(aten.avg_pool2d.default)
def avg_pool2d(call: Call) -> str:
    """The divisor may be fixed."""
    divisor = call["divisor_override"]
    fixed: dict[str, Any] = {} if divisor is None else {"divisor_override": int(divisor)}
    return call.emit(
        "avg_pool2d",
        [call["self"]],
        kernel=pair(call["kernel_size"]),
        stride=pair(call["stride"] or call["kernel_size"]),
        padding=pair(call["padding"]),
        ceil_mode=bool(call["ceil_mode"]),
        count_include_pad=bool(call["count_include_pad"]),
        **fixed,
    )


@converts(aten.adaptive_avg_pool2d.default, aten._adaptive_avg_pool2d.default)
def adaptive_avg_pool2d(call: Call) -> str:
    """To a fixed size."""
    return call.emit("adaptive_avg_pool2d", [call["self"]], size=call.shape[-2:])


@converts(aten.adaptive_max_pool2d.default)
def adaptive_max_pool2d(call: Call) -> list[str | None]:
    """Without the indices."""
    size = pair(call["output_size"])
    return [call.emit("adaptive_max_pool2d", [call["self"]], size=size), None]


@converts(aten._native_batch_norm_legit_no_training.default)
def batch_norm(call: Call) -> list[str | None]:
    """Folded into the convolution before it where there is one (`edgeflow.draft.passes`)."""
    weights = {
        "mean": call["running_mean"],
        "var": call["running_var"],
        "scale": call["weight"],
        "shift": call["bias"],
    }
    return [call.emit("batch_norm", [call["input"]], weights, eps=float(call["eps"])), None, None]


@converts(aten.layer_norm.default)
def layer_norm(call: Call) -> str:
    """Over the last dimensions."""
    weights = {"scale": call["weight"], "shift": call["bias"]}
    dims = len(call["normalized_shape"])
    return call.emit("layer_norm", [call["input"]], weights, dims=dims, eps=float(call["eps"]))


@converts(aten.group_norm.default)
def group_norm(call: Call) -> str:
    """One number a channel."""
    weights = {"scale": call["weight"], "shift": call["bias"]}
    groups = int(call["num_groups"])
    return call.emit("group_norm", [call["input"]], weights, groups=groups, eps=float(call["eps"]))


@converts(LOCAL_RESPONSE_NORM)
def local_response_norm(call: Call) -> str:
    """Kept whole by `edgeflow.exporter.trace`."""
    return call.emit(
        "local_response_norm",
        [call["x"]],
        size=int(call["size"]),
        alpha=float(call["alpha"]),
        beta=float(call["beta"]),
        k=float(call["k"]),
    )


def _scale(call: Call) -> dict[str, Any]:
    factors = call.args.get("scale_factors")
    if factors is None and call.args.get("scales_h") is not None:
        factors = [call["scales_h"], call["scales_w"]]
    return {} if factors is None else {"scale": (float(factors[0]), float(factors[-1]))}


@converts(aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default)
def upsample_nearest(call: Call) -> str:
    """The scale, where one was given, decides over the size in where each pixel comes from."""
    source = call.args.get("input", call.args.get("self"))
    return call.emit("upsample_nearest", [source], size=call.shape[-2:], **_scale(call))


@converts(aten.upsample_bilinear2d.vec, aten.upsample_bilinear2d.default)
def upsample_bilinear(call: Call) -> str:
    """See `upsample_nearest`."""
    source = call.args.get("input", call.args.get("self"))
    return call.emit(
        "upsample_bilinear",
        [source],
        size=call.shape[-2:],
        align_corners=bool(call["align_corners"]),
        **_scale(call),
    )
