"""What all tests share: ports, processes, a real broker; and a watch for processes left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 20.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="write the conversations in tests/golden anew; then read the diff",
    )


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port of loopback that nobody listens on; never the same twice in one test."""
    given: set[int] = set()

    def give() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return give


def wait_for_port(
    port: int, process: subprocess.Popen[bytes], patience_s: float = PATIENCE_S
) -> None:
    """Returns once something listens on the port; fails where the process ends before."""
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        assert process.poll() is None, f"ended with {process.returncode}: {process.args!r}"
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"nothing listens on {port} after {patience_s} s: {process.args!r}")


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(port, process)`: see `wait_for_port`."""
    return wait_for_port


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to it and to its children: a test never leaves one behind."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for child in family:
        if child.is_running():
            child.kill()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `python -I -m MODULE …` with its output in a file; stops it after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{len(started)}-{module}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", module, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=tmp_path,
            )
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        stop(process)


@pytest.fixture
def broker(spawn: Callable[..., subprocess.Popen[bytes]], free_port: Callable[[], int]) -> str:
    """A real broker process on loopback, one a test: its URL."""
    port = free_port()
    process = spawn("edgeflow", "broker", "--port", str(port))
    wait_for_port(port, process)
    return f"mqtt://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fails a test that leaves a child process."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    gone_s = time.monotonic() + 3.0
    while True:
        left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
        left = [c for c in left if _alive(c)]
        if not left or time.monotonic() > gone_s:
            break
        time.sleep(0.02)
    told = [_describe(child) for child in left]
    for child in left:
        child.kill()
    assert not told, f"processes left behind: {told}"


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return str(process.pid)
