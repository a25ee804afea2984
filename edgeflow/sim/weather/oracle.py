"""What the best plan of a moment takes, and what any plan takes: the planner, told the truth.

    Nature at a time ─▶ Cluster of true prices ─▶ propose: the oracle   evaluate: a running plan

Priced as `edgeflow.costmodel.cost` prices: one frame alone, no noise, conditions as they are when
it enters.

Invariant: no plan that the policies may use is better than the oracle's.
"""

from __future__ import annotations

import math

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import format_placement, nodes_of, parse_placement
from edgeflow.planning import Proposal, propose
from edgeflow.sim.weather.nature import Nature

Moment = tuple[float, ...]


class Oracle:
    """Prices of one Nature, each reckoned once."""

    def __init__(self, nature: Nature) -> None:
        self.nature, self.tiles = nature, nature.weather.tiles
        self._models: dict[Moment, CostModel] = {}
        self._best: dict[Moment, Proposal] = {}
        self._priced: dict[tuple[Moment, str], float] = {}

    def best_s(self, now_s: float) -> float:
        """What a frame takes under the best plan."""
        return self._proposal(now_s).predicted_s

    def best_line(self, now_s: float) -> str:
        """The best plan."""
        return format_placement(self.nature.graph, self._proposal(now_s).placement)

    def true_s(self, line: str, now_s: float) -> float:
        """What a frame takes under a placement line; infinite where it cannot be run then."""
        moment = self._moment(now_s)
        key = moment, line
        if key not in self._priced:
            self._priced[key] = self._price(self._model(moment, now_s), line)
        return self._priced[key]

    def _proposal(self, now_s: float) -> Proposal:
        moment = self._moment(now_s)
        if moment not in self._best:
            model = self._model(moment, now_s)
            self._best[moment] = propose(self.nature.graph, model, tiles=self.tiles)
        return self._best[moment]

    def _price(self, model: CostModel, line: str) -> float:
        try:
            placement = parse_placement(self.nature.graph, line)
            if nodes_of(placement) <= model.cluster.nodes.keys():
                return model.evaluate(placement).total_s
        except EdgeflowError:
            pass
        return math.inf

    def _moment(self, now_s: float) -> Moment:
        """What tells the prices of one time from those of another."""
        nature = self.nature
        found = [steps.at(now_s) for steps in (*nature.here.values(), *nature.loads.values())]
        return (*found, *(steps.at(now_s) for steps in nature.bytes_per_s.values()))

    def _model(self, moment: Moment, now_s: float) -> CostModel:
        if moment not in self._models:
            nature = self.nature
            here = [name for name in nature.costs if nature.here[name].at(now_s)]
            nodes = {name: nature.cost(name, now_s) for name in here}
            links = {
                (a, b): LinkCost(nature.delay_s(a, b), steps.at(now_s))
                for (a, b), steps in nature.bytes_per_s.items()
                if a in here and b in here
            }
            cluster = Cluster(nodes, links, nature.weather.cluster.source)
            self._models[moment] = CostModel(nature.graph, cluster)
        return self._models[moment]
