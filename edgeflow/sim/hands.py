"""Carries a NodeCore's effects out in virtual time: the disk, the links, the engine of one machine.

It is the other shell beside `edgeflow.io.loop`: the core is the very same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeflow.events import (
    BlobsChecked,
    BuildSegment,
    CheckBlobs,
    ChunkStored,
    CloseLink,
    Deliver,
    DropSegment,
    Effect,
    Event,
    LoadManifest,
    ManifestFailed,
    ManifestLoaded,
    OpenLink,
    Publish,
    Quarantine,
    Release,
    RunSegment,
    SegmentBuilt,
    SegmentDone,
    SegmentKey,
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
from edgeflow.headers import size_bytes as heads_bytes
from edgeflow.messages import BlobChunk, BlobMissing
from edgeflow.node import NodeCore
from edgeflow.sim.broker import Broker
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.judge import Judge
from edgeflow.sim.network import Network
from edgeflow.sim.toy import MODEL, TOY, Value, Values, compute, taken

SPEED_BYTES_PER_S = 20e6
"""Of every simulated link."""


@dataclass(slots=True)
class Disk:
    """What survives a restart."""

    blobs: dict[str, int] = field(default_factory=dict)
    """sha256 -> bytes."""


class Surroundings(Protocol):
    """What a machine needs of the world."""

    clockwork: Clockwork
    broker: Broker
    network: Network
    judge: Judge
    spoils: float
    """Share of blobs that arrive with other bytes."""
    stalls: float
    """Share of messages that a radio holds up, with all that come after them."""

    def hands_of(self, name: str) -> Hands | None:
        """The process of that name that links reach."""

    def stop(self, machine: Hands) -> None:
        """A process ended by itself."""


class Hands(ABC):
    """Everything of a machine but its life."""

    def __init__(self, world: Surroundings, core: NodeCore, disk: Disk) -> None:
        self.world, self.core, self.disk = world, core, disk
        self.is_alive = True
        self.bundles: dict[int, Values] = {}
        self.next_bundle = 0
        self.partial: dict[str, int] = {}
        self.built: dict[SegmentKey, BuildSegment] = {}
        self.outcomes: dict[int, int] = {}
        """Token -> how many outcomes it got."""
        self.submitted: dict[int, tuple[float, Value]] = {}
        """Token -> (deadline, what the undivided model answers)."""
        self._do: dict[type[Any], Callable[[Any], object]] = {
            Publish: lambda effect: self.world.broker.publish(self.client, effect.message),
            OpenLink: self._open,
            CloseLink: self._close,
            SendSignal: self._signal,
            SendTensors: self._tensors,
            SendProbe: self._probe,
            SendChunk: self._chunk,
            LoadManifest: self._manifest,
            CheckBlobs: self._check,
            BuildSegment: self._build,
            DropSegment: lambda effect: self.built.pop(effect.key, None),
            RunSegment: self._run,
            Release: lambda effect: self.bundles.pop(effect.bundle),
            Deliver: self._deliver,
            Quarantine: lambda _: None,
            Tell: lambda effect: self.world.judge.note(self.name, effect.sentence),
            Stop: lambda _: self.world.stop(self),
        }

    @property
    def name(self) -> str:
        """Of the node."""
        return self.core.parts.me

    @property
    def session(self) -> int:
        """Of this life."""
        return self.core.parts.session

    @property
    def client(self) -> str:
        """The MQTT client id: two sessions of a name are two clients."""
        return f"{self.name}-{self.session}"

    @abstractmethod
    def clock_s(self) -> float:
        """Its own time."""

    @abstractmethod
    def hear(self, event: Event) -> None:
        """Pass an event to the core and do what it asks."""

    def obey(self, effect: Effect) -> None:
        """Carry one effect out."""
        self._do[type(effect)](effect)

    def keep(self, values: Values) -> int:
        """A new bundle."""
        self.next_bundle += 1
        self.bundles[self.next_bundle] = values
        return self.next_bundle

    def store(self, peer: str, chunk: BlobChunk, size_bytes: int) -> None:
        """A piece arrived; now and then the disk spoils a blob, and the sha256 tells.

        A piece that does not begin where the last one ended changes nothing, as in `io.store`.
        """
        if not self.is_alive:
            return
        sha256, total = chunk.sha256, chunk.total_bytes
        stored = self.partial.get(sha256, 0)
        if stored != chunk.offset_bytes:
            self.hear(ChunkStored(peer, chunk, stored, False, False))
            return
        stored = self.partial[sha256] = stored + size_bytes
        is_complete = stored >= total
        is_sound = is_complete and self.world.clockwork.random.random() > self.world.spoils
        if is_complete:
            del self.partial[sha256]
        if is_sound:
            self.disk.blobs[sha256] = total
        self.hear(ChunkStored(peer, chunk, stored, is_complete, is_sound))

    def _later(self, low_s: float, high_s: float, event: Event) -> None:
        clockwork = self.world.clockwork
        clockwork.after(clockwork.jitter(low_s, high_s), lambda: self.hear(event))

    # --- links ---------------------------------------------------------------------------------

    def _is_reached(self) -> bool:
        """Links belong to the newest process of a name."""
        return self.world.hands_of(self.name) is self

    def _open(self, effect: OpenLink) -> None:
        if self._is_reached():
            self.world.network.wish(self.name, self.session, effect.peer, effect.session)

    def _close(self, effect: CloseLink) -> None:
        if self._is_reached():
            self.world.network.unwish(self.name, effect.peer)

    def _signal(self, effect: SendSignal) -> None:
        to = self.world.hands_of(effect.peer)
        if to is not None:
            event = Signal(self.name, self.session, effect.message)
            self._over(effect.peer, "signals", 100, lambda: to.hear(event))

    def _tensors(self, effect: SendTensors) -> None:
        heads = effect.message.tensors
        given = [self.bundles[bundle] for bundle in effect.bundles]
        values = {head.name: taken(given, head.name, head.rect) for head in heads}
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
        event = Transferred(effect.peer, effect.message.size_bytes, seconds)
        self._over(effect.peer, "tensors", effect.message.size_bytes, lambda: self.hear(event))

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
        if self._is_reached():
            crossing_s = self._crossing_s(size_bytes)
            self.world.network.send(self.name, peer, lane, crossing_s, arrive)

    # --- slow work -----------------------------------------------------------------------------

    def _manifest(self, effect: LoadManifest) -> None:
        if effect.model in self.disk.blobs:
            self._later(0.001, 0.02, ManifestLoaded(MODEL, TOY))
        else:
            self._later(0.001, 0.02, ManifestFailed(effect.model, True, "not here"))

    def _check(self, effect: CheckBlobs) -> None:
        missing = tuple(blob for blob in effect.blobs if blob[0] not in self.disk.blobs)
        self._later(0.001, 0.02, BlobsChecked(effect.model, effect.purpose, missing))

    def _build(self, effect: BuildSegment) -> None:
        self.built[effect.key] = effect
        self._later(0.01, 0.2, SegmentBuilt(effect.key, "symbolic"))

    def _run(self, effect: RunSegment) -> None:
        built = self.built[effect.key]
        given = [self.bundles[bundle] for bundle in effect.bundles]
        made = compute(built.layers, given, built.tile)
        seconds = self.world.clockwork.jitter(0.005, 0.08)

        def done() -> None:
            if self.is_alive:
                self.hear(SegmentDone(effect.job, self.keep(made), 1000, seconds))

        self.world.clockwork.after(seconds, done)

    def _deliver(self, effect: Deliver) -> None:
        self.outcomes[effect.token] = self.outcomes.get(effect.token, 0) + 1
        given = [self.bundles[bundle] for bundle in effect.bundles]
        values = {name: taken(given, name).value for name in effect.names}
        self.world.judge.on_outcome(self, effect, values)
