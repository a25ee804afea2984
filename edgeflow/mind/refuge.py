"""Where frames go while one that was alone is overdue, before anybody has planned.

    overdue, and its input not there yet ─▶ its way is doubted ─▶ it and those behind it go another
      ^  ^                                                        way while the leader finds out
      |  '── overdue there as well: a way that needs no link of ours ─────────────────────┤
      '── as quick as it was ◀── a probe ◀── its input is there ────────────────────────┘

Invariant: a refuge ends with the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.estimation.neighbour import PROBE_BYTES_MAX, Neighbour
from edgeflow.frames.belief import UNKNOWN
from edgeflow.frames.doubts import OVERDUE_DOUBT_S
from edgeflow.frames.explore import Explorer
from edgeflow.frames.openframe import Attempt, OpenFrame
from edgeflow.frames.usual import OVERDUE
from edgeflow.layout.placement import parse_placement
from edgeflow.mind.parts import Parts
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import HeldPlan, Way
from edgeflow.policy.survey import survey

SLOWER = 8.0
"""So many times slower a radio may have become that a frame is overdue on."""
AGAIN = 1.5
"""Where there is none, it is looked for again after so many times as long: a few ms of a board."""
DEARER = 4.0
"""A refuge takes at most so many times what the running way should. More costs too much where it
was a hiccup."""


@dataclass(slots=True)
class Refuge:
    """Of one deployment, at its source."""

    line: str = ""
    """The placement that frames take while the running one is doubted; empty where it is not."""
    late: Attempt | None = None
    """At the overdue frame."""
    usual_s: float = 0.0
    """What a large probe should have taken on the links of its inputs."""

    def seek(
        self, parts: Parts, held: HeldPlan, graph: Graph, here: Sequence[Way], now_s: float
    ) -> None:
        """Doubt a way where a frame on it, or a trial, is overdue and another one of those that are
        open should be quicker than to wait; the running one too, where what all share is slow."""
        inflight, running = parts.inflight, held.ways[0]
        explorer = inflight.explorers.get(held.plan.deployment)
        if inflight.doubts.until_s(running.route, now_s) == -math.inf:
            self.line, self.late = "", None
        elif not self.line:  # For another reason than a late frame.
            return
        elif self.late is not None and self._is_over(parts, self.late):
            inflight.doubts.lift(running.route)
            return
        if explorer is None:
            return
        frames = [frame for frame in inflight.of(held.plan.deployment) if frame.flying]
        watched = self.line or running.line
        late = [each for each in frames if _is_late(parts, explorer, watched, each, now_s)]
        if late:
            self._leave(late[0], parts, running, graph, here, now_s)

    def _leave(
        self,
        frame: OpenFrame,
        parts: Parts,
        running: Way,
        graph: Graph,
        here: Sequence[Way],
        now_s: float,
    ) -> None:
        late, doubts = frame.last, parts.inflight.doubts
        late.asked_s = now_s - late.sent_s
        cluster = survey(parts.membership, running.plan.source, running.plan.model, now_s)
        known = [each for each in here if each.nodes <= cluster.nodes.keys()]
        if running not in known:
            return
        lines = [
            each.line
            for each in known
            if each.route != late.way.route
            and doubts.until_s(each.route, now_s) == -math.inf
            and not (self.line and _links(parts, each))  # Two links were slow: it is the radio.
        ]
        waited_s = now_s - frame.submitted_s
        found = best_refuge(graph, cluster, running.line, lines, waited_s)
        if not found:
            return
        if found != running.line:
            links = _links(parts, late.way)
            self.late = None if self.line else late  # A second one: it is over when the doubt is.
            self.line, self.usual_s = found, _probe_s(links)
        for way in (late.way,) if found == running.line else (late.way, running):
            doubts.add(way.route, OVERDUE_DOUBT_S, now_s)

    def _is_over(self, parts: Parts, late: Attempt) -> bool:
        """Whether what its inputs take is as quick as it was, by what crossed that since."""
        links = _links(parts, late.way)
        is_known = all(link.handed_s >= late.sent_s and not link.doubted for link in links)
        return is_known and _probe_s(links) <= OVERDUE * self.usual_s


def _is_late(
    parts: Parts, explorer: Explorer, watched: str, frame: OpenFrame, now_s: float
) -> bool:
    """Whether it is overdue on the way of that placement, or on a trial, where nothing arrived."""
    attempt = frame.last
    is_trial = frame.is_trial and attempt.number == 1
    flown_s = now_s - attempt.sent_s
    is_asked = attempt.is_alone and flown_s > AGAIN * attempt.asked_s
    if not is_asked or not (attempt.way.line == watched or is_trial):
        return False
    believed = explorer.believed.get(attempt.way.line, UNKNOWN).now if attempt.way.variant else 1.0
    return explorer.usual.is_overdue(flown_s / max(1.0, believed)) and not _arrived(parts, attempt)


def _arrived(parts: Parts, attempt: Attempt) -> bool:
    """Whether its inputs are where they went, or what was handed over behind them is: only a link
    is what others share."""
    links = _links(parts, attempt.way)
    return not links or any(link.handed_s >= attempt.sent_s for link in links)


def _links(parts: Parts, way: Way) -> list[Neighbour]:
    """That inputs take."""
    entry = {way.split.segments[at].node for at in way.split.entry}
    return [link for name, link in parts.neighbours.links.items() if name in entry]


def _probe_s(links: Sequence[Neighbour]) -> float:
    return sum(link.estimate.seconds(PROBE_BYTES_MAX) for link in links)


def best_refuge(
    graph: Graph, cluster: Cluster, running: str, lines: Sequence[str], waited_s: float
) -> str:
    """Of these placement lines, the one that suffers least where all links of the source got slow:
    a camera has one radio, and a frame that is overdue does not tell which link it was. Only what
    should take at most DEARER times as long as the running one, or as long as the frame has waited
    already; empty where nothing does."""
    links = {
        pair: replace(link, bytes_per_s=link.bytes_per_s / SLOWER)
        if cluster.source in pair
        else link
        for pair, link in cluster.links.items()
    }
    now, slow = CostModel(graph, cluster), CostModel(graph, replace(cluster, links=links))
    known = [parse_placement(graph, line) for line in (running, *lines)]
    usual_s, *others_s = [now.evaluate(layout).total_s for layout in known]
    found = {
        line: slow.evaluate(layout).total_s
        for line, layout, should_s in zip(lines, known[1:], others_s, strict=True)
        if should_s <= max(DEARER * usual_s, waited_s)
    }
    return min(found, key=found.__getitem__, default="")
