"""What a node believes of the machine it is on, above all how much of it is its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeflow.io import calibrate, probe, thermal
from edgeflow.io.quota import Quota, cpu_quota_cores

V1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2 = "41 23 0:38 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
BOTH = V1 + "\n" + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")


def machine(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A root folder that holds /proc/self and some files below /sys/fs/cgroup."""
    there = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    for name, text in (there | {f"sys/fs/cgroup/{each}": files[each] for each in files}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


CASES = {
    "version 2": ("0::/a", V2, {"a/cpu.max": "150000 100000"}, 1.5),
    "version 1": (
        "4:cpu,cpuacct:/a\n0::/b",
        V1,
        {"cpu/a/cpu.cfs_quota_us": "1000", "cpu/a/cpu.cfs_period_us": "10000"},
        0.1,
    ),
    "the group above is tighter": (
        "0::/a/b",
        V2,
        {"a/cpu.max": "20000 100000", "a/b/cpu.max": "50000 100000"},
        0.2,
    ),
    "the group above has none": (
        "0::/a/b/c",
        V2,
        {"a/cpu.max": "max 100000", "a/b/cpu.max": "50000 100000", "a/b/c/cgroup.procs": ""},
        0.5,
    ),
    "a sibling's does not count": ("0::/a", V2, {"b/cpu.max": "10000 100000"}, None),
    "no limit in version 2": ("0::/a", V2, {"a/cpu.max": "max 100000"}, None),
    "no limit in version 1": (
        "4:cpu:/",
        V1,
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
    ),
    "both versions, the limit in the old": (
        "4:cpu:/a\n0::/",
        BOTH,
        {"cpu/a/cpu.cfs_quota_us": "5000", "cpu/a/cpu.cfs_period_us": "10000"},
        0.5,
    ),
    "a container sees its own group on top": (
        "0::/docker/f00",
        V2.replace(" / /sys", " /docker/f00 /sys"),
        {"cpu.max": "25000 100000"},
        0.25,
    ),
    "a container's path is the host's and not to be seen": (
        "0::/docker/f00",
        V2,
        {"cpu.max": "25000 100000"},
        0.25,
    ),
    "our group is beside the one on top": (
        "0::/../b",
        V2,
        {"cpu.max": "25000 100000", "../b/cpu.max": "10000 100000"},
        0.25,
    ),
    "rubbish": ("0::/a", V2, {"a/cpu.max": "much of it"}, None),
    "no groups at all": ("", "22 1 8:1 / / rw - ext4 /dev/vda rw", {}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_tightest_quota_on_the_way_up_counts(case: str, tmp_path: Path) -> None:
    groups, mounts, files, cores = CASES[case]
    assert cpu_quota_cores(machine(tmp_path, groups, mounts, files)) == cores


def test_a_quota_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert cpu_quota_cores(tmp_path) is None
    (machine(tmp_path, "0::/a", V2, {}) / "sys/fs/cgroup/a/cpu.max").mkdir(parents=True)
    assert cpu_quota_cores(tmp_path) is None


def test_a_container_of_one_and_a_half_cores_runs_two_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for quota_cores, cores in ((1.5, 2), (0.1, 1), (None, 16), (64.0, 16)):
        monkeypatch.setattr(probe, "cpu_quota_cores", lambda found=quota_cores: found)
        assert probe.usable_cores() == cores


def test_sensors_that_are_not_there_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Iterator[list[float]] = iter([[]])
    monkeypatch.setattr(thermal, "_heats_c", lambda: next(found))
    thermal._has_sensors.cache_clear()
    assert [thermal.temperature_c() for _ in range(3)] == [None, None, None]
    thermal._has_sensors.cache_clear()


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of version 1 that may use 30 ms in each 100."""
    controller = Path("/sys/fs/cgroup/cpu")
    folder = controller / f"edgeflow-test-{os.getpid()}"
    if not (controller / "cpu.cfs_quota_us").exists():
        pytest.skip("no CPU controller of cgroup version 1 here")
    try:
        folder.mkdir()
        (folder / "cpu.cfs_quota_us").write_text("30000")
    except OSError as error:
        pytest.skip(f"no group can be made: {error}")
    yield folder
    for _ in range(50):
        with contextlib.suppress(OSError):  # the kernel lets go of the ended process a bit later
            folder.rmdir()
            return
        time.sleep(0.02)


def test_a_process_finds_the_quota_that_it_really_has(group: Path) -> None:
    below = group / "below"
    below.mkdir()
    program = (
        "import os, sys, pathlib; from edgeflow.io.quota import cpu_quota_cores as quota;"
        "before = quota(); pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
        "print(before, quota())"
    )
    command = [sys.executable, "-c", program, str(below / "cgroup.procs")]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        below.rmdir()
    assert told.stdout.split()[1] == "0.3"


def burn(cpu_s: float) -> None:
    end_s = time.process_time() + cpu_s
    while time.process_time() < end_s:
        pass


def test_under_a_quota_a_run_takes_its_cpu_time_over_the_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrate, "HELD_BACK_S", 0.0)
    assert calibrate._run_s(lambda: burn(0.001), 1, 0.05) >= 0.02


@pytest.mark.parametrize("quota_cores", [float("inf"), 1.0])
def test_without_a_tight_quota_the_quickest_run_counts(
    quota_cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "RUN_S", 0.0)
    waits_s = iter((0.2, 0.0, 0.2))
    assert calibrate._run_s(lambda: time.sleep(next(waits_s)), 1, quota_cores) < 0.1


def test_how_often_a_group_is_held_back_tells_how_busy_it_is(tmp_path: Path) -> None:
    """Of both versions; periods without work count as well."""
    kinds = {
        "0::/a": (V2, "a/cpu.stat", {"a/cpu.max": "5000 10000"}),
        "4:cpu:/a": (
            V1,
            "cpu/a/cpu.stat",
            {"cpu/a/cpu.cfs_quota_us": "5000", "cpu/a/cpu.cfs_period_us": "10000"},
        ),
    }
    for at, (groups, (mounts, stat, files)) in enumerate(kinds.items()):
        root = machine(tmp_path / str(at), groups, mounts, files)
        assert Quota(root).held_back_share(1.0) is None, "nobody counts"
        counts, quota, shares = root / "sys/fs/cgroup" / stat, Quota(root), list[float | None]()
        for now_s, held_back in ((1.0, 100), (2.0, 100), (3.0, 150), (4.0, 260)):
            counts.write_text(f"nr_periods 900\nnr_throttled {held_back}\nthrottled_usec 3\n")
            shares.append(quota.held_back_share(now_s))
        assert shares == [None, 0.0, 0.5, 1.0]
    assert Quota(machine(tmp_path / "free", "0::/a", V2, {})).held_back_share(1.0) is None
