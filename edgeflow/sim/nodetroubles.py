"""What goes wrong in nodes: processes, workers, disks, clocks, names taken twice, other versions.

Invariant: whatever begins here for a while ends by itself, at the latest with `Faults.mend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeflow.events import Asked
from edgeflow.messages import DEVICE
from edgeflow.sim.broker import CLUSTER
from edgeflow.sim.dialect import FIRST, NEXT, Dialect, noise
from edgeflow.sim.script import Fault
from edgeflow.sim.world import World

EMPTY_SHARE = 0.3
"""Of killed nodes so many come back without their disk."""
FREEZE_S_MAX = 12.0
JUMP_S_MAX = 20.0


@dataclass(slots=True)
class NodeTroubles:
    """One handler a kind."""

    world: World

    def kinds(self) -> dict[str, Callable[[Fault], None]]:
        """By the names of `edgeflow.sim.script`."""
        return {
            "kill": self._kill,
            "freeze": self._freeze,
            "drain": self._drain,
            "worker": lambda fault: self.world.machines[fault.node].kill_worker(),
            "blackout": self._blackout,
            "disk-empty": self._empty,
            "disk-full": self._fill,
            "disk-spoils": self._spoil,
            "disk-slow": self._slow,
            "rate": self._rate,
            "suspend": self._suspend,
            "jump": lambda fault: self.world.machines[fault.node].jump(fault.much * JUMP_S_MAX),
            "twin": lambda fault: self.world.boot(fault.node, twin=True),
            "older": lambda fault: self._speak(fault, FIRST),
            "newer": lambda fault: self._speak(fault, NEXT),
            "noise": self._noise,
        }

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self.world.clockwork.after(seconds, action)

    # --- processes -----------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        self.world.crash(fault.node)
        if fault.much < EMPTY_SHARE:
            self._empty(fault)
        self._later(fault.for_s, lambda: self.world.boot(fault.node))

    def _freeze(self, fault: Fault) -> None:
        self.world.machines[fault.node].freeze(min(fault.for_s * 2 * fault.much, FREEZE_S_MAX))

    def _drain(self, fault: Fault) -> None:
        if self.world.tiers[fault.node] == DEVICE:
            return
        self.world.machines[fault.node].hear(Asked("the simulator asks"))
        self._later(5.0 + fault.for_s, lambda: self.world.boot(fault.node))

    def _blackout(self, fault: Fault) -> None:
        for name in self.world.tiers:
            self.world.crash(name)
            late_s = self.world.clockwork.jitter(0.0, fault.for_s)
            self._later(late_s, _booting(self.world, name))

    # --- disks ---------------------------------------------------------------------------------

    def _empty(self, fault: Fault) -> None:
        """Not that of a source: nobody else need have the model."""
        if fault.node not in self.world.sources.values():
            self.world.disks[fault.node].blobs.clear()

    def _fill(self, fault: Fault) -> None:
        disk = self.world.disks[fault.node]
        disk.is_full = True
        self._later(fault.for_s, lambda: setattr(disk, "is_full", False))

    def _spoil(self, fault: Fault) -> None:
        disk = self.world.disks[fault.node]
        disk.spoils = 0.5 * fault.much
        self._later(fault.for_s, lambda: setattr(disk, "spoils", 0.0))

    def _slow(self, fault: Fault) -> None:
        disk = self.world.disks[fault.node]
        disk.slow_s = 3.0 * fault.much
        self._later(fault.for_s, lambda: setattr(disk, "slow_s", 0.0))

    # --- clocks --------------------------------------------------------------------------------

    def _rate(self, fault: Fault) -> None:
        clock = self.world.machines[fault.node].clock
        if clock.rate:
            clock.run_at(4.0**fault.much / 2)

        def right() -> None:
            if clock.rate:
                clock.run_at(clock.usual_rate)

        self._later(fault.for_s, right)

    def _suspend(self, fault: Fault) -> None:
        self.world.machines[fault.node].freeze(fault.for_s, stops_clock=True)

    # --- other versions ------------------------------------------------------------------------

    def _speak(self, fault: Fault, dialect: Dialect) -> None:
        """A node is restarted with another version, and later with ours."""
        world, name = self.world, fault.node
        world.crash(name)
        if dialect == NEXT:
            world.network.foreign.add(name)
        world.boot(name, speaks=dialect)
        machine = world.machines[name]

        def back() -> None:
            if world.machines[name] is machine:
                world.crash(name)
                world.network.foreign.discard(name)
                world.boot(name)

        self._later(2.0 + fault.for_s, back)

    def _noise(self, fault: Fault) -> None:
        broker = self.world.broker
        said = [message for message, _ in broker.retained.values()]
        broker.refused += noise(self.world.clockwork.random, CLUSTER, said)


def _booting(world: World, name: str) -> Callable[[], None]:
    return lambda: world.boot(name)
