"""Segments in a process of their own, which can die without the node.

    start ─▶ up ─▶ dead ─▶ pause, where many died ─▶ start        the node goes on all the while
              └─ longer over a job than it may, or silent ─▶ ended ─▶ dead

Any thread gives orders (`orders`) and sends them by itself; one thread hears the worker, ends one
that is frozen, and starts the next.

Invariant: nothing is waited for while the lock is held.
"""

from __future__ import annotations

import logging
import select
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread

from msgspec.structs import replace

from edgeflow.events import Event, SegmentKey
from edgeflow.io.compute.child import Child
from edgeflow.io.compute.orders import Orders, Then
from edgeflow.io.compute.state import Deaths, Job, Keep, Wanted
from edgeflow.io.compute.wire import Build, Calibrate, Ran, Start, Started
from edgeflow.io.inbox import Inbox
from edgeflow.layout.parcel import Parcel
from edgeflow.model.graph import Graph

log = logging.getLogger("edgeflow")

LOOK_S = 0.5
"""How often a worker is looked at."""
SILENT_S = 300.0
"""A worker that starts, calibrates or builds says something within this, also at a tenth of a core;
longer waits longer for one that is frozen."""
DEVICE_S = 60.0
"""Where only the worker can say whether there is a GPU, its node waits so long for the answer."""
AT_ONCE_BYTES = 1 << 20
"""Inputs up to this are copied by whoever asks for the run: 0.1 ms, as much as another thread's
turn. More would keep the loop from its other work."""


class ComputeProcess:
    """The worker of a node. Made by `Engine`; any thread may call it."""

    def __init__(
        self, node: str, start: Start, say: Callable[[Event], None], child: Child | None = None
    ) -> None:
        """`child`: a worker that was started before; ours from now on."""
        self._node, self._start, self._next = node, start, child
        self._orders = Orders(node, say)
        self._lock = Lock()
        """Around the orders, and the channel that they are sent over."""
        self._bell = Inbox()
        self._poller = select.poll()
        self._poller.register(self._bell, select.POLLIN)
        self._child: Child | None = None
        self._is_up = False
        self._started = Flag()
        self._deaths = Deaths()
        self._begin_s = self._looked_s = time.monotonic()
        self._silent_s = 0.0
        self._is_stopping = False
        self._thread = Thread(target=self._live, name="edgeflow-compute", daemon=True)
        self._thread.start()

    # --- for other threads ------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """What it computes on; waits where only the worker can tell."""
        if self._start.device == "auto":
            self._started.wait(DEVICE_S)
        return "cpu" if self._start.device == "auto" else self._start.device

    @property
    def pids(self) -> Collection[int]:
        """Of the process, while there is one."""
        child = self._child
        return () if child is None else (child.pid,)

    def calibrate(self, engines: Sequence[str], then: Then) -> None:
        """`then` is told the rates, or None where workers only die of it."""
        with self._lock:
            self._orders.calibrate(Calibrate(tuple(engines)), then)

    def build(self, order: Build, graph: Graph) -> None:
        """SegmentBuilt or SegmentUnbuildable follows; TileError where the layers cannot be tiled
        so."""
        wanted = Wanted.of(order, graph)
        with self._lock:
            self._orders.build(wanted)

    def drop(self, key: SegmentKey) -> None:
        """Once it has run what it was given."""
        with self._lock:
            self._orders.drop(key)

    def run(self, job: int, key: SegmentKey, inputs: Sequence[Parcel], keep: Keep) -> None:
        """SegmentDone or SegmentFailed follows; `keep` numbers the outputs."""
        with self._lock:
            self._orders.queue(Job(job, key, inputs, keep))
            if self._orders.input_bytes(key) <= AT_ONCE_BYTES:
                self._orders.go_on()
            else:
                self._bell.put(self._go_on)

    def stop(self, timeout_s: float) -> None:
        """End it, whatever it does."""
        self._is_stopping = True
        self._bell.put(self._go_on)
        self._thread.join(timeout_s)

    # --- the thread -------------------------------------------------------------------------------

    def _live(self) -> None:
        while not self._is_stopping:
            try:
                self._turn()
            except Exception as error:
                log.exception("the worker process of %s is ended", self._node)
                self._die(f"was ended by its node ({type(error).__name__}: {error})")
        for child in (self._child, self._next):
            if child is not None:
                child.end()
        with self._lock:
            self._orders.close()
        self._child = None
        shutil.rmtree(self._start.folder, ignore_errors=True)
        self._bell.close()

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        now_s = time.monotonic()
        if self._child is None and now_s >= self._begin_s:
            self._begin()
        child = self._child
        wait_s = LOOK_S if child is not None else max(0.0, self._begin_s - now_s)
        if child is not None and child.channel.is_behind:
            self._poller.modify(child.channel, select.POLLIN | select.POLLOUT)
        ready = self._poller.poll(1 + wait_s * 1000)
        for descriptor, _ in ready:
            if child is not None and descriptor == child.channel.fileno():
                self._hear(child)
            else:
                self._answer_bell()
        if not ready or now_s - self._looked_s > LOOK_S:
            self._look(time.monotonic())

    def _answer_bell(self) -> None:
        for wish in self._bell.take():
            assert callable(wish)
            wish()

    def _go_on(self) -> None:
        with self._lock:
            self._orders.go_on()

    def _begin(self) -> None:
        """Start a worker, and tell it all that is wanted of it."""
        self._silent_s, self._is_up = 0.0, False
        try:
            _empty(Path(self._start.folder))
            child, self._next = self._next or Child(self._node), None
            self._child = child
        except OSError as error:
            self._die(f"cannot be started: {error}")
            return
        self._poller.register(child.channel, select.POLLIN)
        with self._lock:
            child.channel.send(self._start)
            self._orders.begin(child.channel)

    def _hear(self, child: Child) -> None:
        with self._lock:
            if child.channel.is_behind:
                child.channel.flush()
                self._poller.modify(child.channel, select.POLLIN)
            is_open = child.channel.read()
            while (message := child.channel.next()) is not None:
                if not isinstance(message, Ran):
                    self._silent_s = 0.0
                if isinstance(message, Started):
                    self._is_up = True
                    self._start = replace(self._start, device=message.device)
                    self._started.set()
                self._orders.take(message)
        if not is_open:
            how = child.bury()
            self._die(how)

    def _look(self, now_s: float) -> None:
        """End a worker that is frozen, or computes without end."""
        # A node that was stopped itself, with its worker, has not seen it do nothing.
        passed_s = min(now_s - self._looked_s, 2 * LOOK_S)
        self._looked_s = now_s
        if self._child is None:
            return
        text = ""
        with self._lock:
            if self._orders.prepares or not self._is_up:
                self._silent_s += passed_s
            if self._silent_s > SILENT_S:
                text = f"was silent for {SILENT_S:.3g} s, so that its node ended it"
            if (job := self._orders.running) is not None:
                job.ran_s += passed_s
                limit_s = self._orders.limit_s(job)
                if job.ran_s > limit_s:
                    text = f"took more than {limit_s:.3g} s over a job, so that its node ended it"
        if text:
            self._die(text)

    def _die(self, how: str) -> None:
        """The worker is gone, or goes: say so to whom it concerns, and have another one."""
        if self._child is not None:
            self._poller.unregister(self._child.channel)
            self._child.end()
        now_s = time.monotonic()
        pause_s = self._deaths.add(now_s)
        self._begin_s = now_s + pause_s
        text = f"the worker process {how}"
        if not self._is_stopping:
            then = f"the next one starts in {pause_s:.1f} s" if pause_s else "the next one starts"
            log.warning("%s: %s; %s", self._node, text, then)
        with self._lock:
            self._child = None
            self._orders.died(text, was_up=self._is_up)


def _empty(folder: Path) -> None:
    """What an engine that was killed left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
