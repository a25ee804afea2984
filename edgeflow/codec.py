"""Bytes to messages and back: the one place where words of `edgeflow.messages` meet a wire.

    MQTT      topic + JSON, at most 64 kB             encode_control / decode_control
    signals   version byte + msgpack                  encode_signal  / decode_signal
    tensors   [version byte + msgpack, raw buffer …]  encode_tensors / decode_tensors

Decoding is total: any bytes give a message that agrees with its type, or CodecError, and nothing is
allocated that the bytes themselves do not already hold. Arrays come back as read-only views.

Invariant: decode(encode(message)) == message.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeflow.errors import EdgeflowError
from edgeflow.messages import (
    PROTOCOL,
    Availability,
    BlobChunk,
    Board,
    Caps,
    ControlMessage,
    Plan,
    ProbeData,
    Rect,
    SignalMessage,
    TensorHead,
    TensorMessage,
)

CONTROL_BYTES_MAX = 1 << 16
"""Payload of one MQTT message. Every broker takes 64 kB; more needs a broker that was told so."""
HEADER_BYTES_MAX = 1 << 16
"""A signal, or the header of a tensor message."""
TENSORS_MAX = 256
"""Tensors in one message: the widest cut of the networks we know crosses with 12."""
TENSOR_BYTES_MAX = 1 << 28
"""Raw bytes in one message, and so the most that a receiver ever holds of one that is not whole."""
NAME_CHARS_MAX = 256
DIMS_MAX = 8
CHUNK_BYTES_MAX = 1 << 20
RAW = "raw"
"""The name under which the buffer of a BlobChunk or ProbeData stands among the arrays."""

_SIGNED = ("int8", "int16", "int32", "int64", "float16", "float32", "float64")
DTYPES = frozenset((*_SIGNED, "bool", "uint8", "uint16", "uint32", "uint64"))
"""What may cross. Nothing here can hold a reference or run code."""

Arrays = Mapping[str, NDArray[Any]]
Buffer = bytes | memoryview


class CodecError(EdgeflowError):
    """These bytes are no message of ours, by `kind`: malformed, unknown (topic) or version."""

    exit_code = 7

    def __init__(self, reason: str, kind: str = "malformed") -> None:
        super().__init__(reason)
        self.reason, self.kind = reason, kind


# --- MQTT -----------------------------------------------------------------------------------------

_CONTROL: dict[str, type[Any]] = {cls.topic: cls for cls in get_args(ControlMessage)}
_JSON = {cls: msgspec.json.Decoder(cls) for cls in _CONTROL.values() if cls is not Availability}


def topic_of(cluster: str, message: ControlMessage) -> str:
    """The MQTT topic of a message, such as ``edgeflow/home/nodes/edge-1/state``."""
    names = {name: getattr(message, name) for name in type(message).__struct_fields__}
    return f"edgeflow/{cluster}/{message.topic.format_map(names)}"


def encode_control(message: ControlMessage) -> bytes:
    """The payload of a message; CodecError where it is above 64 kB or holds a NaN or infinity."""
    if isinstance(message, Availability):
        return b"online" if message.online else b"offline"
    _refuse_unless(_is_finite(msgspec.to_builtins(message)), "NaN or infinity in a message")
    payload = _encode(msgspec.json.encode, message)
    _refuse_unless(len(payload) <= CONTROL_BYTES_MAX, f"{len(payload)} bytes, 64 kB is the most")
    return payload


def decode_control(cluster: str, topic: str, payload: bytes) -> ControlMessage:
    """The message on a topic; CodecError where topic, payload and type do not agree."""
    _refuse_unless(len(payload) <= CONTROL_BYTES_MAX, f"{len(payload)} bytes, 64 kB is the most")
    kind, names = _class_of(cluster, topic)
    message: Any
    if kind is Availability:
        _refuse_unless(payload in (b"online", b"offline"), "neither online nor offline")
        fields = {**names, "online": payload == b"online"}
        message = _decode(partial(msgspec.convert, type=Availability), fields)
    else:
        message = _decode(_JSON[kind].decode, payload)
        _refuse_unless(kind is Caps or message.v == PROTOCOL, _OTHER.format(message.v), "version")
    for name, level in names.items():
        _refuse_unless(getattr(message, name) == level, f"{name} is not {level!r} as in its topic")
    if isinstance(message, Board):
        _check_board(message)
    return cast(ControlMessage, message)


def _class_of(cluster: str, topic: str) -> tuple[type[Any], dict[str, str]]:
    """Which message lives on a topic, and what the topic's levels say of it."""
    prefix = f"edgeflow/{cluster}/"
    _refuse_unless(topic.startswith(prefix), f"topic is not below {prefix}")
    levels = topic[len(prefix) :].split("/")
    for pattern, kind in _CONTROL.items():
        wanted = pattern.split("/")
        pairs = list(zip(wanted, levels, strict=False))
        if len(wanted) == len(levels) and all(w == x or w[0] == "{" for w, x in pairs):
            return kind, {w[1:-1]: x for w, x in pairs if w[0] == "{"}
    raise CodecError("no message lives on this topic", "unknown")


def _check_board(board: Board) -> None:
    for plan in (board.preparing, board.committed, *board.draining):
        if plan is not None:
            _refuse_unless(plan.deployment == board.deployment, "a plan of another deployment")
            check_plan(plan)


# --- plans ----------------------------------------------------------------------------------------


def plan_hash(plan: Plan) -> str:
    """sha256 over the canonical JSON (sorted keys) of every field of a plan but its hash."""
    fields = {name: getattr(plan, name) for name in plan.__struct_fields__ if name != "hash"}
    # A planner may well write 0 where the wire gives back 0.0: both are one plan.
    for name in ("predicted_s", "lower_bound_s"):
        fields[name] = float(fields[name])
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def check_plan(plan: Plan) -> None:
    """CodecError where a plan's hash is not that of its fields."""
    _refuse_unless(plan.hash == plan_hash(plan), f"plan {plan.id} does not have the hash it names")


# --- ZeroMQ, lane `signals` -----------------------------------------------------------------------

_SIGNAL = msgspec.msgpack.Decoder(SignalMessage)
_TENSOR = msgspec.msgpack.Decoder(TensorMessage)
_VERSION = bytes([PROTOCOL])
_OTHER = f"version {{}}, this node speaks {PROTOCOL}"


def encode_signal(message: SignalMessage) -> bytes:
    """One part, at most 64 kB."""
    return _pack(message)


def decode_signal(part: Buffer) -> SignalMessage:
    """The message in one part, or CodecError."""
    return cast(SignalMessage, _unpack(_SIGNAL.decode, part))


# --- ZeroMQ, lane `tensors` -----------------------------------------------------------------------


def encode_tensors(message: TensorMessage, arrays: Arrays) -> list[Buffer]:
    """Header, then one raw buffer a tensor, in the header's order and without copying it.

    `arrays` has every tensor that the header names, or the uint8 bytes of a chunk under RAW. Arrays
    that are not contiguous or not little endian are copied. CodecError where one does not agree
    with its header.
    """
    parts: list[Buffer] = [_pack(message)]
    for head in heads_of(message, arrays[RAW].nbytes if RAW in arrays else 0):
        array = arrays.get(head.name)
        if array is None:
            raise CodecError(f"tensor {head.name!r} is in the header and not among the arrays")
        found = (_name_of(array.dtype), array.shape)
        _refuse_unless(found == (head.dtype, head.shape), f"{head.name} is {found}, not as told")
        parts.append(_buffer(array))
    _check_heads(message, [len(part) for part in parts[1:]])
    return parts


def decode_tensors(parts: Sequence[Buffer]) -> tuple[TensorMessage, dict[str, NDArray[Any]]]:
    """The message, and read-only arrays over the parts; CodecError where they disagree."""
    _refuse_unless(1 <= len(parts) <= TENSORS_MAX + 1, f"{len(parts)} parts")
    message: TensorMessage = _unpack(_TENSOR.decode, parts[0])
    sizes = [len(part) for part in parts[1:]]
    _check_heads(message, sizes)
    pairs = zip(heads_of(message, sum(sizes)), parts[1:], strict=True)
    return message, {head.name: _array(head, part) for head, part in pairs}


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    return dtype.name  # numpy works it out anew each time


def head_of(name: str, array: NDArray[Any], rect: Rect | None = None) -> TensorHead:
    """The header's line on an array, or on the rectangle of a map that it holds."""
    return TensorHead(name, _name_of(array.dtype), tuple(array.shape), rect)


def heads_of(message: TensorMessage, raw_bytes: int = 0) -> tuple[TensorHead, ...]:
    """The buffers behind a header; a chunk or probe has one, of `raw_bytes` bytes."""
    if isinstance(message, BlobChunk | ProbeData):
        return (TensorHead(RAW, "uint8", (raw_bytes,)),)
    return message.tensors


def _check_heads(message: TensorMessage, sizes: Sequence[int]) -> None:
    heads = heads_of(message, sum(sizes))
    count = len(heads)
    _refuse_unless(count == len(sizes) <= TENSORS_MAX, f"{count} tensors named, {len(sizes)} there")
    _refuse_unless(len({head.name for head in heads}) == len(heads), "a tensor named twice")
    _refuse_unless(sum(sizes) <= TENSOR_BYTES_MAX, f"{sum(sizes)} bytes of tensors")
    for head, size in zip(heads, sizes, strict=True):
        _refuse_unless(head.dtype in DTYPES, f"dtype {head.dtype[:40]!r}")
        _refuse_unless(len(head.name) <= NAME_CHARS_MAX, "a tensor's name is too long")
        _refuse_unless(len(head.shape) <= DIMS_MAX, f"{len(head.shape)} dimensions")
        extent = math.prod(max(dim, 1) for dim in head.shape)  # numpy holds no (0, 2**62) either
        _refuse_unless(extent <= TENSOR_BYTES_MAX, f"{head.name[:40]!r} is too large")
        wanted = math.prod(head.shape) * np.dtype(head.dtype).itemsize
        _refuse_unless(wanted == size, f"{head.name[:40]!r} should have {wanted} bytes, has {size}")
    is_true = not isinstance(message, ProbeData) or message.size_bytes == sizes[0]
    _refuse_unless(is_true, "the probe is not as long as it says")
    if isinstance(message, BlobChunk):
        end = message.offset_bytes + sizes[0]
        _refuse_unless(0 < sizes[0] <= CHUNK_BYTES_MAX, f"a chunk of {sizes[0]} bytes")
        _refuse_unless(end <= message.total_bytes, "the chunk ends behind its blob")


def _buffer(array: NDArray[Any]) -> memoryview:
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return little.reshape(-1).view(np.uint8).data


def _array(head: TensorHead, part: Buffer) -> NDArray[Any]:
    dtype = np.dtype(head.dtype).newbyteorder("<")
    flat = np.frombuffer(part, dtype=np.uint8)
    if flat.ctypes.data % dtype.itemsize:
        flat = flat.copy()  # ZeroMQ packs small messages anywhere; engines want them aligned
    array = flat.view(dtype).reshape(head.shape)
    array.flags.writeable = False
    return array


# --- common ---------------------------------------------------------------------------------------


def _pack(message: Any) -> bytes:
    header = _VERSION + _encode(msgspec.msgpack.encode, message)
    _refuse_unless(len(header) <= HEADER_BYTES_MAX, f"a header of {len(header)} bytes")
    return header


def _unpack(decode: Any, part: Buffer) -> Any:
    _refuse_unless(1 <= len(part) <= HEADER_BYTES_MAX, f"a header of {len(part)} bytes")
    _refuse_unless(part[0] == PROTOCOL, _OTHER.format(part[0]))
    message = _decode(decode, memoryview(part)[1:])
    for name in message.__struct_fields__:
        _refuse_unless(_is_finite(getattr(message, name)), f"{name} is NaN or infinite")
    return message


def _encode(encode: Any, message: Any) -> bytes:
    try:
        return bytes(encode(message))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"cannot encode: {error}") from error


def _decode(decode: Any, payload: Any) -> Any:
    try:
        return decode(payload)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(str(error)[:200]) from error


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list() | tuple():
            return all(map(_is_finite, value))
    return True


def _refuse_unless(fits: bool, reason: str, kind: str = "malformed") -> None:
    if not fits:
        raise CodecError(reason, kind)
