"""What a row of nodes costs HPA, as lists that change one entry at a time, and the bill of a plan.

    Tariff   seconds of each vertex on each tier · delay and byte of each message · way back
    Bill     who stands where, which tensors that sends, and so the price: moved vertex by vertex

Tiers count from 0 in the row; number K, behind the last, is the source as the origin of inputs:
its messages are their own, also where the source stands in the row.

Invariant: `Bill.price_s` is what `CostModel.evaluate` says of the same placement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.siblings import Families


@dataclass(slots=True)
class Tariff:
    """Prices over one row of K nodes; mutable, shared by the bills that are priced with it."""

    row: tuple[str, ...]
    source: str
    seconds: Floats
    """(K, vertices) infinite where a vertex cannot run, or is pinned elsewhere."""
    own_s: list[list[float]]
    """[tier][vertex]: the same and the way back of its output, as HPA counts it."""
    delay_s: list[list[float]]
    """[K + 1][K] of a message; infinite where there is no link."""
    byte_s: list[list[float]]
    """[K + 1][K] of each byte; 0 where there is no link."""
    back: list[tuple[float, float]]
    """[K] delay and byte of the way back."""
    weights_bytes: Floats
    """(vertices,)"""
    limits_bytes: list[float]
    """[K] what the weights on each node may take."""

    @classmethod
    def of(cls, problem: Problem, row: Sequence[str], families: Families) -> Tariff:
        """Prices of nodes by rising tier."""
        costs, source = problem.costs, problem.source
        seconds = np.array([costs.layers_s(name) for name in row])
        for at, layer in enumerate(costs.graph.layers):
            if (pin := problem.pinned.get(layer.name)) is not None:
                seconds[[name != pin for name in row], at] = math.inf
        prices = [[_finite(costs.price(a, b)) for b in row] for a in (*row, source)]
        memory = [costs.cluster.nodes[name].memory_bytes for name in row]
        made = cls(
            row=tuple(row),
            source=source,
            seconds=seconds,
            own_s=seconds.tolist(),
            delay_s=[[delay_s for delay_s, _ in line] for line in prices],
            byte_s=[[byte_s for _, byte_s in line] for line in prices],
            back=[_finite(costs.price(name, source)) for name in row],
            weights_bytes=costs.workload.weights_bytes.astype(np.float64),
            limits_bytes=[float(limit) if limit else math.inf for limit in memory],
        )
        for vertex, is_output in enumerate(families.is_output):
            if is_output:
                made.settle(families, vertex)
        return made

    def settle(self, families: Families, vertex: int) -> None:
        """Brings `own_s` of a vertex up to date."""
        nbytes = families.nbytes[families.inputs + vertex]
        for tier, (delay_s, byte_s) in enumerate(self.back):
            back_s = delay_s + nbytes * byte_s if families.is_output[vertex] else 0.0
            self.own_s[tier][vertex] = float(self.seconds[tier, vertex]) + back_s

    @property
    def binds(self) -> bool:
        """May some node be too small for all weights?"""
        return float(self.weights_bytes.sum()) > min(self.limits_bytes)


def _finite(price: tuple[float, float]) -> tuple[float, float]:
    return price if math.isfinite(price[0]) else (math.inf, 0.0)


class Bill:
    """A placement over a row, and its price."""

    def __init__(self, tariff: Tariff, families: Families, tiers: Sequence[int]) -> None:
        self.tariff, self.families = tariff, families
        self.count = count = len(tariff.row)
        self.tiers = np.array(tiers, dtype=np.intp)
        self.homes = [count] * families.inputs + list(tiers)
        """By tensor: the tier it is made at, K for graph inputs."""
        self.readers = [0] * (count * len(families.nbytes))
        """By tensor and tier, flat: how many vertices read it there."""
        self.tensors = [[0] * count for _ in range(count + 1)]
        self.nbytes = [[0] * count for _ in range(count + 1)]
        """[from][to] of the tensors sent."""
        self.back_tensors, self.back_bytes = [0] * count, [0] * count
        for vertex, tier in enumerate(tiers):
            for tensor in families.reads[vertex]:
                self._read(tensor, tier)
            if families.is_output[vertex]:
                self._return(vertex, tier, 1)

    def copy(self) -> Bill:
        """One that moves on its own, with the same tariff."""
        made = object.__new__(Bill)
        made.tariff, made.families, made.count = self.tariff, self.families, self.count
        made.tiers = self.tiers.copy()
        made.homes, made.readers = self.homes[:], self.readers[:]
        made.tensors = [line[:] for line in self.tensors]
        made.nbytes = [line[:] for line in self.nbytes]
        made.back_tensors, made.back_bytes = self.back_tensors[:], self.back_bytes[:]
        return made

    def move(self, vertex: int, tier: int) -> None:
        """Puts a vertex on another tier."""
        families, before = self.families, int(self.tiers[vertex])
        for tensor in families.reads[vertex]:
            self._unread(tensor, before)
            self._read(tensor, tier)
        tensor = families.inputs + vertex
        for to in range(self.count):
            if self.readers[tensor * self.count + to]:
                self._send(tensor, before, to, -1)
                self._send(tensor, tier, to, 1)
        self.homes[tensor] = tier
        self.tiers[vertex] = tier
        if families.is_output[vertex]:
            self._return(vertex, before, -1)
            self._return(vertex, tier, 1)

    def price_s(self) -> float:
        """Of one frame; infinite where a link is missing, a layer cannot run or memory is short."""
        tariff, count = self.tariff, self.count
        every = np.arange(len(self.tiers))
        total = float(tariff.seconds[self.tiers, every].sum())
        for sender in range(count + 1):
            for to in range(count):
                if self.tensors[sender][to]:
                    total += tariff.delay_s[sender][to]
                    total += self.nbytes[sender][to] * tariff.byte_s[sender][to]
        for tier, (delay_s, byte_s) in enumerate(tariff.back):
            if self.back_tensors[tier]:
                total += delay_s + self.back_bytes[tier] * byte_s
        if tariff.binds:
            held = np.bincount(self.tiers, weights=tariff.weights_bytes, minlength=count)
            if (held > tariff.limits_bytes).any():
                return math.inf
        return total

    def _read(self, tensor: int, tier: int) -> None:
        place = tensor * self.count + tier
        self.readers[place] += 1
        if self.readers[place] == 1:
            self._send(tensor, self.homes[tensor], tier, 1)

    def _unread(self, tensor: int, tier: int) -> None:
        place = tensor * self.count + tier
        self.readers[place] -= 1
        if not self.readers[place]:
            self._send(tensor, self.homes[tensor], tier, -1)

    def _send(self, tensor: int, sender: int, to: int, times: int) -> None:
        if sender != to:
            self.tensors[sender][to] += times
            self.nbytes[sender][to] += times * self.families.nbytes[tensor]

    def _return(self, vertex: int, tier: int, times: int) -> None:
        self.back_tensors[tier] += times
        self.back_bytes[tier] += times * self.families.nbytes[self.families.inputs + vertex]
