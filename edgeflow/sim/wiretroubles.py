"""What goes wrong between nodes: brokers and links.

Invariant: whatever begins here for a while ends by itself, at the latest with `Faults.mend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.sim.broker import QUEUE_MAX, Retained
from edgeflow.sim.script import Fault
from edgeflow.sim.world import World

EMPTY, OLDER = 0.4, 0.7
"""`much` of a restart: below the first the broker lost all, above the second it is a while back."""
SLOWEST_BYTES_PER_S, FASTEST_BYTES_PER_S = 2e5, 5e6
BLINK_S = 0.7
"""A flapping link comes or goes this often."""


@dataclass(slots=True)
class WireTroubles:
    """One handler a kind."""

    world: World
    backup: Retained = field(default_factory=dict)
    """What the broker had retained at the last fault of any broker."""

    def kinds(self) -> dict[str, Callable[[Fault], None]]:
        """By the names of `edgeflow.sim.script`."""
        return {
            "broker": self._restart,
            "broker-freeze": self._freeze,
            "stress": self._stress,
            "squeeze": self._squeeze,
            "deaf": lambda fault: self._ear(fault, self.world.broker.deaf),
            "mute": lambda fault: self._ear(fault, self.world.broker.mute),
            "flap": self._flap,
            "astray": self._astray,
            "sever": self._sever,
            "one-way": self._one_way,
            "slow": self._slow,
            "blink": self._blink,
            "stall": self._stall,
        }

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self.world.clockwork.after(seconds, action)

    # --- brokers -------------------------------------------------------------------------------

    def _restart(self, fault: Fault) -> None:
        broker = self.world.broker
        kept = dict(broker.retained) if EMPTY <= fault.much < OLDER else {}
        if fault.much >= OLDER:
            kept = dict(self.backup)
        self.backup = dict(broker.retained)
        self.world.judge.note("broker", f"comes back with {len(kept)} retained messages")
        broker.crash(kept)
        self._later(fault.for_s, lambda: setattr(broker, "is_up", True))

    def _freeze(self, fault: Fault) -> None:
        broker = self.world.broker
        if broker.takes_calls:
            broker.freeze()
            self._later(fault.for_s * 1.5, broker.thaw)

    def _stress(self, fault: Fault) -> None:
        broker = self.world.broker
        broker.drops = broker.doubles = 0.4 * fault.much
        self.backup = dict(broker.retained)
        self._later(fault.for_s / 2, broker.relax)

    def _squeeze(self, fault: Fault) -> None:
        broker = self.world.broker
        broker.queue_max = 2 + int(20 * fault.much)
        self._later(fault.for_s, lambda: setattr(broker, "queue_max", QUEUE_MAX))

    def _ear(self, fault: Fault, those: set[str]) -> None:
        client = self.world.machines[fault.node].client
        those.add(client)
        self._later(fault.for_s, lambda: those.discard(client))

    def _flap(self, fault: Fault) -> None:
        machine = self.world.machines[fault.node]
        machine.broker.lose(machine.client)

    def _astray(self, fault: Fault) -> None:
        """Some nodes talk to the stand-by broker for a while: two control planes."""
        names = list(self.world.tiers)
        first = names.index(fault.node)
        count = 1 + int(fault.much * (len(names) - 1))
        machines = [self.world.machines[(names + names)[first + at]] for at in range(count)]
        for machine in machines:
            machine.go_astray(True)

        def back() -> None:
            for machine in machines:
                machine.go_astray(False)

        self._later(fault.for_s * 1.5, back)

    # --- links ---------------------------------------------------------------------------------

    def _mend_later(self, fault: Fault) -> None:
        self._later(fault.for_s, lambda: self.world.network.mend(fault.node, fault.other))

    def _sever(self, fault: Fault) -> None:
        self.world.network.sever(fault.node, fault.other)
        if fault.much < 0.7:
            self._mend_later(fault)

    def _one_way(self, fault: Fault) -> None:
        self.world.network.cut_one_way(fault.node, fault.other)
        self._mend_later(fault)

    def _slow(self, fault: Fault) -> None:
        pair = (min(fault.node, fault.other), max(fault.node, fault.other))
        ratio = FASTEST_BYTES_PER_S / SLOWEST_BYTES_PER_S
        self.world.network.rates[pair] = SLOWEST_BYTES_PER_S * ratio**fault.much
        self._mend_later(fault)

    def _blink(self, fault: Fault) -> None:
        network, times = self.world.network, 1 + int(fault.for_s / BLINK_S / 2)
        for at in range(times):
            self._later(2 * at * BLINK_S, lambda: network.sever(fault.node, fault.other))
            self._later((2 * at + 1) * BLINK_S, lambda: network.mend(fault.node, fault.other))

    def _stall(self, fault: Fault) -> None:
        self.world.stalls = 0.2 * fault.much
        self._later(fault.for_s / 2, lambda: setattr(self.world, "stalls", 0.0))
