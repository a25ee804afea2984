"""The worker process of one node: computes, and may die of it.

    python -I -m edgeflow.io.compute.program NODE FD

    main thread    hears, runs segments in the order in which they come, answers
    build thread   calibrates, builds and frees segments
    watch thread   ends the process at once when the node is gone, whatever the others do

It ends with its node and by nothing else that is sent to both: Ctrl-C and a service's stop are for
the node, which first answers what it took.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import sys
from collections import OrderedDict
from pathlib import Path
from threading import Lock, Thread

from edgeflow.errors import EdgeflowError
from edgeflow.events import SegmentFailed, SegmentKey, SegmentUnbuildable
from edgeflow.executors import has_cuda
from edgeflow.io.allocator import keep_freed_memory
from edgeflow.io.calibrate import calibrate
from edgeflow.io.compute.segments import TEXT_CHARS_MAX, Compute, Run, bytes_at
from edgeflow.io.compute.slabs import Mapped
from edgeflow.io.compute.wire import (
    Build,
    Calibrate,
    Channel,
    Drop,
    FromWorker,
    Made,
    Ran,
    Rated,
    RunLaid,
    Start,
    Started,
    ToWorker,
)
from edgeflow.io.worker import Worker
from edgeflow.layout.parcel import Placed
from edgeflow.model.graph import Graph
from edgeflow.model.manifest import decode

GRAPHS_MAX = 4
"""Manifests kept decoded; of a thousand ops one is some megabytes."""
PR_SET_PDEATHSIG = 1
OOM_SCORE = 300
"""Of 1000, on top of this process's share of memory: the kernel ends a worker before its node."""


class Program:
    """What the worker does with each word of its node."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = Lock()
        """Two threads answer."""
        self._mapped = Mapped()
        self._builder = Worker("edgeflow-build")
        self._dropped: set[SegmentKey] = set()
        """Before their turn to be built, or freed, came."""
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._compute: Compute
        self._device = "cpu"
        self._threads = 1

    def serve(self) -> None:
        """Until the node is gone."""
        while True:
            while (message := self._channel.next()) is not None:
                self._do(message)
            if not self._channel.read():
                return

    def _do(self, message: ToWorker) -> None:
        match message:
            case RunLaid():
                self._say(self._run(message))
            case Build():
                self._builder.do(lambda: self._say(self._build(message)))
            case Drop():
                self._dropped.add(message.key)
                self._builder.do(lambda: self._drop(message.key))
            case Calibrate():
                self._builder.do(lambda: self._say(self._calibrate(message)))
            case Start():
                self._start(message)

    def _say(self, message: FromWorker | None) -> None:
        if message is not None:
            with self._lock:
                self._channel.send(message)

    def _start(self, start: Start) -> None:
        os.environ["TMPDIR"] = start.folder
        self._device, self._threads = start.device, start.threads
        if start.device == "auto":
            self._device = "cuda" if has_cuda() else "cpu"
        self._compute = Compute(start, self._device)
        self._say(Started(self._device))

    def _calibrate(self, message: Calibrate) -> Rated:
        try:
            return Rated(calibrate(self._threads, self._device, message.engines))
        except Exception as error:
            logging.exception("this machine's engines cannot be measured")
            return Rated(None, f"{type(error).__name__}: {error}"[:TEXT_CHARS_MAX])

    def _drop(self, key: SegmentKey) -> None:
        self._dropped.discard(key)
        self._compute.drop(key)

    def _build(self, order: Build) -> Made | SegmentUnbuildable | None:
        """None where nobody wants it any more: what is wanted now shall not wait for it."""
        if order.key in self._dropped:
            return None
        try:
            return Made(*self._compute.build(order, self._graph(order)))
        except Exception as error:
            if not isinstance(error, EdgeflowError | OSError | RuntimeError | MemoryError):
                logging.exception("a segment cannot be built")
            return SegmentUnbuildable(order.key, f"{type(error).__name__}: {error}"[:2000])

    def _graph(self, order: Build) -> Graph:
        """Decoded once, while it is among the last few."""
        graph = self._graphs.get(order.model)
        if graph is None:
            graph = self._graphs[order.model] = decode(bytes(bytes_at(order.manifest)))
        self._graphs.move_to_end(order.model)
        while len(self._graphs) > GRAPHS_MAX:
            self._graphs.popitem(last=False)
        return graph

    def _run(self, order: RunLaid) -> Ran | SegmentFailed:
        for number in order.fresh:
            self._mapped.show(number, self._channel.file())
        self._mapped.forget(order.gone)
        laid = self._mapped.read(order.input_slab, order.inputs)
        inputs = {name: Placed(*each) for name, each in laid.items()}
        try:
            run = self._compute.run(order.job, order.key, [inputs])
            if not isinstance(run, Run):
                return run
            made = {name: placed.array for name, placed in run.made.items()}
            self._mapped.write(order.output_slab, order.outputs, order.output_start, made)
        except Exception as error:
            logging.exception("a segment cannot be run")
            return SegmentFailed(order.job, f"{type(error).__name__}: {error}"[:TEXT_CHARS_MAX])
        return Ran(order.job, run.seconds, run.layers_s)


def watch(fd: int) -> None:
    """End the process when the other end of this socket is closed, also in the middle of a job."""
    poller = select.poll()
    poller.register(fd, 0)  # an end is told unasked
    poller.poll()
    os._exit(0)


def settle() -> None:
    """Leave signals to the node, and dying of want of memory to this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        # Where a job never lets another thread of Python run, `watch` cannot end it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):
            path = Path("/proc/self/oom_score_adj")
            path.write_text(str(max(OOM_SCORE, int(path.read_text()))), encoding="ascii")


def main() -> None:
    """Serve the node at the other end of the socket that was inherited."""
    settle()
    end = socket.socket(fileno=int(sys.argv[2]))
    end.setblocking(True)
    Thread(target=watch, args=(end.fileno(),), name="edgeflow-watch", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    Program(Channel(end, ToWorker, takes_files=True)).serve()
    os._exit(0)  # engines take their time to tidy up what ends anyway


if __name__ == "__main__":
    main()
