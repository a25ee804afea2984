"""One life of one simulated node, from start to crash: its clock, its connection, its pauses."""

from __future__ import annotations

from msgspec.structs import replace

from edgeflow.events import BrokerDown, BrokerUp, Calibrated, Event, Heard, Submitted, Tick
from edgeflow.messages import Caps, State, TensorHead
from edgeflow.node import NodeCore
from edgeflow.sim.broker import Session
from edgeflow.sim.hands import Disk, Hands, Surroundings
from edgeflow.sim.toy import Part

TICK_S = 0.1
CLOCK_RATE = 0.01
"""Clocks run so much faster or slower at most; real ones 100 times less."""


class Machine(Hands):
    """A process. Its clock starts anywhere and runs at a rate of its own."""

    def __init__(self, world: Surroundings, caps: Caps, disk: Disk) -> None:
        super().__init__(world, NodeCore(replace(caps, rates=None)), disk)
        self.rates = caps.rates
        self.is_frozen = False
        self.backlog: list[Event] = []
        self.connection = 0
        self.is_connected = False
        chance = world.clockwork.random
        self.clock_rate = 1 + CLOCK_RATE * (2 * chance.random() - 1)
        self.clock_start_s = 1e5 * chance.random()

    def clock_s(self) -> float:
        """Its own time."""
        return self.clock_start_s + self.clock_rate * self.world.clockwork.now_s

    def start(self) -> None:
        """Calibrate, connect, tick."""
        clockwork = self.world.clockwork
        clockwork.after(clockwork.jitter(0.5, 1.5), lambda: self.hear(Calibrated(self.rates)))
        clockwork.after(clockwork.jitter(0.01, 0.3), self.connect)
        clockwork.after(clockwork.jitter(0.0, TICK_S), self._tick)

    def connect(self) -> None:
        """To the broker, unless it is down: then again in a while."""
        broker, clockwork = self.world.broker, self.world.clockwork
        if not self.is_alive or self.is_connected:
            return
        if not broker.is_up:
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

    def freeze(self, for_s: float) -> None:
        """Stand still, then find everything that came meanwhile."""
        if self.is_alive and not self.is_frozen:
            self.is_frozen = True
            self.world.clockwork.after(for_s, self._thaw)

    def submit(self, token: int, deployment: str, deadline_s: float) -> None:
        """One frame of this process."""
        image = token * 1_000 + self.session
        self.submitted[token] = (self.world.clockwork.now_s + deadline_s, image)
        head = TensorHead("image", "float32", (1, 3, 112, 112))
        bundle = self.keep({"image": Part(image)})
        self.hear(Submitted(token, deployment, bundle, (head,), 150528, deadline_s))

    def kill(self) -> None:
        """No goodbye."""
        self.is_alive = False

    def _tick(self) -> None:
        if self.is_alive:
            if not self.is_frozen:
                self.hear(Tick())
            self.world.clockwork.after(TICK_S, self._tick)

    def _thaw(self) -> None:
        self.is_frozen = False
        backlog, self.backlog = self.backlog, []
        if self.is_alive and self.world.clockwork.random.random() < 0.5:
            # The loop may look at the clock before it looks at what came.
            self.hear(Tick())
        for event in backlog:
            self.hear(event)

    def _cut_off(self) -> None:
        self.is_connected = False
        self.hear(BrokerDown())
        self.world.clockwork.after(self.world.clockwork.jitter(0.5, 2.0), self.connect)
