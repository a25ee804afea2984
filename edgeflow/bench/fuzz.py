"""Malformed messages thrown at a running fleet: nobody may crash, grow or be disturbed.

    scripts/bench fuzz [--messages 100000] [--seed 1] [--rate 20] [--json]

A broker, a source with a steady stream of frames, two workers, all processes of their own on
loopback. Beside them a node that was let in and strangers that were not send mutants of the running
plan's tensor headers, signals and MQTT payloads; model files and settings are mutated through their
readers in this process. The judge of the frames is a ledger. Exit code 1 where a process ended or
logged a traceback, a reader failed otherwise than by an error with a sentence, memory grew by
16 MiB, or a frame was lost, answered twice, wrong, or with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeflow.bench.footprint import resident_bytes
from edgeflow.bench.fuzzing import node
from edgeflow.bench.fuzzing.crowd import NODES, SOURCE, Crowd
from edgeflow.demo.fleet import Fleet
from edgeflow.io import ledgerfile
from edgeflow.ledger.judge import Figures, judge

GROWTH_BYTES_MAX = 16 << 20
"""Of one process with its children, from after the warm-up to the end."""
WARM_SHARE = 0.1
QUIET_S = 3.0
"""Before and after the messages, frames alone."""
STOP_S = 40.0
MIB = 1 << 20


class Nodes(Fleet):
    """The fleet's processes, each a program of ours."""

    def start(self, name: str, role: str, *options: str) -> None:
        """A worker or the source."""
        self._start(name, node.__name__, role, name, self.url, str(self.folder), *options)


@dataclass(slots=True)
class Report:
    """What one run showed."""

    seed: int
    seconds: float = 0.0
    sent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, dict[str, int]] = field(default_factory=dict)
    """By node and reason, as it counted; of files by class."""
    crashes: list[str] = field(default_factory=list)
    growth_bytes: dict[str, int] = field(default_factory=dict)
    frames: Figures | None = None

    @property
    def problems(self) -> list[str]:
        """Why this run fails; empty where it passes."""
        grown = [
            f"{name} grew by {size / MIB:.1f} MiB"
            for name, size in self.growth_bytes.items()
            if size >= GROWTH_BYTES_MAX
        ]
        figures = self.frames
        if figures is None or not figures.judged:
            return [*self.crashes, *grown, "no frame was answered"]
        bad = [] if figures.kept else ["a frame was lost, answered twice, or wrong"]
        bad += [f"errors: {figures.errors}"] if figures.errors else []
        return [*self.crashes, *grown, *bad]


def main() -> int:
    """Run, print, and fail where somebody was disturbed."""
    parser = argparse.ArgumentParser(prog="scripts/bench fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="malformed ones, in all")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second meanwhile")
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    options = parser.parse_args()
    report = run(options.messages, options.seed, options.rate)
    sys.stdout.write((json.dumps(as_data(report)) if options.json else text(report)) + "\n")
    return int(bool(report.problems))


def run(messages: int, seed: int, rate_fps: float) -> Report:
    """A fleet, the crowd, and the judgement."""
    report = Report(seed)
    with tempfile.TemporaryDirectory(prefix="edgeflow-fuzz-") as folder:
        fleet = Nodes(Path(folder))
        with fleet:
            _run(fleet, messages, report, rate_fps)
    return report


def _run(fleet: Nodes, messages: int, report: Report, rate_fps: float) -> None:
    fleet.start_broker()
    for name in node.WORKERS:
        fleet.start(name, "worker")
    fleet.start(SOURCE, "source", str(rate_fps))
    crowd = Crowd(fleet.port, fleet.folder, report.seed)
    try:
        _throw(fleet, crowd, messages, report)
    finally:
        crowd.close()
    _end(fleet, report)


def _throw(fleet: Nodes, crowd: Crowd, messages: int, report: Report) -> None:
    """Warm up, measure, throw, measure."""
    crowd.join()
    _quiet(crowd)
    warm = int(messages * WARM_SHARE)
    crowd.read(warm)
    reading = own_bytes()
    crowd.read(messages - warm)
    report.growth_bytes["this process, reading files"] = own_bytes() - reading
    crowd.run(warm)
    _quiet(crowd)
    before, counted = sizes(fleet), counters(fleet)
    start_s = time.monotonic()
    crowd.run(messages - warm)
    report.seconds = time.monotonic() - start_s
    _quiet(crowd)
    after, now = sizes(fleet), counters(fleet)
    report.sent = dict(crowd.sent)
    report.growth_bytes |= {name: after[name] - before[name] for name in after if name in before}
    report.refused = {
        name: {why: count - counted[name].get(why, 0) for why, count in each.items() if count}
        for name, each in now.items()
    }
    for name, count in crowd.files.items():
        report.refused[name] = {"read": count.sent, "refused": count.refused}
        report.crashes += count.crashes


def _quiet(crowd: Crowd) -> None:
    until_s = time.monotonic() + QUIET_S
    while time.monotonic() < until_s:
        crowd.tend()
        time.sleep(0.02)


def _end(fleet: Nodes, report: Report) -> None:
    """Stop the frames, then look at who still runs, at what was logged, and at the ledger."""
    for name, process in fleet.processes.items():
        if process.poll() is not None:
            report.crashes.append(
                f"{name} ended with {process.returncode}: {fleet.last_words(name)}"
            )
    source = fleet.processes[SOURCE]
    source.send_signal(signal.SIGTERM)
    source.wait(STOP_S)
    for name in NODES:
        log = (fleet.folder / f"{name}.log").read_text(errors="replace")
        if "Traceback" in log:
            report.crashes.append(f"{name}: {log[log.index('Traceback') :][:3000]}")
    report.frames = judge(ledgerfile.read(fleet.folder / "ledger.jsonl"))


def sizes(fleet: Nodes) -> dict[str, int]:
    """Resident bytes of each process with its children."""
    return {
        name: sum(map(resident_bytes, family(process.pid)))
        for name, process in fleet.processes.items()
        if process.poll() is None
    }


def own_bytes() -> int:
    """Resident bytes of this process."""
    return resident_bytes(os.getpid())


def family(pid: int) -> list[int]:
    """A process and all below it, proc(5)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def counters(fleet: Nodes) -> dict[str, dict[str, int]]:
    """What each node refused so far, by reason."""
    return {
        name: json.loads((fleet.folder / f"{name}.json").read_text())
        for name in NODES
        if (fleet.folder / f"{name}.json").exists()
    }


def as_data(report: Report) -> dict[str, Any]:
    """Everything."""
    figures = report.frames
    return {
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
        "seed": report.seed,
        "seconds": round(report.seconds, 1),
        "messages": sum(report.sent.values()),
        "sent": report.sent,
        "refused": report.refused,
        "crashes": report.crashes,
        "growth_mib": {name: round(size / MIB, 2) for name, size in report.growth_bytes.items()},
        "frames": {
            "submitted": figures.submitted,
            "good": figures.good,
            "lost": figures.lost,
            "duplicated": figures.duplicated,
            "wrong": figures.wrong,
            "errors": figures.errors,
            "retried": figures.retried,
            "latency_ms_p50": figures.latency_ms_p50,
            "latency_ms_p99": figures.latency_ms_p99,
        }
        if figures is not None
        else None,
        "problems": report.problems,
    }


def text(report: Report) -> str:
    """For people."""
    made = as_data(report)
    lines = [f"{made['messages']} malformed messages in {made['seconds']} s, seed {report.seed}"]
    lines += [f"  {kind}: {count}" for kind, count in sorted(report.sent.items())]
    lines.append("refused, as counted by those they were for")
    for name, reasons in report.refused.items():
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()) if count)
        lines.append(f"  {name}: {told or 'nothing'}")
    grown = ", ".join(f"{name} {size}" for name, size in made["growth_mib"].items())
    lines.append(f"resident growth in MiB: {grown}")
    lines.append(f"frames: {made['frames']}")
    lines += [f"FAILED: {problem}" for problem in report.problems] or ["nobody was disturbed"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
