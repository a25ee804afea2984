"""How much CPU the control groups of this process allow, and how often they held it back.

A group's quota counts for all groups below it, so that the tightest on the way up to the top of
what is mounted holds. Version 1 and 2 may be mounted side by side; both are looked at.

Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat) and scheduler/sched-bwc.rst
(version 1); proc_pid_mountinfo(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edgeflow.io.thermal import read_text


class Limit(NamedTuple):
    """Of one group."""

    cores: float
    """CPU seconds a second."""
    period_s: float
    folder: Path


def cpu_quota_cores(root: Path = Path("/")) -> float | None:
    """CPU seconds a second that the control groups of this process allow; None: no limit.

    `root` is where /proc and the mount points are found.
    """
    return min((limit.cores for limit in _limits(root)), default=None)


@dataclass(slots=True)
class Quota:
    """The tightest limit, as it is used. The share of periods in which a group was held back is
    what tells that others in it, or we, want more than it may have: what the machine does beside
    says nothing of that."""

    root: Path = Path("/")
    limit: Limit | None = field(init=False)
    seen: tuple[float, int] | None = None
    """(when, periods held back until then) at the last look."""

    def __post_init__(self) -> None:
        self.limit = min(_limits(self.root), default=None)

    def held_back_share(self, now_s: float) -> float | None:
        """Share of the time since the last look in which the group had to wait; None without a
        limit, and at the first look."""
        if self.limit is None:
            return None
        held_back = _held_back(self.limit.folder)
        before, self.seen = self.seen, None if held_back is None else (now_s, held_back)
        if held_back is None or before is None or now_s <= before[0]:
            return None
        waited_s = (held_back - before[1]) * self.limit.period_s
        return min(1.0, max(0.0, waited_s / (now_s - before[0])))


def _held_back(folder: Path) -> int | None:
    """Periods in which a group was held back since it is there; None where nobody counts."""
    for line in read_text(folder / "cpu.stat").splitlines():
        word, _, count = line.partition(" ")
        if word == "nr_throttled" and count.isdigit():
            return int(count)
    return None


def _limits(root: Path) -> Iterator[Limit]:
    """All that hold this process."""
    own = _own_groups(read_text(root / "proc/self/cgroup"))
    for kind, top, mounted in _group_mounts(read_text(root / "proc/self/mountinfo")):
        for folder in _upwards(root / mounted.lstrip("/"), top, own.get(kind, top)):
            if (found := _quota_us(folder)) is not None:
                quota_us, period_us = found
                yield Limit(quota_us / period_us, period_us / 1e6, folder)


def _own_groups(text: str) -> dict[str, str]:
    """Path of this process's group that rules its CPU, by type of file system."""
    found = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            found["cgroup"] = path
        elif number == "0":
            found["cgroup2"] = path
    return found


def _group_mounts(text: str) -> Iterator[tuple[str, str, str]]:
    """(type, group at the top, mount point) of each place where CPU quotas may stand."""
    for line in text.splitlines():
        place, _, kind = line.partition(" - ")
        top, mounted = place.split()[3:5]
        file_system, _, options = kind.split()[:3]
        if file_system == "cgroup2" or (file_system == "cgroup" and "cpu" in options.split(",")):
            yield file_system, top, mounted


def _upwards(mounted: Path, top: str, own: str) -> Iterator[Path]:
    """Folders from our group up to the mount point; that alone where our path is not below it."""
    below = PurePosixPath(own)
    if ".." not in below.parts and below.is_relative_to(top):
        folder = mounted / below.relative_to(top)
        while folder != mounted:
            yield folder
            folder = folder.parent
    yield mounted


def _quota_us(folder: Path) -> tuple[int, int] | None:
    """(quota, period) of one group; None where it sets no limit, or cannot be read."""
    words = read_text(folder / "cpu.max").split() or [
        read_text(folder / "cpu.cfs_quota_us"),
        read_text(folder / "cpu.cfs_period_us"),
    ]
    try:
        quota_us, period_us = map(int, words)
    except ValueError:  # "max", or nothing
        return None
    return (quota_us, period_us) if quota_us > 0 and period_us > 0 else None
