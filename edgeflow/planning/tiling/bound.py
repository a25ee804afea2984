"""What no plan goes below, tiles included: several nodes of a tier as one that is never waited for.

    edge-1 ─┐                    seconds    of a layer: min over nodes of λ · its seconds, Σ λ = 1
    edge-2 ─┼─▶ one node         out of it  the best link of any of them
    edge-3 ─┘                    into it    the least delay; bytes arrive while strips are computed

The slowest of several workers takes at least any weighted mean of what they take, and each layer of
a map is computed at least once; so with weights λ, the nodes' speeds, the sum over layers of the
least λ-weighted seconds is no more than any stage takes, whatever its strips and halos. Where nodes
are alike up to a factor, that is the harmonic sum of their speeds. Rows that nobody reads, as
before a stride without overlap, need not be computed in strips: only what is needed counts.

What arrives while others compute already is not both: a stage takes at least the longer of all its
transfers and all its computing, so at least θ of the one and 1 - θ of the other. Some θ are tried.

Invariant: no layout whose nodes and tiles change at waists, with tiles in these tiers alone, costs
less than the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost, Seconds
from edgeflow.messages import Rates
from edgeflow.planning.candidates import Problem
from edgeflow.planning.flow import Floats
from edgeflow.planning.mincut import place_mincut
from edgeflow.planning.tiling.strips import Block, Strips

LEANINGS = (0.0, 0.3, 0.7, 0.99)
"""Each θ. One is near enough where computing or transfers are nearly all; each takes 3 ms."""


def bound_of_tiles(problem: Problem, *, alone: bool = False) -> float:
    """Seconds that no plan goes below. `alone`: nodes that are alone in their tier may have several
    strips as well."""
    groups = _groups(problem, 1 if alone else 2)
    of = {name: group for group, names in groups.items() for name in names}
    shares = needed(Strips.of(problem.costs.graph), len(problem.costs.graph.layers))
    nodes, known_s = _nodes(problem, groups, of, shares)
    pinned = {layer: of.get(node, node) for layer, node in problem.pinned.items()}
    allowed = frozenset(of.get(name, name) for name in problem.allowed)
    best_s = 0.0
    for theta in LEANINGS:
        least = theta * float(shares[shares > 0].min(initial=1.0))
        cluster = Cluster(nodes, _links(problem, groups, of, least), problem.source)
        leaning_s = {
            name: seconds * (1 - theta) if name in groups else seconds
            for name, seconds in known_s.items()
        }
        costs = CostModel(problem.costs.graph, cluster, leaning_s)
        found_s = place_mincut(Problem(costs, pinned, allowed), cuts_only=True)[1]
        best_s = max(best_s, found_s)
    return best_s


def _groups(problem: Problem, least: int) -> dict[str, list[str]]:
    """Nodes that become one, by its name: the source's where it is among them."""
    found = {}
    for nodes in problem.candidates.values():
        names = [node.name for node in nodes]
        if len(names) >= least:
            found[problem.source if problem.source in names else names[0]] = names
    return found


def _nodes(
    problem: Problem, groups: Mapping[str, list[str]], of: Mapping[str, str], shares: Floats
) -> tuple[dict[str, NodeCost], dict[str, Seconds]]:
    """The nodes, and what each takes for every layer."""
    costs = problem.costs
    found: dict[str, NodeCost] = {}
    known_s: dict[str, Seconds] = {}
    for name, node in costs.cluster.nodes.items():
        if of.get(name, name) != name:
            continue
        known_s[name] = costs.layers_s(name)
        found[name] = node
        if name in groups:
            members = [(each, costs.layers_s(each)) for each in groups[name]]
            found[name] = NodeCost(name, node.tier, _quickest(costs.cluster.nodes, groups[name]))
            known_s[name] = _together(problem, members, shares)
    return found, known_s


def _quickest(nodes: Mapping[str, NodeCost], members: list[str]) -> Rates | None:
    """Rates of whoever handles messages quickest; the seconds of layers are given beside them."""
    return min((nodes[name] for name in members), key=lambda node: node.handling_s).rates


def _together(problem: Problem, members: list[tuple[str, Seconds]], shares: Floats) -> Seconds:
    """(layers,) seconds of nodes that work together; `shares` is 0 for layers without tiles."""
    seconds = np.array([known for _, known in members])
    for at, layer in enumerate(problem.costs.graph.layers):
        node = problem.pinned.get(layer.name)
        barred = [node is not None and name != node for name, _ in members]
        seconds[barred, at] = math.inf
    can = shares > 0
    whole_s = np.where(np.isfinite(seconds) & can, seconds, 0.0).sum(axis=1)
    speed = 1 / np.maximum(whole_s, 1e-12)
    weights = speed / speed.sum()
    # A layer of no seconds stays one, and one that nobody can run stays that.
    found: Seconds = np.where(
        can, shares * (weights[:, None] * seconds).min(axis=0), seconds.min(axis=0)
    )
    return found


def _links(
    problem: Problem, groups: Mapping[str, list[str]], of: Mapping[str, str], least: float
) -> dict[tuple[str, str], LinkCost]:
    """The best link between any of two groups; `least` is the share of a tensor that counts where
    several nodes get it."""
    found: dict[tuple[str, str], LinkCost] = {}
    for (a, b), link in problem.costs.cluster.links.items():
        pair = of.get(a, a), of.get(b, b)
        if pair[0] == pair[1] or link.bytes_per_s <= 0:
            continue
        rate = link.bytes_per_s
        if pair[1] in groups:
            # As many ports as the smaller side has work at once.
            ports = min(len(groups.get(name, [name])) for name in pair)
            rate = rate * ports / least if least else math.inf
        best = found.get(pair, LinkCost(math.inf, 0.0))
        found[pair] = LinkCost(min(best.delay_s, link.delay_s), max(best.bytes_per_s, rate))
    return found


def needed(strips: Strips, layers: int) -> Floats:
    """(layers,) the least share of its maps that strips of each layer take together; 0 where it
    cannot be made in strips."""
    found = np.zeros(layers)
    wanted: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    columns = 0, 0
    for at in range(strips.last - 1, -1, -1):
        block = strips.blocks[at]
        if block is None:
            wanted = None
            continue
        if wanted is None or strips.leaves[at + 1]:
            wanted = np.ones(int(strips.rows[at + 1]), dtype=np.bool_)
            columns = 0, int(strips.columns[at + 1])
        columns, width = block.across(columns)
        rows = _rows(block, wanted)
        shares = np.array([each.mean() for each in rows]) * width
        found[strips.edges[at] : strips.edges[at + 1]] = shares.min()
        wanted = rows[0]
    return found


def _rows(
    block: Block, wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> list[np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Of each of its maps, the rows that some wanted row takes on its own."""
    top, _, bottom = block.tables
    places = np.flatnonzero(wanted)
    found = []
    for at, rows in enumerate(block.sizes[:, 0]):
        change = np.zeros(int(rows) + 1, dtype=np.int64)
        np.add.at(change, top[at, places], 1)
        np.add.at(change, bottom[at, places + 1], -1)
        found.append(np.cumsum(change)[:-1] > 0)
    return found
