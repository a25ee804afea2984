"""A simulated machine: carries out a NodeCore's effects in virtual time.

It is the other shell beside `edgeflow.io.loop`: the core is the very same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edgeflow.events import (
    BlobsChecked,
    BrokerDown,
    BrokerUp,
    BuildSegment,
    Calibrated,
    CheckBlobs,
    ChunkStored,
    CloseLink,
    Deliver,
    DropSegment,
    Effect,
    Event,
    Heard,
    LoadManifest,
    ManifestFailed,
    ManifestLoaded,
    OpenLink,
    Publish,
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
    Submitted,
    Tell,
    Tensors,
    Tick,
    Transferred,
)
from edgeflow.messages import BlobChunk, BlobMissing, Caps, State, TensorHead
from edgeflow.node import NodeCore
from edgeflow.sim.broker import Session
from edgeflow.sim.toy import MODEL, TOY, Value, compute

if TYPE_CHECKING:
    from edgeflow.sim.world import World

TICK_S = 0.1
SPEED_BYTES_PER_S = 20e6
"""Of every simulated link."""


@dataclass(slots=True)
class Disk:
    """What survives a restart."""

    blobs: dict[str, int] = field(default_factory=dict)
    """sha256 -> bytes."""


class Machine:
    """One life of one node, from start to crash."""

    def __init__(self, world: World, caps: Caps, disk: Disk) -> None:
        self.world, self.disk = world, disk
        self.name, self.session = caps.node, caps.session
        self.core = NodeCore(replace(caps, rates=None))
        self.rates = caps.rates
        self.is_alive, self.is_frozen = True, False
        self.backlog: list[Event] = []
        self.connection = 0
        self.is_connected = False
        self.bundles: dict[int, dict[str, Value]] = {}
        self.next_bundle = 0
        self.partial: dict[str, int] = {}
        self.built: dict[SegmentKey, tuple[str, ...]] = {}
        self.outcomes: dict[int, int] = {}
        """Token -> how many outcomes it got."""
        self.submitted: dict[int, tuple[float, Value]] = {}
        """Token -> (deadline, what the undivided model answers)."""
        self._do: dict[type[Any], Callable[[Any], None]] = {
            Publish: lambda effect: self.world.broker.publish(self.client, effect.message),
            OpenLink: self._open,
            CloseLink: lambda effect: self.world.network.unwish(self.name, effect.peer),
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
            Tell: lambda effect: self.world.note(self.name, effect.sentence),
            Stop: lambda _: self.world.stop(self.name),
        }

    @property
    def client(self) -> str:
        """The MQTT client id: two sessions of a name are two clients."""
        return f"{self.name}-{self.session}"

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
        effects = self.world.judge.watch(self, event)
        for effect in effects:
            if self.is_alive:
                self._do[type(effect)](effect)

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
        bundle = self.keep({"image": image})
        self.hear(Submitted(token, deployment, bundle, (head,), 150528, deadline_s))

    def keep(self, values: dict[str, Value]) -> int:
        """A new bundle."""
        self.next_bundle += 1
        self.bundles[self.next_bundle] = values
        return self.next_bundle

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
        for event in backlog:
            self.hear(event)

    def _cut_off(self) -> None:
        self.is_connected = False
        self.hear(BrokerDown())
        self.world.clockwork.after(self.world.clockwork.jitter(0.5, 2.0), self.connect)

    def _later(self, low_s: float, high_s: float, event: Event) -> None:
        clockwork = self.world.clockwork
        clockwork.after(clockwork.jitter(low_s, high_s), lambda: self.hear(event))

    def _open(self, effect: OpenLink) -> None:
        self.world.network.wish(self.name, self.session, effect.peer, effect.session)

    def _signal(self, effect: SendSignal) -> None:
        to = self.world.machines.get(effect.peer)
        if to is not None:
            event = Signal(self.name, self.session, effect.message)
            self._over(effect.peer, "signals", 100, lambda: to.hear(event))

    def _tensors(self, effect: SendTensors) -> None:
        values = {
            head.name: self.bundles[bundle][head.name]
            for head, bundle in zip(
                effect.message.tensors,
                effect.bundles * len(effect.message.tensors)
                if len(effect.bundles) == 1
                else effect.bundles,
                strict=False,
            )
        }
        size_bytes = sum(TOY.tensors[name].nbytes for name in values) + 100
        to = self.world.machines.get(effect.peer)
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
        to = self.world.machines.get(effect.peer)
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

    def store(self, peer: str, chunk: BlobChunk, size_bytes: int) -> None:
        """A piece arrived; now and then the disk spoils a blob, and the sha256 tells."""
        if not self.is_alive:
            return
        stored = chunk.offset_bytes + size_bytes
        self.partial[chunk.sha256] = stored
        is_complete = stored >= chunk.total_bytes
        is_sound = is_complete and self.world.clockwork.random.random() > self.world.spoils
        if is_complete and is_sound:
            self.disk.blobs[chunk.sha256] = chunk.total_bytes
        self.hear(ChunkStored(peer, chunk, stored, is_complete, is_sound))

    def _manifest(self, effect: LoadManifest) -> None:
        if effect.model in self.disk.blobs:
            self._later(0.001, 0.02, ManifestLoaded(MODEL, TOY))
        else:
            self._later(0.001, 0.02, ManifestFailed(effect.model, True, "not here"))

    def _check(self, effect: CheckBlobs) -> None:
        missing = tuple(blob for blob in effect.blobs if blob[0] not in self.disk.blobs)
        self._later(0.001, 0.02, BlobsChecked(effect.model, effect.purpose, missing))

    def _build(self, effect: BuildSegment) -> None:
        self.built[effect.key] = effect.layers
        self._later(0.01, 0.2, SegmentBuilt(effect.key, "symbolic"))

    def _run(self, effect: RunSegment) -> None:
        given = {
            name: value
            for bundle in effect.bundles
            for name, value in self.bundles[bundle].items()
        }
        layers = self.built[effect.key]
        made = compute(layers, given)
        seconds = self.world.clockwork.jitter(0.005, 0.08)

        def done() -> None:
            if self.is_alive:
                self.hear(SegmentDone(effect.job, self.keep(made), 1000, seconds))

        self.world.clockwork.after(seconds, done)

    def _deliver(self, effect: Deliver) -> None:
        self.outcomes[effect.token] = self.outcomes.get(effect.token, 0) + 1
        values = {
            name: self.bundles[bundle][name]
            for name, bundle in zip(effect.names, effect.bundles, strict=True)
        }
        self.world.judge.on_outcome(self, effect, values)

    def _crossing_s(self, size_bytes: int) -> float:
        return self.world.clockwork.jitter(0.001, 0.03) + size_bytes / SPEED_BYTES_PER_S

    def _over(self, peer: str, lane: str, size_bytes: int, arrive: Callable[[], None]) -> None:
        self.world.network.send(self.name, peer, lane, self._crossing_s(size_bytes), arrive)
