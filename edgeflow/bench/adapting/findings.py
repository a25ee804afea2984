"""The figures of one run, out of its job, notes, ledger and the oracle's table.

    converge ─▶ a row a phase: frames and seconds until the best plan ran for good
    follow   ─▶ mean latency over the oracle's, plan changes

Invariant: the same folder and table give the same figures.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgeflow.bench.adapting import judge
from edgeflow.bench.adapting.jobs import Job, condition_named
from edgeflow.bench.adapting.oracle import Table
from edgeflow.bench.adapting.runs import frames_of, phases_of
from edgeflow.bench.adapting.scenario import ALONG, NOMINAL, THIN, network
from edgeflow.io import ledgerfile, tracefile
from edgeflow.ledger.judge import judge as judged

BROKEN = ("lost", "open", "duplicated", "unknown", "wrong")


@dataclass(frozen=True, slots=True)
class Run:
    """One job that is done."""

    folder: Path
    job: Job
    notes: dict[str, Any]
    frames: list[judge.Ran]

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Out of its folder."""
        job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
        notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
        return cls(folder, job, notes, frames_of(folder, notes))

    @property
    def from_s(self) -> float:
        """When what is judged begins."""
        begun = self.notes.get("phases")
        return float(begun[0]["moment_s"] if begun else self.notes["from_s"])

    @property
    def until_s(self) -> float:
        """When it ends."""
        return float(self.notes["until_s"])

    def commits(self) -> list[tuple[float, str]]:
        """(when, placement) of every plan that was committed."""
        variants = self.notes["variants"]
        return [(at_s, variants[plan][0]) for at_s, plan in self.notes["committed"]]


def runs_in(out: Path) -> list[Run]:
    """All that are done, by name."""
    folders = sorted(path.parent for path in out.glob("*/run.ledger"))
    return [Run.load(folder) for folder in folders if (folder / "notes.json").exists()]


def row(run: Run, table: Table) -> dict[str, Any]:
    """Everything that is told of a run."""
    figures = judged(ledgerfile.read(run.folder / "run.ledger"))
    counts = {key: getattr(figures, key) or 0 for key in BROKEN}
    failed = sum(figures.errors.values())
    found = {
        "run": run.folder.name,
        "kind": run.job.kind,
        "network": run.job.network,
        "policy": run.job.policy,
        "repeat": run.job.repeat,
        "commit": run.notes.get("commit", "unknown"),
        "frames": figures.submitted,
        **counts,
        "failed": failed,
        "errors": figures.errors,
        "broken": bool(failed or sum(counts.values())),
        "switches": judge.switches(run.commits(), run.from_s, run.until_s),
    }
    more = {"phases": phases(run, table)} if run.job.kind == "converge" else followed(run, table)
    return found | more


def phases(run: Run, table: Table) -> list[dict[str, Any]]:
    """One row a phase."""
    found = []
    for phase, until_s in phases_of(run.notes):
        name, condition, moment_s = phase["phase"], phase["condition"], phase["moment_s"]
        best_s = table.best_s(run.job.network, condition)
        is_good = good(table, run.job.network, condition)
        reached = judge.reached(run.frames, moment_s, until_s, is_good)
        mine = [each for each in run.frames if moment_s <= each.at_s < until_s]
        last = mine[-1].line if mine else ""
        ran_s = table.seconds(run.job.network, condition, last)
        tail = [each.seconds for each in mine[-10:] if each.ok]
        found.append(
            {
                "phase": name,
                "condition": condition,
                "frames": reached.frames if reached else None,
                "seconds": round(reached.seconds, 2) if reached else None,
                "frames_seen": len(mine),
                "best_ms": round(best_s * 1e3, 1) if best_s else None,
                "ran_ms": round(ran_s * 1e3, 1) if ran_s else None,
                "measured_ms": round(statistics.median(tail) * 1e3, 1) if tail else None,
                "line": last,
                "switches": judge.switches(run.commits(), moment_s, until_s),
            }
        )
    return found


def good(table: Table, name: str, condition: str) -> Callable[[str], bool]:
    """Whether a placement is as good as the best under a condition."""
    best_s = table.best_s(name, condition)
    known = {line: seconds for seconds, line in table.ranking(name, condition)}
    return lambda line: best_s is not None and known.get(line, 1e9) <= judge.NEAR * best_s


def followed(run: Run, table: Table) -> dict[str, Any]:
    """Of a trace."""
    oracle = oracle_of(run, table)
    mine = [each.seconds for each in run.frames if run.from_s <= each.at_s < run.until_s]
    ratio = judge.regret(run.frames, oracle, run.from_s, run.until_s) if oracle else None
    return {
        "trace": run.job.trace,
        "minutes": round((run.until_s - run.from_s) / 60, 2),
        "mean_ms": round(statistics.fmean(mine) * 1e3, 1) if mine else None,
        "ratio": round(ratio, 3) if ratio else None,
    }


def oracle_of(run: Run, table: Table) -> Callable[[float], float] | None:
    """The best plan's seconds at a moment of a run; None where too little was measured."""
    if run.job.kind == "converge":
        begun = run.notes["phases"]

        def best(at_s: float) -> float:
            names = [each["condition"] for each in begun if each["moment_s"] <= at_s]
            return table.best_s(run.job.network, (names or [NOMINAL.name])[-1]) or float("nan")

        return best
    fits = fits_of(table, run.job.network)
    trace = tracefile.read(Path(run.job.trace_file))
    if not fits:
        return None
    return lambda at_s: judge.oracle_s(fits, trace.at(at_s - run.from_s, repeat=True))


def mbps_at(run: Run) -> Callable[[float], float]:
    """The radio's true rate at a moment of a run."""
    if run.job.kind == "converge":
        work, begun = network(run.job.network).work, run.notes["phases"]

        def rate(at_s: float) -> float:
            names = [each["condition"] for each in begun if each["moment_s"] <= at_s]
            return condition_named((names or [NOMINAL.name])[-1]).scaled(work).mbps

        return rate
    trace = tracefile.read(Path(run.job.trace_file))
    return lambda at_s: trace.at(max(0.0, at_s - run.from_s), repeat=True)


def fits_of(table: Table, name: str) -> list[tuple[float, float]]:
    """Every plan that was measured at enough rates of the radio, as a line."""
    points: dict[str, list[tuple[float, float]]] = {}
    for condition in (NOMINAL, THIN, *ALONG):
        mbps = condition.scaled(network(name).work).mbps
        for seconds, line in table.ranking(name, condition.name):
            points.setdefault(line, []).append((mbps, seconds))
    fits = [judge.fitted(each) for each in points.values()]
    return [fit for fit in fits if fit is not None]
