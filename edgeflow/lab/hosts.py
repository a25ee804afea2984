"""The processes of a lab, each in its namespace and its control group.

    spawn ──▶ nsenter into the namespace ──▶ broker, node, or any command

They are children of nobody who matters: a lab stays up when the command that built it ends, and
what is killed is found by its control group, not by a number that may have come to mean another.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeflow.errors import LabError
from edgeflow.executors import chosen
from edgeflow.io.keys import new_key
from edgeflow.lab import clocks, network, record
from edgeflow.lab.labfile import BROKER
from edgeflow.lab.quota import Quotas
from edgeflow.lab.record import FOLDER, Record

FREE = "free"
"""The control group of what belongs to no host."""
PORT = 1883
BROKER_S = 15.0
"""The broker says that it is ready within this."""
PROGRAM = (sys.executable, "-I", "-m")
BUSY = "while True: pass"
KEPT, SAVED = FOLDER / "broker-kept", FOLDER / "broker-saved"
"""What the broker has on its disk, and a copy of an older day."""
THREADS = 1
"""Of a node's engine, where its settings do not say: more threads than quota only wait."""


def broker_url(address: str) -> str:
    """With a password of its own: off loopback the broker wants one."""
    return f"mqtt://lab:{secrets.token_hex(8)}@{address}:{PORT}"


def environment(made: Record) -> dict[str, str]:
    """What a command inside needs to be one of the cluster."""
    return {
        **os.environ,
        "EDGEFLOW_BROKER": made.broker_url,
        "EDGEFLOW_KEY": str(made.key_file),
        "OMP_NUM_THREADS": str(THREADS),
        "PYTHONUNBUFFERED": "1",
    }


def inside(host: str, words: Sequence[str]) -> list[str]:
    """A command line in the namespace of a host; /sys stays: nodes read their quota there."""
    return ["nsenter", f"--net=/run/netns/{network.namespace(host)}", "--", *words]


def spawn(
    quotas: Quotas,
    group: tuple[str, str],
    words: Sequence[str],
    log: str,
    environ: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start a process in a control group; what it says goes to a log file of the lab."""
    with (FOLDER / f"{log}.log").open("ab") as said:
        return subprocess.Popen(
            quotas.within(*group, words),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )


def start(made: Record, quotas: Quotas, host: str, state: str = "") -> None:
    """Start the process of a host, which has none; `state` is that of `changes.Restart`."""
    if host == BROKER:
        start_broker(made, quotas, state)
    elif made.lab.nodes[host].bare:
        raise LabError(f"nothing runs at {host}: bare = true in {made.file}")
    else:
        _start_node(made, quotas, host)


def start_broker(made: Record, quotas: Quotas, state: str = "") -> None:
    """Start a broker and wait for it. LabError with its last words."""
    _lay_out(state)
    address = network.addresses(made.lab)[BROKER]
    password = made.broker_url.partition("lab:")[2].partition("@")[0]
    environ = {**environment(made), "EDGEFLOW_BROKER_PASSWORD": password, "TMPDIR": str(FOLDER)}
    log = FOLDER / "broker.log"
    log.unlink(missing_ok=True)
    words = [*PROGRAM, "edgeflow", "broker", "--port", str(PORT), "--bind", address]
    words += ["--user", "lab"]
    if shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        words += ["--keep", str(KEPT)]
    process = spawn(quotas, (BROKER, "node"), inside(BROKER, words), "broker", environ)
    until_s = time.monotonic() + BROKER_S
    while b"broker ready" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > until_s:
            raise LabError(f"the broker did not start: {last_words('broker')}")
        time.sleep(0.02)


def _start_node(made: Record, quotas: Quotas, name: str) -> None:
    spec = made.lab.nodes[name]
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    settings = {
        "name": name,
        "tier": spec.tier,
        "brokers": [made.broker_url],
        "key_file": str(made.key_file),
        "state_dir": str(folder),
        "threads": THREADS,
        "engine": chosen("auto"),  # one for all: a ledger compares bits
        **spec.settings,
    }
    file = FOLDER / f"{name}.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    file.chmod(0o600)
    words = [*PROGRAM, "edgeflow", "node", "start", "--config", str(file)]
    environ = {**environment(made), "TMPDIR": str(folder)}
    for taken in ("EDGEFLOW_BROKER", "EDGEFLOW_KEY"):  # the file says it
        environ.pop(taken)
    if made.lab.clocks:
        environ |= clocks.environment(name)
    spawn(quotas, (name, "node"), inside(name, words), name, environ)


def make_key() -> None:
    """A cluster key for this lab alone."""
    new_key(FOLDER / "cluster.key")


def end(quotas: Quotas, host: str) -> None:
    """SIGKILL to the process of a host; LabError where there is none."""
    if not quotas.pids(host, "node"):
        raise LabError(f"{host} does not run: edgeflow lab do restart {host}")
    quotas.kill(host, "node")


def end_workers(quotas: Quotas, node: str) -> None:
    """SIGKILL to the children of a node's process; LabError where there are none."""
    pids = set(quotas.pids(node, "node"))
    workers = [pid for pid in pids if _stat(pid)[1:2] and int(_stat(pid)[1]) in pids]
    if not workers:
        raise LabError(f"{node} has no process that computes for it: worker = process, restart it")
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def save_broker() -> None:
    """Copy what the broker wrote down of its retained messages. LabError where it wrote nothing."""
    if not KEPT.is_dir() or not any(KEPT.iterdir()):
        raise LabError("the broker has nothing on its disk: it must be mosquitto, a second old")
    shutil.rmtree(SAVED, ignore_errors=True)
    shutil.copytree(KEPT, SAVED)


def _lay_out(state: str) -> None:
    """The broker's disk as it is to find it."""
    if state == "older" and not SAVED.is_dir():
        raise LabError("no older state of the broker was kept: edgeflow lab do save")
    if state == "keep" and not KEPT.is_dir():
        raise LabError("the broker keeps nothing: apt-get install mosquitto, and build the lab new")
    if state != "keep":
        shutil.rmtree(KEPT, ignore_errors=True)
    if state == "older":
        shutil.copytree(SAVED, KEPT)


def load_with(quotas: Quotas, host: str, processes: int) -> None:
    """So many busy processes in a host's quota, and no others; each takes as much as the node."""
    quotas.kill(host, "load")
    quotas.weigh(host, "load", processes)
    for _ in range(processes):
        words = inside(host, [sys.executable, "-I", "-c", BUSY])
        spawn(quotas, (host, "load"), words, f"{host}-load", os.environ)


def state(quotas: Quotas, host: str) -> str:
    """`running`, `stopped` by a signal, or `dead`."""
    marks = [_mark(pid) for pid in quotas.pids(host, "node")]
    if not marks:
        return "dead"
    return "stopped" if all(mark in "Tt" for mark in marks) else "running"


def _mark(pid: int) -> str:
    """The state of a process as one letter; X where it is gone."""
    return (_stat(pid) or ["X"])[0]


def _stat(pid: int) -> list[str]:
    """State, parent and more of a process, as in proc(5); empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def freeze(quotas: Quotas, host: str) -> None:
    """SIGSTOP."""
    quotas.signal(host, "node", signal.SIGSTOP)


def thaw(quotas: Quotas, host: str) -> None:
    """SIGCONT."""
    quotas.signal(host, "node", signal.SIGCONT)


def last_words(host: str) -> str:
    """The last line that a process wrote."""
    try:
        lines = (record.FOLDER / f"{host}.log").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
