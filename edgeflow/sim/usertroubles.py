"""What users do that is hard on a fleet: they change their minds, send too much, send poison.

Invariant: every frame handed in here is one that the judge waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeflow.sim.script import Fault
from edgeflow.sim.world import World

BURST_FRAMES_MAX = 300
"""Somewhat more than a source takes at once."""
ALGORITHMS = ("mincut", "edge-only", "cloud-only", "hpa", "neurosurgeon")
POISON_DEADLINE_S = 5.0


@dataclass(slots=True)
class UserTroubles:
    """One handler a kind."""

    world: World

    def kinds(self) -> dict[str, Callable[[Fault], None]]:
        """By the names of `edgeflow.sim.script`."""
        return {
            "redeploy": self._redeploy,
            "rewish": self._rewish,
            "cancel": self._cancel,
            "poison": self._poison,
            "burst": self._burst,
        }

    def _job(self, fault: Fault) -> tuple[str, str]:
        """A deployment, and its source."""
        jobs = list(self.world.sources.items())
        return jobs[int(fault.much * 997) % len(jobs)]

    def _at(self, fault: Fault, source: str) -> str:
        """The node where frames for it are handed in."""
        return fault.node if fault.node in self.world.near(source) else source

    def _redeploy(self, fault: Fault) -> None:
        job, source = self._job(fault)
        self.world.want(job, source, removed=True)
        if fault.much < 0.8:
            late_s = 0.05 + fault.for_s / 2
            self.world.clockwork.after(late_s, lambda: self.world.want(job, source))

    def _rewish(self, fault: Fault) -> None:
        """The plan has to change."""
        job, source = self._job(fault)
        if self.world.is_wanted(job):
            policy = ALGORITHMS[int(fault.for_s * 997) % len(ALGORITHMS)]
            self.world.want(job, source, policy=policy)

    def _cancel(self, fault: Fault) -> None:
        """Frames that have just been handed in, and some that have been under way for a while."""
        job, source = self._job(fault)
        at = self._at(fault, source)
        machine = self.world.machines[at]
        for _ in range(1 + int(fault.much * 8)):
            self.world.submit(job, at)
        for token in [each for each in machine.submitted if each not in machine.outcomes]:
            late_s = self.world.clockwork.jitter(0.0, 0.3)
            self.world.clockwork.after(late_s, _withdrawing(self.world, at, token))

    def _poison(self, fault: Fault) -> None:
        job, source = self._job(fault)
        at = self._at(fault, source)
        token = self.world.submit(job, at, POISON_DEADLINE_S)
        if token is not None:
            self.world.poison.add(self.world.machines[at].submitted[token][1])

    def _burst(self, fault: Fault) -> None:
        job, source = self._job(fault)
        at = self._at(fault, source)
        for _ in range(5 + int(fault.much**3 * BURST_FRAMES_MAX)):
            self.world.submit(job, at)


def _withdrawing(world: World, at: str, token: int) -> Callable[[], None]:
    machine = world.machines[at]
    return lambda: machine.withdraw(token)
