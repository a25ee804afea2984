"""Who may take part in a plan, and which rows of nodes a frame may pass.

    source ─▶ one node of a tier ─▶ one node of a higher tier ─▶ …        a *row*; data only rises

A row starts at the source, which keeps layers where it computes (and may), else only hands on the
inputs. From there data goes wherever the first node stands, then rises.

Invariant: whoever computes has a link back to the source, for results and refusals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from edgeflow.costmodel.cost import CostModel, NodeCost
from edgeflow.planning.proposal import PlanningError


@dataclass(frozen=True)
class Problem:
    """What every algorithm is asked."""

    costs: CostModel
    pinned: Mapping[str, str]
    """Node name by layer name: these layers stay there."""
    allowed: frozenset[str]
    """Names of the nodes that may compute."""

    @property
    def source(self) -> str:
        """Where frames enter and results return."""
        return self.costs.cluster.source

    @cached_property
    def candidates(self) -> dict[int, list[NodeCost]]:
        """Nodes that may compute, by rank of their tier, ascending; never empty."""
        found: dict[int, list[NodeCost]] = {}
        for node in sorted(self.costs.cluster.nodes.values(), key=lambda node: node.name):
            if self.why_not(node.name) is None:
                found.setdefault(node.tier.rank, []).append(node)
        if not found:
            raise PlanningError(self._why_nobody())
        return dict(sorted(found.items()))

    def why_not(self, name: str) -> str | None:
        """Why this node may compute nothing, in words; None where it may."""
        node = self.costs.cluster.nodes.get(name)
        if node is None:
            return "is not known in this cluster"
        if node.rates is None:
            return "computes nothing (compute = none)"
        if name not in self.allowed:
            return "is not allowed here"
        if not math.isfinite(self.costs.transfer_s(0, name, self.source)):
            return f"has no link back to {self.source}"
        return None

    def _why_nobody(self) -> str:
        nodes = self.costs.cluster.nodes
        whys = "; ".join(f"{name} {self.why_not(name)}" for name in sorted(nodes))
        return (
            f"no node can compute {self.costs.graph.name} for {self.source}: {whys or 'no nodes'}; "
            "start a node that computes and has a link to the source"
        )

    def undivided_s(self, node: str) -> float:
        """Price of all layers on one node; pins and its memory aside."""
        costs, graph = self.costs, self.costs.graph
        names = [contract.name for contract in graph.inputs if graph.readers[contract.name]]
        there = sum(graph.tensors[name].nbytes for name in names)
        made = set(graph.outputs) - {contract.name for contract in graph.inputs}
        back = sum(graph.tensors[name].nbytes for name in made)
        way_s = costs.transfer_s(there, self.source, node) + costs.transfer_s(
            back, node, self.source
        )
        return float(costs.layers_s(node).sum()) + way_s

    def holds(self, node: str, weights_bytes: int) -> bool:
        """Do so many bytes of weights fit into the node's memory?"""
        limit = self.costs.cluster.nodes[node].memory_bytes
        return not limit or weights_bytes <= limit

    def teams(self) -> Iterator[tuple[NodeCost, ...]]:
        """Every choice of one node for each tier that has some, by rising rank."""
        yield from product(*self.candidates.values())

    def useful(self) -> dict[int, list[NodeCost]]:
        """Candidates without those that another one of the tier beats or equals in everything."""
        found: dict[int, list[NodeCost]] = {}
        for rank, nodes in self.candidates.items():
            kept: list[NodeCost] = []
            for node in sorted(nodes, key=self._speed):
                if not any(self._beats(other, node) for other in kept):
                    kept.append(node)
            found[rank] = kept
        return found

    def _speed(self, node: NodeCost) -> tuple[float, str]:
        """Fast and well linked first, so that who is beaten is found at once; then by name."""
        there = self.costs.transfer_s(1 << 20, self.source, node.name)
        return float(self.costs.layers_s(node.name).sum()) + there, node.name

    def _beats(self, one: NodeCost, other: NodeCost) -> bool:
        """Is `one` at least as good as `other` for every plan?"""
        if other.name == self.source or other.name in self.pinned.values():
            return False
        if one.memory_bytes and not 0 < other.memory_bytes <= one.memory_bytes:
            return False
        slower = self.costs.layers_s(one.name) > self.costs.layers_s(other.name)
        peers = {
            node.name for nodes in self.candidates.values() if one not in nodes for node in nodes
        }
        peers |= {self.source} - {one.name}
        return not np.any(slower) and self._links_as_good(one.name, other.name, peers)

    def _links_as_good(self, one: str, other: str, peers: set[str]) -> bool:
        price = self.costs.price
        return all(
            mine <= theirs
            for peer in peers
            for a, b in (((one, peer), (other, peer)), ((peer, one), (peer, other)))
            for mine, theirs in zip(price(*a), price(*b), strict=True)
        )

    def rows(self) -> Iterator[tuple[str | None, ...]]:
        """Rows that together hold every plan in which no tensor passes over a node of its row.

        The first entry is the source where it keeps layers, None where it only hands on inputs.
        """
        tiers = list(self.useful().items())
        home = self.costs.cluster.nodes[self.source].tier.rank
        computes = self.why_not(self.source) is None
        if computes:
            above = [nodes for rank, nodes in tiers if rank > home]
            for tail in _tails(above):
                yield (self.source, *tail)
        for at, (rank, nodes) in enumerate(tiers):
            if computes and rank > home:
                continue
            for node in nodes:
                if node.name != self.source:
                    for tail in _tails([nodes for _, nodes in tiers[at + 1 :]]):
                        yield (None, node.name, *tail)


def _tails(tiers: list[list[NodeCost]]) -> Iterator[tuple[str, ...]]:
    """One node of some of these tiers, always of the last: shorter rows are within these."""
    if not tiers:
        yield ()
        return
    *middle, last = tiers
    for names in product(*([None, *(node.name for node in nodes)] for nodes in middle)):
        for node in last:
            yield (*(name for name in names if name is not None), node.name)
