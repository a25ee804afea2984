"""Where frames go while one that was alone is overdue, before anybody has planned.

    overdue, and its input not there yet ─▶ its way is doubted ─▶ it and those behind it go another
        ^                                                         way while the leader finds out
        '── the link is as quick as ever: a hiccup ◀── a probe ◀── its input is there

Invariant: asked once for each attempt; a refuge ends with the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeflow.cost import Cluster, CostModel
from edgeflow.doubts import OVERDUE_DOUBT_S
from edgeflow.explore import UNKNOWN, Explorer
from edgeflow.graph import Graph
from edgeflow.heldplan import HeldPlan, Way
from edgeflow.neighbour import Neighbour
from edgeflow.openframe import Attempt, OpenFrame
from edgeflow.parts import Parts
from edgeflow.placement import parse_placement
from edgeflow.survey import survey

SLOWER = 8.0
"""So many times slower a radio may have become that a frame is overdue on."""
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
    steps: int = 0
    """Of what its inputs take, that were known before."""

    def seek(
        self, parts: Parts, held: HeldPlan, graph: Graph, here: Sequence[Way], now_s: float
    ) -> None:
        """Doubt a way where a frame on it, or a trial, is overdue and another one of those that are
        open should be quicker than to wait; the running one too, where what all share is slow."""
        inflight, way, name = parts.inflight, held.ways[0], held.plan.deployment
        if inflight.doubts.until_s(way.route, now_s) > -math.inf:
            if self.late is not None and self._was_hiccup(parts, self.late):
                inflight.doubts.lift(way.route)
            return
        self.line, self.late = "", None
        explorer = inflight.explorers.get(name)
        if explorer is None:
            return
        frames = [frame for frame in inflight.of(name) if frame.flying]
        late = [frame.last for frame in frames if _is_late(parts, explorer, way, frame, now_s)]
        if late:
            self._leave(late[0], parts, way, graph, here, now_s)

    def _leave(
        self,
        late: Attempt,
        parts: Parts,
        running: Way,
        graph: Graph,
        here: Sequence[Way],
        now_s: float,
    ) -> None:
        late.is_late = True
        plan, doubts = running.plan, parts.inflight.doubts
        cluster = survey(parts.membership, plan.source, plan.model, now_s)
        known = [each for each in here if each.nodes <= cluster.nodes.keys()]
        if running not in known:
            return
        lines = [each.line for each in known if each.route != late.way.route]
        if found := best_refuge(graph, cluster, running.line, lines):
            doubts.add(late.way.route, OVERDUE_DOUBT_S, now_s)
        if found and found != running.line:
            self.line, self.late = found, late
            self.steps = sum(link.estimate.steps for link in _links(parts, late))
            if late.way is not running:
                doubts.add(running.route, OVERDUE_DOUBT_S, now_s)

    def _was_hiccup(self, parts: Parts, late: Attempt) -> bool:
        """Whether what its inputs take is as it was, by what crossed that since."""
        links = _links(parts, late)
        is_known = all(link.handed_s >= late.sent_s and not link.doubted for link in links)
        return is_known and sum(link.estimate.steps for link in links) == self.steps


def _is_late(
    parts: Parts, explorer: Explorer, running: Way, frame: OpenFrame, now_s: float
) -> bool:
    attempt = frame.last
    if attempt.is_late or not attempt.is_alone:
        return False
    if attempt.way is not running and not (frame.is_trial and attempt.number == 1):
        return False
    line, flown_s = attempt.way.line, now_s - attempt.sent_s
    times = 1.0 if attempt.way is running else max(1.0, explorer.believed.get(line, UNKNOWN).now)
    return explorer.usual.is_overdue(flown_s / times) and not _arrived(parts, attempt)


def _arrived(parts: Parts, attempt: Attempt) -> bool:
    """Whether its inputs are where they went, or what was handed over behind them is: only a link
    is what others share."""
    links = _links(parts, attempt)
    return not links or any(link.handed_s >= attempt.sent_s for link in links)


def _links(parts: Parts, attempt: Attempt) -> list[Neighbour]:
    """That its inputs take."""
    entry = {attempt.way.split.segments[at].node for at in attempt.way.split.entry}
    return [link for name, link in parts.neighbours.links.items() if name in entry]


def best_refuge(graph: Graph, cluster: Cluster, running: str, lines: Sequence[str]) -> str:
    """Of these placement lines, the one that suffers least where all links of the source got slow:
    a camera has one radio, and a frame that is overdue does not tell which link it was. Only what
    should take at most DEARER times as long as the running one; empty where nothing does."""
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
        if should_s <= DEARER * usual_s
    }
    return min(found, key=found.__getitem__, default="")
