"""CPU shares: a control group a host, with a quota of the kernel's own scheduler.

    edgeflow-lab/HOST            the quota
    edgeflow-lab/HOST/node       the node's process: what `kill` and `stop` mean
    edgeflow-lab/HOST/exec       what `lab exec` runs there, and busy processes in .../load
    edgeflow-lab/free            what belongs to the lab and to no host: relay, drivers

cgroup v2 (`cpu.max`) or v1 (`cpu.cfs_quota_us`). The period is 10 ms, so that a slow node is slow
evenly; a share below 0.1 needs a longer one, since a quota is at least 1 ms.

Invariant: every process of a lab is in one of these groups, so none can be overlooked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeflow.errors import LabError

GROUP = "edgeflow-lab"
PERIOD_US = 10_000
QUOTA_US_MIN = 1_000
GONE_S = 10.0
"""A killed process leaves its group within this."""
INNER = ("node", "exec", "load")
WEIGHT = 20
"""Of the lab, against each other process of the machine: its quotas leave them a fifth. As light as
one of them, a whole lab would get what one busy program beside it leaves."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Control groups of one lab below `root`, the mount point of the cpu controller."""

    root: Path
    is_v2: bool

    @property
    def top(self) -> Path:
        """The group that holds all others."""
        return self.root / GROUP

    def make(self, host: str, cpu: float | None) -> None:
        """The groups of a host; again: only the quota."""
        self.top.mkdir(exist_ok=True)
        if self.is_v2:
            _enable(self.root)
            _enable(self.top)
            (self.top / "cpu.weight").write_text(str(100 * WEIGHT))
        else:
            (self.top / "cpu.shares").write_text(str(1024 * WEIGHT))
        for inner in INNER:
            (self.top / host / inner).mkdir(parents=True, exist_ok=True)
        self.limit(host, cpu)

    def limit(self, host: str, cpu: float | None) -> None:
        """A share of one core; None: no limit."""
        period_us = PERIOD_US if cpu is None else round(max(PERIOD_US, QUOTA_US_MIN / cpu))
        quota_us = -1 if cpu is None else round(cpu * period_us)
        folder = self.top / host
        if self.is_v2:
            (folder / "cpu.max").write_text(f"{'max' if cpu is None else quota_us} {period_us}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(period_us))
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def weigh(self, host: str, inner: str, processes: int) -> None:
        """An inner group gets as much as so many processes; v2 counts them by itself."""
        if not self.is_v2:
            (self.top / host / inner / "cpu.shares").write_text(str(1024 * max(1, processes)))

    def within(self, host: str, inner: str, words: Sequence[str]) -> list[str]:
        """A command line that enters the group before it does anything else.

        Put in from outside a moment later, a process would be nobody's where we are killed between.
        """
        door = self.top / host / inner / "cgroup.procs"
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(door), *words]

    def pids(self, host: str = "", inner: str = "") -> list[int]:
        """Processes in a group and below; of the whole lab without a host."""
        return [pid for folder in _tree(self.top / host / inner) for pid in _members(folder)]

    def signal(self, host: str, inner: str, number: int) -> int:
        """Send a signal to every process of a group; how many there were."""
        pids = self.pids(host, inner)
        for pid in pids:
            _send(pid, number)
        return len(pids)

    def kill(self, host: str = "", inner: str = "") -> None:
        """SIGKILL until the group is empty. LabError where it does not get so."""
        until_s = time.monotonic() + GONE_S
        while self.signal(host, inner, signal.SIGKILL):
            if time.monotonic() > until_s:
                raise LabError(f"processes {self.pids(host, inner)} do not end; look at them by ps")
            time.sleep(0.01)

    def remove(self) -> None:
        """Kill what is left, and take the groups away."""
        self.kill()
        for folder in sorted(_tree(self.top), reverse=True):
            folder.rmdir()


def find() -> Quotas:
    """The cpu controller of this machine. LabError where there is none."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and "cpu" in controllers.read_text().split():
        return Quotas(controllers.parent, True)
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup" and "cpu" in options.split(","):
            return Quotas(Path(folder), False)
    raise LabError(
        "the kernel has no CPU control group: boot with cgroup v2, or"
        " mount -t cgroup -o cpu cgroup /sys/fs/cgroup/cpu"
    )


def _enable(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu")


def _tree(folder: Path) -> Iterator[Path]:
    """The group and every group below it."""
    if folder.is_dir():
        yield folder
        for below in folder.iterdir():
            if below.is_dir():
                yield from _tree(below)


def _members(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:  # it was removed just now
        return []


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
