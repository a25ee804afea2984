"""One life of one simulated node, from start to crash: its clock, its connection, its pauses.

    awake ──freeze──▶ asleep: what comes waits; peers and broker give it up ──▶ awake: all at once

Invariant: a frozen machine's core hears nothing, and afterwards everything in the order it came.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgeflow.events import (
    BrokerDown,
    BrokerUp,
    Calibrated,
    Event,
    Heard,
    Submitted,
    Tick,
    Withdrawn,
)
from edgeflow.layout.headers import heads
from edgeflow.messages import Caps, State
from edgeflow.mind.node import NodeCore
from edgeflow.sim.body import Disk, Surroundings
from edgeflow.sim.broker import PATIENCE_S, Broker, Session
from edgeflow.sim.hands import Hands
from edgeflow.sim.timepiece import Timepiece
from edgeflow.sim.toy import Part

TICK_S = 0.1


class Machine(Hands):
    """A process."""

    def __init__(self, world: Surroundings, caps: Caps, disk: Disk) -> None:
        super().__init__(world, NodeCore(replace(caps, rates=None)), disk)
        self.rates = caps.rates
        self.is_frozen = False
        self.is_astray = False
        """It reaches the stand-by broker only."""
        self.backlog: list[Event] = []
        self.connection = 0
        self.is_connected = False
        self.clock = Timepiece(world.clockwork)

    @property
    def broker(self) -> Broker:
        """The one that it talks to."""
        return self.world.standby if self.is_astray else self.world.broker

    def clock_s(self) -> float:
        """Its own time."""
        return self.clock.now_s()

    def start(self) -> None:
        """Calibrate, connect, tick."""
        clockwork = self.world.clockwork
        clockwork.after(clockwork.jitter(0.5, 1.5), lambda: self.hear(Calibrated(self.rates)))
        clockwork.after(clockwork.jitter(0.01, 0.3), self.connect)
        clockwork.after(clockwork.jitter(0.0, TICK_S), self._tick)

    def connect(self) -> None:
        """To the broker, unless it is down: then again in a while."""
        broker, clockwork = self.broker, self.world.clockwork
        if not self.is_alive or self.is_connected:
            return
        if self.is_frozen or not broker.takes_calls:
            clockwork.after(clockwork.jitter(0.5, 2.0), self.connect)
            return
        self.connection += 1
        self.is_connected = True
        will = State(self.name, self.session, self.connection, "lost")
        broker.connect(
            Session(
                self.client,
                lambda message, retained: self.hear(Heard(message, retained)),
                lambda: self.hear(BrokerUp(self.connection)),
                self._cut_off,
                will,
            )
        )

    def go_astray(self, is_astray: bool) -> None:
        """Leave this broker for the other one."""
        if self.is_astray != is_astray:
            old, self.is_astray = self.broker, is_astray
            old.lose(self.client)

    def hear(self, event: Event) -> None:
        """Pass an event to the core and do what it asks; a frozen machine hears it later."""
        if not self.is_alive:
            return
        if self.is_frozen:
            self.backlog.append(event)
            return
        for effect in self.world.judge.watch(self, event):
            if self.is_alive:
                self.obey(effect)

    def freeze(self, for_s: float, *, stops_clock: bool = False) -> None:
        """Stand still, then find everything that came meanwhile."""
        if not self.is_alive or self.is_frozen:
            return
        self.is_frozen = True
        if stops_clock:
            self.clock.run_at(0.0)
        clockwork = self.world.clockwork
        clockwork.after(for_s, self._thaw)
        if self.is_reached():
            self.world.network.sleep(self.name)
        broker, patience_s = self.broker, clockwork.jitter(*PATIENCE_S)
        if for_s > patience_s:
            clockwork.after(patience_s, lambda: broker.lose(self.client))

    def jump(self, seconds: float) -> None:
        """The clock goes on by so much at once."""
        if self.is_alive:
            self.clock.jump(seconds)
            self.woke_s = self.clock_s()

    def submit(self, token: int, deployment: str, deadline_s: float) -> None:
        """One frame of this process."""
        image = token * 1_000 + self.session
        self.submitted[token] = (self.clock_s() + deadline_s, image)
        toy = self.world.toy
        tensors = heads(toy.graph, [toy.image.name])
        bundle = self.keep({toy.image.name: Part(image)})
        self.hear(Submitted(token, deployment, bundle, tensors, toy.image.nbytes, deadline_s))

    def withdraw(self, token: int) -> None:
        """Its user does not want that frame any more."""
        self.hear(Withdrawn(token))

    def _tick(self) -> None:
        if self.is_alive:
            if not self.is_frozen:
                self.hear(Tick())
            self.world.clockwork.after(TICK_S / (self.clock.rate or 1.0), self._tick)

    def _thaw(self) -> None:
        self.is_frozen = False
        if not self.clock.rate:
            self.clock.run_at(self.clock.usual_rate)
        self.woke_s = self.clock_s()
        backlog, self.backlog = self.backlog, []
        if self.is_alive and self.world.clockwork.random.random() < 0.5:
            # The loop may look at the clock before it looks at what came.
            self.hear(Tick())
        for event in backlog:
            self.hear(event)
        if self.is_alive and self.is_reached():
            self.world.network.wake(self.name)

    def _cut_off(self) -> None:
        self.is_connected = False
        self.hear(BrokerDown())
        self.world.clockwork.after(self.world.clockwork.jitter(0.5, 2.0), self.connect)
