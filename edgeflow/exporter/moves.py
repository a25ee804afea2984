"""Converters of ops that only move elements: reshape, permute, slice, concat, pad, copy."""

from __future__ import annotations

from typing import Any

from edgeflow.exporter.convert import Call, aten, converts, dtype_name


@converts(
    *(aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.unsqueeze.default),
    *(aten.flatten.using_ints, aten.unflatten.int),
    *(aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims),
)
def reshape(call: Call) -> str:
    """All that keeps the order of the elements."""
    return call.emit("reshape", [call["self"]], shape=call.shape)


@converts(aten.permute.default)
def permute(call: Call) -> str:
    """Any order of dimensions."""
    return call.emit("permute", [call["self"]], axes=call.axes("dims"))


@converts(aten.transpose.int, aten.t.default)
def transpose(call: Call) -> str:
    """Two dimensions change places."""
    order = list(range(call.rank("self")))
    first = call.axis("dim0") if "dim0" in call.args else 0
    second = call.axis("dim1") if "dim1" in call.args else len(order) - 1
    order[first], order[second] = order[second], order[first]
    return call.emit("permute", [call["self"]], axes=tuple(order))


@converts(aten.expand.default)
def expand(call: Call) -> str:
    """Dimensions of 1 repeated."""
    return call.emit("expand", [call["self"]], shape=call.shape)


def _slice(call: Call, axis: int, start: int, stop: int, step: int = 1) -> str:
    return call.emit("slice", [call["self"]], axis=axis, start=start, stop=stop, step=step)


@converts(aten.slice.Tensor)
def slice_(call: Call) -> Any:
    """Bounds made plain: counted from 0, inside."""
    axis = call.axis("dim")
    size = call.builder.contracts[call["self"]].shape[axis]
    assert isinstance(size, int)
    start, stop, step = slice(call["start"], call["end"], call["step"]).indices(size)
    return (
        call["self"]
        if (start, stop, step) == (0, size, 1)
        else _slice(call, axis, start, stop, step)
    )


@converts(aten.select.int)
def select(call: Call) -> str:
    """A slice of one, its dimension dropped."""
    axis = call.axis("dim")
    size = call.builder.contracts[call["self"]].shape[axis]
    assert isinstance(size, int)
    index = int(call["index"]) % size
    one = _slice(call, axis, index, index + 1)
    return call.emit("reshape", [one], shape=call.shape)


@converts(
    *(aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.unbind.int),
)
def split(call: Call) -> list[str]:
    """One slice for each part; what nobody reads is dropped later."""
    axis, begin, parts = call.axis("dim"), 0, []
    for value in call.values:
        keeps_axis = len(value.shape) == call.rank("self")
        size = int(value.shape[axis]) if keeps_axis else 1
        part = _slice(call, axis, begin, begin + size)
        begin += size
        parts.append(
            part if keeps_axis else call.emit("reshape", [part], shape=tuple(map(int, value.shape)))
        )
    return parts


@converts(aten.cat.default)
def cat(call: Call) -> Any:
    """Of tensors that depend on the input."""
    tensors = [call.cast(tensor, call.dtype) for tensor in call["tensors"]]
    axis = int(call["dim"]) % len(call.shape)
    return tensors[0] if len(tensors) == 1 else call.emit("concat", tensors, axis=axis)


@converts(aten.stack.default)
def stack(call: Call) -> str:
    """A dimension of 1 each, then concat."""
    axis = int(call["dim"]) % len(call.shape)
    one = (*call.shape[:axis], 1, *call.shape[axis + 1 :])
    parts = [call.emit("reshape", [tensor], shape=one) for tensor in call["tensors"]]
    return call.emit("concat", parts, axis=axis)


def _pad(call: Call, mode: str, value: float = 0) -> str:
    rank = call.rank("self")
    pads = [int(pad) for pad in call["pad" if "pad" in call.args else "padding"]]
    before, after = [0] * rank, [0] * rank
    for index in range(len(pads) // 2):
        before[rank - 1 - index], after[rank - 1 - index] = pads[2 * index : 2 * index + 2]
    number = float if call.dtype.startswith("float") else int
    return call.emit(
        "pad",
        [call["self"]],
        before=tuple(before),
        after=tuple(after),
        mode=mode,
        value=number(value),
    )


@converts(aten.constant_pad_nd.default)
def constant_pad(call: Call) -> str:
    """torch counts pads from the last dimension, we from the first."""
    return _pad(call, "constant", call["value"])


@converts(aten.reflection_pad2d.default)
def reflection_pad(call: Call) -> str:
    """The edge not repeated."""
    return _pad(call, "reflect")


@converts(aten.replication_pad2d.default)
def replication_pad(call: Call) -> str:
    """The edge repeated."""
    return _pad(call, "replicate")


@converts(aten.channel_shuffle.default, aten.native_channel_shuffle.default)
def channel_shuffle(call: Call) -> str:
    """Kept whole."""
    return call.emit("channel_shuffle", [call["self"]], groups=int(call["groups"]))


@converts(aten.pixel_shuffle.default)
def pixel_shuffle(call: Call) -> str:
    """Kept whole."""
    return call.emit("pixel_shuffle", [call["self"]], factor=int(call["upscale_factor"]))


@converts(aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.type_as.default)
def to(call: Call) -> Any:
    """Devices and layouts mean nothing here."""
    return call.cast(call["self"], dtype_name(call.values.dtype))


@converts(
    *(aten.clone.default, aten.contiguous.default, aten.alias.default, aten.detach.default),
    *(aten.detach_.default, aten.lift_fresh_copy.default, aten.lift_fresh.default),
)
def same(call: Call) -> Any:
    """Nothing to do: every tensor of a Graph is contiguous."""
    return call["self"]


@converts(aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default)
def dropout(call: Call) -> Any:
    """Nothing outside training."""
    return call["input"]
