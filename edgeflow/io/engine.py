"""Segments that run on this machine: built, run and freed, in threads of their own.

    LoadManifest, CheckBlobs, BuildSegment ─▶ errands thread ┐
    RunSegment                             ─▶ compute thread ┴─▶ events into the inbox

Each segment runs on the engine that is quickest for it here (`edgeflow.io.trial`). Emulation
stretches compute, after the real work, so that results stay what they are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock

import numpy as np

from edgeflow.config import NodeConfig
from edgeflow.encoded import example
from edgeflow.errors import EdgeflowError, InputError
from edgeflow.events import (
    BlobsChecked,
    BuildSegment,
    CheckBlobs,
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
from edgeflow.executors import ENGINES, version_of
from edgeflow.executors.piece import Piece, build_piece, reads_of
from edgeflow.graph import Array, Graph
from edgeflow.io.probe import describe
from edgeflow.io.slowness import Work
from edgeflow.io.store import Store
from edgeflow.io.trial import Choice, Memory, choose, key_of
from edgeflow.io.worker import Worker
from edgeflow.manifest import decode
from edgeflow.messages import Rect
from edgeflow.parcel import Parcel, Placed
from edgeflow.tiles.rect import columns, rows

SHORT_S = 0.0002
"""A segment this quick runs in the loop's thread: two thread switches cost as much."""
TIMED_RUNS, TIMED_EVERY = 16, 8
"""The first runs are timed layer by layer, then one in so many: some 0.1 µs an op."""

Say = Callable[[Event], None]
Keep = Callable[[Parcel], int]


class Engine:
    """Everything slow that has to do with models."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        say: Say,
        threads: int,
        device: str,
        engines: Sequence[str] = ENGINES[:1],
    ) -> None:
        """`engines`: in the order in which they are tried."""
        self.store, self.say = store, say
        self.threads, self.device = threads, device
        self.engines = tuple(engines)
        self.compares = config.engine == "auto" and len(self.engines) > 1
        """Is the quickest engine wanted, or the first that takes a segment?"""
        self.memory = Memory(store.state_dir / "engines.json")
        self.board = describe().board
        self.factor = config.emulate.compute_factor
        self.graphs: dict[str, Graph] = {}
        self.segments: dict[SegmentKey, Piece] = {}
        self.short: set[SegmentKey] = set()
        """Those that run in the loop's own thread."""
        self.dropped: set[SegmentKey] = set()
        """Not wanted any more before they were built."""
        self.runs: Counter[SegmentKey] = Counter()
        """Tells which of a segment's runs are timed layer by layer."""
        self.lock = Lock()
        self.errands = Worker("edgeflow-errands")
        self.compute = Worker("edgeflow-compute")

    def load(self, effect: LoadManifest) -> None:
        """Read and check a manifest."""

        def job() -> None:
            model = effect.model
            if not self.store.has(model):
                self.say(ManifestFailed(model, True, "not in the store"))
                return
            try:
                graph = decode(bytes(self.store.read(model)))
            except (EdgeflowError, OSError) as error:
                self.say(ManifestFailed(model, False, str(error)))
                return
            self.graphs[model] = graph
            self.say(ManifestLoaded(model, graph))

        self.errands.do(job)

    def check(self, effect: CheckBlobs) -> None:
        """Which of these blobs does the store lack?"""

        def job() -> None:
            missing = tuple(blob for blob in effect.blobs if not self.store.has(blob[0]))
            self.say(BlobsChecked(effect.model, effect.purpose, missing))

        self.errands.do(job)

    def build(self, effect: BuildSegment) -> None:
        """Load weights, make the layers runnable, run them once on zeros."""

        def job() -> None:
            graph = self.graphs[effect.model]
            try:
                choice, seconds, layers_s = self._build(graph, effect)
            except (EdgeflowError, OSError, RuntimeError, MemoryError) as error:
                self.say(SegmentUnbuildable(effect.key, f"{type(error).__name__}: {error}"[:2000]))
                return
            with self.lock:
                if effect.key not in self.dropped:
                    self.segments[effect.key] = choice.piece
                    if seconds * self.factor < SHORT_S and not _is_open(graph, choice.piece):
                        self.short.add(effect.key)
                self.dropped.discard(effect.key)
            self.say(SegmentBuilt(effect.key, choice.engine, layers_s, choice.note))

        self.errands.do(job)

    def drop(self, key: SegmentKey) -> None:
        """Free a segment, also one that is still being built."""
        with self.lock:
            self.short.discard(key)
            del self.runs[key]
            if self.segments.pop(key, None) is None:
                self.dropped.add(key)

    def run(self, effect: RunSegment, inputs: Sequence[Parcel], keep: Keep) -> None:
        """Run a segment on what lies in these parcels; `keep` numbers the outputs."""
        segment = self.segments.get(effect.key)
        is_short = effect.key in self.short
        self.runs[effect.key] += 1
        is_timed = self.runs[effect.key] <= TIMED_RUNS or self.runs[effect.key] % TIMED_EVERY == 0

        def job() -> None:
            if segment is None:
                self.say(SegmentFailed(effect.job, "the segment is not built here"))
                return
            work = self._work()
            try:
                made, layers_s = segment.timed(inputs) if is_timed else (segment.run(inputs), ())
            except InputError as error:
                self.say(SegmentFailed(effect.job, str(error), "malformed"))
                return
            except (EdgeflowError, RuntimeError, MemoryError, ValueError) as error:
                self.say(SegmentFailed(effect.job, f"{type(error).__name__}: {error}"[:1500]))
                return
            stretch = work.stretch()
            seconds = work.sleep(stretch)
            size_bytes = sum(placed.array.nbytes for placed in made.values())
            layers_s = tuple(each * stretch for each in layers_s)
            self.say(SegmentDone(effect.job, keep(made), size_bytes, seconds, layers_s))

        if is_short:
            job()
        else:
            self.compute.do(job)

    def stop(self) -> None:
        """End both threads."""
        self.errands.stop(timeout_s=2.0)
        self.compute.stop(timeout_s=2.0)

    def _work(self) -> Work:
        return Work(self.factor, self.threads == 1 and self.device == "cpu")

    def _build(self, graph: Graph, effect: BuildSegment) -> tuple[Choice, float, tuple[float, ...]]:
        """The segment, warm, and the seconds of one run on zeros: of all of it on this machine, and
        of each layer, as slow as the node is told to be."""
        choice, zeros = self._chosen(graph, effect)
        work = self._work()
        _, layers_s = choice.piece.timed([zeros])
        stretch = work.stretch()
        seconds = time.perf_counter() - work.wall_s
        return choice, seconds, tuple(each * stretch for each in layers_s)

    def _chosen(self, graph: Graph, effect: BuildSegment) -> tuple[Choice, Parcel]:
        """The segment on the engine that is quickest, as remembered or tried now, and zeros."""
        names = graph.weights_of(effect.layers)
        arrays = {name: self.store.array(graph.weights[name]) for name in names}
        make = partial(
            build_piece,
            graph,
            effect.layers,
            arrays,
            effect.tile,
            threads=self.threads,
            device=self.device,
            timed=True,
        )
        reads = reads_of(graph, effect.layers, effect.tile)
        zeros = {name: Placed(_zeros(graph, name, at), at) for name, at in reads.items()}
        versions = [version_of(engine) for engine in self.engines]
        key = key_of(effect.model, effect.layers, effect.tile, self.threads, self.board, *versions)
        known = self.memory.get(key)
        order = sorted(self.engines, key=lambda engine: engine != known)
        compare = self.compares and known not in self.engines
        choice = choose(order, lambda engine: make(engine=engine), zeros, compare=compare)
        if choice.was_tried:
            self.memory.put(key, choice.engine)
        return choice, zeros


def _zeros(graph: Graph, name: str, rect: Rect | None) -> Array:
    """Zeros, or an encoded picture where the graph decodes one."""
    contract = graph.tensors[name]
    if contract.is_open:
        return example(graph, name)
    shape = [int(dim) for dim in contract.shape]
    if rect is not None:
        shape[2:] = rows(rect), columns(rect)
    return np.zeros(shape, dtype=contract.dtype)


def _is_open(graph: Graph, segment: Piece) -> bool:
    """May a frame take much longer than the one that was timed?"""
    return any(graph.tensors[name].is_open for name in segment.reads)
