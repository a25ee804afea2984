"""One row, in a process that is the source: frames at a steady rate, and the faults at their time.

    connect ─▶ deploy ─▶ warm up ─▶ frames, and beside them each act when it is due ─▶ notes

Runs in the namespace of the lab's bare machine, outside every quota. What it saw goes to a folder:
ledgers, and `notes.json`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from edgeflow import audit, modelfile
from edgeflow.api import connect
from edgeflow.bench.outage.rows import AHEAD_S, SWITCH, Row
from edgeflow.bench.outage.watch import Watch
from edgeflow.client.driver import Driver
from edgeflow.client.flow import Flow
from edgeflow.demo.pictures import read_all
from edgeflow.io import settings
from edgeflow.io.ledgerfile import LedgerFile, digest
from edgeflow.lab import changes, conduct, record
from edgeflow.lab.labfile import LabFile
from edgeflow.layout.placement import parse_placement
from edgeflow.ledger.records import Line, Outcome

NAME = "faults"
"""Of the deployment."""
WINDOW = 16
DEADLINE_S = 30.0
DEPLOY_S = 120.0
WARM_S = 10.0
"""So long frames come in before they count: the plan settles, its fallbacks are prepared."""
CAPACITY_S = 8.0
STEADY_SHARE = 0.5
"""Of the capacity, under an overload: those who were there before."""
CALM_S, AFTER_S = 5.0, 15.0
"""Before and after an overload."""


@dataclass(slots=True)
class Stage:
    """What a row needs at hand."""

    folder: Path
    model: Path
    row: Row
    frames: int
    rate_fps: float
    flow: Flow
    lab: LabFile
    watch: Watch
    inputs: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    expected: Mapping[str, str]
    moments_s: list[float] = field(default_factory=list)
    acts: list[tuple[float, str]] = field(default_factory=list)
    """(when, what was done)."""
    notes: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """The row's frames and faults; what was seen, on disk."""
        self.deploy("")
        self.drive("warm", self.rate_fps, WARM_S)
        self.notes["placement"] = self.placement()
        from_s = time.monotonic()
        (self._overload if self.row.overload else self._steady)()
        self.notes |= {
            "from_s": from_s,
            "until_s": time.monotonic(),
            "moments_s": self.moments_s,
            "acts": self.acts,
            "beats": self.watch.beats,
            "deaf": self.watch.deaf,
            "notices": self.flow.notices(),
            "placement_after": self.placement(),
        }
        (self.folder / "notes.json").write_text(json.dumps(self.notes))

    def deploy(self, placement: str) -> None:
        """Wish for the network, by hand or as planned."""
        self.flow.deploy(
            self.model,
            name=NAME,
            placement=placement,
            window_frames=WINDOW,
            deadline_s=DEADLINE_S,
            tiles=False,
            wait_s=None if placement else DEPLOY_S,
        )

    def drive(self, name: str, rate_fps: float, seconds: float, frames: int | None = None) -> None:
        """Frames at a rate, into the ledger of that name; `warm` has none."""
        ledger = None if name == "warm" else LedgerFile(self.folder / f"{name}.ledger")
        driver = Driver(self.flow, NAME, self.inputs, ledger, self.expected)
        driver.run(frames=frames, seconds=seconds, rate_fps=rate_fps)

    def placement(self) -> str:
        """Of the committed plan, as the source knows it."""
        found = [each for each in self.flow.snapshot().deployments if each.name == NAME]
        return found[0].placement if found else ""

    # --- faults -----------------------------------------------------------------------------------

    def _steady(self) -> None:
        seconds = self.frames / self.rate_fps
        driving = Thread(
            target=self.drive, args=("steady", self.rate_fps, 2 * seconds + 60, self.frames)
        )
        driving.start()
        start_s = time.monotonic()
        names: dict[int, dict[str, str]] = {}
        for due_s, number, begins, act in self.row.due(seconds):
            time.sleep(max(0.0, start_s + due_s - time.monotonic()))
            if begins:
                self.moments_s.append(time.monotonic())
                names[number] = self._names(number)
            self._do(act, names[number], number)
        driving.join()

    def _names(self, number: int) -> dict[str, str]:
        """Who is who at the begin of an occurrence."""
        nodes = list(self.lab.running)
        leader = self.watch.leader() or self.flow.snapshot().leader or nodes[0]
        layout = parse_placement(modelfile.load(self.model), self.placement())
        used = [each for each in dict.fromkeys(layout.values()) if each in nodes]
        worker = next((str(each) for each in used if each != leader), str((used or nodes)[0]))
        second = next(each for each in nodes if each not in (leader, worker))
        source = self.flow.name
        return {
            "leader": leader,
            "worker": worker,
            "half": f"{worker},{second}",
            "peers": ",".join([*(each for each in nodes if each != leader), source]),
            "others": ",".join([*(each for each in nodes if each != worker), source]),
            "ahead": str(AHEAD_S[number % len(AHEAD_S)]),
        }

    def _do(self, act: str, names: Mapping[str, str], number: int) -> None:
        if act == SWITCH:
            graph, nodes = modelfile.load(self.model), self.lab.running
            node = nodes[number % len(nodes)]
            self._note(f"switch to {node}")
            self.deploy(f"{graph.layers[0].name}..{graph.layers[-1].name} @{node}")
            return
        for node in self.lab.running if "{all}" in act else ("",):
            words = act.format(**{**names, "all": node}).split()
            if words[-1] == "broker" and words[0] in ("stop", "cont"):
                self.watch.deaf.append((time.monotonic(), words[0] == "stop"))
            try:
                self._note(conduct.change(changes.parse(words)))
            except Exception as error:  # what cannot be broken is told, the row goes on
                self._note(f"NOT DONE {' '.join(words)}: {error}")

    def _note(self, said: str) -> None:
        self.acts.append((time.monotonic(), said))
        sys.stderr.write(f"    {said}\n")

    # --- overload ---------------------------------------------------------------------------------

    def _overload(self) -> None:
        capacity_fps = self._capacity()
        rate_fps = STEADY_SHARE * capacity_fps
        over_fps = self.row.overload * capacity_fps
        over_s = max(10.0, self.frames / over_fps)
        whole_s = CALM_S + over_s + AFTER_S
        steady = Thread(target=self.drive, args=("steady", rate_fps, whole_s))
        steady.start()
        time.sleep(CALM_S)
        start_s = time.monotonic()
        self.moments_s.append(start_s)
        extra = partial(self.drive, "extra", over_fps - rate_fps, over_s)
        more = Thread(target=extra)
        more.start()
        time.sleep(over_s)
        self.notes |= {
            "capacity_fps": capacity_fps,
            "over_fps": over_fps,
            "over_from_s": start_s,
            "over_until_s": start_s + over_s,
        }
        more.join()
        steady.join()

    def _capacity(self) -> float:
        """Results a second of a window that is always full."""
        lines: list[Line] = []
        driver = Driver(self.flow, NAME, self.inputs, on_record=lines.append)
        driver.run(seconds=CAPACITY_S, window_frames=WINDOW)
        ends_s = [line.at_s for line in lines if isinstance(line, Outcome) and not line.code]
        return (len(ends_s) - 1) / (ends_s[-1] - ends_s[0]) if len(ends_s) > 1 else 1.0


def answers(folder: Path, model: Path) -> None:
    """The undivided network's answers, on the engine and threads of the lab's nodes."""
    graph = modelfile.load(model)
    found = {
        each.name: digest(audit.run(graph, each.inputs, engine="onnx")) for each in read_all(graph)
    }
    (folder / "expected.json").write_text(json.dumps(found))


def play(folder: Path, model: Path, row: Row, frames: int, rate_fps: float) -> None:
    """One row in the lab that is up."""
    made = record.need()
    source = next(name for name, node in made.lab.nodes.items() if node.bare)
    if row.before:
        conduct.change(changes.parse(row.before.split()))
    graph = modelfile.load(model)
    with _connected(source) as (flow, watch):
        stage = Stage(
            folder=folder,
            model=model,
            row=row,
            frames=frames,
            rate_fps=rate_fps,
            flow=flow,
            lab=made.lab,
            watch=watch,
            inputs={each.name: each.inputs for each in read_all(graph)},
            expected=json.loads((folder / "expected.json").read_text()),
        )
        stage.run()


@contextmanager
def _connected(source: str) -> Iterator[tuple[Flow, Watch]]:
    """This process as the source, and the watch beside it."""
    table = {
        "name": source,
        "tier": "device",
        "brokers": [os.environ["EDGEFLOW_BROKER"]],
        "key_file": os.environ["EDGEFLOW_KEY"],
        "compute": "none",
        "can_lead": False,
        "state_dir": str(record.FOLDER / source),
    }
    config = settings.convert(table, "the source")
    watch = Watch()
    watch.start(settings.convert({**table, "name": f"watch-{os.getpid()}"}, "the watch"))
    try:
        with connect(config.brokers[0], name=source, config=config) as flow:
            yield flow, watch
    finally:
        watch.close()
