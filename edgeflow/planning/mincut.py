"""The default: the exact best split of the additive model, by minimum cuts.

Rows of nodes (`candidates`) hold every plan in which no tensor passes over a node of its row; one
cut (`cut`) finds the best of a row. What is left are plans in which a tensor does pass over a node
with layers, on a direct link: a bound says what they could save at best (`skip`, or a cut with
prices lowered under the direct ones), and where that leaves room, an integer programme (`milp`)
looks there. Where the best plan meets all bounds it is optimal; otherwise the gap is told.

Invariant: what is returned is priced as `CostModel.evaluate` does, never by a cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from edgeflow.layout.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.cut import Labelling, Prices, Row, best_labelling
from edgeflow.planning.flow import Indices
from edgeflow.planning.milp import CELLS_MAX, best_by_milp
from edgeflow.planning.narrow import narrow
from edgeflow.planning.skip import blocks, passing_labelling, skip_bounds
from edgeflow.planning.wiring import Wiring

PROOF = 1e-9
"""A plan is optimal if no bound is lower by more than this share of its price."""
PROGRAMMES_MAX = 8
"""Integer programmes for one plan, up to 0.1 s each. More prove more, while the leader waits."""
MILP_PROOF = 1e-7
"""The same where the bound is the integer programme's."""


@dataclass
class Search:
    """The best plan so far, and what no plan goes below."""

    problem: Problem
    wiring: Wiring
    limit_s: float
    """No plan worth finding costs more; the best price so far."""
    best: tuple[Row, Indices] | None = None
    bound_s: float = math.inf
    programmes: int = 0
    """Integer programmes solved so far."""
    cuts_only: bool = False
    """No programmes at all: the bound is quick, and may be lower."""

    def solve(self, wiring: Wiring, prices: Prices) -> tuple[Labelling | None, bool]:
        """An integer programme's answer; False where it is too large, or one too many."""
        if self.cuts_only or prices.seconds.size > CELLS_MAX or self.programmes >= PROGRAMMES_MAX:
            return None, False
        self.programmes += 1
        return best_by_milp(wiring, prices), True

    def offer(self, row: Row, prices: Prices, node: Indices) -> float:
        """Prices a labelling exactly and keeps it where it is the best; its price. One that does
        not fit into memory proves nothing about those that do, but that they are no cheaper."""
        price_s = prices.price_s(self.wiring, node)
        if price_s < self.limit_s and self._fits(row, node):
            self.best, self.limit_s = (row, node), price_s
        elif price_s < self.limit_s:
            self.bound_s = min(self.bound_s, price_s)
        return price_s

    def _fits(self, row: Row, node: Indices) -> bool:
        """Does every node hold the weights of its layers?"""
        weights_bytes = self.problem.costs.workload.weights_bytes
        return all(
            name is None or self.problem.holds(name, int(weights_bytes[node == at].sum()))
            for at, name in enumerate(row)
        )

    @property
    def placement(self) -> Placement | None:
        """The best placement so far."""
        if self.best is None:
            return None
        row, node = self.best
        layers = self.problem.costs.graph.layers
        return {layer.name: row[at] or "" for layer, at in zip(layers, node, strict=True)}

    def leaves_room(self, bound_s: float) -> bool:
        """Could a plan above this bound still be better?"""
        return bound_s < self.limit_s * (1 - PROOF)


def place_mincut(problem: Problem, *, cuts_only: bool = False) -> tuple[Placement | None, float]:
    """The best placement found, None where there is none, and a lower bound of all placements."""
    wiring = Wiring.of(problem.costs.graph)
    search = Search(problem, wiring, math.inf, cuts_only=cuts_only)
    _offer_undivided(search)
    rows = list(problem.rows())
    priced = {row: Prices.of(problem, row, wiring) for row in rows}
    if search.best is None:
        search.limit_s = 2 * max(_ceiling(wiring, prices) for prices in priced.values())
    for row, prices in priced.items():
        _try_row(search, row, prices)
    for row, prices in priced.items():
        if len(row) > 2:
            _try_passing_over(search, row, prices)
    return search.placement, min(search.bound_s, search.limit_s)


def _offer_undivided(search: Search) -> None:
    """Every node alone: the first limit, in a moment."""
    problem, wiring = search.problem, search.wiring
    if problem.pinned:
        return
    names = [node.name for nodes in problem.useful().values() for node in nodes]
    row = (None, min(names, key=problem.undivided_s))
    search.offer(row, Prices.of(problem, row, wiring), np.ones(wiring.layers, dtype=np.intp))


def _ceiling(wiring: Wiring, prices: Prices) -> float:
    """More than any plan with a finite price over this row."""
    seconds = np.where(np.isfinite(prices.seconds), prices.seconds, 0.0).max(axis=0).sum()
    byte_s = np.where(np.isfinite(prices.byte_s), prices.byte_s, 0.0).sum()
    delay_s = np.where(np.isfinite(prices.delay_s), prices.delay_s, 0.0).sum()
    return float(seconds + byte_s * wiring.nbytes.sum() + 2 * delay_s) + 1e-9


def _try_row(search: Search, row: Row, prices: Prices) -> None:
    """The best plan over this row in which no tensor passes over a node; exact but for delays of
    second messages, see `cut`."""
    hops = prices.hop_prices()
    small = narrow(search.wiring, prices.shared(search.wiring), hops, search.limit_s)
    if small is None:
        return
    found = best_labelling(small.wiring, small.seconds, hops, small.limit_s, strict=True)
    if found is None:
        return
    price_s = search.offer(row, prices, found.node[small.merged])
    if found.bound_s < price_s * (1 - PROOF):
        found_s = _by_milp(search, row, prices)
        search.bound_s = min(search.bound_s, max(found.bound_s, found_s))


def _try_passing_over(search: Search, row: Row, prices: Prices) -> None:
    """Plans over this row in which a tensor passes over a node that has layers."""
    wiring = search.wiring
    if len(row) == 3:
        edges, bounds = blocks(wiring), skip_bounds(wiring, prices)
        for at in np.flatnonzero(bounds < search.limit_s * (1 - PROOF)):
            bound_s = _try_block(search, row, prices, (int(edges[at]), int(edges[at + 1])))
            search.bound_s = min(search.bound_s, max(float(bounds[at]), bound_s))
        return
    bound_s = _by_relaxing(search, row, prices)
    if search.leaves_room(bound_s):
        bound_s = max(bound_s, _by_milp(search, row, prices))
    search.bound_s = min(search.bound_s, bound_s)


def _try_block(search: Search, row: Row, prices: Prices, block: tuple[int, int]) -> float:
    """Plans that pass over node 1 within one block; offers the best, returns a bound."""
    start, stop = block
    inner = search.wiring.block(start, stop)
    lead = inner.layers - (stop - start)
    seconds = prices.seconds[:, start - lead : stop].copy()
    seconds[1:, :lead] = math.inf
    if stop < search.wiring.layers:
        seconds[:2, -1] = math.inf
    part = replace(prices, seconds=seconds)
    shared = prices.shared(search.wiring)
    outside_s = float(shared[0, : start - lead].sum() + shared[2, stop:].sum())
    found, solved = search.solve(inner, part)
    if not solved:
        found = passing_labelling(inner, part, search.limit_s - outside_s)
    if found is None:
        return math.inf if solved else search.limit_s
    before, behind = np.zeros(start - lead), np.full(search.wiring.layers - stop, 2)
    price_s = search.offer(
        row, prices, np.concatenate([before, found.node, behind]).astype(np.intp)
    )
    return _proven(outside_s + found.bound_s, price_s)


def _by_relaxing(search: Search, row: Row, prices: Prices) -> float:
    """A bound of all plans over the nodes of a row; offers what it finds."""
    seconds = prices.shared(search.wiring)
    best = 0.0
    for first in (range(len(row) - 1), range(len(row) - 2, -1, -1)):
        hops = prices.relaxed(list(first))
        found = best_labelling(search.wiring, seconds, hops, search.limit_s, strict=False)
        if found is None:
            return search.limit_s
        search.offer(row, prices, found.node)
        best = max(best, found.bound_s)
    return best


def _by_milp(search: Search, row: Row, prices: Prices) -> float:
    """The same by an integer programme, where the graph is small enough."""
    if search.cuts_only or prices.seconds.size > CELLS_MAX:
        return 0.0
    found = best_by_milp(search.wiring, prices)
    return (
        math.inf if found is None else _proven(found.bound_s, search.offer(row, prices, found.node))
    )


def _proven(bound_s: float, price_s: float) -> float:
    """The bound; the price itself where only the solver's tolerance lies in between."""
    return price_s if bound_s > price_s * (1 - MILP_PROOF) else bound_s
