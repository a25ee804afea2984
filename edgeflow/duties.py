"""What a node does because time passed: heartbeats, republishing, preparing, pumping, draining.

    every tick    leases and elections · deadlines · links · fetching
    after events  preparations and parked frames move on as far as they can
    each period   state, caps and wanted specs are said again, so that an emptied broker heals

Invariant: nothing here is the only chance to say something.
"""

from __future__ import annotations

import math
from dataclasses import replace as changed

from msgspec.structs import replace

from edgeflow.cost import NodeCost, Workload
from edgeflow.estimate import RatioEstimate
from edgeflow.events import Effect, Publish, Stop, Tell
from edgeflow.graph import Graph
from edgeflow.holding import HeldPlan
from edgeflow.membership import HEARTBEAT_S
from edgeflow.messages import CLOUD, EDGE, Availability, Held, Load, Rates
from edgeflow.parts import Parts

REPUBLISH_S = 5.0
"""Retained truth is said again this often: an emptied broker is whole after one period."""
HELD_S = 2.0
"""The same for what this node holds ready, which switches wait for."""
DRAIN_S = 20.0
"""A draining node waits at most so long for its plans to be retired."""
RANK_PER_TIER = 1_000_000
"""Edge nodes lead before clouds, clouds before devices; within a tier the faster (MFLOP/ms)."""


class Duties:
    """The periodic part of a NodeCore."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.seq = 0
        self.heartbeat_s = -math.inf
        self.republish_s = -math.inf
        self.metrics_s = -math.inf
        self.told: dict[str, tuple[Held, float]] = {}
        self.drain_until_s = math.inf
        self.ticked_s = math.inf

    def tick(self, now_s: float) -> list[Effect]:
        """Ten times a second."""
        parts = self.parts
        effects = [*parts.inflight.tick(now_s), *parts.stage.tick(now_s)]
        effects += parts.relay.tick(parts.neighbours.linked(), now_s)
        is_busy = bool(parts.inflight.frames or len(parts.stage))
        alive = list(parts.membership.alive(now_s))
        effects += parts.neighbours.tick(parts.caps, alive, is_busy, now_s)
        effects += parts.fetch.tick(parts.neighbours.linked(), now_s)
        effects += self._keep_models(now_s)
        if now_s - self.heartbeat_s >= HEARTBEAT_S:
            effects += self._heartbeat(now_s)
        if now_s - self.republish_s >= REPUBLISH_S:
            effects += self.republish_all(now_s)
        effects += self._elect(now_s)
        effects += self._lead(now_s)
        if self.drain_until_s < math.inf:
            effects += self._drained(now_s)
        return effects

    def follow_up(self, now_s: float) -> list[Effect]:
        """After every event: what may have become possible."""
        parts = self.parts
        effects: list[Effect] = []
        linked = parts.neighbours.linked()
        for name in sorted({held.plan.deployment for held in parts.holdings.plans.values()}):
            view = parts.deployments.view(name)
            if any(held.step not in ("ready", "failed") for held in parts.holdings.of(name)):
                effects += parts.holdings.advance(parts.holders(view), name, linked, now_s)
            effects += self._pump(name, now_s)
        return effects + self._tell_held(now_s)

    def become_ready(self, rates: Rates | None, now_s: float) -> list[Effect]:
        """Calibrated: announce what this node can do."""
        parts = self.parts
        parts.caps = replace(parts.caps, rates=rates)
        parts.state = "ready"
        rank = rank_of(parts.caps.tier.rank, rates)
        parts.election = changed(parts.election, rank=rank, can_lead=parts.caps.can_lead)
        return self.republish_all(now_s)

    def republish_all(self, now_s: float) -> list[Effect]:
        """Everything retained that this node is the writer of."""
        parts = self.parts
        self.republish_s = now_s
        online = parts.state in ("init", "ready", "draining")
        effects = [
            *parts.publish_own(parts.own_state(), now_s),
            Publish(Availability(parts.me, online)),
            *parts.publish_own(parts.caps, now_s),
        ]
        for view in parts.deployments.views.values():
            spec = view.spec
            if spec is not None and (
                parts.election.leads or parts.me in (spec.source, spec.origin)
            ):
                effects.append(Publish(spec))
        return effects

    def drain(self, why: str, now_s: float) -> list[Effect]:
        """Take no new work; stop once what was taken is done."""
        parts = self.parts
        if parts.state in ("draining", "offline"):
            return []
        parts.state, self.drain_until_s = "draining", now_s + DRAIN_S
        return [Tell(f"draining: {why}"), *parts.publish_own(parts.own_state(), now_s)]

    def holders_of(self, model: str) -> tuple[str, ...]:
        """Whom to ask for the blobs of a model."""
        for view in self.parts.deployments.views.values():
            if view.spec is not None and view.spec.model == model and not view.spec.removed:
                return self.parts.holders(view)
        return tuple(sorted(self.parts.neighbours.linked()))

    def learn(self, held: HeldPlan, graph: Graph, seconds: float) -> None:
        """Compare a segment's time with what this node's own rates predict."""
        parts = self.parts
        if parts.caps.rates is None or held.segment is None:
            return
        if not held.predicted_s:
            held.predicted_s = predicted_segment_s(parts, held, graph)
        predicted_s = held.predicted_s
        if predicted_s > 0:
            known = parts.ratios.get(held.plan.model, RatioEstimate())
            parts.ratios[held.plan.model] = known.add(seconds / predicted_s)

    def _pump(self, name: str, now_s: float) -> list[Effect]:
        parts = self.parts
        view = parts.deployments.views.get(name)
        if not parts.inflight.frames or view is None or view.spec is None:
            return []
        held = parts.holdings.active_plan(name)
        if held is None or not self._is_usable(held, now_s):
            return []
        graph = parts.library.graphs.get(held.plan.model)
        return parts.inflight.pump(name, held, view.spec.window_frames, graph, now_s)

    def _is_usable(self, held: HeldPlan, now_s: float) -> bool:
        """Nobody in it is known to be lost, and the first hop is open."""
        parts = self.parts
        assert held.split is not None
        return held.peers(parts.me) <= parts.neighbours.linked() and all(
            parts.membership.is_alive(node, now_s)
            and parts.membership.peers[node].session == session
            for node, session in held.plan.sessions.items()
            if node != parts.me
        )

    def _tell_held(self, now_s: float) -> list[Effect]:
        """What this node holds, where it changed or is due."""
        parts = self.parts
        effects: list[Effect] = []
        in_use: frozenset[str] | None = None
        names = {held.plan.deployment for held in parts.holdings.plans.values()} | set(self.told)
        for name in sorted(names):
            in_use = parts.inflight.plans_in_use() if in_use is None else in_use
            message = parts.holdings.message(name, in_use)
            told, told_s = self.told.get(name, (None, -math.inf))
            if message == told and now_s - told_s < HELD_S:
                continue
            self.told[name] = (message, now_s)
            parts.deployments.on_held(message)
            effects.append(Publish(message))
            if not message.plans:
                del self.told[name]
        return effects

    def _keep_models(self, now_s: float) -> list[Effect]:
        """The leader needs graphs; a source keeps whole models."""
        parts = self.parts
        effects: list[Effect] = []
        for view in parts.deployments.views.values():
            spec = view.spec
            if spec is None or spec.removed:
                continue
            if parts.election.leads or spec.source == parts.me:
                effects += parts.library.want(spec.model, parts.holders(view), now_s)
            if spec.source == parts.me:
                effects += parts.library.keep(spec.model)
        return effects

    def _heartbeat(self, now_s: float) -> list[Effect]:
        parts = self.parts
        self.seq, self.heartbeat_s = self.seq + 1, now_s
        load = Load(
            node=parts.me,
            session=parts.session,
            seq=self.seq,
            cpu_percent=parts.sample.cpu_percent,
            memory_bytes=parts.sample.memory_bytes,
            temperature_c=parts.sample.temperature_c,
            throttled=parts.sample.throttled,
            queued_frames=len(parts.stage),
            queued_bytes=parts.stage.queued_bytes,
            links=parts.neighbours.report(),
            claim=parts.election.highest,
            fences=dict(parts.holdings.fences),
            compute_ratio={model: ratio.ratio for model, ratio in parts.ratios.items()},
        )
        effects = parts.publish_own(load, now_s)
        for name, tally in parts.inflight.tallies.items():
            if (tally.frames, tally.results, tally.errors) != tally.told:
                effects.append(Publish(parts.inflight.metrics(name, now_s)))
        return effects

    def _elect(self, now_s: float) -> list[Effect]:
        parts = self.parts
        if not parts.membership.connected or parts.state != "ready":
            return []
        better, edge_alive_s = 0, 0.0
        mine = parts.election.rank
        for peer in parts.membership.alive(now_s):
            if peer.name == parts.me or peer.caps is None or peer.state != "ready":
                continue
            if not peer.caps.can_lead or peer.caps.rates is None:
                continue
            is_edge = peer.caps.tier.rank == EDGE.rank
            better += rank_of(peer.caps.tier.rank, peer.caps.rates) > mine
            if is_edge and parts.caps.tier.rank != EDGE.rank and peer.first_heard_s is not None:
                edge_alive_s = max(edge_alive_s, now_s - peer.first_heard_s)
        led = parts.election.mine
        parts.election, beats = parts.election.tick(better, edge_alive_s, now_s)
        effects: list[Effect] = [Publish(beat) for beat in beats]
        if parts.election.mine is not None and parts.election.mine != led:
            effects.append(Tell(f"{parts.me} leads, term {parts.election.mine.term}"))
        return effects

    def _lead(self, now_s: float) -> list[Effect]:
        parts = self.parts
        claim = parts.election.mine
        if claim is None or not parts.election.leads or not parts.membership.connected:
            parts.lead.watches.clear()
            return []
        effects: list[Effect] = []
        for view in list(parts.deployments.views.values()):
            new = parts.lead.tick(view, parts.graph_of(view), claim, now_s)
            effects += new
        return effects

    def _drained(self, now_s: float) -> list[Effect]:
        parts = self.parts
        foreign = any(held.plan.source != parts.me for held in parts.holdings.plans.values())
        is_idle = not parts.inflight.frames and not len(parts.stage) and not parts.relay.errands
        if now_s < self.drain_until_s and (foreign or not is_idle):
            return []
        parts.state, self.drain_until_s = "offline", math.inf
        farewell = [*parts.publish_own(parts.own_state(), now_s)]
        return [*farewell, Publish(Availability(parts.me, False)), Stop()]


def rank_of(tier: int, rates: Rates | None) -> int:
    """How good a leader a node of this tier and speed makes."""
    if rates is None:
        return 0
    order = {EDGE.rank: 2, CLOUD.rank: 1}.get(tier, 0)
    return order * RANK_PER_TIER + min(int(rates.conv_flops_per_s / 1e9), RANK_PER_TIER - 1)


def predicted_segment_s(parts: Parts, held: HeldPlan, graph: Graph) -> float:
    """Seconds of this node's segment by its own rates alone."""
    assert held.segment is not None
    me = NodeCost(parts.me, parts.caps.tier, parts.caps.rates)
    seconds = Workload.of(graph).seconds(me)
    chosen = set(held.segment.layers)
    places = [at for at, layer in enumerate(graph.layers) if layer.name in chosen]
    return float(seconds[places].sum())
