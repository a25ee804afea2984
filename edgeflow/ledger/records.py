"""The lines of a ledger: what a submitter writes down of each frame, and how it is read again.

    head ─▶ expected … ─▶ submit ─▶ outcome ─▶ submit ─▶ … ─▶ end      one JSON object a line
                             │
                             └─ without an outcome: lost where there is an end, else open

`at_s` is CLOCK_MONOTONIC, which all processes of a machine share: a ledger can be laid beside what
another process wrote down. `edgeflow.io.ledgerfile` writes it, `edgeflow.ledger.judge` judges it.

Invariant: a line is whole or the file's last; every other malformed line is refused by its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from edgeflow.errors import UsageError

VERSION = 1
"""Of these records. A reader refuses another one."""

Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Number = Annotated[int, Meta(ge=0, le=1 << 62)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Record(Struct, frozen=True, tag=str.lower, tag_field="record", forbid_unknown_fields=True):
    """One line."""


class Head(Record, frozen=True):
    """Who asks whom, and how: always the first line."""

    deployment: str
    submitter: str
    """The name of its node."""
    pid: Number
    unix_s: Seconds
    monotonic_s: Seconds
    """Both clocks at one moment."""
    model: str
    """The digest that names the model."""
    model_name: str
    python: str
    machine: str
    window_frames: Number
    """At most so many under way; 0 where `rate_fps` decides."""
    rate_fps: Seconds
    """Frames handed in each second, whatever comes back; 0 where the window decides."""
    v: int = VERSION


class Expected(Record, frozen=True):
    """The right answer to an input. An input may have several, where several are right."""

    input: str
    sha256: Sha256


class Submit(Record, frozen=True):
    """A frame is about to be handed in."""

    frame: Number
    input: str
    at_s: Seconds
    size_bytes: Number


class Outcome(Record, frozen=True):
    """A frame's result or error."""

    frame: Number
    at_s: Seconds
    code: str
    """Empty for a result."""
    text: str
    sha256: Sha256 | None
    """Of the outputs; None with an error."""
    latency_s: Seconds
    """As the submitter's node saw it."""
    attempts: Number
    plan: str


class End(Record, frozen=True):
    """The submitter waited for every outcome as long as one could come."""

    at_s: Seconds


class Torn(Record, frozen=True):
    """Made by `parse`: the last line is not whole, as the submitter was killed writing it."""


T = TypeVar("T")
Line = Head | Expected | Submit | Outcome | End
AnyRecord = Line | Torn
_LINE = msgspec.json.Decoder(Line)


class Event(Struct, frozen=True):
    """A line of another process's log; further fields are passed over."""

    at_s: Seconds
    sentence: str


_EVENT = msgspec.json.Decoder(Event)


def parse(lines: Iterable[bytes], name: str = "ledger") -> list[AnyRecord]:
    """The records of a file's lines, each with its newline; the last may be torn.

    UsageError with `name` and the line's number where another line is malformed.
    """
    records: list[AnyRecord] = []
    frames: set[int] = set()
    for number, line in enumerate(lines, 1):
        record = _decoded(_LINE, line, f"{name}:{number}")
        if wrong := _objection(record, records, frames):
            raise _malformed(f"{name}:{number}", wrong)
        if isinstance(record, Submit):
            frames.add(record.frame)
        records.append(record if record is not None else Torn())
    if not records:
        raise _malformed(name, "it is empty")
    return records


def parse_events(lines: Iterable[bytes], name: str = "events") -> list[Event]:
    """Events in the order of their time; a torn last line is left out. UsageError as in `parse`."""
    decoded = (_decoded(_EVENT, line, f"{name}:{at}") for at, line in enumerate(lines, 1))
    return sorted((event for event in decoded if event is not None), key=lambda each: each.at_s)


def _objection(record: Line | None, before: list[AnyRecord], frames: set[int]) -> str:
    """What is wrong with a record at its place; empty where nothing is."""
    if before and isinstance(before[-1], Torn):
        return "the line before it is not whole"
    if isinstance(record, Head) != (not before):
        return "a head is the first line, and no other"
    if isinstance(record, Head) and record.v != VERSION:
        return f"schema {record.v}; this edgeflow reads {VERSION}"
    if isinstance(record, Submit) and record.frame in frames:
        return f"frame {record.frame} is submitted again"
    if isinstance(record, Outcome) and (record.code == "") != (record.sha256 is not None):
        return "a result has a sha256, and an error has none"
    return ""


def _decoded(decoder: msgspec.json.Decoder[T], line: bytes, place: str) -> T | None:
    """None where the line is not whole: no newline, and nothing that can be read."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if line.endswith(b"\n"):
            raise _malformed(place, str(error)) from None
        return None


def _malformed(place: str, why: str) -> UsageError:
    return UsageError(
        f"{place}: {why}; it is no ledger or log of edgeflow, or was changed:"
        " `edgeflow infer --ledger FILE` writes one"
    )
