"""The planner against every placement there is, on small random questions: graphs with branches,
shared tensors, several inputs and outputs; clusters with several nodes a tier, missing links and
cheap direct ones. EDGEFLOW_GRAPHS=20000 asks more of them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.layout.placement import format_placement, parse_placement
from edgeflow.messages import Rates, Tier
from edgeflow.model.graph import Contract, Graph, Op
from edgeflow.planning import PlanningError, Proposal, propose
from edgeflow.planning.brute import all_placements
from edgeflow.planning.candidates import Problem
from edgeflow.planning.cut import Prices
from edgeflow.planning.wiring import Wiring

RATES = Rates(1e9, 1e9, 1e9, 1e-5)
GRAPHS = int(os.environ.get("EDGEFLOW_GRAPHS", "1000"))
SIZES = st.sampled_from((0, 1, 5, 10, 20, 50, 100, 333))
SECONDS = st.one_of(st.sampled_from((0.0, 1.0, 2.0, 5.0)), st.floats(0.01, 20))
DELAYS = st.sampled_from((0.0, 0.0, 0.1, 0.5, 2.0))
RATES_BYTE = st.sampled_from((10.0, 20.0, 40.0, 77.7, 300.0))
TIERS = (Tier(0, "device"), Tier(1, "edge"), Tier(2, "cloud"), Tier(3, "region"), Tier(4, "moon"))


def tensor(name: str, nbytes: int) -> Contract:
    """A contract of so many bytes."""
    return Contract(name, "uint8", (nbytes,))


def layer(name: str, inputs: tuple[str, ...], nbytes: int = 100) -> Op:
    """An op that is a layer of its own."""
    return Op(name, "concat", inputs, {}, {"axis": 0}, tensor(name, nbytes))


@dataclass(frozen=True)
class Case:
    """One question."""

    graph: Graph
    costs: CostModel
    pinned: dict[str, str]


@st.composite
def graphs(draw: st.DrawFn, layers_max: int = 7) -> Graph:
    """Every layer reads one to three tensors, mostly late ones; what nobody reads is an output."""
    inputs = draw(st.sampled_from((1, 1, 1, 2)))
    count = draw(st.sampled_from((1, *range(3, layers_max + 1))))
    wild = draw(st.sampled_from((0, 1, 3)))
    names = [f"in{at}" for at in range(inputs)]
    ops: list[Op] = []
    for at in range(count):
        reads = {names[-1 - min(draw(st.integers(0, wild)), len(names) - 1)]}
        for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
            reads.add(names[draw(st.integers(0, len(names) - 1))])
        ops.append(layer(f"l{at}", tuple(sorted(reads)), draw(SIZES)))
        names.append(f"l{at}")
    read = {name for op in ops for name in op.inputs}
    extra = draw(st.sets(st.sampled_from([op.name for op in ops]), max_size=1))
    outputs = tuple(op.name for op in ops if op.name not in read or op.name in extra)
    contracts = tuple(tensor(f"in{at}", draw(SIZES)) for at in range(inputs))
    return Graph("random", 1, contracts, outputs, tuple(ops), {})


@st.composite
def cases(draw: st.DrawFn, tiers_max: int = 3, layers_max: int = 7) -> Case:
    """A graph on a cluster; sometimes layers that a node cannot run, sometimes pins."""
    graph = draw(graphs(layers_max))
    ranks = draw(st.sampled_from((1, *range(2, tiers_max + 1), tiers_max)))
    names: dict[str, int] = {}
    for rank in range(ranks):
        for at in range(draw(st.sampled_from((1, 1, 2)))):
            names[f"{TIERS[rank].name}-{at}"] = rank
    source = draw(st.sampled_from(("device-0", "device-0", *names)))
    speedup = draw(st.sampled_from((1, 3, 10)))
    idle = draw(st.sampled_from(("", "", "", source)))
    nodes = {
        name: NodeCost(name, TIERS[rank], None if name == idle else RATES)
        for name, rank in names.items()
    }
    model = CostModel(graph, Cluster(nodes, draw(_links(names)), source))
    for name in names:
        if name != idle:
            seconds = draw(st.lists(SECONDS, min_size=len(graph.ops), max_size=len(graph.ops)))
            model.known_s[name] = np.array(seconds) / speedup ** names[name]
            if draw(st.integers(0, 24)) == 0:
                model.known_s[name][draw(st.integers(0, len(seconds) - 1))] = math.inf
    pinned: dict[str, str] = {}
    if draw(st.integers(0, 24)) == 0:
        pinned[draw(st.sampled_from(graph.ops)).name] = draw(st.sampled_from(sorted(names)))
    return Case(graph, model, pinned)


@st.composite
def _links(draw: st.DrawFn, names: dict[str, int]) -> dict[tuple[str, str], LinkCost]:
    """Neighbouring tiers fast, far ones often as slow as the slowest hop: then direct is cheap."""
    shape = draw(st.sampled_from(("home", "any", "relay", "holes")))
    uplink = LinkCost(draw(DELAYS), draw(RATES_BYTE))
    local = LinkCost(draw(DELAYS), 10 * uplink.bytes_per_s)
    found: dict[tuple[str, str], LinkCost] = {}
    for a, rank in names.items():
        for b, other in names.items():
            if a == b:
                continue
            link = LinkCost(draw(DELAYS), draw(RATES_BYTE))
            if shape == "home":
                link = uplink if max(rank, other) >= 2 else local
            if shape == "relay" and abs(rank - other) > 1:
                link = LinkCost(4 * link.delay_s, link.bytes_per_s / 4)
            if shape == "holes" and draw(st.integers(0, 3)) == 0:
                continue
            found[a, b] = link
    return found


def many(count: int) -> settings:
    """So many graphs, the same ones each time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=count <= 1000,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def best_price_s(case: Case) -> float:
    """Of all placements; infinite where none can be run."""
    problem = Problem(case.costs, case.pinned, frozenset(case.costs.cluster.nodes))
    keys = {tuple(plan.items()) for plan in all_placements(problem)}
    return min((case.costs.evaluate(dict(key)).total_s for key in keys), default=math.inf)


def ask(case: Case) -> Proposal | None:
    """The planner's answer; None where it says, rightly, that there is none."""
    try:
        return propose(case.graph, case.costs, pinned=case.pinned)
    except PlanningError as error:
        if "no node can compute" not in str(error) and "pinned to" not in str(error):
            assert math.isinf(best_price_s(case)), str(error)  # noqa: PT017
        return None


def check(case: Case) -> Proposal | None:
    """Every promise of a Proposal."""
    found = ask(case)
    if found is None:
        return None
    best_s = best_price_s(case)
    near = 1e-9 * best_s + 1e-12
    assert found.lower_bound_s <= best_s + near, "the bound is above the best"
    assert found.predicted_s >= best_s - near, "the price is below the best: brute misses plans"
    assert found.predicted_s == case.costs.evaluate(found.placement).total_s
    if found.optimal:
        assert found.predicted_s <= best_s + near, "said to be optimal, and is not"
    check_rules(case, found)
    return found


def check_rules(case: Case, found: Proposal) -> None:
    """Data only rises, one node a tier computes, pins hold, the line reads back."""
    nodes, graph = case.costs.cluster.nodes, case.graph
    placement = {name: str(node) for name, node in found.placement.items()}
    rank = {name: nodes[node].tier.rank for name, node in placement.items()}
    assert all(
        rank[graph.producer[name]] <= rank[layer.name]
        for layer in graph.layers
        for name in layer.inputs
        if name in graph.producer
    )
    used = set(placement.values())
    assert len({nodes[node].tier.rank for node in used}) == len(used)
    assert all(found.placement[name] == node for name, node in case.pinned.items())
    assert parse_placement(graph, format_placement(graph, found.placement)) == found.placement


@pytest.mark.parametrize(("programmes", "proven"), [(8, 0.93), (0, 0.65)])
def test_up_to_three_tiers_every_promise_holds_and_nearly_all_is_proven(
    programmes: int, proven: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeflow.planning.mincut.PROGRAMMES_MAX", programmes)
    answers: list[Proposal | None] = []

    @many(GRAPHS // 2)
    @given(cases())
    def asked(case: Case) -> None:
        answers.append(check(case))

    asked()
    given_ = [found for found in answers if found is not None]
    split = [found for found in given_ if len(set(found.placement.values())) > 1]
    assert len(given_) > 0.6 * len(answers)
    assert len(split) > 0.15 * len(given_), "too few interesting questions"
    assert sum(found.optimal for found in given_) > proven * len(given_)


def test_up_to_five_tiers_every_promise_holds() -> None:
    @many(GRAPHS // 10)
    @given(cases(tiers_max=5, layers_max=5))
    def asked(case: Case) -> None:
        check(case)

    asked()


def test_what_the_planner_calculates_is_what_the_runtime_pays() -> None:
    @many(GRAPHS // 5)
    @given(st.data())
    def asked(data: st.DataObject) -> None:
        case = data.draw(cases())
        problem = Problem(case.costs, {}, frozenset(case.costs.cluster.nodes))
        wiring = Wiring.of(case.graph)
        try:
            plan = data.draw(st.sampled_from(list(all_placements(problem))[:200]))
        except PlanningError:
            return
        row = sorted(set(plan.values()), key=lambda name: case.costs.cluster.nodes[name].tier.rank)
        prices = Prices.of(problem, (None, *row), wiring)
        node = np.array([1 + row.index(plan[layer.name]) for layer in case.graph.layers])
        expected = case.costs.evaluate(plan).total_s
        assert prices.price_s(wiring, node) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    asked()
