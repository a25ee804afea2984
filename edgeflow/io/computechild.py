"""One worker process, as its node sees it: started, spoken to, ended, and how it died."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from edgeflow.io.computewire import Channel, FromWorker

PROGRAM = "edgeflow.io.computeprogram"
LAST_S = 2.0
"""A process that closed its socket is dying, and gets so long for it: it may write a core dump."""


class Child:
    """A running worker. OSError where none can be started."""

    def __init__(self, node: str, folder: Path) -> None:
        """`folder` is for what engines write while they run; what an earlier one left goes."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", PROGRAM, node, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # What a library prints belongs into no output of ours.
                stdout=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(folder.absolute())},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = Channel(ours, FromWorker)

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
        shutil.rmtree(self._folder, ignore_errors=True)


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
