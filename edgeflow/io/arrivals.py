"""What `Links.receive` gives the loop.

LinkUp, LinkDown, Signal and Transferred are the core's own events. Tensors and chunks come with
their bytes beside them, because a Bundle is a number that only the loop can give:

    Arrived ── the loop stores `arrays`, numbers them ──▶ events.Tensors
    Chunk   ── the store appends `raw` ────────────────▶ events.ChunkStored
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeflow.events import LinkDown, LinkUp, Signal, Transferred
from edgeflow.messages import BlobChunk, Frame, Outcome, Result, Submit


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of the tensors lane; `arrays` are read-only and agree with its header."""

    peer: str
    session: int
    message: Frame | Result | Submit | Outcome
    arrays: Mapping[str, NDArray[Any]]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a blob that this node asked for."""

    peer: str
    session: int
    message: BlobChunk
    raw: memoryview


Arrival = LinkUp | LinkDown | Signal | Transferred | Arrived | Chunk
