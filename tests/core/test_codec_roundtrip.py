"""decode(encode(message)) == message, for every kind of message, made up by hypothesis."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.structs import replace
from numpy.typing import NDArray

from edgeflow.codec import (
    DTYPES,
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
    Board,
    ControlMessage,
    Plan,
    SignalMessage,
    TensorMessage,
)

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
sessions = st.integers(0, 2**62)
texts = st.text(max_size=12)
floats = st.floats(0, 1e9)


@cache
def _of(kind: Any) -> st.SearchStrategy[Any]:
    """hypothesis reads the types, but not msgspec's limits: those stand here by field name."""
    by_name: dict[str, st.SearchStrategy[Any]] = {
        "v": st.just(1),
        "session": sessions,
        "source_session": sessions,
        "window_frames": st.integers(1, 1024),
        "window_bytes": st.integers(1, 1 << 40),
        "deadline_s": st.floats(0.1, 3600),
        "objective": st.sampled_from(("latency", "throughput", "traffic")),
        "latency_s_max": st.floats(0, 3600),
        "length_bytes": st.integers(1, 1 << 20),
        "slower_soon": st.floats(1, 100),
        "loss": st.floats(0, 1),
        "rate_fps": st.floats(0, 1e6),
        "busy": st.dictionaries(names, floats, max_size=3),
        "explore_share": st.floats(0, 0.5),
    }
    for name in ("conv_flops_per_s", "matmul_flops_per_s", "memory_bytes_per_s"):
        by_name[name] = st.floats(1e-9, 1e300)
    for name in ("node", "name", "deployment", "source", "origin", "verb", "leader", "lost"):
        by_name[name] = names
    for name in ("hash", "model", "sha256"):
        by_name[name] = digests
    fields = {
        name: by_name[name] if name in by_name else _hint(hint)
        for name, hint in _hints(kind).items()
    }
    made = st.builds(kind, **fields)
    if kind is Plan:
        return made.map(lambda plan: replace(plan, hash=plan_hash(plan)))
    return made


def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}


def _hint(hint: Any) -> st.SearchStrategy[Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if hasattr(hint, "__struct_fields__"):
        return _of(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([_hint(each) for each in inner])
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return st.lists(_hint(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(_hint, inner))
    if origin is dict:
        keys = digests if inner[1] is float else names if inner[1] is not str else texts
        return st.dictionaries(keys, _hint(inner[1]), max_size=3)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: texts,
        int: st.integers(0, 2**53),
        float: floats,
        bool: st.booleans(),
        type(None): st.none(),
    }
    return simple[hint]


def controls() -> st.SearchStrategy[Any]:
    """Any ControlMessage."""
    return st.one_of([_control(kind) for kind in get_args(ControlMessage)])


def _control(kind: Any) -> st.SearchStrategy[Any]:
    if kind is not Board:
        return _of(kind)

    def same(board: Board) -> Board:
        def fit(plan: Plan | None) -> Plan | None:
            if plan is None:
                return None
            moved = replace(plan, deployment=board.deployment)
            return replace(moved, hash=plan_hash(moved))

        return replace(
            board,
            preparing=fit(board.preparing),
            committed=fit(board.committed),
            draining=tuple(plan for plan in map(fit, board.draining) if plan),
        )

    return _of(Board).map(same)


def signals() -> st.SearchStrategy[Any]:
    """Any SignalMessage."""
    return st.one_of([_of(kind) for kind in get_args(SignalMessage)])


arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(DTYPES)),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Any TensorMessage with the arrays that belong to it."""
    kind = draw(st.sampled_from(get_args(TensorMessage)))
    message = draw(_of(kind))
    if not hasattr(message, "tensors"):
        raw = draw(st.binary(min_size=1, max_size=50))
        found = {"raw": np.frombuffer(raw, np.uint8)}
        if hasattr(message, "size_bytes"):
            return replace(message, size_bytes=len(raw)), found
        total = message.offset_bytes + len(raw)
        return replace(message, total_bytes=total), found
    found = draw(st.dictionaries(texts, arrays, max_size=3))
    if draw(st.booleans()):
        found = {name: array.T for name, array in found.items()}
    heads = tuple(head_of(name, array) for name, array in found.items())
    return replace(message, tensors=heads), found


@QUICK
@given(controls())
def test_a_control_message_comes_back_as_it_was(message: Any) -> None:
    topic = topic_of("home", message)
    assert decode_control("home", topic, encode_control(message)) == message


@QUICK
@given(signals())
def test_a_signal_comes_back_as_it_was(message: Any) -> None:
    assert decode_signal(encode_signal(message)) == message


@QUICK
@given(tensors())
def test_a_tensor_message_comes_back_bit_for_bit(case: Any) -> None:
    message, arrays = case
    parts = encode_tensors(message, arrays)
    back, found = decode_tensors([bytes(part) for part in parts])
    assert back == message
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()  # bits: a NaN equals itself
        assert not found[name].flags.writeable
