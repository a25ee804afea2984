"""What one node heard, as bytes: a failure in the field becomes a test.

    "edgeflow-events 1\\n"   Head   then, for each event   Step (time, event, check of the effects)
                                   before the first use    Model (the manifest that it loaded)
                                   where some were lost    Gap    at the size limit or the end   End

A record is its length, a check of the length, a check of the payload, and the payload (msgpack). So
a file that was cut is told from one that is damaged: up to the cut everything counts.

Tensors are never in events. A graph is: its manifest is written once, so that a log stands alone.

Invariant: `read` gives what was written, or says at which record and byte it cannot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from edgeflow.errors import EdgeflowError
from edgeflow.events import Effect, Event, ManifestLoaded
from edgeflow.messages import Caps, Digest
from edgeflow.model.manifest import decode as decode_manifest
from edgeflow.model.manifest import encode as encode_manifest

MAGIC = b"edgeflow-events 1\n"
LENGTH_BYTES, CHECK_BYTES = 4, 4
HEADER_BYTES = LENGTH_BYTES + 2 * CHECK_BYTES
RECORD_BYTES_MAX = 80 << 20
"""A manifest of 64 MB and some."""
EFFECTS_BYTES = 8


class EventLogError(EdgeflowError):
    """This file is no event log, or a damaged one."""

    exit_code = 2


class Head(Struct, frozen=True, tag="head"):
    """What the core was made of."""

    software: str
    """The version of edgeflow that wrote this."""
    caps: Caps
    begun: str
    """Wall time, for people."""


class Model(Struct, frozen=True, tag="model"):
    """A manifest that was loaded; the next ManifestLoaded of that model means it."""

    model: Digest
    manifest: bytes


class Step(Struct, frozen=True, tag="step"):
    """One event, and a check of what the core asked for."""

    at_s: float
    """On the node's own clock."""
    event: Event
    effects: bytes
    """`effects_check` of them; empty where they could not be written down."""


class Gap(Struct, frozen=True, tag="gap"):
    """Events that came faster than they could be written."""

    dropped: int


class End(Struct, frozen=True, tag="end"):
    """Nothing follows, and that was meant so."""

    why: str


class Cut(Struct, frozen=True, tag="cut"):
    """Not in a file: it ends in the middle of a record, at this byte."""

    at_byte: int


Record = Head | Model | Step | Gap | End
Found = Record | Cut

_DECODER = msgspec.msgpack.Decoder(Record)
_ENCODER = msgspec.msgpack.Encoder()
_SORTED = msgspec.msgpack.Encoder(order="deterministic")


class EventWriter:
    """Turns what a core did into bytes, in order."""

    def __init__(self) -> None:
        self._models: set[str] = set()

    def head(self, software: str, caps: Caps, begun: str) -> bytes:
        """The beginning of a file."""
        return MAGIC + frame(Head(software, caps, begun))

    def step(self, at_s: float, event: Event, effects: Sequence[Effect]) -> bytes:
        """One event. EventLogError where it cannot be written down."""
        before = b""
        if isinstance(event, ManifestLoaded):
            if event.model not in self._models:
                self._models.add(event.model)
                before = frame(Model(event.model, encode_manifest(event.graph)))
            event = ManifestLoaded(event.model, None)
        return before + frame(Step(at_s, event, effects_check(effects)))


def frame(record: Record) -> bytes:
    """One record as it stands in a file. EventLogError where it cannot be written down."""
    try:
        payload = _ENCODER.encode(record)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise EventLogError(f"a {type(record).__name__} cannot be written down: {error}") from error
    length = len(payload).to_bytes(LENGTH_BYTES, "big")
    return length + _check(length) + _check(payload) + payload


def effects_check(effects: Sequence[Effect]) -> bytes:
    """The same for the same effects in the same order, whatever the order inside a dict."""
    try:
        text = _SORTED.encode(effects)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
        return b""
    return hashlib.blake2b(text, digest_size=EFFECTS_BYTES).digest()


def read(data: memoryview) -> Iterator[Found]:
    """Every record of a file, then Cut where it ends within one; graphs are in place again.

    EventLogError where it is no event log, or a record is damaged: with its number and byte.
    """
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise EventLogError(
            "it does not begin like an event log of this version; `edgeflow node start"
            " --event-log FILE` writes one"
        )
    at, number, graphs = len(MAGIC), 0, dict[str, Any]()
    while at < len(data):
        size = _size_of(data, at, number)
        if size is None or at + HEADER_BYTES + size > len(data):
            yield Cut(at)
            return
        payload = data[at + HEADER_BYTES : at + HEADER_BYTES + size]
        check = bytes(data[at + LENGTH_BYTES + CHECK_BYTES : at + HEADER_BYTES])
        record = _decode(payload, check, number, at)
        if number == 0 and not isinstance(record, Head):
            raise EventLogError("its first record does not say what the node was: it is damaged")
        if isinstance(record, Model):
            graphs[record.model] = decode_manifest(record.manifest)
        yield _whole(record, graphs, number, at)
        at, number = at + HEADER_BYTES + size, number + 1


def _size_of(data: memoryview, at: int, number: int) -> int | None:
    """Bytes of the payload that begins at a record; None where its header is cut."""
    length = bytes(data[at : at + LENGTH_BYTES])
    check = bytes(data[at + LENGTH_BYTES : at + LENGTH_BYTES + CHECK_BYTES])
    if len(data) - at < HEADER_BYTES:
        return None
    size = int.from_bytes(length, "big")
    if check != _check(length) or size > RECORD_BYTES_MAX:
        raise _damaged(number, at, "its length is not what was written")
    return size


def _decode(payload: memoryview, check: bytes, number: int, at: int) -> Record:
    if check != _check(payload):
        raise _damaged(number, at, "its bytes are not those that were written")
    try:
        record: Record = _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _damaged(number, at, f"{error}; was it written by another version?") from None
    return record


def _whole(record: Record, graphs: dict[str, Any], number: int, at: int) -> Record:
    if not (isinstance(record, Step) and isinstance(record.event, ManifestLoaded)):
        return record
    model = record.event.model
    if model not in graphs:
        raise _damaged(number, at, f"the model {model[:12]} that it names is not in the log")
    return Step(record.at_s, ManifestLoaded(model, graphs[model]), record.effects)


def _damaged(number: int, at: int, why: str) -> EventLogError:
    return EventLogError(f"record {number} at byte {at} is damaged: {why}")


def _check(part: bytes | memoryview) -> bytes:
    return hashlib.blake2b(part, digest_size=CHECK_BYTES).digest()
