"""What a machine tells of its heat, read out of a /sys of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeflow.io.thermal import clock_share, headroom_c, is_throttled

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
ZONE = "sys/class/thermal/thermal_zone{}"
CLOCK = "sys/devices/system/cpu/cpufreq/policy{}"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


def zone(number: int, temp: str, **trips: str) -> dict[str, str]:
    """A thermal zone; trips as kind=temperature."""
    folder = ZONE.format(number)
    found = {f"{folder}/temp": temp}
    for at, (kind, limit) in enumerate(trips.items()):
        found[f"{folder}/trip_point_{at}_type"] = kind
        found[f"{folder}/trip_point_{at}_temp"] = limit
    return found


CASES = {
    "a Pi has no passive trip point, and is slowed down at 80": (
        zone(0, "61500", critical="110000") | {FIRMWARE: "0"},
        18.5,
    ),
    "a Jetson says where": (zone(0, "50000", active="51000", passive="99000"), 49.0),
    "the nearest of several zones": (
        zone(0, "50000", passive="99000") | zone(1, "70500", passive="85000"),
        14.5,
    ),
    "beyond it": (zone(0, "86000", passive="85000"), -1.0),
    "a PC without one": (zone(0, "50000", critical="110000"), None),
    "a trip point that is switched off": (zone(0, "50000", passive="-274000"), None),
    "a trip point that is never meant": (zone(0, "50000", passive="2147483000"), None),
    "a zone that cannot be read": (zone(0, "N/A", passive="85000"), None),
    "a container": ({}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_headroom_is_the_way_to_the_nearest_limit(tmp_path: Path, case: str) -> None:
    files, expected = CASES[case]
    assert headroom_c(machine(tmp_path, files)) == expected


def test_headroom_is_read_anew_each_time(tmp_path: Path) -> None:
    machine(tmp_path, zone(0, "50000", passive="85000"))
    assert headroom_c(tmp_path) == 35.0
    machine(tmp_path, zone(0, "60000", passive="85000"))
    assert headroom_c(tmp_path) == 25.0


def test_the_clock_is_that_of_the_fastest_group_of_cores(tmp_path: Path) -> None:
    little, big = CLOCK.format(0), CLOCK.format(4)
    machine(
        tmp_path,
        {
            f"{little}/scaling_cur_freq": "600000",
            f"{little}/cpuinfo_max_freq": "1800000",
            f"{big}/scaling_cur_freq": "1200000",
            f"{big}/cpuinfo_max_freq": "2400000",
        },
    )
    assert clock_share(tmp_path) == 0.5


def test_no_clock_is_told_where_none_is_known(tmp_path: Path) -> None:
    assert clock_share(tmp_path) is None
    other = machine(tmp_path / "other", {f"{CLOCK.format(0)}/cpuinfo_max_freq": "0"})
    assert clock_share(other) is None


@pytest.mark.parametrize(
    ("text", "is_now"), [("0", False), ("50000", False), ("50005", True), ("", False), ("x", False)]
)
def test_a_pi_says_whether_it_is_throttled_now(tmp_path: Path, text: str, is_now: bool) -> None:
    assert is_throttled(machine(tmp_path, {FIRMWARE: text})) is is_now


def test_a_machine_without_firmware_is_not_throttled(tmp_path: Path) -> None:
    assert not is_throttled(tmp_path)
