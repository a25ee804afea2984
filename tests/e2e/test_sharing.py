"""Several deployments on real processes: shared nodes, a refusal with its reason, nodes that go."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgeflow
from edgeflow.api import Flow, InferResult
from edgeflow.costmodel.cost import CostModel
from edgeflow.errors import DeployError
from edgeflow.layout.placement import nodes_named
from edgeflow.model.graph import Graph
from edgeflow.policy.survey import survey
from tests.e2e.conftest import Fleet, Image, answers, pictures, told, until

Model = tuple[Path, Graph]


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A chain that takes a raw picture, and some 20 ms of one core, far more than its input takes
    of any link."""
    pytest.importorskip("torch")
    import torch
    from torch import nn

    class Heavy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 64, 3, padding=1)
            self.second = nn.Conv2d(64, 64, 3, padding=1)
            self.third = nn.Conv2d(64, 64, 3, padding=1)
            self.head = nn.Linear(64, 10)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = image.permute(0, 3, 1, 2).float() / 255
            x = torch.relu(self.third(torch.relu(self.second(torch.relu(self.first(x))))))
            scores: torch.Tensor = self.head(x.mean((2, 3))).softmax(1)
            return scores

    torch.manual_seed(7)
    example = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    graph = edgeflow.export(Heavy().eval(), (example,), name="heavy")
    path = tmp_path_factory.mktemp("models") / "heavy.safetensors"
    edgeflow.save(graph, path)
    return path, edgeflow.load(path)


SLOW = ("--emulate", "compute_factor=8")
"""Processor time counts eightfold: neighbours on this machine change little about it."""

PROMPT_S = 5.0
"""A node that drains is left within this, on a crowded machine; measured: 0.2 to 1 s."""


def warmed(flow: Flow, model: Model, node: str, images: list[Image]) -> float:
    """Seconds of a frame on a node, once it has computed some."""
    path, graph = model
    line = f"{graph.layers[0].name}..{graph.layers[-1].name} @{node}"
    flow.deploy(path, name="warm", placement=line)
    check(
        [flow.infer(images[at % len(images)], deployment="warm") for at in range(8)], graph, images
    )
    time.sleep(3.0)  # layer times are told every 2 s
    seconds = seconds_on(flow, graph, "warm", node)
    flow.undeploy("warm")
    return seconds


def on(flow: Flow, name: str) -> set[str]:
    """Who computes for a deployment; nobody where it has no plan."""
    views = {view.name: view for view in flow.snapshot().deployments}
    line = views[name].placement if name in views else ""
    return set(nodes_named(line)) if line else set()


def phase(flow: Flow, name: str) -> str:
    return {view.name: view.phase for view in flow.snapshot().deployments}.get(name, "")


def seconds_on(flow: Flow, graph: Graph, name: str, node: str) -> float:
    """Of the whole model, as the leader would price it."""

    def ask(core: edgeflow.mind.node.NodeCore) -> float:
        spec = core.parts.deployments.view(name).spec
        assert spec is not None
        found = survey(core.parts.membership, "cam-1", spec.model, time.monotonic())
        return float(CostModel(graph, found).layers_s(node).sum())

    seconds: float = flow.ask(ask)
    return seconds


def check(results: list[InferResult], graph: Graph, images: list[Image]) -> None:
    right = answers(graph, images)
    assert [result.code for result in results] == [""] * len(results)
    for at, result in enumerate(results):
        assert np.array_equal(result.output, right[at % len(right)]), f"frame {at} differs"


class Stream:
    """Frames of one deployment, in a thread, until told to stop."""

    def __init__(self, flow: Flow, name: str, images: list[Image], fps: float) -> None:
        self.images, self.pause_s, self.is_over = images, 1 / fps, False
        self.results: list[InferResult] = []
        self.ended_s: list[float] = []
        self.thread = threading.Thread(target=self._run, args=(flow, name), daemon=True)
        self.thread.start()

    def _run(self, flow: Flow, name: str) -> None:
        for result in flow.stream(self._frames(), deployment=name):
            self.results.append(result)
            self.ended_s.append(time.monotonic())

    def _frames(self) -> Iterator[Image]:
        at = 0
        while not self.is_over:
            yield self.images[at % len(self.images)]
            at += 1
            time.sleep(self.pause_s)

    def stop(self) -> list[InferResult]:
        self.is_over = True
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.results


def test_two_deployments_share_two_nodes_and_a_third_is_refused_until_one_goes(
    fleet: Fleet, heavy: Model
) -> None:
    path, graph = heavy
    for name in ("edge-1", "edge-2"):
        fleet.start("edge", name, *SLOW)
    images = pictures(4)
    with edgeflow.connect(fleet.url, name="cam-1", compute="none", can_lead=False) as flow:
        until(lambda: fleet._is_complete(flow), "the fleet to be ready", flow)
        each_s = [warmed(flow, heavy, node, images) for node in ("edge-1", "edge-2")]
        most = 1 / max(each_s)
        for name in ("day", "night"):
            flow.deploy(path, name=name, rate_fps=0.6 * most, tiles=False, explore_share=0.0)
        until(lambda: on(flow, "day") | on(flow, "night") == {"edge-1", "edge-2"}, "both", flow)
        streams = [Stream(flow, name, images, 5.0) for name in ("day", "night")]
        with pytest.raises(DeployError) as caught:
            flow.deploy(path, name="third", rate_fps=0.6 * most, tiles=False)
        text = str(caught.value)
        assert "third: no plan of heavy keeps up with" in text
        assert "is left beside " in text
        assert "--rate-fps" in text

        def is_told() -> bool:
            nodes = json.loads(told(fleet, "status", "--json").splitlines()[-1])["nodes"]
            busy = [set(node["busy"]) for node in nodes if node["name"].startswith("edge")]
            return {"day"} in busy and {"night"} in busy

        until(is_told, "status to say with what each edge is busy", flow)
        check(streams[0].stop(), graph, images)
        flow.undeploy("day")
        until(lambda: phase(flow, "third") == "running", "the third one to get a plan", flow)
        assert on(flow, "third").isdisjoint(on(flow, "night"))
        check([flow.infer(image, deployment="third") for image in images], graph, images)
        check(streams[1].stop(), graph, images)


def test_a_drained_node_is_left_within_seconds_and_a_new_one_used_without_a_failed_frame(
    fleet: Fleet, heavy: Model
) -> None:
    path, graph = heavy
    fleet.start("edge", "edge-1")
    images = pictures(4)
    with edgeflow.connect(fleet.url, name="cam-1", compute="none", can_lead=False) as flow:
        until(lambda: fleet._is_complete(flow), "the fleet to be ready", flow)
        flow.deploy(path, name="job", tiles=False, explore_share=0.0)
        stream = Stream(flow, "job", images, 10.0)
        until(lambda: len(stream.results) > 20, "frames", flow)
        fleet.start("edge", "edge-2")
        until(lambda: fleet._is_complete(flow), "the second node to be ready", flow)
        since_s = time.monotonic()
        flow.request("edge-1", "drain")
        until(lambda: on(flow, "job") == {"edge-2"}, "the other node to be used", flow)
        left_s = time.monotonic() - since_s
        until(lambda: fleet.nodes["edge-1"].poll() is not None, "the drained node to stop", flow)
        gone_s = time.monotonic() - since_s
        results = stream.stop()
    check(results, graph, images)
    assert left_s < PROMPT_S, "the fallback is built already: a few messages, and a heartbeat"
    assert gone_s < 2 * PROMPT_S
    assert {result.attempts for result in results} == {1}
