"""The command line: what works prints one thing, what does not is one line and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PORTS = ("--tensors-port", "0", "--signals-port", "0")
Spawn = Callable[..., "subprocess.Popen[bytes]"]
Ports = Callable[[], int]


def edgeflow(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, as a user would."""
    return subprocess.run(
        [sys.executable, "-I", "-m", "edgeflow", *words],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **environment},
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an error with the expected exit code; no traceback."""
    assert done.returncode == code, done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def last_object(done: subprocess.CompletedProcess[str]) -> Any:
    """What --json printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_version_and_the_exit_codes_are_there_to_read() -> None:
    assert edgeflow("--version").stdout.startswith("edgeflow 0.")
    told = edgeflow("--help")
    assert told.returncode == 0
    assert "Exit codes" in told.stdout


@pytest.mark.parametrize("command", ["status", "events", "why", "infer", "deploy", "node start"])
def test_every_command_says_how_it_is_used(command: str) -> None:
    told = edgeflow(*command.split(), "--help")
    assert told.returncode == 0
    assert "--broker" in told.stdout


def test_without_a_broker_the_cure_is_named(free_port: Ports) -> None:
    line = complaint(edgeflow("status", "--broker", f"mqtt://127.0.0.1:{free_port()}"), 4)
    assert "edgeflow broker" in line


def test_a_wrong_url_is_wrong_usage() -> None:
    assert "http://" in complaint(edgeflow("status", "--broker", "http://127.0.0.1"), 2)


def test_a_wrong_password_is_named(
    spawn: Spawn, free_port: Ports, wait_for: Callable[..., None]
) -> None:
    port = free_port()
    secret = {"EDGEFLOW_BROKER_PASSWORD": "right"}
    process = spawn("edgeflow", "broker", "--port", str(port), "--user", "cluster", **secret)
    wait_for(port, process)
    url = f"mqtt://cluster:wrong@127.0.0.1:{port}"
    assert "PASSWORD" in complaint(edgeflow("status", "--broker", url), 4)


def test_a_setting_that_does_not_exist_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('name = "edge-1"\ncolour = "red"\n')
    line = complaint(edgeflow("node", "start", "--config", str(path)), 2)
    assert "node.toml" in line
    assert "colour" in line


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such picture" in complaint(edgeflow("infer", str(tmp_path / "cat.jpg")), 2)
    assert "no such model" in complaint(edgeflow("deploy", str(tmp_path / "m.safetensors")), 2)


def test_wishes_with_an_unknown_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deployments.toml"
    path.write_text('[[deployment]]\nmodel = "m.safetensors"\nsauce = "cam-1"\n')
    line = complaint(edgeflow("deploy", "-f", str(path)), 2)
    assert "deployment 1" in line
    assert "sauce" in line


def test_a_taken_port_is_named(broker: str) -> None:
    port = broker.rpartition(":")[2]
    words = ["node", "start", "--name", "edge-1", "--broker", broker, "--tensors-port", port]
    assert port in complaint(edgeflow(*words), 7)


def test_infer_without_a_deployment_says_how_to_make_one(broker: str, tmp_path: Path) -> None:
    picture = tmp_path / "cat.jpg"
    picture.write_bytes(b"no picture")
    assert "edgeflow deploy" in complaint(edgeflow("infer", str(picture), "--broker", broker), 5)


def test_deploying_to_nobody_says_so(broker: str, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"")
    line = complaint(edgeflow("deploy", str(model), "--source", "cam-1", "--broker", broker), 5)
    assert "cam-1 is not in this cluster" in line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's network for small pictures, as a file."""
    path = tmp_path_factory.mktemp("model") / "lite0.safetensors"
    source = "edgeflow.exporter.zoo:efficientnet_lite0"
    done = edgeflow("export", source, "--arg", "size=224", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cluster_is_deployed_to_asked_looked_at_and_left(
    broker: str, spawn: Spawn, model: Path, tmp_path: Path
) -> None:
    for tier, name in (("device", "cam-1"), ("edge", "edge-1")):
        options = ["--name", name, "--broker", broker, "--threads", "1", *PORTS]
        options += ["--engine", "torch"]
        spawn(f"edgeflow.nodes.{tier}", *options)
    wishes = tmp_path / "deployments.toml"
    wishes.write_text(f'[[deployment]]\nname = "pictures"\nmodel = "{model}"\nsource = "cam-1"\n')
    deploy = ("deploy", "-f", str(wishes), "--broker", broker, "--json")
    wait_for_nodes(broker, {"cam-1", "edge-1"})

    assert last_object(edgeflow(*deploy))["deployments"][0]["changed"]
    again = last_object(edgeflow(*deploy))["deployments"][0]
    assert not again["changed"], "deploying the same again changes nothing"

    coffee = photograph("coffee.png")
    answered = last_object(edgeflow("infer", str(coffee), "--broker", broker, "--json"))
    assert answered["answers"][0]["labels"][0]["label"] == "espresso"
    assert "espresso" in edgeflow("infer", str(coffee), "--broker", broker).stdout

    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    assert "no picture" in complaint(edgeflow("infer", str(text), "--broker", broker), 2)

    seen = last_object(edgeflow("status", "--broker", broker, "--json"))
    assert {node["name"] for node in seen["nodes"]} == {"cam-1", "edge-1"}
    assert seen["deployments"][0]["phase"] == "running"
    assert "pictures" in edgeflow("status", "--broker", broker).stdout

    assert last_object(edgeflow("undeploy", "pictures", "--broker", broker, "--json"))["removed"]
    assert edgeflow("node", "drain", "edge-1", "--broker", broker).returncode == 0


def wait_for_nodes(broker: str, wanted: set[str]) -> None:
    """Until `node list` shows them ready and one leads."""
    for _ in range(10):
        seen = last_object(edgeflow("node", "list", "--broker", broker, "--json"))
        ready = {node["name"] for node in seen["nodes"] if node["state"] == "ready"}
        if wanted <= ready and seen["leader"]:
            return
    pytest.fail(f"not ready: {seen}")


def photograph(name: str) -> Path:
    """One of scikit-image's pictures."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name
