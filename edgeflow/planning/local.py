"""HPA's plan kept up to date: one changed price, and only what it may change is decided again.

    a layer's seconds ──▶ its family ─────────────────────────┐   for each, by depth: choose again;
    a link's price ──▶ families whose lead is not safe ───────┴▶  a vertex moved ──▶ its readers'
                                                                  families, and so on

Each family keeps its *lead*: by how much its choice was better than the next one. A link that
changes by so much can change a choice of that family by no more than delay × messages + bytes of
its inputs at the link's sender; where the lead is larger, it shrinks by that much, and nothing is
decided. The lead is a bound that only a new decision sharpens.

Two plans are kept: what HPA *decides*, and what *stands*.

Invariant: after each change, what is decided is what `hpa.walk` decides from scratch over the same
row at the new prices. What stands is the decided plan, or what stood before where that is cheaper
at the new prices: a re-evaluation makes nothing worse. (A decided plan that overfills
a node has an infinite price, so what stood before stays. The nodes of the row stay as they are.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

import numpy as np

from edgeflow.cost import LinkCost
from edgeflow.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.hpa import (
    Chooser,
    best_row,
    ceilings,
    placement_of,
    walk,
    walk_with_limits,
)
from edgeflow.planning.siblings import Families
from edgeflow.planning.tariff import Tariff


class LocalPlan:
    """HPA's plan over one row of nodes, re-evaluated change by change."""

    def __init__(self, problem: Problem, row: Sequence[str]) -> None:
        self.problem = problem
        self.families = families = Families.of(problem.costs.graph)
        self.tariff = tariff = Tariff.of(problem, row, families)
        self.decided = self.standing = walk(tariff, families)
        if tariff.binds and math.isinf(self.decided.price_s()):
            self.standing = walk_with_limits(tariff, families)
        self.chooser = Chooser(tariff, families)
        self.chooser.homes = self.decided.homes
        self._vertex = {layer.name: at for at, layer in enumerate(problem.costs.graph.layers)}
        self._outputs = [at for at, made in enumerate(families.is_output) if made]
        self._lead_s = np.array(
            [self.chooser.choose(family)[1] for family in range(len(families.members))]
        )
        self._reads, self._bytes = self._inputs_by_home()
        self.decisions = 0
        """Families decided again by the last change."""

    @classmethod
    def of(cls, problem: Problem) -> LocalPlan:
        """Over the row that HPA takes."""
        return cls(problem, best_row(problem).tariff.row)

    @property
    def placement(self) -> Placement:
        """What stands."""
        return placement_of(self.problem, self.standing)

    @property
    def price_s(self) -> float:
        """Of what stands, at the prices of now; infinite where a whole new plan is needed."""
        return self.standing.price_s()

    def change_layer(self, layer: str, node: str, seconds: float) -> bool:
        """A layer now takes so long on a node; True where another placement stands."""
        if node not in self.tariff.row or self.problem.pinned.get(layer, node) != node:
            return False
        tier, vertex = self.tariff.row.index(node), self._vertex[layer]
        was_s = float(self.tariff.seconds[tier, vertex])
        self.tariff.seconds[tier, vertex] = seconds
        self.tariff.settle(self.families, vertex)
        raised = self._raised() if math.isinf(was_s) != math.isinf(seconds) else set()
        return self._review({self.families.family[vertex]} | raised)

    def change_link(self, sender: str, receiver: str, link: LinkCost | None) -> bool:
        """A directed link now costs this, None: it is gone; True where another placement stands."""
        tariff, price = self.tariff, (math.inf, 0.0)
        if link is not None and link.bytes_per_s > 0:
            price = (link.delay_s, 1 / link.bytes_per_s)
        dirty: set[int] = set()
        at_most_s = np.zeros(len(self._lead_s))
        origins = [at for at, name in enumerate((*tariff.row, tariff.source)) if name == sender]
        if receiver in tariff.row and sender != receiver:
            to = tariff.row.index(receiver)
            for origin in origins:
                at_most_s += self._change(origin, to, price)
        if receiver == tariff.source and sender in tariff.row and sender != receiver:
            tier = tariff.row.index(sender)
            is_other = math.isinf(tariff.back[tier][0]) != math.isinf(price[0])
            tariff.back[tier] = price
            for vertex in self._outputs:
                tariff.settle(self.families, vertex)
                dirty.add(self.families.family[vertex])
            dirty |= self._raised() if is_other else set()
        unsafe = (at_most_s > 0) & (at_most_s >= self._lead_s)
        dirty.update(np.flatnonzero(unsafe).tolist())
        self._lead_s -= np.where(unsafe, 0.0, at_most_s)
        return self._review(dirty)

    def _raised(self) -> set[int]:
        """Families whose ceilings move, now that a layer can or cannot run somewhere."""
        before, now = self.chooser.ceilings, ceilings(self.tariff, self.families)
        self.chooser.ceilings = now
        moved = np.flatnonzero(np.not_equal(before, now)).tolist()
        return {self.families.family[at] for at in moved}

    def _change(self, origin: int, to: int, price: tuple[float, float]) -> Floats:
        """Sets a price; (families,) by how much a choice of each may have changed at most."""
        tariff = self.tariff
        before = (tariff.delay_s[origin][to], tariff.byte_s[origin][to])
        tariff.delay_s[origin][to], tariff.byte_s[origin][to] = price
        if math.isinf(before[0]) != math.isinf(price[0]):
            return np.where(self._reads[origin] > 0, math.inf, 0.0)
        if math.isinf(price[0]):
            return np.zeros(len(self._lead_s))
        delay_s, byte_s = abs(price[0] - before[0]), abs(price[1] - before[1])
        at_most: Floats = self._reads[origin] * delay_s + self._bytes[origin] * byte_s
        return at_most * (1 + 1e-9)

    def _inputs_by_home(self) -> tuple[Floats, Floats]:
        """(K + 1, families) tensors that members read from each home, and their bytes."""
        shape = (len(self.tariff.row) + 1, len(self.families.members))
        reads, nbytes = np.zeros(shape), np.zeros(shape)
        for vertex, tensors in enumerate(self.families.reads):
            for tensor in tensors:
                home, family = self.decided.homes[tensor], self.families.family[vertex]
                reads[home, family] += 1
                nbytes[home, family] += self.families.nbytes[tensor]
        return reads, nbytes

    def _review(self, dirty: Iterable[int]) -> bool:
        """Decides families again, by depth, and those behind what moved."""
        heap = sorted(dirty)
        queued = set(heap)
        before = self.standing.tiers.copy()
        while heap:
            family = heappop(heap)
            tiers, self._lead_s[family] = self.chooser.choose(family)
            for vertex, tier in zip(self.families.members[family], tiers, strict=True):
                if tier != self.decided.tiers[vertex]:
                    self._move(vertex, tier)
                    for reader in self.families.readers[self.families.inputs + vertex]:
                        behind = self.families.family[reader]
                        if behind not in queued:
                            queued.add(behind)
                            heappush(heap, behind)
        self.decisions = len(queued)
        decided_is_other = self.standing is not self.decided
        if decided_is_other and self.decided.price_s() <= self.standing.price_s():
            self.standing = self.decided
        return bool((before != self.standing.tiers).any())

    def _move(self, vertex: int, tier: int) -> None:
        if self.standing is self.decided:
            self.standing = self.decided.copy()
        tensor = self.families.inputs + vertex
        before, nbytes = self.decided.homes[tensor], self.families.nbytes[tensor]
        for reader in self.families.readers[tensor]:
            family = self.families.family[reader]
            self._reads[before, family] -= 1
            self._bytes[before, family] -= nbytes
            self._reads[tier, family] += 1
            self._bytes[tier, family] += nbytes
        self.decided.move(vertex, tier)
