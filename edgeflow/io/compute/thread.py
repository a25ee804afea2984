"""Segments in this very process, for tests and small boards: what kills them kills the node.

build, drop ─▶ errands thread ┐
run         ─▶ compute thread ┴─▶ events
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from edgeflow.errors import EdgeflowError
from edgeflow.events import (
    Event,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.executors import has_cuda
from edgeflow.io.calibrate import calibrate
from edgeflow.io.compute.segments import Compute
from edgeflow.io.compute.wire import Build, Start
from edgeflow.io.worker import Worker
from edgeflow.layout.parcel import Parcel
from edgeflow.messages import Rates
from edgeflow.model.graph import Graph

SHORT_S = 0.0002
"""A segment this quick runs in the thread that asks: two thread switches cost as much."""

Say = Callable[[Event], None]
Keep = Callable[[Parcel], int]


class ComputeThread:
    """As `edgeflow.io.compute.process.ComputeProcess`, without a process."""

    def __init__(self, start: Start, say: Say) -> None:
        auto = start.device == "auto"
        self.device = ("cuda" if has_cuda() else "cpu") if auto else start.device
        self.compute = Compute(start, self.device)
        self._say = say
        self._worker = Worker("edgeflow-compute")
        self.short: set[SegmentKey] = set()
        """Those that run in the thread that asks."""

    @property
    def pids(self) -> Collection[int]:
        """Processes of its own."""
        return ()

    def calibrate(self, engines: Sequence[str], then: Callable[[Rates | None], None]) -> None:
        """In this thread; `then` is told the rates."""
        then(calibrate(self.compute.threads, self.device, engines))

    def build(self, order: Build, graph: Graph) -> None:
        """In this thread."""
        try:
            built, seconds = self.compute.build(order, graph)
        except (EdgeflowError, OSError, RuntimeError, MemoryError) as error:
            self._say(SegmentUnbuildable(order.key, f"{type(error).__name__}: {error}"[:2000]))
            return
        if seconds < SHORT_S and not _is_open(graph, self.compute.segments[order.key].piece.reads):
            self.short.add(order.key)
        self._say(built)

    def drop(self, key: SegmentKey) -> None:
        """Once it has run what it was given."""

        def job() -> None:
            self.short.discard(key)
            self.compute.drop(key)

        self._worker.do(job)

    def run(self, job: int, key: SegmentKey, inputs: Sequence[Parcel], keep: Keep) -> None:
        """In the compute thread, or at once where it is short."""

        def work() -> None:
            run = self.compute.run(job, key, inputs)
            if isinstance(run, SegmentFailed):
                self._say(run)
                return
            size_bytes = sum(placed.array.nbytes for placed in run.made.values())
            bundle = keep(run.made)
            self._say(SegmentDone(job, bundle, size_bytes, run.seconds, run.layers_s))

        if key in self.short:
            work()
        else:
            self._worker.do(work)

    def stop(self, timeout_s: float) -> None:
        """End after the jobs that are there; leave one that takes longer to the process's end."""
        self._worker.stop(timeout_s)


def _is_open(graph: Graph, names: Collection[str]) -> bool:
    """May a frame take much longer than the one that was timed?"""
    return any(graph.tensors[name].is_open for name in names)
