"""What this machine is, and how it is doing now."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from edgeflow.events import Sampled
from edgeflow.io import thermal
from edgeflow.io.quota import Quota, cpu_quota_cores
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


def may_have_gpu() -> bool:
    """Is there anything that torch may take for a CUDA device? Looked for without torch."""
    return bool(shutil.which("nvidia-smi")) or any(Path(name).exists() for name in _GPUS)


def sample(pids: Iterable[int] = ()) -> Sampled:
    """Load, memory and heat since the last call; `pids`: processes whose memory counts as ours."""
    return Sampled(
        cpu_percent=_cpu_percent(),
        memory_bytes=_process().memory_info().rss + sum(map(_resident_bytes, pids)),
        memory_free_bytes=psutil.virtual_memory().available,
        temperature_c=thermal.temperature_c(),
        throttled=thermal.is_throttled(),
        headroom_c=thermal.headroom_c(),
        clock_share=thermal.clock_share(),
        unix_s=time.time(),
    )


def _cpu_percent() -> float:
    """Of what this process may have, since the last call: of its quota, else of the machine."""
    held_back = _quota().held_back_share(time.monotonic())
    return psutil.cpu_percent() if held_back is None else 100 * held_back


@cache
def _quota() -> Quota:
    return Quota()


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
