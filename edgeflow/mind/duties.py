"""What a node does because time passed: heartbeats, republishing, preparing, pumping, draining.

    every tick    leases and elections · deadlines · links · fetching
    each period   state, caps and wanted specs are said again, so that an emptied broker heals

Where the loop stood still (a stopped process, a starved machine) the time it missed counts for
nobody: the others spoke, and we did not listen. Where it is late all the time, time-outs stretch.

Invariant: nothing here is the only chance to say something.
"""

from __future__ import annotations

import math
from dataclasses import replace as changed

from msgspec.structs import replace

from edgeflow.cluster.foreign import Foreigners
from edgeflow.cluster.membership import HEARTBEAT_S
from edgeflow.cluster.namesake import Namesake
from edgeflow.estimation.alert import Alert
from edgeflow.estimation.lag import Lag
from edgeflow.estimation.neighbours import LIVE_S
from edgeflow.events import Effect, Publish, Stop, Tell
from edgeflow.messages import CLOUD, EDGE, Availability, Load, Rates
from edgeflow.mind.parts import Parts
from edgeflow.mind.timesheet import Timesheet
from edgeflow.plans.heldplan import Route

REPUBLISH_S = 5.0
"""Retained truth is said again this often: an emptied broker is whole after one period."""
PAUSE_S = 0.2
"""A tick that is later than this, and than ticks are lately, is our own standing still. Who is late
all the time does not stand still: he would give the dead time for ever."""
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
        self.frames, self.frame_s = (0, 0), -math.inf
        """Submitted and computed here, and when the last one was here."""
        self.drain_until_s = math.inf
        self.lag = Lag()
        self.timesheet = Timesheet(parts)
        self.alert = Alert(parts.neighbours.links, parts.ratios)
        self.namesake = Namesake(parts.me, parts.session)
        self.foreigners = Foreigners(parts.me)

    def tick(self, now_s: float) -> list[Effect]:
        """Ten times a second."""
        parts = self.parts
        self._notice_pause(now_s)
        effects = [*parts.inflight.tick(now_s), *parts.stage.tick(now_s)]
        if parts.inflight.frames:
            effects += parts.inflight.on_lost(lambda way: not self._is_whole(way, now_s), now_s)
        effects += parts.relay.tick(parts.neighbours.linked(), now_s)
        alive = list(parts.membership.alive(now_s))
        effects += parts.neighbours.tick(parts.caps, alive, self._is_live(now_s), now_s)
        effects += parts.fetch.tick(parts.neighbours.linked(), now_s)
        effects += self._keep_models(now_s)
        if now_s - self.heartbeat_s >= HEARTBEAT_S or self._has_news(now_s):
            effects += self._heartbeat(now_s)
        effects += parts.inflight.news(parts.deployments.policy_of, now_s)
        effects += self.timesheet.tick(now_s)
        if now_s - self.republish_s >= REPUBLISH_S:
            effects += self.republish_all(now_s)
        effects += self.namesake.tick(now_s)
        effects += self._elect(now_s)
        effects += self._lead(now_s)
        if self.drain_until_s < math.inf:
            effects += self._drained(now_s)
        return effects

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
        effects: list[Effect] = [Tell(f"draining: {why}")]
        effects += parts.publish_own(parts.own_state(), now_s)
        parts.election, farewell = parts.election.resign(now_s)
        return effects + [Publish(message) for message in farewell]

    def holders_of(self, model: str) -> tuple[str, ...]:
        """Whom to ask for the blobs of a model."""
        for view in self.parts.deployments.views.values():
            if view.spec is not None and view.spec.model == model and not view.spec.removed:
                return self.parts.holders(view)
        return tuple(sorted(self.parts.neighbours.linked()))

    def _has_news(self, now_s: float) -> bool:
        return self.alert.is_due(self.parts.heat.slower_soon, now_s)

    def _notice_pause(self, now_s: float) -> None:
        """Give everybody the time that this node stood still, and lags."""
        parts = self.parts
        usual_s = self.lag.seconds(now_s)
        paused_s = self.lag.on_tick(now_s) - usual_s
        if paused_s > PAUSE_S:
            parts.membership.on_pause(paused_s, now_s)
            parts.election = parts.election.on_pause(paused_s)
            parts.inflight.on_pause(paused_s)
            parts.relay.waking.wake()
        self._stretch(now_s)

    def on_echo(self, seq: int, now_s: float) -> None:
        """Our own heartbeat came back: we are not deaf, and know how late we hear."""
        if self.lag.on_echo(seq, now_s):
            self.parts.election = self.parts.election.on_echo(now_s)
            self.parts.membership.on_echo(now_s)
            self._stretch(now_s)

    def _is_live(self, now_s: float) -> bool:
        """Whether frames pass through here lately."""
        inflight, stage = self.parts.inflight, self.parts.stage
        frames = inflight.next_id, stage.job
        if inflight.frames or len(stage) or frames != self.frames:
            self.frames, self.frame_s = frames, now_s
        return now_s - self.frame_s < LIVE_S

    def _stretch(self, now_s: float) -> None:
        lag_s = self.lag.seconds(now_s)
        self.parts.membership.stretch_s = lag_s
        self.parts.election = self.parts.election.on_lag(lag_s)

    def _is_whole(self, route: Route, now_s: float) -> bool:
        """Whether all nodes of a way live in its sessions; a retired one tells by refusals."""
        way = self.parts.holdings.way_on(route)
        return way is None or all(
            self.parts.membership.is_here(node, way.plan.sessions[node], now_s)
            for node in way.nodes
        )

    def _keep_models(self, now_s: float) -> list[Effect]:
        """Whoever may lead needs graphs, also where it has no link to their source; a source keeps
        whole models."""
        parts = self.parts
        effects: list[Effect] = []
        for view in parts.deployments.views.values():
            spec = view.spec
            if spec is None or spec.removed:
                continue
            if parts.election.can_lead or spec.source == parts.me:
                effects += parts.library.want(spec.model, parts.holders(view), now_s)
            if spec.source == parts.me:
                effects += parts.library.keep(spec.model)
        return effects

    def _heartbeat(self, now_s: float) -> list[Effect]:
        parts = self.parts
        self.seq, self.heartbeat_s = self.seq + 1, now_s
        self.lag.on_sent(self.seq, now_s)
        self.alert.on_told(parts.heat.slower_soon, now_s)
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
            links=parts.neighbours.report(now_s),
            claim=parts.election.highest,
            fences=dict(parts.holdings.fences),
            compute_ratio={model: ratio.ratio for model, ratio in parts.ratios.items()},
            segments=parts.holdings.segment_times(),
            memory_free_bytes=parts.sample.memory_free_bytes,
            slower_soon=parts.heat.slower_soon,
            compute_deviation={model: ratio.deviation for model, ratio in parts.ratios.items()},
            busy=parts.stage.busyness.busy(now_s),
            wait_s=parts.stage.busyness.wait_s(now_s),
        )
        effects = parts.publish_own(load, now_s)
        for name, tally in parts.inflight.tallies.items():
            if not tally.is_told:
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
        views = list(parts.deployments.views.values())
        effects = self.foreigners.notices(view.name for view in views if view.is_wanted)
        known = [(view, parts.graph_of(view)) for view in views]
        return effects + parts.lead.tick_all(known, claim, now_s)

    def _drained(self, now_s: float) -> list[Effect]:
        parts = self.parts
        plans = [held.plan for held in parts.holdings.plans.values()]
        is_obliged = any(
            plan.source != parts.me
            and parts.membership.is_here(plan.source, plan.sessions[plan.source], now_s)
            for plan in plans
        )
        is_idle = not parts.inflight.frames and not len(parts.stage) and not parts.relay.errands
        if now_s < self.drain_until_s and (is_obliged or not is_idle):
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
