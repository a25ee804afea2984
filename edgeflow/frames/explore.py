"""A little exploration: spare frames along ways whose cost is only believed.

    a frame of the running plan ─▶ earns SHARE of its seconds, and settles all that it used
    spare frame · doubtful way · budget ─▶ goes along that way; what it takes longer is spent

A *place* is a node or a directed link. It is doubtful where no frame of this deployment used it for
REST_S. One trial that takes what was believed settles it; TRIALS where none ever used it, or where
it was quicker than believed; each time for twice as long. Trials that are quicker than the running
plan cost nothing: they go on until its price is sure enough to follow, TRIALS_QUICK at most.
A node whose other load went is doubtful at once, whatever settled it: what it does beside this
deployment is in its heartbeat, and only a trial tells what is left. So is a link that got FASTER,
and what trials settled beside one plan as soon as another runs.

A way is tried while one of its places is doubtful, as long as it may be better than the running
one: where believed to take no more than WORTH times as long, or where it would be quicker if the
load went that its nodes had. What a trial teaches goes the usual ways: timings, ratios, receipts.

Invariant: what trials took longer is at most the share of what frames took, CREDIT (DEBT for ways
believed to be quicker) and one trial; GAP frames of the running plan follow one that was slow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgeflow.cluster.membership import EASED
from edgeflow.estimation.link import FASTER
from edgeflow.frames.belief import REST_S, REST_S_MAX, UNKNOWN, Belief, Doubt, Trial
from edgeflow.frames.tally import MEASURING
from edgeflow.frames.usual import Usual
from edgeflow.messages import Spec
from edgeflow.plans.heldplan import Place, Way

TRIALS, TRIALS_QUICK, QUICK = 3, 8, 0.95
"""Samples that make an estimate believe a step (`edgeflow.estimation.steps`); and that make it
sure of a gain of a sixth, where each trial takes less than this share of the usual."""
NEWS = 0.8
"""A trial that takes less than this share of what was believed is news, and others follow it."""
GAP = 4
"""Frames of the running plan after a slow trial: a stream is not slow twice in a row."""
AFTER_S = 4.0
"""After a frame what a node says of other load tells of that frame too: of what it took of the
processor at once, and of its share of the node's time for longer."""
SAVED, CREDIT, DEBT = 4.0, 2.0, 8.0
"""Of the usual latency, what the budget holds at most, and what may be spent before it is earned: a
busy hour pays for no burst of trials, and the first ones need not wait for a hundred frames. DEBT
is for what is believed to be quicker: with less, a new node waits for what trials of busy ones
cost."""
PATIENCE = 4.0
"""A trial may take so many times what it is believed to take, before another way is taken."""
PATIENCE_S_MIN = 1.0
PRICED_S, NEW_S = 10.0, 0.5
"""Beliefs are asked for this often, and where a way is new, or a node of it eased, whose links were
slow too as long as it was busy: 1 ms of a desktop's core."""
YOUNG_S, YOUNG_REST_S = 10.0, 2.0
"""Of a way that is known for less, over a node where no frame was yet, beliefs are asked for as
often as heartbeats come: who joined has just fetched and built, and little else crossed its links.
Longer costs the source's CPU."""
CALM_FRAMES = 24
"""A node's ratio is its own, and no more that of its first, cold runs, after so many frames: the
window of its estimate. More learns later how quick a node is without load."""
PLACES_MAX = 512
NO_TRIALS = MEASURING | {"static"}
"""Policies that ask for nothing, or measure by themselves."""


Home = tuple[str, int]
"""A node in one of its sessions."""


@dataclass(slots=True)
class Explorer:
    """Of one deployment, at its source."""

    share: float
    budget_s: float = 0.0
    usual: Usual = field(default_factory=Usual)
    """Of a frame of the running plan."""
    since: int = 0
    """Frames of the running plan since the last trial."""
    doubts: dict[Place, Doubt] = field(default_factory=dict)
    priced_s: float = -math.inf
    running: str = ""
    """The placement line that ran then."""
    tried: Way | None = None
    """The way of the trial that is under way."""
    followed: str = ""
    """The placement line of the last trial, where others shall follow it."""
    believed: dict[str, Belief] = field(default_factory=dict)
    """By placement line."""
    known_s: dict[str, float] = field(default_factory=dict)
    """By placement line, since when something is believed of it."""
    seen_s: dict[str, float] = field(default_factory=dict)
    """By node, when a frame was there last."""
    peaks: dict[str, float] = field(default_factory=dict)
    """By node, its most other load since it eased, as a share of its time."""
    lows: dict[Place, float] = field(default_factory=dict)
    """By link, the least rate that was told since a frame was there."""
    eased: set[str] = field(default_factory=set)
    """Nodes whose other load went since: believed to be as quick as without it."""
    frames: dict[Home, int] = field(default_factory=dict)
    """Of running plans, that a node had a part in."""
    calm: dict[Home, float] = field(default_factory=dict)
    """The least ratio that a node told, after CALM_FRAMES of these."""

    def on_answered(self, way: Way, flight_s: float, now_s: float) -> None:
        """A frame that was no trial: it took so long."""
        self.usual.count(way, flight_s)
        self.budget_s = min(self.budget_s + self.share * flight_s, SAVED * self.usual_s)
        self.since += 1
        for place in way.places:
            self.doubts[place] = Doubt(now_s + REST_S)
            self._was_at(place, now_s, is_settled=True)
        for node in way.nodes:
            home = node, way.plan.sessions[node]
            self.frames[home] = self.frames.pop(home, 0) + 1
        while len(self.frames) > PLACES_MAX:
            home = next(iter(self.frames))
            del self.frames[home]
            self.calm.pop(home, None)

    @property
    def usual_s(self) -> float:
        """Seconds of a frame of the running plan; 0 before the first."""
        return self.usual.seconds

    def on_ratios(self, ratios: Mapping[Home, float]) -> None:
        """How slow nodes say they are now, as ratios to when they were timed."""
        for home, ratio in ratios.items():
            if self.frames.get(home, 0) >= CALM_FRAMES:
                self.calm[home] = min(ratio, self.calm.get(home, math.inf))

    def on_load(self, loads: Mapping[str, float], now_s: float) -> None:
        """What nodes do beside this deployment now, as shares of their time; of those that a way
        needs."""
        self.eased &= loads.keys()
        self.seen_s = {node: at_s for node, at_s in self.seen_s.items() if node in loads}
        self.peaks = {node: self.peaks.get(node, 0.0) for node in loads}
        for node, load in loads.items():
            if now_s - self.seen_s.get(node, -math.inf) < AFTER_S:
                continue
            self.peaks[node] = max(load, self.peaks[node])
            if self.peaks[node] - load >= EASED:
                self.doubts[node, node] = Doubt(now_s)
                self.peaks[node] = load
                self.eased.add(node)

    def on_rates(self, rates: Mapping[Place, float], now_s: float) -> None:
        """How quick links are told to be now, in bytes per second; prices of before are none."""
        self.lows = {place: min(rate, self.lows.get(place, rate)) for place, rate in rates.items()}
        for place, rate in rates.items():
            if rate >= FASTER * self.lows[place]:
                self.doubts[place], self.lows[place] = Doubt(now_s), rate
                self.priced_s = -math.inf

    def on_tried(self, took_s: float, now_s: float) -> None:
        """The trial has its outcome, whatever that is."""
        self.budget_s -= max(0.0, took_s - self.usual_s)
        self.since = GAP if took_s <= self.usual_s else 0
        way, self.tried = self.tried, None
        if way is None:
            return
        belief = self.believed.get(way.line, UNKNOWN)
        is_news = took_s < NEWS * belief.now * self.usual_s
        is_quick = took_s < QUICK * self.usual_s
        for place in way.places:
            self._settle(place, is_news, is_quick, now_s)
        if is_news or is_quick:
            times = took_s / self.usual_s
            self.believed[way.line] = Belief(times, min(times, belief.idle))
        goes_on = (is_news or is_quick) and self.is_doubtful(way, now_s)
        self.followed = way.line if goes_on else ""

    def is_doubtful(self, way: Way, now_s: float) -> bool:
        """Whether a frame along it would tell anything new."""
        return any(
            place not in self.doubts or now_s >= self.doubts[place].until_s for place in way.places
        )

    def may_ask(self) -> bool:
        """Whether a trial is to be thought of at all; of a node that eased always."""
        has_credit = self.budget_s >= -DEBT * self.usual_s
        return self.usual_s > 0 and self.since >= GAP and (has_credit or bool(self.eased))

    def needs_prices(self, ways: Iterable[Way], running: str, now_s: float) -> bool:
        """Whether what is believed of these is old, or of another running plan, which was left for
        some reason; or nothing is, or what was when a node had just joined."""
        rest_s = now_s - self.priced_s
        if rest_s < NEW_S:
            return False
        is_new = running != self.running or any(
            way.line not in self.believed or way.nodes & self.eased for way in ways
        )
        is_young = any(self._is_young(way, now_s) for way in ways)
        return is_new or rest_s >= (YOUNG_REST_S if is_young else PRICED_S)

    def choose(self, ways: Iterable[Way], now_s: float) -> Trial | None:
        """Of these the doubtful one that is believed to be the best and may be better than the
        running one; None where there is none, or the budget is too small."""
        worth = [
            (self._times(way), way)
            for way in ways
            if self.is_doubtful(way, now_s) and self.believed.get(way.line, UNKNOWN).is_worth_it
        ]
        if not worth:
            return None
        times, best = min(worth, key=lambda each: each[0])
        if times >= 1 and (times - 1) * self.usual_s > self.budget_s + CREDIT * self.usual_s:
            return None
        self.tried = best
        limit_s = max(PATIENCE_S_MIN, PATIENCE * max(1.0, times) * self.usual_s)
        return Trial(best, limit_s)

    def believe(
        self, now: Mapping[str, float], idle: Mapping[str, float], running: str, now_s: float
    ) -> None:
        """Seconds that each placement line should take: as things are known, and without load. What
        the last trial took is believed until those that follow it have changed what is known."""
        if running != self.running:
            for doubt in self.doubts.values():
                if doubt.rest_s > REST_S:
                    doubt.until_s, doubt.rest_s = min(doubt.until_s, now_s), REST_S
        usual, self.running, self.priced_s = now.get(running, math.inf), running, now_s
        self.known_s = {line: self.known_s.get(line, now_s) for line in now}
        found = self.believed.get(self.followed)
        self.believed = (
            {line: Belief(now[line] / usual, idle[line] / usual) for line in now}
            if 0 < usual < math.inf
            else {}
        )
        if found is not None and self.followed in self.believed:
            self.believed[self.followed] = found

    def _is_young(self, way: Way, now_s: float) -> bool:
        """Whether it is known for a short time, and goes over a node where no frame was yet."""
        if now_s - self.known_s.get(way.line, -math.inf) >= YOUNG_S:
            return False
        return any(node == to and (node, to) not in self.doubts for node, to in way.places)

    def _times(self, way: Way) -> float:
        """What a way is believed to take, over what the running one takes."""
        belief = self.believed.get(way.line, UNKNOWN)
        return belief.idle if way.nodes & self.eased else belief.now

    def _settle(self, place: Place, is_news: bool, is_quick: bool, now_s: float) -> None:
        """One more frame used it."""
        doubt = self.doubts.setdefault(place, Doubt())
        while len(self.doubts) > PLACES_MAX:
            del self.doubts[next(iter(self.doubts))]
        if now_s < doubt.until_s:
            return
        if (is_news and doubt.trials == 0) or doubt.until_s == -math.inf:
            doubt.needed = TRIALS
        doubt.trials += 1
        is_settled = doubt.trials >= (TRIALS_QUICK if is_quick else doubt.needed)
        self._was_at(place, now_s, is_settled=is_settled)
        if is_settled:
            doubt.trials, doubt.needed, doubt.until_s = 0, 1, now_s + doubt.rest_s
            doubt.rest_s = min(2 * doubt.rest_s, REST_S_MAX)

    def _was_at(self, place: Place, now_s: float, *, is_settled: bool) -> None:
        """A frame was there, and told what the load of now leaves."""
        node, to = place
        self.lows.pop(place, None)
        if node == to:
            self.seen_s[node] = now_s
            if is_settled:
                self.eased.discard(node)


def is_explored(spec: Spec) -> bool:
    """Whether doubtful ways of a deployment are tried."""
    return spec.explore_share > 0 and not spec.placement and spec.policy not in NO_TRIALS
