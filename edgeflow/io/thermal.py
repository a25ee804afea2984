"""How warm this machine is, how far from slowing itself down, and whether it does.

    sensors ──▶ the hottest                   passive trip points ──▶ how far the nearest zone is
    clocks  ──▶ share of the full clock       a Raspberry Pi's firmware ──▶ throttled now

Invariant: all of it is optional. A container, a PC or a board that tells nothing costs one look.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import psutil

_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
"""Of a Raspberry Pi: hexadecimal, the low four bits are what holds now."""
_NOW = 0xF
_PI_LIMIT_C = 80.0
"""Where its firmware begins to slow it down: no trip point says so."""
_HOTTEST_C = 150.0
"""No trip point that is meant lies above."""
_POLICIES_MAX = 8
"""Groups of cores whose clock is read: a large machine has one for each core, all much alike."""
ROOT = Path("/")


def temperature_c() -> float | None:
    """The hottest sensor; None where there is none."""
    heats = _heats_c() if _has_sensors() else []
    return max(heats, default=None)


def is_throttled(root: Path = ROOT) -> bool:
    """Whether a Raspberry Pi's firmware slows it down now. `root` is where /sys is found."""
    text = read_text(root / _THROTTLED)
    try:
        return bool(int(text, 16) & _NOW)
    except ValueError:
        return False


def headroom_c(root: Path = ROOT) -> float | None:
    """Degrees to the nearest temperature at which a part of this machine slows itself down, below 0
    beyond it; None where none is known.

    Linux, Documentation/driver-api/thermal/sysfs-api.rst (passive trip points, thousandths of a
    degree). `root` is where /sys is found.
    """
    found = [
        limit_c - now_c
        for heat, limit_c in _limits_c(root)
        if (now_c := _degrees_c(heat)) is not None
    ]
    return min(found, default=None)


def clock_share(root: Path = ROOT) -> float | None:
    """Clock of the fastest core over the highest that it can have; None where it is not told.

    Linux, Documentation/admin-guide/pm/cpufreq.rst. `root` is where /sys is found.
    """
    shares = [
        now_khz / most_khz
        for clock, most_khz in _clocks(root)
        if (now_khz := _number(clock)) is not None
    ]
    return max(shares, default=None)


def read_text(name: str | Path) -> str:
    """A small file's text without zeros and white space; empty where it cannot be read."""
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return ""


@cache
def _has_sensors() -> bool:
    """Looked for once: to find none costs as much as to read some."""
    return bool(_heats_c())


def _heats_c() -> list[float]:
    sensors = getattr(psutil, "sensors_temperatures", None)
    found = sensors() if sensors is not None else {}
    return [each.current for group in found.values() for each in group if each.current]


@cache
def _limits_c(root: Path) -> tuple[tuple[Path, float], ...]:
    """Where each thermal zone tells its heat, and at which it slows the machine down; once."""
    default_c = _PI_LIMIT_C if (root / _THROTTLED).exists() else None
    found = []
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        trips_c = [
            limit_c
            for kind in sorted(zone.glob("trip_point_*_type"))
            if read_text(kind) == "passive"
            and (limit_c := _degrees_c(zone / kind.name.replace("_type", "_temp"))) is not None
        ]
        limit_c = min(trips_c, default=default_c)
        if limit_c is not None:
            found.append((zone / "temp", limit_c))
    return tuple(found)


def _degrees_c(name: Path) -> float | None:
    """In a file of thousandths; None where no machine is as warm as that."""
    found = _number(name)
    return found / 1000 if found is not None and found <= 1000 * _HOTTEST_C else None


@cache
def _clocks(root: Path) -> tuple[tuple[Path, float], ...]:
    """Where each group of cores tells its clock, and the highest that it can have, in kHz; once."""
    groups = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))[:_POLICIES_MAX]
    known = [(each / "scaling_cur_freq", _number(each / "cpuinfo_max_freq")) for each in groups]
    return tuple((clock, most_khz) for clock, most_khz in known if most_khz)


def _number(name: Path) -> float | None:
    """What a small file says; None where it says no number above 0."""
    try:
        found = float(read_text(name))
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None
