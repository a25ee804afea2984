"""The parts of the proof, one by one, against every labelling of small random rows of three."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from edgeflow.model.graph import Contract, Graph, Op
from edgeflow.planning.cut import Prices, best_labelling
from edgeflow.planning.flow import Indices
from edgeflow.planning.narrow import narrow
from edgeflow.planning.skip import blocks, passing_labelling, skip_bounds
from edgeflow.planning.wiring import Wiring

SEEDS = range(250)
NEAR = 1 + 1e-9


@dataclass(frozen=True)
class Question:
    """One row, and all labellings in which data only rises, with their prices."""

    wiring: Wiring
    prices: Prices
    all: list[tuple[float, Indices]]

    def jumps(self, node: Indices) -> Indices:
        """Readers at node 2 of a tensor made at node 0."""
        maker = self.wiring.maker
        made = np.where(maker < 0, 0, node[np.maximum(maker, 0)])
        found: Indices = self.wiring.reader[(made == 0) & (node[self.wiring.reader] == 2)]
        return found


def question(seed: int, *, ends: int = 1) -> Question:
    """A first layer, then blocks of one to four between waists; two nodes beside the first."""
    rng = random.Random(seed)
    ops: list[Op] = [layer("l0", {"x"}, rng)]
    waist = "l0"
    while len(ops) < 6:
        names = [waist]
        for _ in range(rng.choice((1, 2, 3, 4))):
            reads = {rng.choice(names[-2:]), rng.choice(names)}
            ops.append(layer(f"l{len(ops)}", reads, rng))
            names.append(ops[-1].name)
        unread = set(names[1:]) - {name for op in ops for name in op.inputs}
        if len(unread) > 1 and (ends == 1 or len(ops) < 6):
            ops.append(layer(f"l{len(ops)}", unread, rng))
        waist = ops[-1].name
    read = {name for op in ops for name in op.inputs}
    outputs = tuple(op.name for op in ops if op.name not in read)
    size = rng.choice((1, 20, 100))
    graph = Graph("g", 1, (Contract("x", "uint8", (size,)),), outputs, tuple(ops), {})
    wiring = Wiring.of(graph)
    prices = random_prices(rng, wiring)
    found = [(prices.price_s(wiring, node), node) for node in labellings(wiring)]
    return Question(wiring, prices, found)


def layer(name: str, reads: set[str], rng: random.Random) -> Op:
    output = Contract(name, "uint8", (rng.choice((1, 2, 5, 20, 50)),))
    return Op(name, "concat", tuple(sorted(reads)), {}, {"axis": 0}, output)


def random_prices(rng: random.Random, wiring: Wiring) -> Prices:
    local, uplink = rng.choice((0.01, 0.05)), rng.choice((0.02, 0.1, 0.3))
    direct = rng.choice((uplink, uplink + local, 3 * uplink))
    byte_s = np.array([[0, local, direct], [9, 0, uplink], [9, 9, 0]], dtype=np.float64)
    delay_s = np.array([[rng.choice((0.0, 0.1, 1.0)) for _ in range(3)] for _ in range(3)])
    speed = np.array([[1.0], [rng.choice((1.0, 2.0, 5.0))], [rng.choice((5.0, 20.0))]])
    seconds = np.array([[rng.uniform(0.1, 3) for _ in range(wiring.layers)] for _ in range(3)])
    return Prices(seconds / speed, np.array([0.0, 0.2, 0.4]), delay_s, byte_s)


def labellings(wiring: Wiring, start: tuple[int, ...] = ()) -> Iterator[Indices]:
    at = len(start)
    if at == wiring.layers:
        yield np.array(start, dtype=np.intp)
        return
    makers = wiring.maker[wiring.reader == at]
    floor = max((start[maker] for maker in makers if maker >= 0), default=0)
    for node in range(floor, 3):
        yield from labellings(wiring, (*start, node))


@pytest.mark.parametrize("narrowed", [False, True])
def test_a_strict_cut_is_the_best_labelling_that_passes_over_nobody(narrowed: bool) -> None:
    for seed in SEEDS:
        asked = question(seed)
        best_s = min(price for price, node in asked.all if not len(asked.jumps(node)))
        seconds, hops = asked.prices.shared(asked.wiring), asked.prices.hop_prices()
        if narrowed:
            small = narrow(asked.wiring, seconds, hops, 2 * best_s)
            assert small is not None, seed
            assert small.limit_s >= best_s, seed
            found = best_labelling(small.wiring, small.seconds, hops, small.limit_s, strict=True)
            assert found is not None, seed
            node = found.node[small.merged]
        else:
            found = best_labelling(asked.wiring, seconds, hops, 2 * best_s, strict=True)
            assert found is not None, seed
            node = found.node
        assert asked.prices.price_s(asked.wiring, node) == pytest.approx(best_s), seed
        assert best_s / NEAR <= found.bound_s <= best_s * NEAR, seed
        assert not len(asked.jumps(node)), seed


def test_narrowing_says_none_only_where_nothing_is_below_the_limit() -> None:
    for seed in SEEDS:
        asked = question(seed)
        best_s = min(price for price, node in asked.all if not len(asked.jumps(node)))
        seconds, hops = asked.prices.shared(asked.wiring), asked.prices.hop_prices()
        assert narrow(asked.wiring, seconds, hops, best_s * NEAR) is not None, seed
        assert narrow(asked.wiring, seconds, hops, best_s * 0.1) is None, seed


@pytest.mark.parametrize("ends", [1, 2])
def test_no_labelling_that_passes_over_node_1_is_below_its_blocks_bound(ends: int) -> None:
    met = 0
    for seed in SEEDS:
        asked = question(seed, ends=ends)
        edges, bounds = blocks(asked.wiring), skip_bounds(asked.wiring, asked.prices)
        for price, node in asked.all:
            jumps = asked.jumps(node)
            if len(jumps) and (node == 1).any():
                at = int(np.searchsorted(edges, jumps[0], side="right")) - 1
                inside = slice(int(edges[at]), int(edges[at + 1]))
                assert (np.delete(node, np.r_[inside]) != 1).all(), seed
                assert bounds[at] <= price * NEAR, seed
                met += 1
    assert met > 1000


@pytest.mark.parametrize("ends", [1, 2])
def test_a_relaxed_cut_is_below_every_labelling_of_its_kind(ends: int) -> None:
    for seed in SEEDS:
        asked = question(seed, ends=ends)
        best_s = min(price for price, _ in asked.all)
        seconds = asked.prices.shared(asked.wiring)
        for first in ((0, 1), (1, 0)):
            hops = asked.prices.relaxed(first)
            found = best_labelling(asked.wiring, seconds, hops, 2 * best_s, strict=False)
            assert found is not None, seed
            assert found.bound_s <= best_s * NEAR, seed
        passing = [
            price for price, node in asked.all if len(asked.jumps(node)) and (node == 1).any()
        ]
        found = passing_labelling(asked.wiring, asked.prices, 100 * best_s)
        assert found is not None, seed
        assert found.bound_s <= min(passing, default=math.inf) * NEAR, seed
