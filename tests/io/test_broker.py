"""The broker program, as a process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeflow.errors import BrokerError
from edgeflow.io.mqttcheck import answers

PROGRAM = [sys.executable, "-I", "-m", "edgeflow.brokers.run"]
KINDS = [
    pytest.param(
        "mosquitto",
        marks=pytest.mark.skipif(
            shutil.which("mosquitto") is None, reason="mosquitto is not installed"
        ),
    ),
    "iotcore",
]
PATIENCE_S = 8.0


def wait(until: Callable[[], Any]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.01)


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *options],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_broker_says_when_it_is_ready_and_ends_with_its_program(
    kind: str, how: signal.Signals, free_port: Callable[[], int]
) -> None:
    port = free_port()
    command = [*PROGRAM, "--port", str(port), "--kind", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = program.stdout.readline()
        assert said == f"broker ready: {kind} at mqtt://127.0.0.1:{port}\n"
        assert answers("127.0.0.1", port)
        children = psutil.Process(program.pid).children(recursive=True)
        assert children
        program.send_signal(how)
        code = program.wait(PATIENCE_S)
        assert code == (-9 if how == signal.SIGKILL else 0)
        wait(lambda: not any(child.is_running() for child in children))
        assert not answers("127.0.0.1", port)


def test_a_broker_that_dies_ends_its_program_with_an_error(free_port: Callable[[], int]) -> None:
    command = [*PROGRAM, "--port", str(free_port())]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline()
        for child in psutil.Process(program.pid).children():
            child.kill()
        _, complaint = program.communicate(timeout=PATIENCE_S)
        assert program.returncode == 4
        assert "ended by itself" in complaint


def test_a_taken_port_is_refused_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = run("--port", str(port))
    assert found.returncode == 4
    assert f"port {port} is taken" in found.stderr
    assert f"--port {port + 1}" in found.stderr
    assert "systemctl stop mosquitto" in found.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--bind", "0.0.0.0"], "--insecure"),
        (["--bind", "0.0.0.0", "--user", "bob"], "EDGEFLOW_BROKER_PASSWORD"),
        (["--bind", "home"], "no address"),
        (["--bind", "192.0.2.77", "--insecure"], "cannot listen"),
        (["--port", "99999"], "1 to 65535"),
        (["--user", "bob", "--password-file", "/nowhere"], "cannot read"),
    ],
)
def test_wrong_options_are_explained(options: list[str], says: str) -> None:
    found = run(*options, EDGEFLOW_BROKER_PASSWORD="")
    assert found.returncode == 2
    assert says in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("auto", r"apt-get install mosquitto.*edgeflow-dnn\[broker\]"),
        ("mosquitto", "apt-get install mosquitto"),
        ("iotcore", r"edgeflow-dnn\[broker\]"),
    ],
)
def test_nothing_installed_names_the_installs(
    kind: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeflow.brokers import run as program

    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BrokerError, match=says):
        program._command(program.Wanted(1883, "127.0.0.1", kind, "", ""), Path())
