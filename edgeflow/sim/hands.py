"""Carries a NodeCore's effects out in virtual time: to the broker, over the links, to the user.

It is the other shell beside `edgeflow.io.loop`: the core is the very same.

Invariant: an effect of every kind is carried out, or this does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeflow.events import (
    BuildSegment,
    CheckBlobs,
    CloseLink,
    Deliver,
    DropSegment,
    Effect,
    LoadManifest,
    OpenLink,
    Publish,
    Quarantine,
    Release,
    RunSegment,
    SendChunk,
    SendProbe,
    SendSignal,
    SendTensors,
    Signal,
    Stop,
    Tell,
    Tensors,
    Transferred,
)
from edgeflow.layout.headers import size_bytes as heads_bytes
from edgeflow.messages import BlobChunk, BlobMissing
from edgeflow.mind.node import NodeCore
from edgeflow.sim.body import Body, Disk, Surroundings

SPEED_BYTES_PER_S = 20e6
"""Of every simulated link."""


class Hands(Body):
    """Everything of a machine but its life."""

    def __init__(self, world: Surroundings, core: NodeCore, disk: Disk) -> None:
        super().__init__(world, core, disk)
        self._do: dict[type[Any], Callable[[Any], object]] = {
            Publish: lambda effect: self.broker.publish(self.client, effect.message),
            OpenLink: self._open,
            CloseLink: self._close,
            SendSignal: self._signal,
            SendTensors: self._tensors,
            SendProbe: self._probe,
            SendChunk: self._chunk,
            LoadManifest: self.load,
            CheckBlobs: self.check,
            BuildSegment: self.build,
            DropSegment: lambda effect: self.built.pop(effect.key, None),
            RunSegment: self.run,
            Release: lambda effect: self.bundles.pop(effect.bundle),
            Quarantine: lambda effect: self.bundles[effect.bundle],
            Deliver: self._deliver,
            Tell: lambda effect: self.world.judge.note(self.name, effect.sentence),
            Stop: lambda _: self.world.stop(self),
        }

    def obey(self, effect: Effect) -> None:
        """Carry one effect out."""
        self._do[type(effect)](effect)

    # --- links ---------------------------------------------------------------------------------

    def _open(self, effect: OpenLink) -> None:
        if self.is_reached():
            self.world.network.wish(self.name, self.session, effect.peer, effect.session)

    def _close(self, effect: CloseLink) -> None:
        if self.is_reached():
            self.world.network.unwish(self.name, effect.peer)

    def _signal(self, effect: SendSignal) -> None:
        to = self.world.hands_of(effect.peer)
        if to is not None:
            event = Signal(self.name, self.session, effect.message)
            self._over(effect.peer, "signals", 100, lambda: to.hear(event))

    def _tensors(self, effect: SendTensors) -> None:
        heads = effect.message.tensors
        given = [self.bundles[bundle] for bundle in effect.bundles]
        values = {head.name: self.world.toy.taken(given, head.name, head.rect) for head in heads}
        size_bytes = heads_bytes(heads) + 100
        to = self.world.hands_of(effect.peer)
        if to is None:
            return

        def arrive() -> None:
            bundle = to.keep(values)
            to.hear(Tensors(self.name, self.session, effect.message, bundle, size_bytes))

        self._over(effect.peer, "tensors", size_bytes, arrive)

    def _probe(self, effect: SendProbe) -> None:
        seconds = self._crossing_s(effect.message.size_bytes)
        size_bytes, now_s = effect.message.size_bytes, self.clock_s()
        event = Transferred(effect.peer, size_bytes, seconds, handed_s=now_s)
        self._over(effect.peer, "tensors", size_bytes, lambda: self.hear(event))

    def _chunk(self, effect: SendChunk) -> None:
        to = self.world.hands_of(effect.peer)
        total = self.disk.blobs.get(effect.sha256)
        if to is None:
            return
        if total is None:
            missing = Signal(self.name, self.session, BlobMissing(effect.sha256))
            self._over(effect.peer, "signals", 100, lambda: to.hear(missing))
            return
        size_bytes = min(effect.length_bytes, total - effect.offset_bytes)
        chunk = BlobChunk(effect.sha256, effect.offset_bytes, total)
        self._over(
            effect.peer, "tensors", size_bytes, lambda: to.store(self.name, chunk, size_bytes)
        )

    def _crossing_s(self, size_bytes: int) -> float:
        clockwork = self.world.clockwork
        is_stalled = self.world.stalls > 0 and clockwork.random.random() < self.world.stalls
        slowest_s = 1.5 if is_stalled else 0.03
        return clockwork.jitter(0.001, slowest_s) + size_bytes / SPEED_BYTES_PER_S

    def _over(self, peer: str, lane: str, size_bytes: int, arrive: Callable[[], None]) -> None:
        if self.is_reached():
            crossing_s = self._crossing_s(size_bytes)
            self.world.network.send(self.name, peer, lane, size_bytes, crossing_s, arrive)

    # --- the user ------------------------------------------------------------------------------

    def _deliver(self, effect: Deliver) -> None:
        self.outcomes[effect.token] = self.outcomes.get(effect.token, 0) + 1
        given = [self.bundles[bundle] for bundle in effect.bundles]
        values = {name: self.world.toy.taken(given, name).value for name in effect.names}
        self.world.judge.on_outcome(self, effect, values)
