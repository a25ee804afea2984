"""The whole mind of one node: events in, effects out.

                 ┌─ control ─ membership ─ election ─ deployments ─ holdings ─ library ─ fetch
    Event ─▶ handle ─ duties (ticks) ─ lead (only while this node leads)          ─▶ Effect, …
                 └─ neighbours ─ intake ─ inflight (a source) ─ stage (a worker) ─ relay (a client)

The shells differ: `edgeflow.io.loop` carries effects out on a machine, `edgeflow.sim` in virtual
time. This class only passes each event to the parts it concerns; a message to itself comes straight
back, so that a source which computes is a worker like any other.

Invariant: the same events at the same times give the same effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgeflow.events import (
    Asked,
    BlobsChecked,
    BrokerDown,
    BrokerUp,
    Calibrated,
    ChunkStored,
    Effect,
    Event,
    Heard,
    LinkDown,
    LinkUp,
    ManifestFailed,
    ManifestLoaded,
    Sampled,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentUnbuildable,
    SendChunk,
    SendSignal,
    SendTensors,
    Signal,
    Submitted,
    Tell,
    Tensors,
    Tick,
    Transferred,
    Wanted,
    Withdrawn,
)
from edgeflow.messages import (
    BlobMissing,
    BlobRequest,
    Cancel,
    Caps,
    Failure,
    Frame,
    Outcome,
    Refusal,
    Result,
    Submit,
    Withdraw,
)
from edgeflow.mind.control import Control
from edgeflow.mind.duties import Duties
from edgeflow.mind.intake import Intake
from edgeflow.mind.parts import Parts
from edgeflow.mind.party import may_speak
from edgeflow.mind.upkeep import Upkeep
from edgeflow.plans.heldplan import Route
from edgeflow.plans.library import KEEP

FRAME_EVENTS = frozenset(
    {Tensors, SegmentDone, SegmentFailed, Submitted, Withdrawn, Signal, Transferred, Sampled}
)
"""Events that change no plan: after them only parked frames are looked at."""


class NodeCore:
    """One node. `caps` is what it is; its rates come with the event Calibrated."""

    def __init__(self, caps: Caps) -> None:
        self.parts = Parts(caps)
        self.duties = Duties(self.parts)
        self.upkeep = Upkeep(self.parts)
        self.control = Control(self.parts, self.duties, self.upkeep)
        self.intake = Intake(self.parts)
        self._handlers: dict[type[Any], Callable[[Any, float], list[Effect]]] = {
            Tick: lambda _, now_s: self.duties.tick(now_s),
            Sampled: self.control.on_sampled,
            Calibrated: self.control.on_calibrated,
            BrokerUp: self.control.on_broker_up,
            BrokerDown: self.control.on_broker_down,
            Heard: self.control.on_heard,
            LinkUp: self._on_link_up,
            LinkDown: self._on_link_down,
            Signal: self._on_signal,
            Tensors: self._on_tensors,
            ChunkStored: self._on_chunk,
            Transferred: self.parts.neighbours.on_transferred,
            ManifestLoaded: self._on_manifest,
            ManifestFailed: self._on_no_manifest,
            BlobsChecked: self._on_blobs_checked,
            SegmentBuilt: self._on_built,
            SegmentUnbuildable: self._on_unbuildable,
            SegmentDone: self._on_done,
            SegmentFailed: lambda event, now_s: self.parts.stage.on_failed(
                event.job, event.text, now_s, event.code
            ),
            Submitted: self.intake.on_submitted,
            Withdrawn: self.intake.on_withdrawn,
            Wanted: self.control.on_wanted,
            Asked: lambda event, now_s: self.duties.drain(event.why, now_s),
        }

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """What the shell must do about this event, in order."""
        arrived = getattr(event, "bundle", None)
        if arrived is not None:
            self.parts.bundles.hold(arrived)
        effects: list[Effect] = []
        kind = type(event)
        handler = self._handlers.get(kind)
        if handler is not None:
            self._absorb(handler(event, now_s), effects, now_s)
        if kind not in FRAME_EVENTS:
            self._absorb(self.upkeep.prepare(now_s), effects, now_s)
        self._absorb(self.upkeep.pump(now_s), effects, now_s)
        if arrived is not None:
            effects += self.parts.bundles.drop(arrived)
        return effects

    def _absorb(self, new: Iterable[Effect], effects: list[Effect], now_s: float) -> None:
        """Take effects over; messages to this node itself are handled instead of sent."""
        for effect in new:
            if isinstance(effect, SendTensors):
                if effect.peer == self.parts.me:
                    self._absorb(self._on_tensors(_home(self.parts, effect), now_s), effects, now_s)
                    continue
                self.parts.neighbours.count(effect.peer, effect.message.tensors)
            elif isinstance(effect, SendSignal) and effect.peer == self.parts.me:
                signal = Signal(self.parts.me, self.parts.session, effect.message)
                self._absorb(self._on_signal(signal, now_s), effects, now_s)
                continue
            effects.append(effect)

    # --- links -----------------------------------------------------------------------------------

    def _on_link_up(self, event: LinkUp, now_s: float) -> list[Effect]:
        self.parts.membership.on_link(event.peer, event.session, True)
        self.parts.inflight.broken.pop(event.peer, None)
        for held in self.parts.holdings.plans.values():
            for way in held.ways:
                if event.peer in way.nodes:
                    self.parts.inflight.broken.pop(way.route, None)
        return self.parts.neighbours.on_up(event.peer, event.session, now_s)

    def _on_link_down(self, event: LinkDown, now_s: float) -> list[Effect]:
        self.parts.membership.on_link(event.peer, event.session, False)
        self.parts.neighbours.on_down(event.peer, event.session)
        self.parts.fetch.on_link_down(event.peer)
        effects = self.parts.stage.on_source_lost(event.peer, event.session)
        effects += self.parts.inflight.on_submitter_lost(event.peer, now_s)
        effects += self.parts.inflight.on_lost(self._lost_with(event.peer), now_s)
        return effects + self.parts.relay.on_link_down(event.peer, now_s)

    def _lost_with(self, peer: str) -> Callable[[Route], bool]:
        """Which ways cannot answer without that peer; unknown ones cannot either."""

        def is_over(route: Route) -> bool:
            way = self.parts.holdings.way_on(route)
            return way is None or peer in way.nodes

        return is_over

    def _on_signal(self, event: Signal, now_s: float) -> list[Effect]:
        if not may_speak(self.parts, event):
            return []
        match event.message:
            case Refusal() as refusal:
                self.parts.election = self.parts.election.saw(refusal.plan.claim, now_s)
                return self.parts.inflight.on_refusal(refusal, now_s)
            case Failure() as failure:
                return self.parts.inflight.on_failure(failure, event.peer, now_s)
            case Cancel() as cancel:
                return self.parts.stage.on_cancel(cancel)
            case Withdraw() as withdraw:
                return self.intake.on_withdraw(event, withdraw, now_s)
            case BlobRequest(sha256, offset_bytes, length_bytes):
                return [SendChunk(event.peer, sha256, offset_bytes, length_bytes)]
            case BlobMissing(sha256):
                self.parts.fetch.on_missing(event.peer, sha256)
        return []

    def _on_tensors(self, event: Tensors, now_s: float) -> list[Effect]:
        if not may_speak(self.parts, event):
            return []
        match event.message:
            case Frame() as frame:
                way = self.parts.holdings.ready(frame.hash, frame.plan, frame.variant)
                graph = self.parts.library.graphs.get(way.plan.model) if way else None
                return self.parts.stage.on_frame(event, way, graph, now_s)
            case Result() as result:
                return self.parts.inflight.on_result(result, event.bundle, now_s)
            case Submit() as submit:
                return self.intake.on_submit(event, submit, now_s)
            case Outcome() as outcome:
                return self.parts.relay.on_outcome(outcome, event.bundle, now_s)

    def _on_chunk(self, event: ChunkStored, now_s: float) -> list[Effect]:
        is_busy = bool(self.parts.inflight.frames or len(self.parts.stage))
        effects = self.parts.fetch.on_chunk(event, is_busy, now_s)
        return effects + self.parts.fetch.tick(self.parts.neighbours.linked(), now_s)

    # --- slow work that ended --------------------------------------------------------------------

    def _on_manifest(self, event: ManifestLoaded, now_s: float) -> list[Effect]:
        self.parts.library.on_loaded(event.model, event.graph)
        return []

    def _on_no_manifest(self, event: ManifestFailed, now_s: float) -> list[Effect]:
        self.parts.library.on_failed(event, self.duties.holders_of(event.model), now_s)
        return []

    def _on_blobs_checked(self, event: BlobsChecked, now_s: float) -> list[Effect]:
        holders = self.duties.holders_of(event.model)
        if event.purpose == KEEP:
            self.parts.library.on_checked(event, holders)
            return []
        return self.parts.holdings.on_checked(event, holders)

    def _on_built(self, event: SegmentBuilt, now_s: float) -> list[Effect]:
        self.parts.holdings.on_built(event.key, event.engine)
        way = self.parts.holdings.way_on(Route(event.key.hash, event.key.variant))
        graph = self.parts.library.graphs.get(way.plan.model) if way is not None else None
        segment = way.segment(event.key.segment) if way is not None else None
        if way is not None and graph is not None and segment is not None:
            self.upkeep.time(way, segment, graph, event.layers_s)
        return [Tell(event.note)] if event.note else []

    def _on_unbuildable(self, event: SegmentUnbuildable, now_s: float) -> list[Effect]:
        self.parts.holdings.fail(event.key.hash, event.text)
        return [Tell(f"a segment cannot be built: {event.text}")]

    def _on_done(self, event: SegmentDone, now_s: float) -> list[Effect]:
        work = self.parts.stage.running
        graph = self.parts.library.graphs.get(work.way.plan.model) if work is not None else None
        if work is not None and graph is not None:
            self.upkeep.learn(work.way, work.segment, graph, event.seconds)
            self.upkeep.time(work.way, work.segment, graph, event.layers_s)
        return self.parts.stage.on_done(event, graph, self.parts.neighbours.linked(), now_s)


def _home(parts: Parts, effect: SendTensors) -> Tensors:
    """A message to this node itself, as it would arrive."""
    return Tensors(parts.me, parts.session, effect.message, effect.bundles[0], 0)
