"""Jobs one after the other, each in a lab that was built for it; what is done already stays done.

    job ─▶ its folder has notes? ─▶ next        no ─▶ fresh lab ─▶ process in it ─▶ notes
    measured plans ─▶ table.json                a policy ran an unknown plan ─▶ measured now

A fresh lab means: nobody has run a layer yet, and only what calibration and probes tell is known.
Weights lie on every disk.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from edgeflow.bench.adapting import judge
from edgeflow.bench.adapting.jobs import Job
from edgeflow.bench.adapting.oracle import FRAMES_SURE, Table
from edgeflow.bench.adapting.scenario import LATE
from edgeflow.errors import EdgeflowError
from edgeflow.io import ledgerfile
from edgeflow.lab import changes, conduct, entry, labfile, lifecycle, record

UNKNOWN_FRAMES = 5
"""A plan that nobody measured is measured where it answered so many frames under a condition."""


@dataclass(slots=True)
class Runs:
    """One folder of results."""

    out: Path
    file: Path
    """Of the lab."""
    table: Table

    def do(self, job: Job) -> dict[str, Any] | None:
        """The notes of a job, done now or before; None where it failed."""
        folder = self.out / job.name
        notes = folder / "notes.json"
        if not notes.exists():
            note(f"{job.name} …")
            start_s = time.monotonic()
            try:
                self._run(job, folder)
                note(f"  after {time.monotonic() - start_s:.0f} s")
            except EdgeflowError as error:
                note(f"  FAILED: {error}")
                return None
        told: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))
        return told

    def measure(self, job: Job) -> None:
        """Put what a job measured, or has measured so far, into the table, once; then what came
        close to the best, again."""
        known = self.table.known(job.network, job.condition)
        self.do(replace(job, known=tuple(sorted(known))))
        self._take(job, known)
        unsure = self.table.unsure(job.network, job.condition)
        if unsure:
            again = replace(job, repeat=self._measured(job), wanted=unsure, counted=FRAMES_SURE)
            self.do(again)
            self._take(again)

    def measure_unknown(self, converged: Iterable[Job]) -> None:
        """Plans that policies ran and nobody had measured, under the conditions they ran under."""
        wanted: dict[tuple[str, str, str], list[str]] = {}
        for job in converged:
            for condition, line in unknown(self.out / job.name, job.network, self.table):
                lines = wanted.setdefault((job.network, job.model, condition), [])
                lines += [line] if line not in lines else []
        for (name, model, condition), lines in wanted.items():
            job = Job("measure", model, name, condition=condition, wanted=tuple(lines))
            self.measure(replace(job, repeat=self._measured(job)))

    def _measured(self, job: Job) -> int:
        """How many jobs measured its network: a number that none of them has."""
        return len(list(self.out.glob(f"measure-{job.network}-*")))

    def _take(self, job: Job, known: frozenset[str] = frozenset()) -> None:
        """Put what a job measured into the table, but for lines that it need not have measured."""
        found = self.out / job.name / "found.json"
        for line, each in (json.loads(found.read_text()) if found.exists() else {}).items():
            if line not in known and each["times_ms"]:
                self.table.add(job.network, job.condition, line, each["times_ms"])
        self.table.save()

    def _run(self, job: Job, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
        lifecycle.down(silent)
        made = lifecycle.up(
            labfile.load(self.file), str(self.file.absolute()), [Path(job.model)], silent
        )
        try:
            conduct.change(changes.Kill(host=LATE))
            source = next(name for name, each in made.lab.nodes.items() if each.tier == "device")
            words = ["edgeflow.bench.adapting.jobs", str(folder)]
            entry.run_module(source, words, folder / "said.log")
        finally:
            record.keep_logs(folder)
            lifecycle.down(silent)


def unknown(folder: Path, network: str, table: Table) -> list[tuple[str, str]]:
    """(condition, line) of what ran for a while in a converge job and is not in the table."""
    if not (folder / "notes.json").exists():
        return []
    notes = json.loads((folder / "notes.json").read_text())
    frames = frames_of(folder, notes)
    found = []
    for phase, until_s in phases_of(notes):
        mine = [each.line for each in frames if phase["moment_s"] <= each.at_s < until_s]
        for line in dict.fromkeys(mine):
            known = table.known(network, phase["condition"])
            if line and line not in known and mine.count(line) >= UNKNOWN_FRAMES:
                found.append((phase["condition"], line))
    return found


def frames_of(folder: Path, notes: dict[str, Any]) -> list[judge.Ran]:
    """Of a job's ledger, each with its placement."""
    records = ledgerfile.read(folder / "run.ledger")
    return judge.ran(records, notes["variants"], judge.dead_of(notes["acts"]))


def phases_of(notes: dict[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """Each phase with its end."""
    begun = notes["phases"]
    ends_s = [each["moment_s"] for each in begun[1:]] + [notes["until_s"]]
    return list(zip(begun, ends_s, strict=True))


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def silent(_: str) -> None:
    """What a lab says while it is built, each time again."""
