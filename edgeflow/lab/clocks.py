"""Wall clocks of single nodes, set while they run; this machine's own clock is never touched.

    change `clock NODE +3600` ──▶ FOLDER/NODE.clock ──read again each second──▶ libfaketime in NODE

Only the time of day is false there. The monotonic clock is the machine's, as on a computer whose
clock somebody sets. The library is put before a node where the lab file says `clocks = true`.

Invariant: what the library leaves in /dev/shm when its process is killed goes with the lab.
"""

from __future__ import annotations

from pathlib import Path

from edgeflow.errors import LabError
from edgeflow.lab.record import FOLDER

PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
LIBRARY = "libfaketime.so.1"
SHARED = Path("/dev/shm")
READ_S = 1
"""The library looks at the file so often: sooner costs each reading of a clock a file."""


def library() -> Path:
    """Where libfaketime is. LabError where it is not."""
    for place in PLACES:
        for folder in sorted(Path("/").glob(place.lstrip("/"))):
            if (folder / LIBRARY).is_file():
                return folder / LIBRARY
    raise LabError(f"{LIBRARY} is missing, and this lab's clocks can be set: apt install faketime")


def environment(node: str) -> dict[str, str]:
    """What a node is started with, so that its clock can be set; it is as far off as it was."""
    file = _file(node)
    if not file.exists():
        shift(node, 0.0)
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": str(READ_S),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def shift(node: str, seconds: float) -> None:
    """From the next second on the node's clock is so far ahead of this machine's."""
    beside = _file(node).with_suffix(".new")
    beside.write_text(f"{seconds:+.3f}\n")
    beside.replace(_file(node))


def remember(pid: int) -> None:
    """A process was started with the library."""
    _pids().mkdir(exist_ok=True)
    (_pids() / str(pid)).touch()


def clean() -> None:
    """Take away what the library of killed processes left behind."""
    for pid in _pids().glob("*"):
        for name in (f"faketime_shm_{pid.name}", f"sem.faketime_sem_{pid.name}"):
            (SHARED / name).unlink(missing_ok=True)


def _file(node: str) -> Path:
    return FOLDER / f"{node}.clock"


def _pids() -> Path:
    return FOLDER / "clocks"
