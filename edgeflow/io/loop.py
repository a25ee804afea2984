"""One node on a real machine: the only clock, the only thread that touches core and sockets.

    ZeroMQ sockets ──┐
    inbox (MQTT,     ├─ poll ─▶ NodeCore.handle(event, now_s) ─▶ effects ─▶ links, broker, engine
    workers, user) ──┘                                                      store, user

Invariant: nothing in this thread waits but the poll.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
import zmq
from msgspec.structs import replace

from edgeflow.codec import RAW, head_of
from edgeflow.errors import NameTakenError
from edgeflow.events import (
    Asked,
    BuildSegment,
    CheckBlobs,
    CloseLink,
    Deliver,
    DropSegment,
    Effect,
    Event,
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
    Stop,
    Submitted,
    Tell,
    Tensors,
    Tick,
    Withdrawn,
)
from edgeflow.io.answer import Answer
from edgeflow.io.arrivals import Arrival, Arrived, Chunk
from edgeflow.io.chunks import Chunks
from edgeflow.io.engine import Engine
from edgeflow.io.eventlog import EventLog
from edgeflow.io.inbox import Inbox
from edgeflow.io.links import Links
from edgeflow.io.mqtt import Mqtt
from edgeflow.io.quarantine import keep
from edgeflow.io.store import Store
from edgeflow.layout.parcel import Parcel, Placed, parcel, take
from edgeflow.mind.node import NodeCore
from edgeflow.model.graph import Array

log = logging.getLogger("edgeflow")
T = TypeVar("T")

TICK_S = 0.1
"""Time between two ticks of the core; what only time decides is late by so much at most."""


class Loop:
    """Drives one NodeCore. Made by `edgeflow.service`; `run` returns when the node stops."""

    def __init__(
        self, core: NodeCore, inbox: Inbox, links: Links, mqtt: Mqtt, engine: Engine, store: Store
    ) -> None:
        self.core, self.inbox, self.links, self.mqtt = core, inbox, links, mqtt
        self.engine, self.store = engine, store
        self.chunks = Chunks(store, links, inbox, engine.errands.do, core.parts.fetch)
        self.on_event: Callable[[Event], None] | None = None
        """Hears every event after the core did: for screens."""
        self.event_log: EventLog | None = None
        self.last = Stop()
        """Why it stopped, once it did."""
        self._bundles: dict[int, Parcel] = {}
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        self._waiting: dict[int, Callable[[Answer], None]] = {}
        self._is_running = True
        self._has_ended = False
        self._leaves_for = ""  # why, until the core heard it
        self._do: dict[type[Any], Callable[[Any], None]] = {
            Publish: lambda effect: _ignore(self.mqtt.publish(effect.message)),
            OpenLink: self._open,
            CloseLink: lambda effect: self.links.close_peer(effect.peer),
            SendSignal: lambda effect: _ignore(self.links.send_signal(effect.peer, effect.message)),
            SendTensors: self._send_tensors,
            SendProbe: self._send_probe,
            SendChunk: self.chunks.send,
            LoadManifest: self.engine.load,
            CheckBlobs: self.engine.check,
            BuildSegment: self.engine.build,
            DropSegment: lambda effect: self.engine.drop(effect.key),
            RunSegment: self._run_segment,
            Release: self._release,
            Deliver: self._deliver,
            Quarantine: self._quarantine,
            Tell: lambda effect: log.info("%s", effect.sentence),
            Stop: self._stop,
        }

    # --- for other threads ------------------------------------------------------------------------

    def submit(
        self,
        deployment: str,
        tensors: Mapping[str, Array],
        deadline_s: float | None,
        then: Callable[[Answer], None],
    ) -> Callable[[], None]:
        """Hand a frame in; `then` is called once, in the loop's thread, and must not block.

        What comes back withdraws the frame, from any thread: its outcome is then `cancelled`,
        unless it has one already.
        """
        token = next(self._tokens)

        def enter() -> None:
            if self._has_ended:
                then(self._stopped())
                return
            self._waiting[token] = then
            heads = tuple(head_of(name, array) for name, array in tensors.items())
            size_bytes = sum(array.nbytes for array in tensors.values())
            bundle = self._keep(parcel(tensors))
            self._handle(Submitted(token, deployment, bundle, heads, size_bytes, deadline_s))

        self.inbox.put(enter)
        if self._has_ended:
            self._turn_away()
        return lambda: self.inbox.put(Withdrawn(token))

    def ask(self, question: Callable[[NodeCore], T]) -> Future[T]:
        """Look at the core from its own thread."""
        answer: Future[T] = Future()

        def reply() -> None:
            try:
                answer.set_result(question(self.core))
            except Exception as error:
                answer.set_exception(error)

        self.inbox.put(reply)
        return answer

    def drain(self, why: str) -> None:
        """Finish what was taken, then stop.

        Takes no lock: a signal's handler calls it, in a thread that may hold any of ours.
        """
        self._leaves_for = why

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the core says Stop; NameTakenError where another node has this one's name."""
        poller = zmq.Poller()
        poller.register(self.inbox, zmq.POLLIN)
        self.links.register(poller)
        tick_s = time.monotonic()
        self.inbox.own()
        try:
            while self._is_running:
                now_s = time.monotonic()
                due_s = min(tick_s, self.links.due_s(now_s))
                ready = poller.poll(math.ceil(max(0.0, due_s - now_s) * 1000))
                if time.monotonic() >= tick_s:
                    tick_s = time.monotonic() + TICK_S
                    self._handle(Tick())
                if why := self._leaves_for:
                    self._leaves_for = ""
                    self._handle(Asked(why))
                self._receive({socket for socket, _ in ready})
        finally:
            self._close()
        if self.last.text:
            raise NameTakenError(self.last.text)

    def _receive(self, ready: Collection[object]) -> None:
        """Whatever is there, links first, until nothing is left in the inbox."""
        for arrival in self.links.receive(time.monotonic(), ready):
            self._arrive(arrival)
        self.links.pump(time.monotonic())
        while items := self.inbox.take():
            for item in items:
                if callable(item):
                    item()
                else:
                    self._handle(item)

    def _handle(self, event: Event) -> None:
        effects: Sequence[Effect] = ()
        now_s = time.monotonic()
        try:
            effects = self.core.handle(event, now_s)
        finally:  # the event that ends a node is the one that its log is for
            if self.event_log is not None:
                self.event_log.note(now_s, event, effects)
        for effect in effects:
            self._do[type(effect)](effect)
        if self.on_event is not None:
            self.on_event(event)

    def _arrive(self, arrival: Arrival) -> None:
        if isinstance(arrival, Arrived):
            message, arrays = arrival.message, arrival.arrays
            held = {head.name: Placed(arrays[head.name], head.rect) for head in message.tensors}
            sender, bundle = (arrival.peer, arrival.session), self._keep(held)
            self._handle(Tensors(*sender, message, bundle, arrival.size_bytes))
        elif isinstance(arrival, Chunk):
            self.chunks.keep(arrival)
        else:
            self._handle(arrival)

    def _keep(self, tensors: Parcel) -> int:
        """Number them; also called by the compute thread."""
        bundle = next(self._numbers)
        self._bundles[bundle] = tensors
        return bundle

    def _stop(self, effect: Stop) -> None:
        self.last = effect
        self.halt()

    def halt(self) -> None:
        """End without a goodbye; in the loop's own thread."""
        self._is_running = False

    def _close(self) -> None:
        self._has_ended = True
        for then in self._waiting.values():
            then(self._stopped())
        self._waiting.clear()
        self._turn_away()
        self.mqtt.close()
        self.links.close()
        self.engine.stop()
        self.inbox.close()

    def _turn_away(self) -> None:
        """Answer whoever came too late; in the thread that found that out."""
        for item in self.inbox.take():
            if callable(item):
                item()

    def _stopped(self) -> Answer:
        return Answer("stopped", f"{self.core.parts.me} stopped", {}, 0.0, 0, "")

    # --- effects ----------------------------------------------------------------------------------

    def _release(self, effect: Release) -> None:
        del self._bundles[effect.bundle]

    def _open(self, effect: OpenLink) -> None:
        self.links.open(
            effect.peer, effect.session, effect.endpoints, effect.public_key, effect.tier
        )

    def _send_tensors(self, effect: SendTensors) -> None:
        parcels = [self._bundles[bundle] for bundle in effect.bundles]
        wanted = effect.message.tensors
        arrays = {head.name: take(parcels, head.name, head.rect) for head in wanted}
        heads = tuple(head_of(head.name, arrays[head.name], head.rect) for head in wanted)
        self.links.send_tensors(effect.peer, replace(effect.message, tensors=heads), arrays)

    def _send_probe(self, effect: SendProbe) -> None:
        zeros = np.zeros(effect.message.size_bytes, np.uint8)
        self.links.send_tensors(effect.peer, effect.message, {RAW: zeros})

    def _run_segment(self, effect: RunSegment) -> None:
        parcels = [self._bundles[bundle] for bundle in effect.bundles]
        self.engine.run(effect, parcels, self._keep)

    def _quarantine(self, effect: Quarantine) -> None:
        folder, parcel = self.store.state_dir / "quarantine", self._bundles[effect.bundle]
        self.engine.errands.do(lambda: keep(folder, effect.name, parcel))

    def _deliver(self, effect: Deliver) -> None:
        then = self._waiting.pop(effect.token)
        parcels = [self._bundles[bundle] for bundle in effect.bundles]
        outputs = {name: take(parcels, name) for name in effect.names}
        seconds, attempts = effect.seconds, effect.attempts
        then(Answer(effect.code, effect.text, outputs, seconds, attempts, effect.plan))


def _ignore(sent: bool) -> None:
    """Sending is never proof; what does not arrive is asked for again."""
