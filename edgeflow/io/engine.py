"""Segments that run on this machine: built, run and freed, away from the loop.

    LoadManifest, CheckBlobs  ─▶ errands thread ─▶ events into the inbox
    BuildSegment, DropSegment ─▶ errands thread ─▶ ┐ compute: a process of its own, or threads
    RunSegment                ───────────────────▶ ┘ of this one ─▶ events into the inbox

What may kill a process, engines, runs in one that may die (`worker = "process"`), and this one
loads none. It alone reads the store: the other is told where verified bytes lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from edgeflow.config import NodeConfig
from edgeflow.errors import EdgeflowError, UsageError
from edgeflow.events import (
    BlobsChecked,
    BuildSegment,
    Calibrated,
    CheckBlobs,
    Event,
    LoadManifest,
    ManifestFailed,
    ManifestLoaded,
    RunSegment,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.executors import ENGINES, on_device
from edgeflow.io.compute.child import Child
from edgeflow.io.compute.process import ComputeProcess
from edgeflow.io.compute.thread import ComputeThread
from edgeflow.io.compute.wire import Build, Place, Start
from edgeflow.io.store import Store
from edgeflow.io.worker import Worker
from edgeflow.layout.parcel import Parcel
from edgeflow.messages import Rates
from edgeflow.model.graph import Graph
from edgeflow.model.manifest import decode

Say = Callable[[Event], None]
Keep = Callable[[Parcel], int]


class Compute(Protocol):
    """Whoever runs segments."""

    @property
    def device(self) -> str:
        """cpu or cuda."""
        ...

    @property
    def pids(self) -> Collection[int]:
        """Processes of its own."""
        ...

    def calibrate(self, engines: Sequence[str], then: Callable[[Rates | None], None]) -> None:
        """`then` is told the rates of these engines."""
        ...

    def build(self, order: Build, graph: Graph) -> None:
        """SegmentBuilt or SegmentUnbuildable follows."""
        ...

    def drop(self, key: SegmentKey) -> None:
        """Free a segment, once it has run what it was given."""
        ...

    def run(self, job: int, key: SegmentKey, inputs: Sequence[Parcel], keep: Keep) -> None:
        """SegmentDone or SegmentFailed follows; `keep` numbers the outputs."""
        ...

    def stop(self, timeout_s: float) -> None:
        """End."""
        ...


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
        child: Child | None = None,
    ) -> None:
        """`device`: cpu, cuda, none, or auto, which is cuda where torch sees one. `engines`: in the
        order in which they are tried. `child`: a worker process that was started before."""
        self.store, self.say = store, say
        self.factor = config.emulate.compute_factor
        self._engines, self._wish = tuple(engines), config.engine
        self.graphs: dict[str, Graph] = {}
        self.errands = Worker("edgeflow-errands")
        self.compute = self._compute(config, threads, device, child)

    @property
    def device(self) -> str:
        """cpu, cuda or none."""
        return self.compute.device if self.compute is not None else "none"

    @property
    def engines(self) -> tuple[str, ...]:
        """Those that segments are tried on, in their order."""
        return on_device(self._engines, self.device)

    @property
    def pids(self) -> Collection[int]:
        """Processes that belong to this node besides its own."""
        return self.compute.pids if self.compute is not None else ()

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

    def calibrate(self) -> None:
        """About a second of measuring, as slow as the node is told to be."""
        compute = self.compute
        if compute is None:
            self.say(Calibrated(None))
            return
        engines = self.engines if self._wish == "auto" else self.engines[:1]
        self.errands.do(lambda: compute.calibrate(engines, self._rated))

    def build(self, effect: BuildSegment) -> None:
        """Verify weights; have them made runnable, and run once on zeros."""

        def job() -> None:
            graph = self.graphs[effect.model]
            try:
                if self.compute is None:
                    raise UsageError("compute = none: this node runs no segments")
                self.compute.build(self._order(graph, effect), graph)
            except (EdgeflowError, OSError) as error:
                self.say(SegmentUnbuildable(effect.key, f"{type(error).__name__}: {error}"[:2000]))

        self.errands.do(job)

    def drop(self, key: SegmentKey) -> None:
        """Free a segment, also one that is still being built."""
        compute = self.compute
        if compute is not None:
            self.errands.do(lambda: compute.drop(key))

    def run(self, effect: RunSegment, inputs: Sequence[Parcel], keep: Keep) -> None:
        """Run a segment on what lies in these parcels; `keep` numbers the outputs."""
        if self.compute is None:
            self.say(SegmentFailed(effect.job, "compute = none: this node runs no segments"))
        else:
            self.compute.run(effect.job, effect.key, inputs, keep)

    def stop(self) -> None:
        """End all of it; a second time does nothing."""
        self.errands.stop(timeout_s=2.0)
        if self.compute is not None:
            self.compute.stop(timeout_s=2.0)

    def _compute(
        self, config: NodeConfig, threads: int, device: str, child: Child | None
    ) -> Compute | None:
        if device == "none":
            return None
        folder = self.store.state_dir.absolute()
        start = Start(
            threads,
            device,
            self._engines,
            self._wish == "auto",
            self.factor,
            str(folder / "engines.json"),
            str(folder / "worker"),
        )
        if config.worker == "thread":
            return ComputeThread(start, self.say)
        return ComputeProcess(config.name, start, self.say, child)

    def _rated(self, rates: Rates | None) -> None:
        if rates is not None:
            rates = Rates(
                rates.conv_flops_per_s / self.factor,
                rates.matmul_flops_per_s / self.factor,
                rates.memory_bytes_per_s / self.factor,
                rates.op_overhead_s * self.factor,
                rates.depthwise_flops_per_s / self.factor,
            )
        self.say(Calibrated(rates))

    def _order(self, graph: Graph, effect: BuildSegment) -> Build:
        """What to build, and where its bytes lie, verified; ModelError where some are not here."""
        weights = {name: graph.weights[name].sha256 for name in graph.weights_of(effect.layers)}
        return Build(
            effect.key,
            effect.model,
            effect.layers,
            effect.tile,
            self._place(effect.model),
            {name: self._place(sha256) for name, sha256 in weights.items()},
        )

    def _place(self, sha256: str) -> Place:
        path, *rest = self.store.place(sha256)
        return Place(str(path), *rest)
