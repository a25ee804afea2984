"""How far what a placement is predicted to take may be off, because its costs are estimates.

    node   all its layers share one learned ratio: its errors add up      seconds · deviation
    link   all its messages share one estimate, the way back too          seconds · deviation
    both   of different nodes and links are independent: √Σ²

Of two placements only what they do not share counts: the seconds that both spend on a node or a
link are off by the same, and their difference is not. So a comparison can be sharp where each price
is vague.

The tiles of one map run at the same time and are cut so that they end together: each of its k
workers counts for a k-th part.

Invariant: finite and not negative where the placement can be run; infinite where it cannot.
"""

from __future__ import annotations

import math
from collections import defaultdict

from edgeflow.costmodel.cost import CostModel, Terms
from edgeflow.layout.placement import Layout

_Part = str | tuple[str, str]
"""A node, or a directed link."""


def deviation_s(costs: CostModel, placement: Layout) -> float:
    """Standard deviation of a placement's predicted seconds; infinite where it cannot be run.

    PlacementError where it is not total or goes in circles.
    """
    return _deviation_s(costs, _spent_s(costs, placement))


def difference_deviation_s(costs: CostModel, one: Layout, other: Layout) -> float:
    """Standard deviation of the difference of two placements' predicted seconds; infinite where one
    of them cannot be run.

    PlacementError where one is not total or goes in circles.
    """
    here, there = _spent_s(costs, one), _spent_s(costs, other)
    if not all(map(math.isfinite, (*here.values(), *there.values()))):
        return math.inf
    return _deviation_s(
        costs,
        {part: here.get(part, 0.0) - there.get(part, 0.0) for part in here.keys() | there.keys()},
    )


def _deviation_s(costs: CostModel, spent_s: dict[_Part, float]) -> float:
    if not all(map(math.isfinite, spent_s.values())):
        return math.inf
    return math.hypot(*(share_of(costs, part) * seconds for part, seconds in spent_s.items()))


def share_of(costs: CostModel, part: str | tuple[str, str]) -> float:
    """By which share of itself the estimate of a node, or of a directed link, may be off."""
    if isinstance(part, str):
        return costs.cluster.nodes[part].deviation
    return costs.cluster.links[part].deviation


def _spent_s(costs: CostModel, placement: Layout) -> dict[_Part, float]:
    """Seconds by node and by directed link, as far as they are seconds of the whole."""
    terms = costs.evaluate(placement)
    spent_s: dict[_Part, float] = {node: busy_s for node, busy_s in terms.compute_s.items()}
    for node, seconds in _beside_s(terms).items():
        spent_s[node] -= seconds
    for link, nbytes in terms.bytes.items():
        if link in costs.cluster.links:
            spent_s[link] = max(terms.transfer_s.get(link, 0.0), costs.transfer_s(nbytes, *link))
        else:
            spent_s[link] = math.inf
    return spent_s


def _beside_s(terms: Terms) -> dict[str, float]:
    """By node, seconds of its tiles that pass beside those of others."""
    crews: dict[tuple[str, ...], set[str]] = {}
    for tile in terms.tiles:
        crews.setdefault(tile.layers, set()).add(tile.node)
    found: defaultdict[str, float] = defaultdict(float)
    for tile in terms.tiles:
        found[tile.node] += tile.compute_s * (1 - 1 / len(crews[tile.layers]))
    return found
