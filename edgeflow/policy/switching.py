"""What a switch to another plan costs the frames of a deployment.

    weights that a node lacks ÷ the best rate into it, and as long again for rests ┐
    building, as long as earlier switches took; nothing for what is built already  ┴▶ switch_s
    lost = DISTURBED · switch_s: frames go on under the old plan meanwhile, beside all that

Invariant: a variant of the running plan costs nothing: equal segments are built once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from edgeflow.layout.placement import Layout, TileMap, format_placement, parse_placement
from edgeflow.messages import Board
from edgeflow.policy.question import Question

DISTURBED = 0.3
"""Share of a switch's seconds that frames lose to it: who fetches rests half of the time, and who
builds does it on the cores that frames need. A guess; higher keeps plans longer."""
BUILD_S = 1.0
"""Building and the messages of a switch, before one was seen."""
RESTS = 2.0
"""A fetch beside frames takes so many times its bytes: it rests as long as each piece took."""
LINES_MAX, TOOK_MAX = 16, 5
"""Plans whose weights are still at their nodes, and switches whose seconds are remembered."""


@dataclass(slots=True)
class Switches:
    """Those of one deployment so far."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_MAX))
    """Committed once, the newest last."""
    took_s: deque[float] = field(default_factory=lambda: deque(maxlen=TOOK_MAX))
    begun: tuple[str, float] = ("", 0.0)
    """The line that is prepared, and since when."""

    def begin(self, line: str, now_s: float) -> None:
        """This is to be prepared."""
        self.begun = line, now_s

    def see(self, board: Board, now_s: float) -> None:
        """Whatever is committed now."""
        if board.committed is None:
            return
        line, (begun, begun_s) = board.committed.variants[0], self.begun
        if begun == line and line not in self.lines:
            self.took_s.append(now_s - begun_s)
        if begun == line:
            self.begun = "", 0.0
        if not self.lines or self.lines[-1] != line:
            if line in self.lines:
                self.lines.remove(line)
            self.lines.append(line)

    @property
    def usual_s(self) -> float:
        """What one takes; 0 before one was seen."""
        return median(self.took_s) if self.took_s else 0.0


def lost_s(question: Question, layout: Layout) -> float:
    """Seconds of a frame's time that a switch takes from the frames meanwhile."""
    line = format_placement(question.graph, layout)
    if question.plan is not None and line in question.plan.variants:
        return 0.0
    missing = _missing(question, layout)
    fetch_s = max((nbytes / _rate_into(question, node) for node, nbytes in missing), default=0.0)
    return DISTURBED * (RESTS * fetch_s + (question.switch_s or BUILD_S))


def missing_bytes(question: Question, layout: Layout) -> int:
    """Of weights that nodes have to fetch for a plan, as far as known."""
    return sum(nbytes for _, nbytes in _missing(question, layout))


def _missing(question: Question, layout: Layout) -> Iterable[tuple[str, int]]:
    """By node, the bytes of weights that it lacks."""
    graph, at_hand = question.graph, _weights(question, layout)
    for line in {*question.prepared, *(question.plan.variants if question.plan else ())}:
        for node, names in _weights(question, parse_placement(graph, line)).items():
            if node in at_hand:
                at_hand[node] -= names
    for node, names in at_hand.items():
        if names and node not in question.keepers:
            yield node, sum(graph.weights[name].nbytes for name in names)


def _weights(question: Question, layout: Layout) -> dict[str, set[str]]:
    """By node, the weights that it needs."""
    layers: dict[str, list[str]] = {}
    for layer, place in layout.items():
        nodes = [node for node, _ in place.tiles] if isinstance(place, TileMap) else [place]
        for node in nodes:
            layers.setdefault(node, []).append(layer)
    return {node: set(question.graph.weights_of(names)) for node, names in layers.items()}


def _rate_into(question: Question, node: str) -> float:
    """The best of the links to a node, in bytes per second."""
    links = question.cluster.links.items()
    rates = [link.bytes_per_s for (_, to), link in links if to == node]
    return max(rates, default=0.0) or math.inf
