"""What this machine is, how much of it is ours, and how it is doing now.

A control group's quota counts for all groups below it, so that the tightest on the way up to the
top of what is mounted holds. Version 1 and 2 may be mounted side by side; both are looked at.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import psutil

from edgeflow.events import Sampled
from edgeflow.io import thermal
from edgeflow.io.thermal import read_text

_BOARD_FILES = (
    "/proc/device-tree/model",
    "/sys/devices/virtual/dmi/id/product_name",
)
_GPUS = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/dxg", "/dev/kfd")
"""NVIDIA's on a PC, on a Jetson, under Windows; AMD's, which torch calls CUDA too."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while a node runs."""

    board: str
    arch: str
    cores: int
    memory_bytes: int
    accelerators: tuple[str, ...]


def describe() -> Machine:
    """Board, processor and memory; a limit of a container or of `taskset` counts."""
    return Machine(
        board=_board(),
        arch=platform.machine(),
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        accelerators=("cuda",) if shutil.which("nvidia-smi") or _is_jetson() else (),
    )


def usable_cores() -> int:
    """Cores that this process can keep busy: those it may run on, as many as its quota feeds."""
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota_cores = cpu_quota_cores()
    return may if quota_cores is None else min(may, math.ceil(quota_cores))


def cpu_quota_cores(root: Path = Path("/")) -> float | None:
    """CPU seconds a second that the control groups of this process allow; None: no limit.

    Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (version
    1); proc_pid_mountinfo(5). `root` is where /proc and the mount points are found.
    """
    own = _own_groups(read_text(root / "proc/self/cgroup"))
    quotas = [
        quota
        for kind, top, mounted in _group_mounts(read_text(root / "proc/self/mountinfo"))
        for folder in _upwards(root / mounted.lstrip("/"), top, own.get(kind, top))
        if (quota := _quota_cores(folder)) is not None
    ]
    return min(quotas, default=None)


def may_have_gpu() -> bool:
    """Is there anything that torch may take for a CUDA device? Looked for without torch."""
    return bool(shutil.which("nvidia-smi")) or any(Path(name).exists() for name in _GPUS)


def sample(pids: Iterable[int] = ()) -> Sampled:
    """Load, memory and heat since the last call; `pids`: processes whose memory counts as ours."""
    return Sampled(
        cpu_percent=psutil.cpu_percent(),
        memory_bytes=_process().memory_info().rss + sum(map(_resident_bytes, pids)),
        memory_free_bytes=psutil.virtual_memory().available,
        temperature_c=thermal.temperature_c(),
        throttled=thermal.is_throttled(),
        headroom_c=thermal.headroom_c(),
        clock_share=thermal.clock_share(),
        unix_s=time.time(),
    )


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


def _quota_cores(folder: Path) -> float | None:
    """What one group allows; None where it sets no limit, or cannot be read."""
    words = read_text(folder / "cpu.max").split() or [
        read_text(folder / "cpu.cfs_quota_us"),
        read_text(folder / "cpu.cfs_period_us"),
    ]
    try:
        quota_us, period_us = map(int, words)
    except ValueError:  # "max", or nothing
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _resident_bytes(pid: int) -> int:
    """Of another process; 0 where it is gone."""
    try:
        found: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
    return found


@cache
def _process() -> psutil.Process:
    return psutil.Process()


def _board() -> str:
    for name in _BOARD_FILES:
        text = read_text(name)
        if text:
            return text
    return platform.system()


def _is_jetson() -> bool:
    return Path("/etc/nv_tegra_release").exists()
