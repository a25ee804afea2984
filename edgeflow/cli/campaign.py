"""Many seeds, on several cores, over several sittings.

    seeds ─▶ those not in FILE yet ─▶ processes ─▶ one line each in FILE ─▶ totals

FILE is JSON lines: what was asked, under which code, then an outcome a line. A run that was killed
goes on where it stopped; a last line that was torn is played again.

Invariant: a file never mixes outcomes of two versions of the code, or of two questions.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeflow.errors import UsageError

if TYPE_CHECKING:
    from edgeflow.sim import Outcome

ROOMS = (
    "model",
    "layout",
    "tiles",
    "costmodel",
    "cluster",
    "estimation",
    "planning",
    "policy",
    "plans",
    "frames",
    "leader",
    "mind",
    "sim",
)
"""Folders whose code decides what happens in a history, beside the package's own files."""
GARBAGE_OBJECTS = 100_000
"""Objects made before Python looks for cycles: a history has few, and looking takes a tenth."""
CHUNK = 4
"""Seeds that are handed to a process at once."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is played for each seed."""

    nodes: int
    groups: tuple[str, ...]


def code_version() -> str:
    """Names the code that decides what happens in a history: 12 digits of its sha256."""
    home, found = Path(__file__).parents[1], hashlib.sha256()
    paths = [*home.glob("*.py"), *(path for room in ROOMS for path in (home / room).rglob("*.py"))]
    for path in sorted(paths):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


def play(question: Question, seed: int) -> Outcome:
    """One seed."""
    from edgeflow import sim

    gc.set_threshold(GARBAGE_OBJECTS)
    return sim.run_seed(seed, question.nodes, question.groups)


def play_all(question: Question, seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """All of them, in their order, on so many processes."""
    if jobs == 1:
        yield from (play(question, seed) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            yield from pool.map(partial(play, question), seeds, chunksize=CHUNK)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Notebook:
    """The file of a campaign. UsageError where it is another's."""

    def __init__(self, path: Path, question: Question) -> None:
        self.path = path
        self.header: dict[str, Any] = {
            "nodes": question.nodes,
            "faults": list(question.groups),
            "code": code_version(),
        }
        self.known: dict[int, Outcome] = {}
        self._read()
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """One line, at once."""
        fields = {**asdict(outcome), "script": [str(fault) for fault in outcome.script]}
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()

    def _read(self) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if not whole:
            self.path.write_text(json.dumps(self.header) + "\n", encoding="utf-8")
            return
        try:
            header, *outcomes = (json.loads(line) for line in whole)
        except ValueError:
            raise UsageError(f"{self.path} is no file of `simulate --resume`") from None
        if header != self.header:
            raise UsageError(
                f"{self.path} holds seeds of {_words(header)}, not of {_words(self.header)}:"
                " give another file, or the same settings and code"
            )
        self.known = {fields["seed"]: _outcome(fields) for fields in outcomes}
        self.path.write_bytes(b"".join(whole))


def _outcome(fields: dict[str, Any]) -> Outcome:
    from edgeflow.sim import Outcome
    from edgeflow.sim.script import parsed

    script = tuple(parsed(line) for line in fields["script"])
    return Outcome(**{**fields, "story": tuple(fields["story"]), "script": script})


def _words(header: object) -> str:
    """What a file's first line says, in words."""
    if not isinstance(header, dict):
        return "something else"
    nodes = header.get("nodes") or "3 to 6"
    groups = ",".join(header.get("faults", ()))
    return f"{nodes} nodes, faults {groups}, code {header.get('code')}"
