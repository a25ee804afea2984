"""HPA's plan kept up to date: one changed price, and only what it may change is decided again.

    a layer's seconds ──▶ its family ─────────────────────────┐   for each, by depth: choose again;
    a link's price ──▶ families whose lead is not safe ───────┴▶  a vertex moved ──▶ its readers'
                                                                  families, and so on

Each family keeps its *leads*: by how much its choice is better than those with each other tier. A
link that changes by so much changes what a choice costs by no more than delay × messages + bytes of
the family's inputs at the link's sender; a cheaper link helps the choices that use it, a dearer one
all others. Where the lead is larger, it shrinks by that much, and nothing is decided. Leads are
bounds that only a new decision sharpens.

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

from edgeflow.costmodel.cost import LinkCost
from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.hpa import (
    CERTAIN,
    Chooser,
    best_row,
    ceilings,
    placement_of,
    walk,
    walk_with_limits,
)
from edgeflow.planning.siblings import Families
from edgeflow.planning.tariff import Tariff

SIBLINGS = -1
"""In place of the tier, where a family has several members: any choice may use any link."""


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
        chosen = [self.chooser.choose(family) for family in range(len(families.members))]
        self._leads_s = np.array([leads for _, leads in chosen]).T.copy()
        """(K, families)"""
        self._tier = np.array([tiers[0] if len(tiers) == 1 else SIBLINGS for tiers, _ in chosen])
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
            to_s = self.problem.costs.handling_s(receiver)
            price = (link.delay_s + to_s, 1 / link.bytes_per_s)
        dirty: set[int] = set()
        if receiver in tariff.row and sender != receiver:
            to = tariff.row.index(receiver)
            for origin, name in enumerate((*tariff.row, tariff.source)):
                if name == sender:
                    dirty.update(self._change(origin, to, price))
        if receiver == tariff.source and sender in tariff.row and sender != receiver:
            tier = tariff.row.index(sender)
            is_other = math.isinf(tariff.back[tier][0]) != math.isinf(price[0])
            tariff.back[tier] = price
            for vertex in self._outputs:
                tariff.settle(self.families, vertex)
                dirty.add(self.families.family[vertex])
            dirty |= self._raised() if is_other else set()
        return self._review(dirty)

    def _raised(self) -> set[int]:
        """Families whose ceilings move, now that a layer can or cannot run somewhere."""
        before, now = self.chooser.ceilings, ceilings(self.tariff, self.families)
        self.chooser.ceilings = now
        moved = np.flatnonzero(np.not_equal(before, now)).tolist()
        return {self.families.family[at] for at in moved}

    def _change(self, origin: int, to: int, price: tuple[float, float]) -> list[int]:
        """Sets a price; the families whose lead is not safe. The other leads shrink."""
        tariff, reads, nbytes = self.tariff, self._reads[origin], self._bytes[origin]
        before = (tariff.delay_s[origin][to], tariff.byte_s[origin][to])
        tariff.delay_s[origin][to], tariff.byte_s[origin][to] = price
        if math.isinf(before[0]) or math.isinf(price[0]):
            gone_or_new = math.isinf(before[0]) != math.isinf(price[0])
            return np.flatnonzero(reads).tolist() if gone_or_new else []
        delay_s, byte_s = price[0] - before[0], price[1] - before[1]
        dearer_s = reads * max(delay_s, 0.0) + nbytes * max(byte_s, 0.0)
        cheaper_s = reads * max(-delay_s, 0.0) + nbytes * max(-byte_s, 0.0)
        is_there, siblings = self._tier == to, self._tier == SIBLINGS
        any_lead_s = np.where(is_there, dearer_s, 0.0) + np.where(siblings, dearer_s + cheaper_s, 0)
        one_lead_s = np.where(is_there | siblings, 0.0, cheaper_s)
        any_lead_s *= 1 + CERTAIN
        one_lead_s *= 1 + CERTAIN
        unsafe = (any_lead_s > 0) & (any_lead_s >= self._leads_s.min(axis=0))
        unsafe |= (one_lead_s > 0) & (one_lead_s >= self._leads_s[to])
        self._leads_s -= any_lead_s
        self._leads_s[to] -= one_lead_s
        return np.flatnonzero(unsafe).tolist()

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
        queued, decided = set(heap), []
        before, homes, inputs = self.standing.tiers.copy(), self.decided.homes, self.families.inputs
        while heap:
            family = heappop(heap)
            tiers, leads_s = self.chooser.choose(family)
            decided.append((family, tiers[0] if len(tiers) == 1 else SIBLINGS, leads_s))
            for vertex, tier in zip(self.families.members[family], tiers, strict=True):
                if tier != homes[inputs + vertex]:
                    self._move(vertex, tier)
                    for reader in self.families.readers[inputs + vertex]:
                        behind = self.families.family[reader]
                        if behind not in queued:
                            queued.add(behind)
                            heappush(heap, behind)
        if decided:
            numbers, places, leads = zip(*decided, strict=True)
            self._tier[list(numbers)] = places
            self._leads_s[:, numbers] = np.array(leads).T
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
