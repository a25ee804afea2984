"""What goes wrong in a history, and how all of it is mended.

    processes   killed, restarted, frozen, drained, started twice under one name; disks emptied
    broker      restarted empty, as it was, or as it was a while ago; drops, doubles; nodes that it
                loses, that hear nothing, or are not heard
    links       cut, stalled, and blobs spoiled          users   remove and deploy again

Invariant: after `mend` nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.events import Asked
from edgeflow.messages import DEVICE, EDGE, ControlMessage
from edgeflow.sim.world import World


@dataclass(slots=True)
class Faults:
    """One random fault after the other until `until_s`."""

    world: World
    until_s: float
    count: int = 0
    backup: dict[str, tuple[ControlMessage, str]] = field(default_factory=dict)
    """Retained messages of a while ago."""

    def next(self) -> None:
        """One fault, then the next in a while."""
        clockwork = self.world.clockwork
        if clockwork.now_s >= self.until_s:
            return
        self.count += 1
        kinds: list[Callable[[str], None]] = [
            self._kill_and_restart,
            self._kill_and_restart,
            self._freeze,
            self._broker_restart,
            self._stress,
            self._sever,
            self._redeploy,
            self._drain,
            self._one_way,
            self._flap,
            self._twin,
        ]
        chance = clockwork.random
        chance.choice(kinds)(chance.choice(list(self.world.tiers)))
        if chance.random() < 0.3:
            self.backup = dict(self.world.broker.retained)
        clockwork.after(clockwork.jitter(0.2, 2.5), self.next)

    def mend(self) -> None:
        """Everything works from here on, and everybody is there."""
        world = self.world
        world.judge.note("world", "faults are over")
        world.broker.is_up = True
        self._relax()
        world.network.heal()
        self._boot_all()
        world.clockwork.after(3.0, self._boot_all)
        world.clockwork.after(9.0, self._want_again)

    def _boot_all(self) -> None:
        for name in self.world.tiers:
            self.world.boot(name)

    def _want_again(self) -> None:
        """Broker and source may both have forgotten a wish: its user says it again."""
        for name, source in self.world.sources.items():
            view = self.world.machines[source].core.parts.deployments.views.get(name)
            if view is None or view.spec is None:
                self.world.want(name, source)

    def _after(self, low_s: float, high_s: float, action: Callable[[], None]) -> None:
        clockwork = self.world.clockwork
        clockwork.after(clockwork.jitter(low_s, high_s), action)

    # --- processes -----------------------------------------------------------------------------

    def _kill_and_restart(self, name: str) -> None:
        self.world.crash(name)
        if self.world.tiers[name] == EDGE and self.world.clockwork.random.random() < 0.3:
            self.world.disks[name].blobs.clear()
        self._after(0.1, 6.0, lambda: self.world.boot(name))

    def _freeze(self, name: str) -> None:
        self.world.judge.note(name, "is frozen")
        self.world.judge.has_frozen.add(name)
        self.world.machines[name].freeze(self.world.clockwork.jitter(0.2, 5.0))

    def _drain(self, name: str) -> None:
        if self.world.tiers[name] == DEVICE:
            return
        self.world.judge.note(name, "is asked to drain")
        self.world.machines[name].hear(Asked("the simulator asks"))
        self._after(5.0, 10.0, lambda: self.world.boot(name))

    def _twin(self, name: str) -> None:
        self.world.judge.note(name, "is started a second time")
        self.world.boot(name, twin=True)

    # --- the broker ----------------------------------------------------------------------------

    def _broker_restart(self, name: str) -> None:
        broker, chance = self.world.broker, self.world.clockwork.random.random()
        kept = {} if chance < 0.4 else dict(broker.retained) if chance < 0.7 else dict(self.backup)
        self.world.judge.note("broker", f"restarts with {len(kept)} retained messages")
        broker.crash(kept)

        def up() -> None:
            broker.is_up = True

        self._after(0.1, 3.0, up)

    def _stress(self, name: str) -> None:
        self.world.judge.note("world", "the broker drops and doubles, links stall, blobs spoil")
        broker = self.world.broker
        broker.drops, broker.doubles = 0.2, 0.2
        self.world.spoils, self.world.stalls = 0.1, 0.05
        self._after(0.5, 4.0, self._relax)

    def _one_way(self, name: str) -> None:
        machine, broker = self.world.machines[name], self.world.broker
        is_deaf = self.world.clockwork.random.random() < 0.5
        self.world.judge.note(name, "hears nothing" if is_deaf else "is not heard")
        (broker.deaf if is_deaf else broker.mute).add(machine.client)
        self._after(0.5, 8.0, self._relax)

    def _flap(self, name: str) -> None:
        self.world.judge.note(name, "loses its connection to the broker")
        self.world.broker.lose(self.world.machines[name].client)

    def _relax(self) -> None:
        broker = self.world.broker
        broker.drops, broker.doubles = 0.0, 0.0
        self.world.spoils, self.world.stalls = 0.0, 0.0
        broker.deaf.clear()
        broker.mute.clear()

    # --- links and users -----------------------------------------------------------------------

    def _sever(self, name: str) -> None:
        chance = self.world.clockwork.random
        other = chance.choice([node for node in self.world.tiers if node != name])
        self.world.judge.note(name, f"is cut from {other}")
        self.world.network.sever(name, other)
        if chance.random() < 0.5:
            self._after(0.5, 5.0, self.world.network.heal)

    def _redeploy(self, name: str) -> None:
        chance = self.world.clockwork.random
        job = chance.choice(list(self.world.sources))
        source = self.world.sources[job]
        self.world.judge.note(source, f"removes {job}")
        self.world.want(job, source, removed=True)
        if chance.random() < 0.8:
            self._after(0.05, 4.0, lambda: self.world.want(job, source))
