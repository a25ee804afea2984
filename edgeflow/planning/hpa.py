"""HPA, the horizontal partition of D3: vertex by vertex, each to the tier that is cheapest for it.

    for each family of siblings (`siblings`), by longest distance from the inputs:
      alone     each vertex to the tier with the least  seconds there + tensors from where its
                predecessors are (+ way back of an output); never below a predecessor's tier
      together  then all of the family to one tier, inputs that they share paid once, where that
                is cheaper than what they chose alone (the SIS update)

"D3: dynamic DNN decomposition for lossless synergistic inference", arXiv 2101.05952. From its
abstract and public descriptions: a DNN is divided over device, edge and cloud by a heuristic that
walks the graph in layers, and it adapts to changed conditions by local changes instead of planning
anew. All else is our reading, without the paper's text: what a vertex counts (a message's delay for
each sender, an output's way back), siblings as vertices of one depth that share an input, ties (the
lower tier), and any number of tiers. The paper's own walk may look further ahead than ours.

A choice looks back, never ahead. Walked over all tiers, no first layer alone is worth the journey
of a raw picture, and all stay on the device: far from what the paper reports. So we are generous:
which nodes take part is searched around the walk. First one of each tier, those that are best
alone; then one tier after the other tries its next best; then every row that leaves tiers out. The
cheapest plan is taken.

Two things keep a walk out of dead ends. No vertex goes above what all behind it can reach (pins,
layers that only a lower tier can run); and where memory may be short, a second walk without
siblings counts what each node still holds. Where links are missing and every row ends in a dead
end, which the paper does not have, a cut of the chain or min-cut's plan is taken.

Invariant: what a family chooses depends on its own prices and where its inputs are, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.mincut import place_mincut
from edgeflow.planning.neurosurgeon import place_neurosurgeon
from edgeflow.planning.siblings import Families
from edgeflow.planning.tariff import Bill, Tariff

NODES_A_TIER = 3
"""Nodes of a tier that are tried. One more costs a walk for each tier, 1.5 ms at 500 layers."""

CERTAIN = 1e-9
"""Share of its price by which the second best choice must be behind to count as behind."""


class Chooser:
    """Chooses tiers, family by family."""

    def __init__(self, tariff: Tariff, families: Families) -> None:
        self.tariff, self.families = tariff, families
        count = len(tariff.row)
        self.homes = [count] * families.inputs + [0] * len(families.reads)
        """By tensor: the tier it is made at, K for graph inputs."""
        self.ceilings = ceilings(tariff, families)

    def choose(self, family: int) -> tuple[list[int], list[float]]:
        """Tiers of the members; and by tier, by how much choices with that tier are dearer: of one
        vertex each tier's own, of siblings the next choice's for all."""
        members, count = self.families.members[family], len(self.tariff.row)
        if len(members) == 1:
            return self._lone(members[0])
        alone = [self._lone(vertex) for vertex in members]
        chosen = [tiers[0] for tiers, _ in alone]
        options = [(self._apart_s(members, chosen), -1)]
        shared = self.families.shared[family]
        lowest = max(self.floor(vertex) for vertex in members)
        highest = min(self.ceilings[vertex] for vertex in members)
        for tier in range(lowest, highest + 1):
            if set(chosen) != {tier}:
                options.append((self.cost_s(members, shared, tier), tier))
        options.sort()
        lead_s = min(min(leads) for _, leads in alone)
        if len(options) > 1:
            lead_s = min(lead_s, _lead_s(options[0][0], options[1][0]))
        tier = options[0][1]
        return (chosen if tier < 0 else [tier] * len(members)), [lead_s] * count

    def cost_s(self, members: Sequence[int], tensors: Sequence[int], tier: int) -> float:
        """Of vertices on one tier that read these tensors: each sender's delay and each tensor
        once."""
        own_s, homes, nbytes = self.tariff.own_s[tier], self.homes, self.families.nbytes
        total, heard = 0.0, 0
        for vertex in members:
            total += own_s[vertex]
        for tensor in tensors:
            home = homes[tensor]
            if home != tier:
                total += nbytes[tensor] * self.tariff.byte_s[home][tier]
                if not heard >> home & 1:
                    heard |= 1 << home
                    total += self.tariff.delay_s[home][tier]
        return total

    def _lone(self, vertex: int) -> tuple[list[int], list[float]]:
        """The cheapest tier of a vertex, the lower one of equals, and the lead over each other."""
        reads, count = self.families.reads[vertex], len(self.tariff.row)
        top = self.ceilings[vertex] + 1
        if len(reads) == 1:
            home, nbytes = self.homes[reads[0]], self.families.nbytes[reads[0]]
            delay_s, byte_s = self.tariff.delay_s[home], self.tariff.byte_s[home]
            own_s, floor = self.tariff.own_s, home if home < count else 0
            prices = [
                own_s[tier][vertex] + nbytes * byte_s[tier] + delay_s[tier]
                for tier in range(floor, top)
            ]
        else:
            floor = self.floor(vertex)
            prices = [self.cost_s((vertex,), reads, tier) for tier in range(floor, top)]
        best_s = min(prices, default=math.inf)
        if best_s == math.inf:
            return [floor], [0.0] * count
        best = floor + prices.index(best_s)
        leads = [math.inf] * count
        beaten_s = best_s * (1 + CERTAIN)
        for tier, price_s in enumerate(prices, floor):
            if tier != best:
                leads[tier] = price_s - beaten_s
        return [best], leads

    def floor(self, vertex: int) -> int:
        """The highest tier of the predecessors."""
        floor, count = 0, len(self.tariff.row)
        for tensor in self.families.reads[vertex]:
            if floor < self.homes[tensor] < count:
                floor = self.homes[tensor]
        return floor

    def _apart_s(self, members: Sequence[int], tiers: Sequence[int]) -> float:
        """Of members on different tiers; what two of a tier share is paid once."""
        total = 0.0
        for tier in set(tiers):
            there = [vertex for vertex, at in zip(members, tiers, strict=True) if at == tier]
            reads = dict.fromkeys(x for vertex in there for x in self.families.reads[vertex])
            total += self.cost_s(there, tuple(reads), tier)
        return total


def _lead_s(best_s: float, next_s: float) -> float:
    """How far the next choice is behind, rounding aside; 0 where none can be run."""
    return next_s - best_s * (1 + CERTAIN) if best_s < math.inf else 0.0


def ceilings(tariff: Tariff, families: Families) -> list[int]:
    """By vertex: the highest tier from which all vertices behind it can still be reached."""
    top = len(tariff.row) - 1
    found = [top] * len(families.reads)
    for vertex in range(len(found) - 1, -1, -1):
        highest = top
        while highest > 0 and math.isinf(tariff.own_s[highest][vertex]):
            highest -= 1
        behind = [found[reader] for reader in families.readers[families.inputs + vertex]]
        found[vertex] = min([highest, *behind])
    return found


def walk(tariff: Tariff, families: Families) -> Bill:
    """HPA over one row, from the first family to the last."""
    chooser, tiers = Chooser(tariff, families), [0] * len(families.reads)
    for family, members in enumerate(families.members):
        for vertex, tier in zip(members, chooser.choose(family)[0], strict=True):
            tiers[vertex] = chooser.homes[families.inputs + vertex] = tier
    return Bill(tariff, families, tiers)


def walk_with_limits(tariff: Tariff, families: Families) -> Bill:
    """The same vertex by vertex, where a node that is full takes no more."""
    chooser, tiers = Chooser(tariff, families), [0] * len(families.reads)
    room_bytes = list(tariff.limits_bytes)
    for members in families.members:
        for vertex in members:
            need_bytes, reads = float(tariff.weights_bytes[vertex]), families.reads[vertex]
            floor = chooser.floor(vertex)
            able = [
                tier
                for tier in range(floor, chooser.ceilings[vertex] + 1)
                if need_bytes <= room_bytes[tier]
            ]
            prices = [(chooser.cost_s((vertex,), reads, tier), tier) for tier in able]
            tier = min(prices, default=(math.inf, floor))[1]
            room_bytes[tier] -= need_bytes
            tiers[vertex] = chooser.homes[families.inputs + vertex] = tier
    return Bill(tariff, families, tiers)


def plan_row(problem: Problem, row: Sequence[str], families: Families) -> Bill:
    """HPA over one row, within the nodes' memory."""
    tariff = Tariff.of(problem, row, families)
    found = walk(tariff, families)
    if tariff.binds and math.isinf(found.price_s()):
        return walk_with_limits(tariff, families)
    return found


def best_row(problem: Problem) -> Bill:
    """The best of the rows that are tried; its price may be infinite."""
    families = Families.of(problem.costs.graph)
    pinned = set(problem.pinned.values())
    tiers = []
    for nodes in problem.useful().values():
        names = [node.name for node in nodes]
        tiers.append([name for name in names if name in pinned] or names[:NODES_A_TIER])
    row = [names[0] for names in tiers]
    best = plan_row(problem, row, families)
    best_s = best.price_s()
    for at, names in enumerate(tiers):
        for name in names[1:]:
            found = plan_row(problem, [*best.tariff.row[:at], name, *row[at + 1 :]], families)
            if (found_s := found.price_s()) < best_s:
                best, best_s = found, found_s
    shorter = (plan_row(problem, row, families) for row in _shorter(best.tariff.row))
    return min([best, *shorter], key=lambda bill: bill.price_s())


def _shorter(row: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for count in range(len(row) - 1, 0, -1):
        yield from combinations(row, count)


def place_hpa(problem: Problem) -> Placement | None:
    """HPA's plan over the best row; None where nothing can be run."""
    bill = best_row(problem)
    if math.isinf(bill.price_s()):
        return place_neurosurgeon(problem) or place_mincut(problem)[0]
    return placement_of(problem, bill)


def placement_of(problem: Problem, bill: Bill) -> Placement:
    """A bill's tiers as nodes by layer."""
    layers = problem.costs.graph.layers
    return {
        layer.name: bill.tariff.row[at]
        for layer, at in zip(layers, bill.tiers.tolist(), strict=True)
    }
