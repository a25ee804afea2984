"""A node of the field in weather: its jobs and messages take what Nature says, and it measures.

    RunSegment  ─▶ true seconds · noise ─▶ SegmentDone, of some runs with seconds of each layer
    SendTensors ─▶ behind what is on the link already ─▶ receipt ─▶ Transferred
    each second ─▶ Sampled

What is measured, when and how, is `edgeflow.estimation.timings` and `edgeflow.estimation.receipts`:
those of the field.

Invariant: the core learns of Nature only what it would learn on machines.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from edgeflow.estimation.receipts import UNASKED, Receipts
from edgeflow.estimation.timings import is_timed
from edgeflow.events import (
    BuildSegment,
    Deliver,
    Event,
    LinkDown,
    Sampled,
    SegmentKey,
    SendProbe,
)
from edgeflow.messages import Caps, Receipt
from edgeflow.sim.body import Disk, Surroundings
from edgeflow.sim.machine import TICK_S, Machine
from edgeflow.sim.weather.nature import Nature

RUN_NOISE, LAYER_NOISE, WIRE_NOISE = 0.05, 0.05, 0.03
"""Of a run, of each of its layers beside the others, of a message: deviation of the log."""
LOOP_S = 0.0005
"""A shell takes about so long to turn to a message."""
RECEIPT_BYTES = 100
SAMPLE_TICKS = round(1.0 / TICK_S)
FREE_BYTES = 4 << 30


class Field(Surroundings, Protocol):
    """A world with a Nature."""

    nature: Nature

    def on_heard(self, station: Station) -> None:
        """A station is about to think."""

    def on_answer(self, effect: Deliver) -> None:
        """One frame ended."""


class Station(Machine):
    """A process in the field."""

    world: Field

    def __init__(self, world: Field, caps: Caps, disk: Disk) -> None:
        super().__init__(world, caps, disk)
        self.runs: Counter[SegmentKey] = Counter()
        self.receipts = Receipts(is_shared=False)
        self.serial = UNASKED
        self.free_s: dict[str, float] = {}
        """By peer, of a radio by "": when the link has no more bytes of ours."""
        self.busy_s = 0.0
        """Computed since the last sample."""
        self.ticks = 0

    def hear(self, event: Event) -> None:
        """As every machine; what is on its way when a link breaks has no receipt."""
        if isinstance(event, LinkDown):
            self.receipts.forget(event.peer)
            self.free_s.pop(event.peer, None)
        self.world.on_heard(self)
        super().hear(event)

    # --- computing -----------------------------------------------------------------------------

    def warm(self, built: BuildSegment) -> tuple[float, ...]:
        """The first run of layers that no built segment has."""
        alike = (built.model, built.layers, built.tile)
        if any((each.model, each.layers, each.tile) == alike for each in self.built.values()):
            return ()
        return self._measured(built)

    def takes(self, built: BuildSegment) -> tuple[float, tuple[float, ...]]:
        """Layers one after the other, as slow as the machine is now."""
        self.runs[built.key] += 1
        layers_s = self._measured(built)
        seconds = sum(layers_s)
        self.busy_s += seconds
        return seconds, layers_s if is_timed(self.runs[built.key]) else ()

    def _measured(self, built: BuildSegment) -> tuple[float, ...]:
        now_s = self.world.clockwork.now_s
        true_s = self.world.nature.seconds(self.name, built.layers, built.tile, now_s)
        run = self._noise(RUN_NOISE)
        return tuple(each * run * self._noise(LAYER_NOISE) for each in true_s)

    def _tick(self) -> None:
        self.ticks += 1
        if self.is_alive and self.ticks % SAMPLE_TICKS == 0:
            load = self.world.nature.loads[self.name].at(self.world.clockwork.now_s)
            own, self.busy_s = min(1.0, self.busy_s), 0.0
            self.hear(Sampled(100 * (load + (1 - load) * own), 1 << 28, None, False, FREE_BYTES))
        super()._tick()

    # --- sending -------------------------------------------------------------------------------

    def _probe(self, effect: SendProbe) -> None:
        self._on_lane(effect.peer, effect.message.size_bytes, lambda: None, asks=True)

    def _over(self, peer: str, lane: str, size_bytes: int, arrive: Callable[[], None]) -> None:
        if lane == "tensors":
            self._on_lane(peer, size_bytes, arrive, asks=False)
        elif self.is_reached():
            # Signals overtake what waits, as packets of another connection would.
            left_s = self.world.nature.left_s(self.name, peer, size_bytes, self._now_s)
            self._send(peer, lane, size_bytes, left_s, arrive)

    def _on_lane(
        self, peer: str, size_bytes: int, arrive: Callable[[], None], *, asks: bool
    ) -> None:
        """Behind all that left for this peer before; with a receipt where one is wanted."""
        if not self.is_reached():
            return
        clock_s, serial = self.clock_s(), UNASKED
        if asks or self.receipts.wants(peer, size_bytes, clock_s):
            self.serial = serial = self.serial + 1
            self.receipts.sent(peer, serial, size_bytes, clock_s)
        else:
            self.receipts.unasked(peer, size_bytes)

        def landed() -> None:
            self.world.clockwork.after(self.world.nature.costs[peer].handling_s, arrive)
            to = self.world.hands_of(peer)
            if serial != UNASKED and isinstance(to, Station):
                to.acknowledge(self, Receipt(serial, size_bytes))

        air = "" if self.name in self.world.nature.weather.radios else peer
        start_s = max(self._now_s, self.free_s.get(air, 0.0))
        bytes_ = size_bytes * self._noise(WIRE_NOISE)
        self.free_s[air] = self.world.nature.left_s(self.name, peer, bytes_, start_s)
        self._send(peer, "tensors", size_bytes, self.free_s[air], landed)

    def acknowledge(self, sender: Station, receipt: Receipt) -> None:
        """Say on the other lane that a message came."""

        def heard() -> None:
            event = sender.receipts.came(self.name, receipt, sender.clock_s())
            if event is not None:
                sender.hear(event)

        self._over(sender.name, "signals", RECEIPT_BYTES, heard)

    def _send(
        self, peer: str, lane: str, size_bytes: int, left_s: float, arrive: Callable[[], None]
    ) -> None:
        crossing_s = left_s - self._now_s + self.world.nature.delay_s(self.name, peer)
        crossing_s += self.world.clockwork.random.expovariate(1 / LOOP_S)
        self.world.network.send(self.name, peer, lane, size_bytes, crossing_s, arrive)

    # --- the user ------------------------------------------------------------------------------

    def _deliver(self, effect: Deliver) -> None:
        super()._deliver(effect)
        self.world.on_answer(effect)

    @property
    def _now_s(self) -> float:
        return self.world.clockwork.now_s

    def _noise(self, deviation: float) -> float:
        return math.exp(self.world.clockwork.random.gauss(0.0, deviation))
