"""Broker and nodes as processes of this machine, and their certain end.

start ──▶ running ──stop──▶ SIGTERM, a few seconds ──▶ SIGKILL
             └────kill────▶ SIGKILL at once: the accident of the demo
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from edgeflow.demo import tied
from edgeflow.errors import BrokerError, EdgeflowError

BROKER_PORT = 1884
"""Beside a packaged mosquitto's 1883; another free one where it is taken."""
BROKER_S = 15.0
"""The broker answers within this, or the demo says what it said."""
TERM_S = 6.0
"""A process that was asked to stop gets so long."""


@dataclass(slots=True)
class Fleet:
    """The processes, by name. Use it in a `with`: nothing outlives it."""

    folder: Path
    python: str = sys.executable
    """Whose packages the processes see."""
    port: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Of the broker."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start_broker(self) -> None:
        """Start it and wait until it answers."""
        self.port = free_port(BROKER_PORT)
        self._start("broker", "edgeflow", "broker", "--port", str(self.port))
        until_s = time.monotonic() + BROKER_S
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.processes["broker"].poll() is not None:
                break
            time.sleep(0.05)
        raise BrokerError(f"the demo's broker did not start: {self.last_words('broker')}")

    def start_node(self, name: str, tier: str, options: Sequence[str]) -> None:
        """Start `edgeflow.nodes.<tier>` with its own state folder and free ports."""
        state = self.folder / name
        fixed = ["--name", name, "--broker", self.url, "--state-dir", str(state), "--threads", "1"]
        ports = ["--tensors-port", "0", "--signals-port", "0"]
        self._start(name, f"edgeflow.nodes.{tier}", *fixed, *ports, *options)

    def kill(self, name: str) -> None:
        """kill -9: no goodbye."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def check(self) -> None:
        """EdgeflowError where a process ended that should run."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                text = self.last_words(name)
                raise EdgeflowError(f"{name} ended with {process.returncode}: {text}")

    def last_words(self, name: str) -> str:
        """The last line that a process wrote."""
        with contextlib.suppress(OSError):
            lines = (self.folder / f"{name}.log").read_text(errors="replace").split("\n")
            return next(
                (line.strip() for line in reversed(lines) if line.strip()), "it said nothing"
            )
        return "it said nothing"

    def stop(self) -> None:
        """Nodes first, the broker last; each asked, then made to."""
        broker = self.processes.pop("broker", None)
        self._end(list(self.processes.values()))
        self._end([broker] if broker else [])
        self.processes.clear()

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.terminate()
        until_s = time.monotonic() + TERM_S
        for process in processes:
            try:
                process.wait(max(0.05, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, module: str, *options: str) -> None:
        threads = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [self.python, "-I", "-m", tied.__name__, str(os.getpid()), module, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **threads},
                # Ctrl-C is for the demo alone, which then stops the others in order.
                start_new_session=True,
            )


def free_port(wanted: int) -> int:
    """`wanted`, or any port of loopback that nobody listens on."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise BrokerError("no free port on loopback")
