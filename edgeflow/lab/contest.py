"""Algorithms in turns on one network, in a lab that is up: what each takes, beside its prediction.

    deployed, all at once ─▶ warm until the plan stays ─▶ blocks, forward and backward, in turn

Runs in a process inside the lab. Each answer is compared with the undivided network's, each frame
stands in a ledger, and the order alternates, so that what drifts drifts for all.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edgeflow import audit, modelfile
from edgeflow.client.driver import Driver
from edgeflow.client.flow import Flow
from edgeflow.demo.pictures import read_all
from edgeflow.io.ledgerfile import LedgerFile, digest
from edgeflow.lab import network, record
from edgeflow.ledger.judge import judge
from edgeflow.ledger.records import Line, Outcome, Submit
from edgeflow.mind.snapshot import DeploymentView

PLANNED = "mincut"
ALGORITHMS = ("device-only", "edge-only", "cloud-only", PLANNED)
WARM_UP = 4
FRAMES_MAX = 60
STEADY_S = 11.0
"""The plan has stayed for so long before it is measured: longer than a leader's dwell."""
STEADY_S_MAX = 90.0
DEPLOY_S = 400.0
"""A tenth of a core hashes and warms half a gigabyte of weights within this."""
DEADLINE_S = 120.0
HEARTBEATS_S = 1.4
"""Counters of bytes come with the heartbeats: after a block, wait for the next."""


@dataclass(frozen=True, slots=True)
class Turns:
    """How long a contest is."""

    algorithms: tuple[str, ...]
    rounds: int
    """Blocks an algorithm."""
    frames: int
    """Frames a block, at least."""
    block_s: float
    """A block goes on for so long: quick algorithms are measured as long as slow ones."""
    keep: Path | None = None
    """A folder for the ledgers."""


@dataclass(slots=True)
class Entry:
    """One network under one algorithm."""

    network: str
    algorithm: str
    warm_s: float = 0.0
    """What a frame took before it counted."""
    latencies_ms: list[float] = field(default_factory=list)
    predicted_ms: list[float] = field(default_factory=list)
    """What the plan said before each block."""
    submitted: int = 0
    answered: int = 0
    wrong: int = 0
    backbone_bytes: int = 0
    """Tensors to and from the cloud tier, as the nodes count them."""
    wire_bytes: int = 0
    """All that crossed the link between switches, control plane included."""
    placements: list[str] = field(default_factory=list)


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")


def compete(flow: Flow, source: str, model: Path, turns: Turns) -> list[Entry]:
    """Every algorithm on one network."""
    graph = modelfile.load(model)
    inputs = {each.name: each.inputs for each in read_all(graph)}
    note(f"{model.stem}: the undivided answers …")
    expected = {key: digest(audit.run(graph, given)) for key, given in inputs.items()}
    entries = [Entry(model.stem, algorithm) for algorithm in turns.algorithms]

    def drive(entry: Entry, frames: int, keep: Path | None = None) -> list[Line]:
        lines: list[Line] = []
        ledger = LedgerFile(keep) if keep else None
        driver = Driver(flow, entry.algorithm, inputs, ledger, expected, on_record=lines.append)
        driver.run(frames=frames, window_frames=1)
        return lines

    for entry in entries:
        note(f"{model.stem}, {entry.algorithm}: deployed …")
        start_s = time.monotonic()
        flow.deploy(
            model,
            name=entry.algorithm,
            source=source,
            policy=entry.algorithm,
            window_frames=1,
            deadline_s=DEADLINE_S,
            wait_s=DEPLOY_S,
        )
        note(f"  after {time.monotonic() - start_s:.0f} s: {view(flow, entry).placement}")
    for entry in entries:
        warm_up(flow, entry, drive)
    for at in range(turns.rounds):
        for entry in entries if at % 2 == 0 else reversed(entries):
            keep = turns.keep and turns.keep / f"{entry.network}-{entry.algorithm}-{at}.ledger"
            frames = max(turns.frames, min(FRAMES_MAX, round(turns.block_s / entry.warm_s)))
            block(flow, entry, partial(drive, entry, frames, keep))
    for entry in entries:
        flow.undeploy(entry.algorithm)
    return entries


def warm_up(flow: Flow, entry: Entry, drive: Callable[[Entry, int], list[Line]]) -> None:
    """Frames that do not count, until the plan has stayed: its first is made of guesses."""
    start_s = since_s = time.monotonic()
    plan = ""
    for at in range(1000):
        started_s = time.monotonic()
        drive(entry, 1)
        entry.warm_s = time.monotonic() - started_s
        now_s, now_plan = time.monotonic(), view(flow, entry).plan
        if now_plan != plan:
            plan, since_s = now_plan, now_s
        is_steady = entry.algorithm != PLANNED or now_s - since_s > STEADY_S
        if (at + 1 >= WARM_UP and is_steady) or now_s - start_s > STEADY_S_MAX:
            return


def block(flow: Flow, entry: Entry, drive: Callable[[], list[Line]]) -> None:
    """Some frames of one algorithm, alone in the lab."""
    time.sleep(HEARTBEATS_S)
    before = view(flow, entry)
    tensors, wire = backbone_bytes(flow), wire_bytes()
    lines = drive()
    time.sleep(HEARTBEATS_S)
    entry.backbone_bytes += backbone_bytes(flow) - tensors
    entry.wire_bytes += wire_bytes() - wire
    figures = judge(lines)
    entry.submitted += figures.submitted
    entry.answered += figures.answered - sum(figures.errors.values())
    entry.wrong += figures.wrong or 0
    entry.predicted_ms.append(before.predicted_ms)
    entry.placements.append(before.placement)
    submits = {line.frame: line.at_s for line in lines if isinstance(line, Submit)}
    entry.latencies_ms += [
        (line.at_s - submits[line.frame]) * 1e3
        for line in lines
        if isinstance(line, Outcome) and not line.code
    ]
    late = statistics.median(entry.latencies_ms) if entry.latencies_ms else float("nan")
    note(f"  {entry.network}, {entry.algorithm}: median so far {late:.0f} ms")


def view(flow: Flow, entry: Entry) -> DeploymentView:
    """The deployment as the leader tells it."""
    return next(each for each in flow.snapshot().deployments if each.name == entry.algorithm)


def backbone_bytes(flow: Flow) -> int:
    """Tensor bytes that ever crossed to and from the cloud tier."""
    seen = flow.snapshot()
    cloud = {node.name for node in seen.nodes if node.tier == "cloud"}
    crossing = (link for link in seen.links if (link.sender in cloud) != (link.receiver in cloud))
    return sum(link.sent_bytes for link in crossing)


def wire_bytes() -> int:
    """All bytes that ever crossed a link between two switches, both ways."""
    lab = record.need().lab
    carried = network.carried_bytes(lab)
    return sum(sum(carried[link.title]) for link in lab.links if link.between[0] in lab.switches)
