"""Makes a script's faults happen at their times, and mends all of it in the end.

    Script ─▶ Faults ─▶ NodeTroubles   processes, disks, clocks, twins, other versions
                     ─▶ WireTroubles   brokers and links
                     ─▶ UserTroubles   wishes, cancels, poison, bursts

Invariant: after `mend` nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeflow.sim.nodetroubles import NodeTroubles
from edgeflow.sim.script import Fault
from edgeflow.sim.usertroubles import UserTroubles
from edgeflow.sim.wiretroubles import WireTroubles
from edgeflow.sim.world import World

LATE_S = (2.5, 6.0)
"""After the end of faults: whoever stopped by itself meanwhile is started again, then wishes that
were lost with their source and their broker are said again."""


@dataclass(slots=True)
class Faults:
    """All faults of one history."""

    world: World
    script: Sequence[Fault]
    count: int = 0

    def kinds(self) -> dict[str, Callable[[Fault], None]]:
        """Who makes which kind of fault."""
        troubles = (NodeTroubles(self.world), WireTroubles(self.world), UserTroubles(self.world))
        return {kind: do for trouble in troubles for kind, do in trouble.kinds().items()}

    def start(self) -> None:
        """From now on they happen."""
        known = self.kinds()
        for fault in self.script:
            self.world.clockwork.after(
                fault.at_s - self.world.clockwork.now_s, self._due(fault, known[fault.kind])
            )

    def mend(self) -> None:
        """Everything works from here on, and everybody is there."""
        world = self.world
        world.judge.note("world", "faults are over")
        world.stalls = 0.0
        world.poison.clear()
        for broker in (world.broker, world.standby):
            broker.relax()
            broker.thaw()
            broker.is_up = True
        for machine in world.processes:
            machine.go_astray(False)
            if machine.clock.rate:
                machine.clock.run_at(machine.clock.usual_rate)
        for disk in world.disks.values():
            disk.is_full, disk.spoils, disk.slow_s = False, 0.0, 0.0
        world.network.heal()
        self._boot_all()
        world.clockwork.after(LATE_S[0], self._boot_all)
        world.clockwork.after(LATE_S[1], self._want_again)

    def _due(self, fault: Fault, do: Callable[[Fault], None]) -> Callable[[], None]:
        def happen() -> None:
            self.count += 1
            self.world.judge.note("script", str(fault))
            do(fault)

        return happen

    def _boot_all(self) -> None:
        for name in self.world.tiers:
            machine = self.world.machines[name]
            if machine.is_alive and machine.client in self.world.broker.dialects:
                self.world.crash(name)
            self.world.network.foreign.discard(name)
            self.world.boot(name)

    def _want_again(self) -> None:
        """Broker and source may both have forgotten a wish: its user says it again."""
        for name, source in self.world.sources.items():
            view = self.world.machines[source].core.parts.deployments.views.get(name)
            spec = view.spec if view is not None else None
            if spec is None or (not spec.removed and spec.policy != "mincut"):
                self.world.want(name, source)
