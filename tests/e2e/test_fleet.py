"""Real processes on loopback: the promises that only they can break."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgeflow.api import Flow, InferResult
from edgeflow.errors import DeployError, FrameError
from edgeflow.io.keys import new_key
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, Image, answers, pictures, placement_over, until

Model = tuple[Path, Graph]


def check_all(results: list[InferResult], graph: Graph, images: list[Image]) -> None:
    """One result a frame, each the undivided model's bit for bit."""
    right = answers(graph, images)
    assert [result.code for result in results] == [""] * len(results)
    assert len({result.index for result in results}) == len(results)
    for at, result in enumerate(results):
        assert np.array_equal(result.output, right[at % len(right)]), f"frame {at} differs"


def test_a_split_by_hand_answers_like_the_whole_model_and_switches_without_loss(
    fleet: Fleet, small: Model
) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    fleet.start("cloud", "cloud-1")
    images = pictures(8)
    with fleet.join() as flow:
        line = placement_over(graph, "cam-1", "edge-1", "cloud-1")
        name = flow.deploy(path, placement=line)
        assert flow.snapshot().deployments[0].placement == line

        def frames() -> Iterator[Image]:
            for at in range(240):
                if at == 80:
                    other = placement_over(graph, "edge-1", "cloud-1")
                    flow.deploy(path, placement=other, wait_s=None)
                yield images[at % 8]
                time.sleep(0.02)

        results = list(flow.stream(frames()))
        check_all(results, graph, images)
        plans = [result.plan for result in results]
        assert len(set(plans)) == 2, f"no switch was seen: {set(plans)}"
        assert {result.attempts for result in results} == {1}

        check_errors_name_the_cure(flow, name)
        check_somebody_else_submits(fleet, graph, images)
        flow.undeploy(name)
        with pytest.raises(FrameError, match="unknown-deployment"):
            flow.infer(images[0], deployment=name)


def check_errors_name_the_cure(flow: Flow, name: str) -> None:
    with pytest.raises(FrameError, match="wanted is uint8 1x64x64x3") as caught:
        flow.infer(np.zeros((1, 3, 64, 64), np.uint8), deployment=name)
    assert caught.value.code == "malformed"
    with pytest.raises(FrameError, match="edgeflow status"):
        flow.infer(np.zeros(1, np.uint8), deployment="nothing")
    with pytest.raises(DeployError, match="mincut"):
        flow.deploy(flow_model(flow), name="other", policy="guess", wait_s=20)


def flow_model(flow: Flow) -> Graph:
    """Any valid model."""
    graph: Graph = flow.ask(lambda core: next(iter(core.parts.library.graphs.values())))
    store = flow.service.store
    assert store is not None
    arrays = {name: store.array(weight) for name, weight in graph.weights.items()}
    from dataclasses import replace

    return replace(graph, arrays=arrays)


def check_somebody_else_submits(fleet: Fleet, graph: Graph, images: list[Image]) -> None:
    """A client that is not the source, and computes nothing."""
    import edgeflow

    with edgeflow.connect(fleet.url, name="laptop", compute="none") as laptop:
        until(lambda: "small" in deployments(laptop), "the laptop to hear of the deployment")
        results = [laptop.infer(image, deployment="small") for image in images]
    check_all(results, graph, images)


def deployments(flow: Flow) -> list[str]:
    return [view.name for view in flow.snapshot().deployments]


def test_a_killed_leader_that_carries_tensors_costs_no_frame(fleet: Fleet, small: Model) -> None:
    path, graph = small
    for name in ("edge-1", "edge-2", "edge-3"):
        fleet.start("edge", name)
    images = pictures(8)
    with fleet.join() as flow:
        leader = flow.snapshot().leader
        assert leader.startswith("edge-")
        flow.deploy(path, placement=placement_over(graph, "cam-1", leader), name="job")
        flow.deploy(path, policy="edge-only", name="job")

        def frames() -> Iterator[Image]:
            for at in range(300):
                if at == 60:
                    fleet.nodes[leader].kill()
                yield images[at % 8]
                time.sleep(0.02)

        results = list(flow.stream(frames(), deployment="job"))
        check_all(results, graph, images)
        successor = flow.snapshot().leader
        assert successor.startswith("edge-")
        assert successor != leader


def test_a_broker_that_comes_back_empty_is_filled_again_and_costs_no_frame(
    fleet: Fleet, small: Model, spawn: Callable[..., subprocess.Popen[bytes]], broker: str
) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    images = pictures(4)
    port = urlsplit(broker).port
    with fleet.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "cam-1", "edge-1"), name="job")
        before = flow.snapshot().leader
        process = next(p for p in listening(port) if p)
        results = [flow.infer(image) for image in images]
        os.kill(process, signal.SIGKILL)
        results += [flow.infer(images[at % 4]) for at in range(40)]
        spawn("edgeflow", "broker", "--port", str(port))
        wanted = {
            "nodes/cam-1/state",
            "nodes/edge-1/caps",
            "leader",
            "deployments/job/spec",
            "deployments/job/plan",
            "deployments/job/ready/edge-1",
        }
        until(lambda: wanted <= retained(broker), "the retained topics to be back", flow)
        results += [flow.infer(image) for image in images]
        check_all(results, graph, images)
        assert flow.snapshot().leader == before


def listening(port: int | None) -> list[int]:
    """Processes that listen on a port."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        connections = process.net_connections("tcp")
        if any(c.status == "LISTEN" and c.laddr.port == port for c in connections):
            found.append(process.pid)
    return found


def retained(url: str) -> set[str]:
    """Topics, without the cluster, that a newcomer is given; all JSON, or online and offline."""
    seen: set[str] = set()

    def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        text = message.payload.decode()
        if text not in ("online", "offline"):
            json.loads(text)
        seen.add(message.topic.removeprefix("edgeflow/home/"))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    parts = urlsplit(url)
    try:
        client.connect(parts.hostname or "", parts.port or 1883)
    except OSError:
        return set()
    client.subscribe("edgeflow/home/#")
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        client.loop(0.05)
    client.disconnect()
    return seen


def test_a_fleet_where_only_the_cloud_can_be_dialled_from_outside_works(
    fleet: Fleet, small: Model, tmp_path: Path
) -> None:
    """cam-1 accepts nothing at all; links are encrypted; a node without the key stays outside."""
    path, graph = small
    key = tmp_path / "cluster.key"
    new_key(key)
    fleet.start("edge", "edge-1", "--key", str(key), "--no-reachable")
    fleet.start("cloud", "cloud-1", "--key", str(key))
    images = pictures(4)
    with _outside(fleet, key) as flow:
        line = placement_over(graph, "cam-1", "cloud-1")
        flow.deploy(path, placement=line)
        check_all(list(flow.stream(images)), graph, images)
        ours = {(link.sender, link.receiver) for link in flow.snapshot().links if link.up}
        assert ("cam-1", "cloud-1") in ours
        assert ("cam-1", "edge-1") not in ours, "nobody could have dialled this pair"
        fleet.start("edge", "stranger")
        until(
            lambda: "stranger" in {node.name for node in flow.snapshot().nodes},
            "the stranger to be announced",
        )
        time.sleep(3.0)
        linked = {link.receiver for link in flow.snapshot().links if link.up}
        assert "stranger" not in linked


def _outside(fleet: Fleet, key: Path) -> Flow:
    import edgeflow

    flow = edgeflow.connect(
        fleet.url, name="cam-1", threads=1, engine="torch", key_file=str(key), reachable=False
    )

    def is_complete() -> bool:
        links = {(link.sender, link.receiver) for link in flow.snapshot().links if link.up}
        return {("cam-1", "cloud-1"), ("edge-1", "cloud-1")} <= links

    until(is_complete, "both to have dialled the cloud", flow)
    return flow


def test_rubbish_on_every_wire_is_refused_and_disturbs_nobody(fleet: Fleet, small: Model) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    images = pictures(4)
    parts = urlsplit(fleet.url)
    with fleet.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "cam-1", "edge-1"), name="job")
        vandal = paho.Client(CallbackAPIVersion.VERSION2)
        vandal.connect(parts.hostname or "", parts.port or 1883)
        vandal.loop_start()
        for topic in ("leader", "deployments/job/plan", "nodes/edge-1/state", "nodes/x/caps"):
            for payload in (b"", b"{", b'{"claim": 5}', os.urandom(200), b"[" * 2000):
                vandal.publish(f"edgeflow/home/{topic}", payload)
        endpoint = flow.ask(lambda core: core.parts.membership.peers["edge-1"].caps.endpoints[0])
        for port in (endpoint.tensors_port, endpoint.signals_port):
            with socket.create_connection((endpoint.host, port)) as wire:
                wire.sendall(os.urandom(4096))
        results = [flow.infer(images[at % 4]) for at in range(40)]
        vandal.loop_stop()
        vandal.disconnect()
        check_all(results, graph, images)
        assert fleet.nodes["edge-1"].poll() is None


def test_a_node_that_dies_while_it_prepares_is_left_out(fleet: Fleet, small: Model) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    fleet.start("cloud", "cloud-1")
    images = pictures(2)
    with fleet.join() as flow:
        fleet.nodes["cloud-1"].send_signal(signal.SIGSTOP)
        flow.deploy(path, policy="cloud-only", name="job", wait_s=None)
        fleet.nodes["cloud-1"].kill()
        until(
            lambda: [view.phase for view in flow.snapshot().deployments] == ["impossible"],
            "the leader to say that there is no cloud",
            flow,
        )
        flow.deploy(path, name="job", placement=placement_over(graph, "cam-1", "edge-1"))
        check_all([flow.infer(image) for image in images], graph, images)


def test_a_drained_node_leaves_without_costing_a_frame(fleet: Fleet, small: Model) -> None:
    path, graph = small
    for name in ("edge-1", "edge-2"):
        fleet.start("edge", name)
    images = pictures(4)
    with fleet.join() as flow:
        # Nothing else is prepared, so that no frame is handed on because it is late.
        flow.deploy(path, policy="edge-only", name="job", explore_share=0.0)
        worker = flow.snapshot().deployments[0].placement.rpartition("@")[2]

        def frames() -> Iterator[Image]:
            for at in range(200):
                if at == 40:
                    flow.request(worker, "drain")
                yield images[at % 4]
                time.sleep(0.02)

        results = list(flow.stream(frames()))
        check_all(results, graph, images)
        assert {result.attempts for result in results} == {1}
        until(lambda: fleet.nodes[worker].poll() == 0, f"{worker} to end by itself", flow)
