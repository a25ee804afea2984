"""Neurosurgeon: one cut of the chain of layers between two nodes.

    l1 ─ l2 ─ … ─ lc ┃ lc+1 ─ … ─ ln          all cuts are tried, also before l1 and behind ln
        near node    ┃   far node             for every pair of nodes of different tiers

Kang et al., "Neurosurgeon: collaborative intelligence between the cloud and mobile edge", ASPLOS
2017. From the paper's abstract: the computation is divided at the granularity of layers between a
mobile device and the data centre, by predictions of each layer, for the best latency. Our reading
from there on: a network that is no chain is put into one in the graph's own order, and a cut may
cross several tensors; all are paid. The paper has two machines; we take the best pair of a cluster.
It may differ from the paper's where another topological order had a better cut, and in all that
prices a layer: the paper fits a regression for each kind, we have one cost model for all rivals.

Invariant: the best of its family, exactly; the price is that of `CostModel.evaluate`.
"""

from __future__ import annotations

import math

import numpy as np

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.pairs import cuts_of_the_chain, pairs
from edgeflow.planning.wiring import Wiring


def place_neurosurgeon(problem: Problem) -> Placement | None:
    """The best cut of the best pair, undivided included; None where no cut can be run."""
    wiring = Wiring.of(problem.costs.graph)
    best_s, best = math.inf, None
    for pair in pairs(problem):
        latency_s = cuts_of_the_chain(problem, wiring, pair).latency_s
        cut = int(np.argmin(latency_s))
        if latency_s[cut] < best_s:
            best_s, best = float(latency_s[cut]), (pair, cut)
    if best is None:
        return None
    pair, cut = best
    return pair.placement(problem, np.arange(wiring.layers) >= cut)
