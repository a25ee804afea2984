"""What one simulated process has: bundles, a disk, and a worker process that computes.

    RunSegment ─▶ works ─▶ SegmentDone
                    '── the worker dies ─▶ SegmentFailed(worker-died), and none for a while

Invariant: a job is answered once, to the process that asked for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from edgeflow.events import (
    BlobsChecked,
    BuildSegment,
    CheckBlobs,
    ChunkStored,
    Event,
    LoadManifest,
    ManifestFailed,
    ManifestLoaded,
    RunSegment,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.messages import BlobChunk
from edgeflow.mind.node import NodeCore
from edgeflow.sim.broker import Broker
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.judge import Judge
from edgeflow.sim.network import Network
from edgeflow.sim.shadow import Shadow
from edgeflow.sim.toy import Toy, Value, Values

READ_S, BUILD_S = (0.001, 0.02), (0.01, 0.2)
"""How long the disk takes to be asked, and a segment to be built."""
RESPAWN_S = (0.5, 2.0)
"""So long there is no worker after one died."""


@dataclass(slots=True)
class Disk:
    """What survives a restart."""

    blobs: dict[str, int] = field(default_factory=dict)
    """sha256 -> bytes."""
    is_full: bool = False
    """No piece can be stored."""
    spoils: float = 0.0
    """Share of blobs that it spoils while they are stored."""
    slow_s: float = 0.0
    """Reading and checking take up to so much longer."""


class Surroundings(Protocol):
    """What a machine needs of the world."""

    clockwork: Clockwork
    broker: Broker
    standby: Broker
    network: Network
    judge: Judge
    toy: Toy
    poison: set[Value]
    """Inputs on which every worker dies."""
    stalls: float
    """Share of messages that a radio holds up, with all that come after them."""

    def hands_of(self, name: str) -> Body | None:
        """The process of that name that links reach."""

    def stop(self, machine: Body) -> None:
        """A process ended by itself."""


class Body(ABC):
    """A process without its connections."""

    def __init__(self, world: Surroundings, core: NodeCore, disk: Disk) -> None:
        self.world, self.core, self.disk = world, core, disk
        self.is_alive = True
        self.bundles: dict[int, Values] = {}
        self.next_bundle = 0
        self.partial: dict[str, int] = {}
        self.built: dict[SegmentKey, BuildSegment] = {}
        self.shadow = Shadow()
        self.outcomes: dict[int, int] = {}
        """Token -> how many outcomes it got."""
        self.submitted: dict[int, tuple[float, Value]] = {}
        """Token -> (deadline on its own clock, the image)."""
        self.woke_s = float("-inf")
        """On its own clock: when it last stood still, or when its clock jumped."""
        self.doomed: set[int] = set()
        """Jobs whose worker was killed."""
        self.worker_s = 0.0
        """When there is a worker again."""

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

    @property
    @abstractmethod
    def broker(self) -> Broker:
        """The one that it talks to."""

    @abstractmethod
    def clock_s(self) -> float:
        """Its own time."""

    @abstractmethod
    def hear(self, event: Event) -> None:
        """Pass an event to the core and do what it asks."""

    def is_reached(self) -> bool:
        """Links belong to the newest process of a name."""
        return self.world.hands_of(self.name) is self

    def keep(self, values: Values) -> int:
        """A new bundle."""
        self.next_bundle += 1
        self.bundles[self.next_bundle] = values
        return self.next_bundle

    def kill_worker(self) -> None:
        """The process that computes dies; what it had at hand is lost."""
        clockwork, stage = self.world.clockwork, self.core.parts.stage
        if stage.running is not None:
            self.doomed.add(stage.job)
        else:
            self.worker_s = clockwork.now_s + clockwork.jitter(*RESPAWN_S)

    # --- the disk ------------------------------------------------------------------------------

    def store(self, peer: str, chunk: BlobChunk, size_bytes: int) -> None:
        """A piece arrived; a full disk takes none, a bad one spoils it, and the sha256 tells.

        A piece that does not begin where the last one ended changes nothing, as in `io.store`.
        """
        if not self.is_alive:
            return
        sha256, total = chunk.sha256, chunk.total_bytes
        if self.disk.is_full:
            self.hear(ChunkStored(peer, chunk, 0, True, False))
            return
        stored = self.partial.get(sha256, 0)
        if stored != chunk.offset_bytes:
            self.hear(ChunkStored(peer, chunk, stored, False, False))
            return
        stored = self.partial[sha256] = stored + size_bytes
        is_complete = stored >= total
        is_sound = is_complete and self.world.clockwork.random.random() >= self.disk.spoils
        if is_complete:
            del self.partial[sha256]
        if is_sound:
            self.disk.blobs[sha256] = total
        self.hear(ChunkStored(peer, chunk, stored, is_complete, is_sound))

    def load(self, effect: LoadManifest) -> None:
        """A model's manifest, if it is here."""
        if effect.model in self.disk.blobs:
            self._after_disk(READ_S, ManifestLoaded(effect.model, self.world.toy.graph))
        else:
            self._after_disk(READ_S, ManifestFailed(effect.model, True, "not here"))

    def check(self, effect: CheckBlobs) -> None:
        """Which weights are not here."""
        missing = tuple(blob for blob in effect.blobs if blob[0] not in self.disk.blobs)
        self._after_disk(READ_S, BlobsChecked(effect.model, effect.purpose, missing))

    def build(self, effect: BuildSegment) -> None:
        """A segment, if its weights are here."""
        graph = self.world.toy.graph
        weights = (graph.weights[name].sha256 for name in graph.weights_of(effect.layers))
        if not all(sha256 in self.disk.blobs for sha256 in weights):
            self._after_disk(
                BUILD_S, SegmentUnbuildable(effect.key, "a weight is not in the store")
            )
            return
        layers_s = self.warm(effect)
        self.built[effect.key] = effect
        self._after_disk(BUILD_S, SegmentBuilt(effect.key, "symbolic", layers_s))

    def _after_disk(self, takes_s: tuple[float, float], event: Event) -> None:
        clockwork = self.world.clockwork
        delay_s = clockwork.jitter(takes_s[0], takes_s[1] + self.disk.slow_s)
        clockwork.after(delay_s, lambda: self.hear(event))

    # --- the worker ----------------------------------------------------------------------------

    def warm(self, built: BuildSegment) -> tuple[float, ...]:
        """Seconds of each layer of a segment in its first run; none where they are not timed."""
        return ()

    def takes(self, built: BuildSegment) -> tuple[float, tuple[float, ...]]:
        """Seconds of one run of a segment, and of its layers where that run is timed."""
        return self.world.clockwork.jitter(0.005, 0.08), ()

    def run(self, effect: RunSegment) -> None:
        """Compute a segment, or die over it."""
        clockwork, built = self.world.clockwork, self.built[effect.key]
        given = [self.bundles[bundle] for bundle in effect.bundles]
        (seconds, layers_s), poison = self.takes(built), self.world.poison
        if poison and any(part.value in poison for each in given for part in each.values()):
            work = self.core.parts.stage.running
            assert work is not None
            self.doomed.add(effect.job)
            self.world.judge.frames.on_poisoned(work.frame)

        def done() -> None:
            if effect.job in self.doomed:
                self.doomed.discard(effect.job)
                self.worker_s = clockwork.now_s + clockwork.jitter(*RESPAWN_S)
                text = "its worker process died"
                self.hear(SegmentFailed(effect.job, text, "worker-died"))
            elif self.is_alive:
                made = self.world.toy.compute(built.layers, given, built.tile)
                self.hear(SegmentDone(effect.job, self.keep(made), 1000, seconds, layers_s))

        clockwork.after(max(0.0, self.worker_s - clockwork.now_s) + seconds, done)
