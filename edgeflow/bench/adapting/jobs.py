"""What is done in one stay in the lab, by a process in it: one job, its notes, its ledger.

    measure    plans by hand under one condition                        ─▶ their milliseconds
    converge   one policy through all phases                            ─▶ when each began
    follow     one policy while the radio follows a trace               ─▶ its steps

Everything is written to the job's folder as it is known; `runs` reads it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
from msgspec import Struct

from edgeflow.bench.adapting import plans
from edgeflow.bench.adapting.made import commit
from edgeflow.bench.adapting.scenario import (
    ALONG,
    CONDITIONS,
    LATE,
    NOMINAL,
    PHASES,
    RADIO,
    Condition,
    network,
)
from edgeflow.bench.adapting.visit import Visit, visiting
from edgeflow.errors import DeployError, EdgeflowError
from edgeflow.io import tracefile
from edgeflow.lab import changes, conduct
from edgeflow.layout.placement import format_placement

WARM_FRAMES = 3
"""Of a plan by hand, before its frames count."""
COUNTED_FRAMES = 12
RATE_FPS_MAX, BUSY_SHARE = 2.0, 0.8
"""These come at a rate, as a policy's do, with a pause after each: a quota that was not used for a
moment makes the next frame quicker."""
BY_HAND_S = 60.0
"""Deadline of a frame under a plan by hand."""
PLANS_MAX = 16
"""Plans measured under one condition, beside the undivided ones; the most promising first."""
SETTLE_S = 3.0
"""After a condition is set: peers know it, and links are measured again."""


class Job(Struct, frozen=True):
    """See the module."""

    kind: str
    """measure converge follow"""
    model: str
    """The model's file."""
    network: str
    policy: str = "mincut"
    repeat: int = 0
    frames: int = 40
    """Of a phase, at least."""
    frames_max: int = 40
    """Of a phase, as long as the placement changes."""
    condition: str = ""
    known: tuple[str, ...] = ()
    """Lines that need not be measured."""
    wanted: tuple[str, ...] = ()
    """Lines to measure, and no others; none: whatever is promising."""
    counted: int = COUNTED_FRAMES
    """Frames of each line that is measured, beside WARM_FRAMES."""
    trace: str = ""
    trace_file: str = ""
    seconds: float = 600.0

    @property
    def name(self) -> str:
        """Of its folder."""
        words = [self.kind, self.network, self.policy]
        if self.kind == "measure":
            words = [self.kind, self.network, self.condition.replace(" ", "-").replace("/", "")]
        return "-".join([*words, *([self.trace] if self.trace else []), str(self.repeat)])


def condition_named(name: str) -> Condition:
    """Of all that plans are measured under."""
    return {**CONDITIONS, **{each.name: each for each in ALONG}}[name]


def work(folder: Path) -> None:
    """Do the job that lies in a folder."""
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    with visiting(folder, Path(job.model)) as visit:
        visit.wait_for(LATE, there=False)
        {"measure": measure, "converge": converge, "follow": follow}[job.kind](visit, job)


# --- by hand --------------------------------------------------------------------------------------


def measure(visit: Visit, job: Job) -> None:
    """Each node alone, then all that is predicted to come near the best; or what is wanted."""
    condition = condition_named(job.condition).scaled(network(job.network).work)
    _set(visit, condition)
    known, found = set(job.known), dict[str, dict[str, Any]]()
    todo = list(job.wanted) or _undivided(visit)
    while todo:
        for line in todo:
            if line not in known:
                found[line] = _by_hand(visit, line, job.counted)
                known.add(line)
                (visit.folder / "found.json").write_text(json.dumps(found))
        is_over = bool(job.wanted) or len(found) >= PLANS_MAX + len(visit.cluster().nodes)
        more = plans.worth_measuring(visit.graph, visit.cluster(), frozenset(known))
        todo = [] if is_over else more[:1]
    _write(visit, job, {"found": found})


def _set(visit: Visit, condition: Condition) -> None:
    for words in condition.words():
        visit.change(words)
    if condition.has_late:
        visit.change(f"restart {LATE}")
        visit.wait_for(LATE, there=True)
    time.sleep(SETTLE_S)


def _undivided(visit: Visit) -> list[str]:
    names = [layer.name for layer in visit.graph.layers]
    nodes = [name for name, node in visit.cluster().nodes.items() if node.rates is not None]
    return [format_placement(visit.graph, dict.fromkeys(names, node)) for node in nodes]


def _by_hand(visit: Visit, line: str, frames: int) -> dict[str, Any]:
    """Milliseconds of a plan's frames, beside what was predicted then."""
    try:
        visit.wish("mincut", BY_HAND_S, line)
    except DeployError as error:
        return {"times_ms": [], "predicted_ms": None, "refused": str(error)}
    warm_ms = visit.some(WARM_FRAMES)
    rate_fps = min([RATE_FPS_MAX, *(1e3 * BUSY_SHARE / each for each in warm_ms)])
    times_ms = visit.some(frames, rate_fps)
    predicted_s = plans.predicted_s(visit.graph, visit.cluster(), line)
    middle = sorted(times_ms)[len(times_ms) // 2] if times_ms else float("nan")
    note(f"  {middle:7.0f} ms, predicted {predicted_s * 1e3:7.0f}: {line}")
    return {"times_ms": times_ms, "predicted_ms": predicted_s * 1e3}


# --- policies -------------------------------------------------------------------------------------


def converge(visit: Visit, job: Job) -> None:
    """All phases, one after the other, while frames come in."""
    drive, begun = network(job.network), list[dict[str, Any]]()
    moment_s = time.monotonic()
    visit.wish(job.policy, drive.deadline_s)
    before = NOMINAL
    with visit.driven(drive.rate_fps):
        for phase in PHASES:
            condition = phase.condition.scaled(drive.work)
            if begun:
                for words in condition.words(before):
                    visit.change(words)
                if condition.has_late and not before.has_late:
                    visit.wait_for(LATE, there=True)
                moment_s = time.monotonic()
            begun.append({"phase": phase.name, "condition": condition.name, "moment_s": moment_s})
            before = condition
            visit.until_steady(job.frames, job.frames_max)
            note(f"  {phase.name}: {visit.line}")
            _write(visit, job, {"phases": begun, "until_s": time.monotonic()}, "so-far.json")
    _write(visit, job, {"phases": begun, "until_s": time.monotonic()})


def follow(visit: Visit, job: Job) -> None:
    """Frames while the radio follows a trace; it begins once the first plan has settled."""
    first = tracefile.read(Path(job.trace_file)).at(0)
    visit.change(f"link {RADIO} up_mbps={first:g} down_mbps={first:g}")
    drive = network(job.network)
    visit.wish(job.policy, drive.deadline_s)
    ended = Event()
    traced = changes.FollowTrace(link=RADIO, file=job.trace_file, repeat=True)
    with visit.driven(drive.rate_fps):
        visit.until_steady(job.frames, job.frames_max)
        from_s = time.monotonic()
        playing = Thread(target=conduct.play, args=([traced], lambda _: None, ended))
        playing.start()
        try:
            while time.monotonic() < from_s + job.seconds:
                visit.need_driven()
                time.sleep(0.5)
        finally:
            ended.set()
            playing.join()
        until_s = time.monotonic()
    _write(visit, job, {"from_s": from_s, "until_s": until_s})


def _write(visit: Visit, job: Job, more: dict[str, Any], name: str = "notes.json") -> None:
    told = {**visit.listener.told(), "acts": visit.acts, "commit": commit(), **more}
    (visit.folder / name).write_text(json.dumps(told))


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        work(Path(sys.argv[1]))
    except EdgeflowError as failure:
        sys.exit(str(failure))
