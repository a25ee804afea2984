"""One worker process, as its node sees it: started, spoken to, ended, and how it died."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from edgeflow.config import NodeConfig
from edgeflow.executors import engines
from edgeflow.io.compute.wire import Channel, FromWorker

PROGRAM = "edgeflow.io.compute.program"
LAST_S = 2.0
"""A process that closed its socket is dying, and gets so long for it: it may write a core dump."""


class Child:
    """A running worker. OSError where none can be started."""

    def __init__(self, node: str) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", PROGRAM, node, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # What a library prints belongs into no output of ours.
                stdout=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = Channel(ours, FromWorker)

    @staticmethod
    def ahead(config: NodeConfig) -> Child | None:
        """The worker that a node with these settings will want, started before the node itself has
        loaded what it is made of; None where it wants none."""
        is_wanted = config.worker == "process" and config.compute != "none" and engines()
        return Child(config.name) if is_wanted else None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def bury(self) -> str:
        """Once it closed its end: how it died, in words."""
        try:
            self._process.wait(LAST_S)
        except subprocess.TimeoutExpired:
            return "closed its socket and went on"
        return death(self._process.returncode)

    def end(self) -> None:
        """Kill it, if it lives, and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self.channel.close()


def death(status: int) -> str:
    """What an exit status of `subprocess` says."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    guess = " (by hand, or by the kernel for want of memory)" if name == "SIGKILL" else ""
    return f"died of {name}{guess}"
