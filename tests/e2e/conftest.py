"""Real fleets: broker and nodes as processes, the test itself a node through `edgeflow.connect`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import edgeflow
from edgeflow.api import Flow
from edgeflow.model.graph import Graph

PATIENCE_S = 40.0
"""A busy machine of two cores starts five processes with torch in this."""

Image = NDArray[np.uint8]


@dataclass
class Fleet:
    """The processes of one test."""

    url: str
    spawn: Callable[..., subprocess.Popen[bytes]]
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, tier: str, name: str, *options: str) -> None:
        fixed = ["--name", name, "--broker", self.url, "--threads", "1", "--engine", "torch"]
        ports = ["--tensors-port", "0", "--signals-port", "0"]
        self.nodes[name] = self.spawn(f"edgeflow.nodes.{tier}", *fixed, *ports, *options)

    def join(self, name: str = "cam-1") -> Flow:
        """This process as a node, once every started one is ready and linked with it."""
        flow = edgeflow.connect(self.url, name=name, threads=1, engine="torch", can_lead=False)
        until(lambda: self._is_complete(flow), f"the fleet {sorted(self.nodes)} to be ready", flow)
        return flow

    def _is_complete(self, flow: Flow) -> bool:
        seen = flow.snapshot()
        ready = {node.name for node in seen.nodes if node.state == "ready"}
        up = {link.receiver for link in seen.links if link.sender == flow.name and link.up}
        return bool(seen.leader) and {*self.nodes, flow.name} <= ready and set(self.nodes) <= up


def told(fleet: Fleet, *words: str) -> str:
    """What a command prints into a pipe."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "edgeflow", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "EDGEFLOW_BROKER": fleet.url},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(holds: Callable[[], bool], what: str, flow: Flow | None = None) -> None:
    """Wait for it, or fail and say what was seen last."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if holds():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}; {flow.snapshot() if flow else ''}")


@pytest.fixture
def fleet(broker: str, spawn: Callable[..., subprocess.Popen[bytes]]) -> Fleet:
    """A broker, and no node yet."""
    return Fleet(broker, spawn)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph]:
    """A branchy network that takes a raw picture; some 100 kB of weights."""
    pytest.importorskip("torch")
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.left = nn.Conv2d(16, 16, 3, padding=1)
            self.right = nn.Conv2d(16, 16, 1)
            self.tail = nn.Conv2d(32, 64, 3, stride=2, padding=1)
            self.head = nn.Linear(64, 10)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = image.permute(0, 3, 1, 2).float() / 255
            x = torch.relu(self.stem(x))
            x = torch.cat([torch.relu(self.left(x)), self.right(x) + x], 1)
            x = torch.relu(self.tail(x)).mean((2, 3))
            scores: torch.Tensor = self.head(x).softmax(1)
            return scores

    torch.manual_seed(7)
    example = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    graph = edgeflow.export(Small().eval(), (example,), name="small")
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    edgeflow.save(graph, path)
    return path, edgeflow.load(path)


def pictures(count: int) -> list[Image]:
    """Different pictures, the same in every run."""
    random = np.random.default_rng(11)
    return [random.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8) for _ in range(count)]


def answers(graph: Graph, images: list[Image]) -> list[NDArray[np.float32]]:
    """What the undivided model says."""
    given = graph.inputs[0].name
    return [edgeflow.run(graph, {given: image})[graph.outputs[0]] for image in images]


def placement_over(graph: Graph, *nodes: str) -> str:
    """The layers in equal shares over these nodes, in order."""
    names = [layer.name for layer in graph.layers]
    bounds = [round(at * len(names) / len(nodes)) for at in range(len(nodes) + 1)]
    return " | ".join(
        f"{names[bounds[at]]}..{names[bounds[at + 1] - 1]} @{node}"
        if bounds[at + 1] - bounds[at] > 1
        else f"{names[bounds[at]]} @{node}"
        for at, node in enumerate(nodes)
    )
