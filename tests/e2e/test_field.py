"""What goes wrong in the field: event logs of real nodes, and two nodes of one name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import edgeflow
from edgeflow.api import Flow
from edgeflow.config import NodeConfig
from edgeflow.io import mqttcheck
from edgeflow.io.eventlog import FLUSH_S, view
from edgeflow.messages import DEVICE
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, answers, pictures, placement_over, until

NAME_TAKEN = 9


def replay(file: Path, *options: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `edgeflow replay`."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "edgeflow", "replay", str(file), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def data(file: Path, *options: str) -> dict[str, Any]:
    code, out, err = replay(file, "--json", *options)
    assert code == 0, out + err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_logs_of_nodes_under_frames_replay_the_same_also_of_one_that_was_killed(
    fleet: Fleet, small: tuple[Path, Graph], tmp_path: Path
) -> None:
    path, graph = small
    cam, edge = tmp_path / "cam-1.events", tmp_path / "edge-1.events"
    fleet.start("edge", "edge-1", "--event-log", str(edge))
    fleet.start("cloud", "cloud-1")
    images = pictures(4)
    with edgeflow.connect(
        fleet.url, name="cam-1", threads=1, engine="torch", can_lead=False, event_log=str(cam)
    ) as flow:
        until(lambda: len(flow.snapshot().nodes) == 3, "the fleet", flow)
        flow.deploy(path, placement=placement_over(graph, "cam-1", "edge-1", "cloud-1"))
        right = answers(graph, images)
        for at, result in enumerate(flow.stream(images[at % 4] for at in range(60))):
            assert np.array_equal(result.output, right[at % 4])
        time.sleep(10 * FLUSH_S)
        fleet.nodes["edge-1"].kill()
        fleet.nodes["edge-1"].wait(10)
    source, killed = data(cam), data(edge)
    assert (source["node"], source["kinds"]["Submitted"]) == ("cam-1", 60)
    assert source["ended"] == "the node stopped"
    assert killed["kinds"]["SegmentDone"] >= 50
    assert "the process died" in killed["ended"] or "is cut" in killed["ended"]
    for each in (source, killed):
        assert each["same"] is True
        assert not each["violations"]
    said = [line["what"] for line in data(edge, "--show", "plans")["shown"]]
    assert any(line.endswith("ready") for line in said)
    said = [line["what"] for line in data(cam, "--show", "frame 7")["shown"]]
    assert any("Submitted" in line for line in said)
    assert any("Deliver" in line for line in said)
    assert data(cam, "--show", "elections")["shown"]
    assert data(cam, "--until", "1.5")["span_s"] <= 1.5
    _is_told_of_a_bad_one(cam)


def _is_told_of_a_bad_one(log: Path) -> None:
    """A changed effect is exit code 1, a damaged byte is 2, and so is no log."""
    raw = bytearray(view(log))
    log.write_bytes(raw[:-40])
    code, out, _ = replay(log)
    assert code == 0
    assert "is cut at byte" in out
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    code, out, err = replay(log)
    assert code == 2
    assert "is damaged" in err
    assert "events before it are good" in err
    log.write_text("hello")
    code, _, err = replay(log)
    assert code == 2
    assert "--event-log" in err
    assert str(log) in err


def test_a_second_node_of_a_name_stops_says_whose_it_is_and_disturbs_nobody(
    fleet: Fleet, small: tuple[Path, Graph]
) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    images = pictures(4)
    with fleet.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "cam-1", "edge-1"))
        before = next(node for node in flow.snapshot().nodes if node.name == "edge-1")
        ports = ["--tensors-port", "0", "--signals-port", "0"]
        start = [sys.executable, "-I", "-m", "edgeflow", "node", "start", "--name", "edge-1"]
        second = subprocess.run(
            [*start, "--broker", fleet.url, *ports],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert second.returncode == NAME_TAKEN, second.stderr
        last = second.stderr.strip().splitlines()[-1]
        for word in ("error:", "is called edge-1", before.board, str(before.session), "--name"):
            assert word in last
        results = list(flow.stream(images))
        assert [result.code for result in results] == [""] * 4
        assert [result.attempts for result in results] == [1] * 4
        after = next(node for node in flow.snapshot().nodes if node.name == "edge-1")
        assert (after.session, after.state) == (before.session, "ready")


class Brokers:
    """Two of them, and a fleet that prefers the first."""

    def __init__(self, spawn: Callable[..., Any], ports: tuple[int, int], folder: Path) -> None:
        self.spawn, self.ports, self.folder = spawn, ports, folder
        self.urls = tuple(f"mqtt://127.0.0.1:{port}" for port in ports)

    def start(self, at: int) -> subprocess.Popen[bytes]:
        options = ("--port", str(self.ports[at]), "--kind", "mosquitto")
        process: subprocess.Popen[bytes] = self.spawn("edgeflow.brokers.run", *options)
        until(lambda: mqttcheck.answers("127.0.0.1", self.ports[at]), "a broker")
        return process

    def join(self) -> Flow:
        """cam-1 in this process, once edge-1 and cloud-1 are there."""
        settings = self.folder / "node.toml"
        settings.write_text(f"brokers = {json.dumps(self.urls)}\nbroker_return_s = 1.0\n")
        fleet = Fleet(self.urls[0], self.spawn)
        config = ("--config", str(settings), "--broker", self.urls[0], "--broker", self.urls[1])
        fleet.start("edge", "edge-1", *config)
        fleet.start("cloud", "cloud-1", *config)
        own = NodeConfig(
            name="cam-1",
            tier=DEVICE,
            brokers=self.urls,
            broker_return_s=1.0,
            tensors_port=0,
            signals_port=0,
            threads=1,
            engine="torch",
            can_lead=False,
        )
        flow = edgeflow.connect(name="cam-1", config=own)
        until(lambda: len(flow.snapshot().nodes) == 3, "the fleet", flow)
        return flow


def frames(flow: Flow, graph: Graph, ends: Callable[[], bool], at_least_s: float) -> None:
    """Until it has come to pass: each is answered at the first attempt, and rightly."""
    images = pictures(4)
    right = answers(graph, images)
    end_s = time.monotonic() + at_least_s
    while time.monotonic() < end_s or not ends():
        assert time.monotonic() < end_s + 60
        for at, result in enumerate(flow.stream(images)):
            assert (result.code, result.attempts) == ("", 1)
            assert np.array_equal(result.output, right[at])
        time.sleep(0.05)


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto")
def test_a_fleet_that_moves_to_another_broker_and_back_loses_no_frame_and_no_leader(
    spawn: Callable[..., Any],
    free_port: Callable[[], int],
    small: tuple[Path, Graph],
    tmp_path: Path,
) -> None:
    path, graph = small
    brokers = Brokers(spawn, (free_port(), free_port()), tmp_path)
    first, _ = brokers.start(0), brokers.start(1)
    with brokers.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "cam-1", "edge-1", "cloud-1"))
        until(lambda: flow.snapshot().leader == "edge-1", "a leader that stays", flow)
        term, mqtt = flow.snapshot().term, flow.service.mqtt
        frames(flow, graph, lambda: True, 1.0)
        for each in psutil.Process(first.pid).children(True):
            each.kill()
        frames(flow, graph, lambda: mqtt.broker == brokers.urls[1] and mqtt.is_up(), 8.0)
        assert flow.snapshot().term == term
        brokers.start(0)
        frames(flow, graph, lambda: mqtt.broker == brokers.urls[0], 10.0)
        seen = flow.snapshot()
        assert seen.term == term
        assert {node.state for node in seen.nodes} == {"ready"}
