"""What this machine is, and how it is doing now."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from edgeflow.events import Sampled

_BOARD_FILES = (
    "/proc/device-tree/model",
    "/sys/devices/virtual/dmi/id/product_name",
)
_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
"""Of a Raspberry Pi: hexadecimal, the low four bits are what holds now."""
_NOW = 0xF


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
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sample() -> Sampled:
    """Load, memory and heat since the last call."""
    return Sampled(
        cpu_percent=psutil.cpu_percent(),
        memory_bytes=_process().memory_info().rss,
        temperature_c=_temperature_c(),
        throttled=_is_throttled(),
    )


@cache
def _process() -> psutil.Process:
    return psutil.Process()


def _board() -> str:
    for name in _BOARD_FILES:
        text = _read(name)
        if text:
            return text
    return platform.system()


def _is_jetson() -> bool:
    return Path("/etc/nv_tegra_release").exists()


def _temperature_c() -> float | None:
    """The hottest sensor; None where there is none."""
    sensors = getattr(psutil, "sensors_temperatures", None)
    found = sensors() if sensors is not None else {}
    heats = [each.current for group in found.values() for each in group if each.current]
    return max(heats) if heats else None


def _is_throttled() -> bool:
    text = _read(_THROTTLED)
    try:
        return bool(int(text, 16) & _NOW)
    except ValueError:
        return False


def _read(name: str) -> str:
    """A small file's text without zeros and white space; empty where it cannot be read."""
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return ""
