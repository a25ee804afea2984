"""What a lab on this machine has made, written down before it is made.

    none ──up──▶ building ──▶ up ──down──▶ none
                    └── the command was killed ──▶ the next `up` or `down` takes it away

One machine has one lab. Its folder holds the record, the cluster key, a log a process, the nodes'
disks and the log of events; commands that change it take turns by a lock. The names of the
namespaces lie beside it in plain lines, so that any version can take away what any other made.

Invariant: a namespace of a lab is named in its folder before it exists.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgeflow.errors import LabError
from edgeflow.lab.labfile import LabFile, LinkSpec

FOLDER = Path("/var/lib/edgeflow-lab")
"""Below a folder that only root can write to."""
LOCK = Path("/run/edgeflow-lab.lock")
LOCK_S = 60.0
"""A lab is built or changed within this by another command."""


class LinkState(Struct):
    """A link as it is now."""

    spec: LinkSpec
    cut: str = ""
    """up down both, or empty."""


class Record(Struct):
    """See the module."""

    lab: LabFile
    file: str
    phase: str
    broker_url: str
    links: dict[str, LinkState]
    cpus: dict[str, float]
    severed: list[tuple[str, str]] = []
    """Pairs of hosts, the first of which is not heard by the second."""
    relayed: list[str] = []
    """Titles of links that the relay carries."""
    by_netem: bool = False
    tcp: dict[str, str] = {}
    seeded: list[str] = []
    """Models that were on every node's disk before it started."""

    @property
    def key_file(self) -> Path:
        """The cluster key of this lab."""
        return FOLDER / "cluster.key"

    def save(self) -> None:
        """All or nothing: a killed command leaves the old record or the new one."""
        path = FOLDER / "lab.json"
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self))
        beside.chmod(0o600)
        beside.replace(path)


def plan_namespaces(names: Sequence[str]) -> None:
    """Write down what will be made."""
    FOLDER.mkdir(mode=0o700)
    (FOLDER / "namespaces").write_text("".join(f"{name}\n" for name in names))


def namespaces() -> list[str]:
    """What may have been made."""
    try:
        return (FOLDER / "namespaces").read_text().split()
    except FileNotFoundError:
        return []


def load() -> Record | None:
    """The lab of this machine; None where there is none."""
    try:
        return msgspec.json.decode((FOLDER / "lab.json").read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(
            f"the lab that is up was made by another version ({error}): edgeflow lab down"
        ) from None


def need() -> Record:
    """The lab that is up. LabError where there is none."""
    record = load()
    if record is None:
        raise LabError("no lab is up: sudo -E edgeflow lab up configs/labs/two-tier.toml")
    if record.phase != "up":
        raise LabError(f"{record.lab.name} was not built to its end: edgeflow lab down")
    return record


@contextmanager
def locked() -> Iterator[None]:
    """Commands that change the lab, one after the other. LabError where another takes too long."""
    until_s = time.monotonic() + LOCK_S
    while (handle := _take_lock()) is None:
        if time.monotonic() > until_s:
            raise LabError("another edgeflow lab command is at work; wait for it")
        time.sleep(0.1)
    try:
        yield
    finally:
        LOCK.unlink()
        os.close(handle)


def _take_lock() -> int | None:
    """The lock's descriptor; None while another process has it."""
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == LOCK.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass  # somebody has it, or had it and took the file away
    os.close(handle)
    return None


def remove() -> None:
    """The folder and everything in it."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def keep_logs(folder: Path) -> None:
    """Copy what processes said, and the log of events, out of the lab."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*FOLDER.glob("*.log"), *FOLDER.glob("events.jsonl")]:
        shutil.copy(path, folder / path.name)


def log_event(sentence: str) -> dict[str, Any]:
    """One line more in the log of events; times are those of every process of this machine."""
    event = {"at_s": round(time.monotonic(), 4), "unix_s": time.time(), "sentence": sentence}
    with (FOLDER / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
    return event


def events() -> list[dict[str, Any]]:
    """The log of events, oldest first."""
    try:
        lines = (FOLDER / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
