"""Which engine runs a segment quickest on this machine: tried once, then remembered.

    remembered ──yes──▶ build on that engine ──refused──▶ the next, and a sentence
        └──no──▶ build on each ─▶ run them in turn ─▶ keep the quickest ─▶ remember

Invariant: what is remembered was measured on this board, by these versions of the engines, with as
many threads; a file that says anything else is as good as none.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgeflow.errors import EdgeflowError
from edgeflow.executors.piece import Piece
from edgeflow.layout.parcel import Parcel

log = logging.getLogger(__name__)

TRIAL_RUNS, TRIAL_S = 5, 0.5
"""Of each engine, in turn with the others: so many runs, or so long after the second. More would
follow noise less and keep a plan waiting longer."""
KEPT = 2000
"""Segments remembered, 100 bytes each; the oldest go first."""
REFUSALS = (EdgeflowError, RuntimeError, MemoryError, NotImplementedError)
"""What engines raise over a segment that they cannot build or run."""

Make = Callable[[str], Piece]
"""Builds the segment on the engine of that name."""


class Memory:
    """The quickest engine by segment, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = _read(path)

    def get(self, key: str) -> str:
        """The engine; empty where it was not tried."""
        return self.found.get(key, "")

    def put(self, key: str, engine: str) -> None:
        """Write it down; a full disk costs another trial, and no more."""
        self.found[key] = engine
        while len(self.found) > KEPT:
            del self.found[next(iter(self.found))]
        fresh = self.path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self.found), encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            log.warning("cannot remember engines in %s: %s", self.path, error)


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        return {}
    return found


def key_of(*parts: object) -> str:
    """A short name for what a trial was about."""
    return sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Choice:
    """A segment on the engine that was chosen."""

    piece: Piece
    engine: str
    note: str = ""
    """Which engine refused, and why; empty where none did."""
    was_tried: bool = False
    """More than one engine ran it, and this one was the quickest."""


def choose(engines: Sequence[str], make: Make, feed: Parcel, *, compare: bool) -> Choice:
    """The segment on the quickest of these engines, warm; where not to `compare`, on the first that
    takes it. What the last engine raised where none does."""
    built: dict[str, Piece] = {}
    notes: list[str] = []
    for engine in engines:
        try:
            piece = make(engine)
            piece.run([feed])
        except REFUSALS as error:
            if engine == engines[-1] and not built:
                raise
            notes.append(f"{engine} refuses ({error})"[:500])
            continue
        built[engine] = piece
        if not compare:
            break
    best = _quickest(built, feed) if len(built) > 1 else next(iter(built))
    note = f"{'; '.join(notes)}: {best} runs it" if notes else ""
    return Choice(built[best], best, note, len(built) > 1)


def _quickest(built: dict[str, Piece], feed: Parcel) -> str:
    """Each runs in turn with the others, so that all meet the same noise; its best run counts."""
    best_s = dict.fromkeys(built, float("inf"))
    end_s = time.perf_counter() + TRIAL_S * len(built)
    for run in range(TRIAL_RUNS):
        for engine, piece in built.items():
            start_s = time.perf_counter()
            piece.run([feed])
            best_s[engine] = min(best_s[engine], time.perf_counter() - start_s)
        if run and time.perf_counter() > end_s:
            break
    return min(best_s, key=best_s.__getitem__)
