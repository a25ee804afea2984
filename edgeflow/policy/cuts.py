"""All cuts of a network's chain at one tensor, between the source and one server.

    l1 ─ l2 ─ … ─ lc ┃ lc+1 ─ … ─ ln        also before l1 (all remote) and behind ln (all local)
        source       ┃    server

Our reading of what PArtNNer and its rivals search: a device, a server, and one cut between them. A
fleet has more nodes; the server is the one that a plan over two tiers would use, by the predicted
price of its best cut, among the nodes of higher tiers (of any, where there is none). That choice is
all that prices are asked for; which cut, only measuring tells.

Invariant: cuts that cannot be run (no link, no memory, private) are not among them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edgeflow.costmodel.cost import CostModel
from edgeflow.layout.placement import Placement, format_placement
from edgeflow.planning import PlanningError
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.goal import restricted
from edgeflow.planning.pairs import ACROSS, ENTRY_FAR, Chain, Pair, cuts_of_the_chain
from edgeflow.planning.standing import goal_of
from edgeflow.planning.wiring import Wiring
from edgeflow.policy.question import Question


@dataclass(frozen=True, slots=True)
class Cuts:
    """By rising number of layers that stay at the source."""

    source: str
    server: str
    """Empty: nobody but the source computes."""
    lines: tuple[str, ...]
    """The placement line of each."""
    placements: tuple[Placement, ...]
    crossing_bytes: tuple[int, ...]
    """What goes from the source to the server; 0 where all is local."""

    @classmethod
    def of(cls, question: Question, shunned: Collection[str] = ()) -> Cuts:
        """Those of a deployment now, without some nodes; PlanningError where there is none."""
        graph = question.graph
        costs = restricted(CostModel(graph, question.cluster), goal_of(question.spec))
        names = frozenset(question.cluster.nodes) - frozenset(shunned)
        problem, wiring = Problem(costs, {}, names), Wiring.of(graph)
        places = np.unique([0, *wiring.waists.tolist(), wiring.layers])
        server, latency_s = _server(problem, wiring, places)
        if problem.why_not(problem.source) is not None:
            latency_s[places > 0] = np.inf
        kept = places[np.isfinite(latency_s)].tolist()
        if not kept:
            raise PlanningError(
                f"{graph.name} has no cut between {problem.source} and another node that can be"
                " run: start a node that computes and has a link to it"
            )
        chain = Chain.of(problem, wiring)
        sent = chain.nbytes[ENTRY_FAR] + chain.nbytes[ACROSS]
        layers = [layer.name for layer in graph.layers]
        far = server or problem.source
        placements = tuple(
            {name: problem.source if at < place else far for at, name in enumerate(layers)}
            for place in kept
        )
        lines = tuple(format_placement(graph, each) for each in placements)
        crossing = tuple(int(sent[place]) for place in kept)
        return cls(problem.source, server, lines, placements, crossing)

    def place_of(self, line: str) -> int | None:
        """Which of them a placement line is."""
        return self.lines.index(line) if line in self.lines else None


def _server(problem: Problem, wiring: Wiring, places: Indices) -> tuple[str, Floats]:
    """The node whose best cut has the best price, and (cuts,) the price of each."""
    home = problem.costs.cluster.nodes[problem.source].tier.rank
    others = [
        node
        for nodes in problem.candidates.values()
        for node in nodes
        if node.name != problem.source
    ]
    others = [node for node in others if node.tier.rank > home] or others
    best, best_s = "", np.full(len(places), np.inf)
    for node in others:
        pair = Pair.of(problem, problem.source, node.name)
        latency_s = cuts_of_the_chain(problem, wiring, pair).latency_s[places]
        if not best or latency_s[:-1].min() < best_s[:-1].min():
            best, best_s = node.name, latency_s
    if not best or not np.isfinite(best_s[:-1]).any():
        alone = Pair.of(problem, problem.source, None)
        local_s = cuts_of_the_chain(problem, wiring, alone).latency_s[places]
        best, best_s = "", np.where(places == wiring.layers, local_s, np.inf)
    return best, best_s
