"""What may have become possible after an event: preparations and parked frames move on.

    a frame's event      parked frames are sent where the window has room
    anything else        and plans under preparation take their next step, and what is held is said

Invariant: idempotent; what an event cannot have changed is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgeflow.costmodel.cost import NodeCost, Seconds, Workload
from edgeflow.estimation.ratio import RatioEstimate
from edgeflow.estimation.timings import Timings
from edgeflow.events import Effect, Publish
from edgeflow.frames.belief import Trial
from edgeflow.frames.explore import Explorer, is_explored
from edgeflow.frames.pace import Window
from edgeflow.layout.split import Segment
from edgeflow.messages import Held, Spec
from edgeflow.mind.beliefs import listen, priced
from edgeflow.mind.parts import Parts, layer_seconds
from edgeflow.mind.refuge import Refuge
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import HeldPlan, Way

HELD_S = 2.0
"""What this node holds is said again this often: switches wait for it."""
PROGRESS_S = 1.0
"""Bytes that came are told this often: a plan that moves is not given up as stuck."""

LEARN_S_MIN = 0.002
"""Less than this tells more of the clock than of the machine."""


class Upkeep:
    """The part of a NodeCore that runs after events."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.told: dict[str, tuple[Held, float]] = {}
        """What was last said of each deployment, and when."""
        self.refuges: dict[str, Refuge] = {}
        """By deployment whose source this node is."""

    def prepare(self, now_s: float) -> list[Effect]:
        """Take every preparation as far as it goes, drop what was left, and say what is held."""
        parts = self.parts
        effects: list[Effect] = []
        linked = parts.neighbours.linked()
        open_steps = ("manifest", "checking", "fetching", "building", "links")
        waiting = {
            held.plan.deployment
            for held in parts.holdings.plans.values()
            if held.step in open_steps
        }
        for name in sorted(waiting):
            holders = parts.holders(parts.deployments.view(name))
            effects += parts.holdings.advance(holders, name, linked, now_s)
        free_bytes, memory_bytes = parts.sample.memory_free_bytes, parts.caps.memory_bytes
        effects += parts.holdings.leftovers.tick(free_bytes, memory_bytes, now_s)
        return effects + self._tell_held(now_s)

    def pump(self, now_s: float) -> list[Effect]:
        """Send parked frames, of every deployment with a usable plan."""
        parts = self.parts
        effects: list[Effect] = []
        parts.inflight.full.clear()
        if not parts.inflight.frames:
            return effects
        for name in self.refuges.keys() - parts.holdings.active.keys():
            del self.refuges[name]
        for name in sorted(parts.holdings.active):
            spec = parts.deployments.view(name).spec
            held = parts.holdings.active_plan(name)
            graph = parts.library.graphs.get(held.plan.model) if held is not None else None
            if spec is None or held is None or graph is None:
                continue
            here = [*self._open(held, now_s)]
            refuge = self.refuges.setdefault(name, Refuge())
            refuge.seek(parts, held, graph, here, now_s)
            if way := self._usable(here, refuge, now_s):
                trial = self._trial(way, here, spec, graph, now_s)
                effects += parts.inflight.pump(name, way, Window.of(spec), graph, now_s, trial)
        return effects

    def contradict(self, heard: Held, now_s: float) -> None:
        """Our own topic says what we did not say last: say it again."""
        parts = self.parts
        mine = parts.holdings.message(heard.deployment, parts.inflight.plans_in_use())
        if heard != self.told.get(heard.deployment, (mine, 0.0))[0]:
            self.told[heard.deployment] = (heard, now_s)

    def time(self, way: Way, segment: Segment, graph: Graph, layers_s: tuple[float, ...]) -> None:
        """Take in how long each layer of a segment took."""
        if len(layers_s) != len(segment.layers):
            return
        if segment.tile is not None:
            parts_s = tile_shares(self.parts, way, segment, graph)
            layers_s = tuple(s / part for s, part in zip(layers_s, parts_s, strict=True))
        timings = self.parts.timings.setdefault(way.plan.model, Timings())
        timings.add(segment.layers, layers_s)
        way.predicted.pop(segment.at, None)  # the others are timed themselves
        for held in self.parts.holdings.plans.values():
            for each in held.ways:
                if each is not way and held.plan.model == way.plan.model:
                    each.predicted.clear()

    def learn(self, way: Way, segment: Segment, graph: Graph, seconds: float) -> None:
        """Compare a segment's time with what this node's own timings and rates predict.

        Segments whose layers were timed are compared all together, once a frame: a plan of tiles
        has many short ones and few long ones, and the long ones are what a frame takes.
        """
        parts = self.parts
        way.on_ran(segment.at, seconds)
        if parts.caps.rates is None:
            return
        if segment.at not in way.predicted:
            way.predicted[segment.at] = predicted_segment_s(parts, way, segment, graph)
        predicted_s, share = way.predicted[segment.at]
        if share >= 1.0:
            took_s, should_s = way.frame_s
            seconds, predicted_s = took_s + seconds, should_s + predicted_s
            is_last = segment.at == way.segments[-1].at
            way.frame_s = (0.0, 0.0) if is_last else (seconds, predicted_s)
            if not is_last:
                return
        if predicted_s > 0 and seconds >= LEARN_S_MIN:
            known = parts.ratios.get(way.plan.model, RatioEstimate())
            parts.ratios[way.plan.model] = known.add((seconds / predicted_s) ** share)

    def _usable(self, here: Sequence[Way], refuge: Refuge, now_s: float) -> Way | None:
        """The first of the variants that are open; the refuge before others; of doubted ones the
        one that was so first."""
        doubts = self.parts.inflight.doubts

        def order(way: Way) -> tuple[float, bool, bool]:
            return doubts.until_s(way.route, now_s), way.variant > 0, way.line != refuge.line

        return min(here, key=order, default=None)

    def _open(self, held: HeldPlan, now_s: float) -> Iterator[Way]:
        """The variants that a frame may take now: nobody in them is known to be lost, and every
        link of the source is open."""
        parts, sessions = self.parts, held.plan.sessions
        linked = parts.neighbours.linked()
        return (
            way
            for way in held.ways
            if way.peers <= linked
            and not parts.inflight.is_broken(way, now_s)
            and all(parts.membership.is_here(node, sessions[node], now_s) for node in way.nodes)
        )

    def _trial(
        self, way: Way, here: Sequence[Way], spec: Spec, graph: Graph, now_s: float
    ) -> Trial | None:
        """Where the frame that waits is spare: another way of its plan, whose cost is only
        believed."""
        parts, name = self.parts, spec.name
        if not is_explored(spec):
            parts.inflight.explorers.pop(name, None)
            return None
        explorer = parts.inflight.explorers.setdefault(name, Explorer(spec.explore_share))
        explorer.share = spec.explore_share
        held = parts.holdings.active_plan(name)
        if held is None or way.variant or not parts.inflight.is_spare(name):
            return None
        listen(explorer, parts, held, now_s)
        doubts = parts.inflight.doubts.known
        if way.route in doubts:  # What slowed it may be what all ways share, and not over.
            return None
        others = [
            each
            for each in here
            if each is not way and each.route not in doubts and explorer.is_doubtful(each, now_s)
        ]
        if not others or not explorer.may_ask():
            return None
        if explorer.needs_prices((way, *others), way.line, now_s):
            explorer.believe(*priced(parts, held, graph, explorer.calm, now_s), way.line, now_s)
        return explorer.choose(others, now_s)

    def _tell_held(self, now_s: float) -> list[Effect]:
        """What this node holds, where it changed or is due; one that starts may be a namesake."""
        parts = self.parts
        effects: list[Effect] = []
        if parts.state == "init":
            return effects
        names = {held.plan.deployment for held in parts.holdings.plans.values()} | set(self.told)
        if not names:
            return effects
        in_use = parts.inflight.plans_in_use()
        for name in sorted(names):
            message = parts.holdings.message(name, in_use)
            told, told_s = self.told.get(name, (None, -math.inf))
            if told is not None and now_s - told_s < _rest_s(told, message):
                continue
            self.told[name] = (message, now_s)
            parts.deployments.on_held(message)
            effects.append(Publish(message))
            if not message.plans:
                del self.told[name]
        return effects


def _rest_s(told: Held, message: Held) -> float:
    """How long to wait after what was told: not at all, where more than progress changed."""
    if told == message:
        return HELD_S
    if (told.session, told.keeps_model) != (message.session, message.keeps_model):
        return 0.0
    before = [(each.id, each.hash, each.status) for each in told.plans]
    after = [(each.id, each.hash, each.status) for each in message.plans]
    return PROGRESS_S if before == after else 0.0


def _places(segment: Segment, graph: Graph) -> list[int]:
    """Of its layers, in the graph's order."""
    wanted = set(segment.layers)
    return [at for at, layer in enumerate(graph.layers) if layer.name in wanted]


def tile_shares(parts: Parts, way: Way, segment: Segment, graph: Graph) -> Seconds:
    """(its layers,) which part of each layer's seconds a segment's tile should take."""
    known = way.shares.get(segment.at)
    if known is None:
        known = way.shares[segment.at] = _shares(parts, segment, graph)
    return known


def _shares(parts: Parts, segment: Segment, graph: Graph) -> Seconds:
    places, work = _places(segment, graph), Workload.of(graph)
    if segment.tile is None or parts.caps.rates is None:
        return np.ones(len(places))
    me = NodeCost(parts.me, parts.caps.tier, parts.caps.rates)
    tiled_s = work.of_tile(segment.layers, segment.tile).prior(me)[places]
    shares: Seconds = tiled_s / work.prior(me)[places]
    return shares


def predicted_segment_s(
    parts: Parts, way: Way, segment: Segment, graph: Graph
) -> tuple[float, float]:
    """Seconds of this node's segment by its timings, else rates, and what a sample of it counts.

    Where the layers were timed, a sample tells how slow the node is now. Where not, it also tells
    how wrong the rates are about these layers, which says the less about the others the smaller
    their share of the whole model is: it is taken to that power.
    """
    me = NodeCost(parts.me, parts.caps.tier, parts.caps.rates)
    prior_s = Workload.of(graph).seconds(me)
    timed_s = layer_seconds(parts, way.plan.model, graph)
    places = _places(segment, graph)
    seconds = np.where(timed_s > 0, timed_s, prior_s)
    seconds[places] *= tile_shares(parts, way, segment, graph)
    part_s, whole_s = float(seconds[places].sum()), float(seconds.sum())
    if (timed_s[places] > 0).all():
        return part_s, 1.0
    return part_s, part_s / whole_s if whole_s > 0 else 0.0
