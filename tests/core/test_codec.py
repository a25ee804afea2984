"""Bytes and messages: there and back, and what must not get in."""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from edgeflow.codec import (
    CONTROL_BYTES_MAX,
    RAW,
    CodecError,
    check_plan,
    decode_control,
    decode_signal,
    decode_tensors,
    encode_control,
    encode_signal,
    encode_tensors,
    head_of,
    plan_hash,
    topic_of,
)
from edgeflow.messages import (
    PROTOCOL,
    Availability,
    BlobChunk,
    Board,
    Caps,
    Claim,
    Leader,
    Load,
    Notice,
    Plan,
    PlanId,
    ProbeData,
    Receipt,
    Request,
    SignalMessage,
    State,
    Submit,
    TensorHead,
    TensorMessage,
)

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
CLAIM = Claim(3, 0, "edge-1", 7)


def plan(**changes: Any) -> Plan:
    found = Plan(
        id=PlanId(CLAIM, 1),
        deployment="cats",
        model="a" * 64,
        source="cam-1",
        sessions={"cam-1": 5, "edge-1": 7},
        variants=("conv1 @cam-1",),
        predicted_s=0.5,
        lower_bound_s=0.5,
        algorithm="mincut",
        reason="first",
        hash="0" * 64,
    )
    found = replace(found, **changes)
    return replace(found, hash=plan_hash(found))


def submit(**arrays: NDArray[Any]) -> Submit:
    return Submit("cats", 1, 2.0, tuple(head_of(name, a) for name, a in arrays.items()))


# --- there and back -------------------------------------------------------------------------------


def test_big_contiguous_arrays_are_not_copied() -> None:
    array = np.arange(1000, dtype=np.float32)
    parts = encode_tensors(submit(x=array), {"x": array})
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), array)
    _, found = decode_tensors(parts)
    assert np.shares_memory(found["x"], array)


def test_big_endian_and_strided_arrays_cross_as_little_endian_c_order() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    _, found = decode_tensors(encode_tensors(submit(x=array), {"x": array}))
    assert found["x"].dtype.isnative
    assert found["x"].flags.c_contiguous
    assert found["x"].tolist() == array.tolist()


def test_a_buffer_at_an_odd_address_becomes_an_aligned_array() -> None:
    array = np.arange(4, dtype=np.float64)
    header, raw = encode_tensors(submit(x=array), {"x": array})
    _, found = decode_tensors([header, memoryview(b"_" + bytes(raw))[1:]])
    assert found["x"].flags.aligned
    assert not found["x"].flags.writeable
    assert found["x"].tolist() == array.tolist()


# --- MQTT -----------------------------------------------------------------------------------------


def test_availability_is_plain_text_on_its_topic() -> None:
    message = Availability("edge-1", online=True)
    assert topic_of("home", message) == "edgeflow/home/nodes/edge-1/availability"
    assert encode_control(message) == b"online"
    with pytest.raises(CodecError):
        decode_control("home", topic_of("home", message), b"maybe")


@pytest.mark.parametrize(
    "topic",
    [
        "edgeflow/home/nodes/edge-2/state",
        "edgeflow/home/nodes/edge-1/caps",
        "edgeflow/away/nodes/edge-1/state",
        "edgeflow/home/nodes/edge-1/state/more",
        "edgeflow/home/leader",
        "edgeflow/home/",
        "other",
    ],
)
def test_a_message_on_another_topic_than_its_own_is_refused(topic: str) -> None:
    payload = encode_control(State("edge-1", 5, 1, "ready"))
    with pytest.raises(CodecError):
        decode_control("home", topic, payload)


def test_a_message_of_a_newer_protocol_is_refused_with_both_versions() -> None:
    payload = encode_control(State("edge-1", 5, 1, "ready", v=2))
    with pytest.raises(CodecError, match="version 2, this node speaks 1"):
        decode_control("home", "edgeflow/home/nodes/edge-1/state", payload)


def test_a_message_above_64_kb_neither_leaves_nor_enters() -> None:
    message = Request("a", "ping", "1", {f"n{i}": "x" * 100 for i in range(1000)})
    with pytest.raises(CodecError, match="64 kB"):
        encode_control(message)
    with pytest.raises(CodecError, match="64 kB"):
        decode_control("home", "edgeflow/home/leader", b" " * (CONTROL_BYTES_MAX + 1))


@pytest.mark.parametrize("name", ["", "a/b", "a#", "a+", "../x", "a\n", "é", "-a", "a" * 64])
def test_a_name_that_is_no_topic_level_is_refused(name: str) -> None:
    payload = encode_control(State(name, 1, 1, "ready"))
    with pytest.raises(CodecError):
        decode_control("home", f"edgeflow/home/nodes/{name}/state", payload)
    with pytest.raises(CodecError):
        decode_control("home", f"edgeflow/home/nodes/{name}/availability", b"online")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_nan_does_not_leave_in_a_message(number: float) -> None:
    with pytest.raises(CodecError, match="NaN"):
        encode_control(Board("cats", CLAIM, 1, plan(predicted_s=number), None))


def test_a_nan_does_not_enter_in_a_header() -> None:
    message = replace(submit(), budget_s=float("nan"))
    with pytest.raises(CodecError, match="budget_s"):
        decode_tensors(encode_tensors(message, {}))


@pytest.mark.parametrize("shape", [(0, 2**63), (0, 2**62), (0, 2**40, 2**40), (2**33, 0, 2)])
def test_a_tensor_without_elements_is_not_as_large_as_it_likes(shape: tuple[int, ...]) -> None:
    message = replace(submit(), tensors=(TensorHead("x", "float32", shape),))
    header = bytes([PROTOCOL]) + msgspec.msgpack.encode(message)
    with pytest.raises(CodecError):
        decode_tensors([header, b""])


@pytest.mark.parametrize("field", ["session", "connection"])
def test_an_integer_that_could_not_be_told_on_is_refused(field: str) -> None:
    payload = encode_control(State("edge-1", 5, 1, "ready"))
    big = msgspec.json.decode(payload) | {field: 2**64}
    with pytest.raises(CodecError):
        decode_control("home", "edgeflow/home/nodes/edge-1/state", msgspec.json.encode(big))


def test_a_term_that_nobody_counted_to_is_refused() -> None:
    payload = encode_control(Leader(Claim(2**53 + 1, 1, "edge-1", 5), 2.0, 1))
    with pytest.raises(CodecError, match="term"):
        decode_control("home", "edgeflow/home/leader", payload)


# --- plans ----------------------------------------------------------------------------------------


def test_a_changed_plan_does_not_have_its_hash() -> None:
    good = plan()
    check_plan(good)
    for field in good.__struct_fields__:
        if field == "hash":
            continue
        old = getattr(good, field)
        new = {
            str: "b" * 64,
            float: 0.25,
            tuple: ("other",),
            dict: {"cam-1": 6},
            PlanId: PlanId(CLAIM, 2),
        }[type(old)]
        with pytest.raises(CodecError, match="hash"):
            check_plan(replace(good, **{field: new}))


def test_a_plan_hashes_the_same_after_the_wire() -> None:
    whole = plan(predicted_s=0, lower_bound_s=0, sessions={"b": 1, "a": 2})
    board = Board("cats", CLAIM, 1, whole, None)
    back = decode_control("home", topic_of("home", board), encode_control(board))
    assert back == board
    assert plan(sessions={"a": 2, "b": 1}).hash == plan(sessions={"b": 1, "a": 2}).hash


def test_a_board_with_a_plan_that_lies_is_refused() -> None:
    lie = replace(plan(), source="cam-2")
    foreign = plan(deployment="dogs")
    for bad in (lie, foreign):
        for place in ({"preparing": bad}, {"committed": bad}, {"draining": (bad,)}):
            board = replace(Board("cats", CLAIM, 1, None, None), **place)
            with pytest.raises(CodecError):
                decode_control("home", topic_of("home", board), encode_control(board))


# --- tensors that must not get in -----------------------------------------------------------------


def parts_of(message: Any, *raws: bytes) -> list[bytes]:
    return [b"\1" + msgspec.msgpack.encode(message), *raws]


@pytest.mark.parametrize(
    ("head", "raw"),
    [
        (TensorHead("x", "object", (1,)), bytes(8)),
        (TensorHead("x", "complex64", (1,)), bytes(8)),
        (TensorHead("x", "V8", (1,)), bytes(8)),
        (TensorHead("x", "float32", (2,)), bytes(7)),
        (TensorHead("x", "float32", (2,)), bytes(9)),
        (TensorHead("x", "float32", (2**31, 2**31, 2**31)), b""),
        (TensorHead("x", "float32", (1,) * 9), bytes(4)),
        (TensorHead("x" * 300, "uint8", (1,)), bytes(1)),
    ],
)
def test_a_header_that_its_bytes_do_not_bear_out_is_refused(head: TensorHead, raw: bytes) -> None:
    with pytest.raises(CodecError):
        decode_tensors(parts_of(Submit("cats", 1, 1.0, (head,)), raw))


def test_a_negative_dimension_is_refused() -> None:
    raw = parts_of(Submit("cats", 1, 1.0, (TensorHead("x", "uint8", (-1, -4)),)), bytes(4))
    with pytest.raises(CodecError):
        decode_tensors(raw)


def test_too_few_or_too_many_parts_are_refused() -> None:
    x = np.zeros(3, np.uint8)
    header, raw = encode_tensors(submit(x=x), {"x": x})
    for parts in ([], [header], [header, raw, raw], [header, *[b""] * 300]):
        with pytest.raises(CodecError):
            decode_tensors(parts)


def test_a_tensor_named_twice_is_refused() -> None:
    head = TensorHead("x", "uint8", (1,))
    with pytest.raises(CodecError, match="twice"):
        decode_tensors(parts_of(Submit("cats", 1, 1.0, (head, head)), b"1", b"2"))


def test_a_chunk_that_ends_behind_its_blob_is_refused() -> None:
    for chunk, raw in (
        (BlobChunk("a" * 64, 10, 12), bytes(3)),
        (BlobChunk("a" * 64, 10, 12), b""),
        (BlobChunk("a" * 64, 0, 1 << 30), bytes((1 << 20) + 1)),
        (ProbeData(5), bytes(4)),
    ):
        with pytest.raises(CodecError):
            decode_tensors(parts_of(chunk, raw))


def test_an_array_that_is_not_as_its_header_says_does_not_leave() -> None:
    x = np.zeros((2, 3), np.float32)
    for other in (x.T, x.astype(np.float64)):
        with pytest.raises(CodecError):
            encode_tensors(submit(x=x), {"x": other})
    with pytest.raises(CodecError, match="not among"):
        encode_tensors(submit(x=x), {})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\1",
        b"\2" + encode_signal(Receipt(1, 2))[1:],
        b"\1" + b"\x91" * 5000 + b"\xc0",  # 5,000 deep
        b"\1\x81\xa4type" + b"\xc7\x03\x05abc",  # an ExtType
        b"\1" + msgspec.msgpack.encode({"type": "receipt", "serial": -1, "received_bytes": 0}),
        b"\1" + msgspec.msgpack.encode({"type": "nothing"}),
        b"\1" + msgspec.msgpack.encode({"type": "receipt", "deep": {}}),
        bytes(1 << 17),
    ],
)
def test_a_signal_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(CodecError):
        decode_signal(raw)


def test_nesting_in_unknown_fields_ends_in_a_refusal_not_in_a_crash() -> None:
    for deep in (b'{"type":"state","x":' + b"[" * 60_000, b"[" * 60_000):
        with pytest.raises(CodecError):
            decode_control("home", "edgeflow/home/nodes/a/state", deep)
    header = b"\1\x82\xa1x" + b"\x91" * 60_000
    for decode in (decode_signal, lambda raw: decode_tensors([raw])):
        with pytest.raises(CodecError):
            decode(header)


# --- anything at all ------------------------------------------------------------------------------


@QUICK
@given(st.binary(max_size=200), st.sampled_from(["state", "caps", "load", "availability"]))
def test_random_payloads_are_refused_or_are_messages(raw: bytes, leaf: str) -> None:
    with contextlib.suppress(CodecError):
        message = decode_control("home", f"edgeflow/home/nodes/a/{leaf}", raw)
        assert isinstance(message, State | Caps | Load | Availability)


@QUICK
@given(st.lists(st.binary(max_size=100), max_size=4))
def test_random_parts_are_refused_or_are_messages(parts: list[bytes]) -> None:
    with contextlib.suppress(CodecError):
        message, arrays = decode_tensors(parts)
        assert isinstance(message, TensorMessage)
        assert len(arrays) <= len(parts) - 1
    with contextlib.suppress(CodecError):
        assert isinstance(decode_signal(parts[0] if parts else b""), SignalMessage)


def test_20000_mutated_messages_raise_nothing_but_a_refusal() -> None:
    seed = time.time_ns() % 10**9
    rng = random.Random(seed)
    board = Board("cats", CLAIM, 1, plan(), None, (plan(),))
    notice = Notice("cats", "edge-1", "plan", "a new plan")
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    frame = encode_tensors(submit(x=x), {"x": x})
    controls = [(topic_of("home", m), encode_control(m)) for m in (board, notice)]
    signal = encode_signal(Receipt(7, 1000))
    refused = 0
    for turn in range(20_000):
        try:
            match turn % 4:
                case 0 | 1:
                    topic, payload = controls[turn % 4]
                    decode_control("home", topic, mutated(rng, payload))
                case 2:
                    decode_signal(mutated(rng, signal))
                case _:
                    header, raw = frame
                    decode_tensors([mutated(rng, bytes(header)), raw])
        except CodecError:
            refused += 1
        except Exception as error:
            pytest.fail(f"seed {seed}, turn {turn}: {type(error).__name__}: {error}")
    assert refused > 10_000, f"seed {seed}: only {refused} of 20000 refused"


def mutated(rng: random.Random, payload: bytes) -> bytes:
    found = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found))
        match rng.randrange(4):
            case 0:
                found[at] = rng.randrange(256)
            case 1:
                del found[at : at + rng.randint(1, 8)]
            case 2:
                found[at:at] = rng.randbytes(rng.randint(1, 8))
            case _:
                found[at:at] = found[at : at + 16]
        if not found:
            return b""
    return bytes(found)


def test_the_raw_bytes_of_a_chunk_stand_under_one_name() -> None:
    raw = np.frombuffer(b"weights", np.uint8)
    parts = encode_tensors(BlobChunk("a" * 64, 3, 10), {RAW: raw})
    _, found = decode_tensors(parts)
    assert bytes(found[RAW]) == b"weights"
