"""A process in the lab that hands frames to the camera, and sees under which plan each came back.

    wish ─▶ plan ─▶ frames at a rate, one ledger ─▶ outcomes, each with its plan
                         '── beside them the lab is changed, and what is said of plans is heard

It is a node that computes nothing, beside the camera and outside its quota; the camera is the
source, so what a frame takes includes its way there and back over a loopback.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from msgspec.structs import replace

from edgeflow import audit, modelfile
from edgeflow.api import connect
from edgeflow.bench.adapting.listen import Listener
from edgeflow.cli.options import visitor
from edgeflow.client.driver import Driver
from edgeflow.client.flow import Flow
from edgeflow.costmodel.cost import Cluster
from edgeflow.demo.pictures import read_all
from edgeflow.errors import EdgeflowError, LabError
from edgeflow.io.ledgerfile import LedgerFile, digest
from edgeflow.lab import changes, conduct
from edgeflow.ledger.records import Line, Outcome, Submit
from edgeflow.model import manifest
from edgeflow.model.graph import Graph
from edgeflow.policy.survey import survey

NAME = "adapt"
"""Of the deployment."""
SOURCE = "cam-1"
WINDOW = 4
DEPLOY_S = 120.0
READY_S = 90.0
"""A node that is started is ready within this."""
POLL_S = 0.1
STEADY_FRAMES = 20
"""A phase goes on until so many frames in a row were answered under one placement."""


@dataclass(slots=True)
class Visit:
    """What a job needs at hand."""

    folder: Path
    model: Path
    graph: Graph
    flow: Flow
    listener: Listener
    inputs: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    expected: Mapping[str, str]
    acts: list[tuple[float, str]] = field(default_factory=list)
    submitted: int = 0
    steady: int = 0
    """Answered since the placement last changed, or a phase began."""
    line: str = ""
    _driving: tuple[Driver, Thread] | None = None

    def wish(self, policy: str, deadline_s: float, placement: str = "") -> None:
        """Deploy, and wait until frames are taken."""
        self.flow.deploy(
            self.model,
            name=NAME,
            source=SOURCE,
            policy=policy,
            placement=placement,
            window_frames=WINDOW,
            deadline_s=deadline_s,
            tiles=False,
            fallbacks=not placement,
            wait_s=DEPLOY_S,
        )

    def change(self, words: str) -> None:
        """One change of the lab."""
        said = conduct.change(changes.parse(words.split()))
        self.acts.append((time.monotonic(), said))

    def some(self, frames: int, rate_fps: float | None = None) -> list[float]:
        """Milliseconds of so many frames, one at a time or at a rate; what failed is left out."""
        lines: list[Line] = []
        driver = Driver(self.flow, NAME, self.inputs, None, self.expected, on_record=lines.append)
        window = 1 if rate_fps is None else None
        driver.run(frames=frames, rate_fps=rate_fps, window_frames=window)
        submits = {line.frame: line for line in lines if isinstance(line, Submit)}
        return [
            (line.at_s - submits[line.frame].at_s) * 1e3
            for line in lines
            if isinstance(line, Outcome) and line.sha256 == self.expected[submits[line.frame].input]
        ]

    @contextmanager
    def driven(self, rate_fps: float) -> Iterator[None]:
        """Frames at a rate meanwhile, into `run.ledger`."""
        ledger = LedgerFile(self.folder / "run.ledger")
        driver = Driver(
            self.flow, NAME, self.inputs, ledger, self.expected, on_record=self._on_record
        )
        driving = Thread(target=driver.run, kwargs={"rate_fps": rate_fps, "seconds": 1e6})
        driving.start()
        self._driving = driver, driving
        try:
            yield
        finally:
            driver.stop()
            driving.join()
            ledger.close()

    def until_steady(self, frames: int, frames_max: int) -> None:
        """So many frames, and on until the placement stays; at most `frames_max`."""
        start, self.steady = self.submitted, 0
        while self.submitted - start < frames_max:
            self.need_driven()
            if self.steady >= STEADY_FRAMES and self.submitted - start >= frames:
                return
            time.sleep(POLL_S)

    def need_driven(self) -> None:
        """LabError where nobody hands frames in any more."""
        if self._driving is None or not self._driving[1].is_alive():
            raise LabError("handing frames in ended before its time; its log says why")

    def cluster(self) -> Cluster:
        """Nodes and links as the leader prices them now."""
        digest_, me = modelfile_digest(self.model), self.flow.name
        seen: Cluster = self.flow.ask(
            lambda core: survey(core.parts.membership, SOURCE, digest_, time.monotonic())
        )
        nodes = {name: node for name, node in seen.nodes.items() if name != me}
        links = {pair: link for pair, link in seen.links.items() if me not in pair}
        return Cluster(nodes, links, SOURCE)

    def wait_for(self, node: str, *, there: bool) -> None:
        """Until a node is ready with links to it, or known to be gone; and somebody else leads."""
        until_s = time.monotonic() + READY_S
        while time.monotonic() < until_s:
            seen = self.flow.snapshot()
            is_ready = any(each.name == node and each.state == "ready" for each in seen.nodes)
            is_linked = any(
                each.up and each.sender == SOURCE and each.receiver == node for each in seen.links
            )
            if there and is_ready and is_linked:
                return
            if not there and not is_ready and seen.leader not in ("", node):
                return
            time.sleep(POLL_S)
        raise LabError(f"{node} is not {'ready' if there else 'gone'} after {READY_S:.0f} s")

    def _on_record(self, record: Line) -> None:
        if isinstance(record, Submit):
            self.submitted += 1
        elif isinstance(record, Outcome) and not record.code:
            line = self.listener.variants.get(record.plan, ("",))[0]
            self.steady = self.steady + 1 if line == self.line else 1
            self.line = line


def modelfile_digest(model: Path) -> str:
    """What names the model."""
    text, _ = modelfile.index(model)
    return manifest.digest(text)


def answers(graph: Graph, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The undivided network's, on the engine and threads of the lab's nodes."""
    return {key: digest(audit.run(graph, given, engine="onnx")) for key, given in inputs.items()}


@contextmanager
def visiting(folder: Path, model: Path) -> Iterator[Visit]:
    """Connected in the lab that is up; what `folder` already holds of answers is taken."""
    url, key = os.environ["EDGEFLOW_BROKER"], os.environ["EDGEFLOW_KEY"]
    graph = modelfile.load(model)
    inputs = {each.name: each.inputs for each in read_all(graph)}
    expected = answers(graph, inputs)
    config = visitor(url, "home", key, insecure=False)
    listener = Listener(NAME)
    listener.start(replace(config, name=f"{config.name}-hears"))
    try:
        with connect(url, name=config.name, config=config) as flow:
            yield Visit(folder, model, graph, flow, listener, inputs, expected)
    except EdgeflowError as error:
        raise LabError(str(error)) from error
    finally:
        listener.close()
