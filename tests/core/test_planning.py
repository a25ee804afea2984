"""Plans one can check by hand: what is chosen, what is said, what is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edgeflow.bench.planners import home_cluster, random_graph
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.messages import Rates, Tier
from edgeflow.model.graph import Contract, Graph, Op
from edgeflow.planning import PlanningError, Proposal, propose
from edgeflow.planning.candidates import Problem

RATES = Rates(1e9, 1e9, 1e9, 0.0)
TIERS = (Tier(0, "device"), Tier(1, "edge"), Tier(2, "cloud"))


def tensor(name: str, nbytes: int) -> Contract:
    return Contract(name, "uint8", (nbytes,))


def chain(*sizes: int) -> Graph:
    """x of the first size → l0 → l1 → …, each of its size."""
    ops = [
        Op(
            f"l{at}",
            "concat",
            (f"l{at - 1}" if at else "x",),
            {},
            {"axis": 0},
            tensor(f"l{at}", size),
        )
        for at, size in enumerate(sizes[1:])
    ]
    return Graph("chain", 1, (tensor("x", sizes[0]),), (ops[-1].name,), tuple(ops), {})


def fleet(
    graph: Graph,
    seconds: dict[str, tuple[int, list[float] | None]],
    links: dict[tuple[str, str], tuple[float, float]],
    source: str = "cam",
) -> CostModel:
    """Nodes by name: rank, and seconds of each layer (None: computes nothing); links both ways."""
    both = {**{(b, a): price for (a, b), price in links.items()}, **links}
    nodes = {
        name: NodeCost(name, TIERS[rank], RATES if known is not None else None)
        for name, (rank, known) in seconds.items()
    }
    found = CostModel(graph, Cluster(nodes, {p: LinkCost(*c) for p, c in both.items()}, source))
    found.known_s.update(
        {name: np.array(known) for name, (_, known) in seconds.items() if known is not None}
    )
    return found


def home(cam_s: float = 1.0, edge_s: float = 0.1, cloud_s: float = 0.01) -> CostModel:
    """Four layers that shrink; a fast local link, a slow up-link that cam and edge share."""
    return fleet(
        chain(1000, 1000, 1000, 10, 10),
        {"cam": (0, [cam_s] * 4), "edge": (1, [edge_s] * 4), "cloud": (2, [cloud_s] * 4)},
        {
            ("cam", "edge"): (0.001, 1e5),
            ("edge", "cloud"): (0.05, 1e3),
            ("cam", "cloud"): (0.05, 1e3),
        },
    )


def plan(costs: CostModel, algorithm: str = "mincut", **options: object) -> Proposal:
    return propose(costs.graph, costs, algorithm, **options)  # type: ignore[arg-type]


def test_a_fast_edge_node_near_by_takes_all() -> None:
    found = plan(home())
    assert set(found.placement.values()) == {"edge"}
    assert found.predicted_s == pytest.approx(0.4 + 0.001 + 0.01 + 0.001 + 0.0001)
    assert found.optimal
    assert found.gap == 0
    assert found.reason.startswith("do not split: all on edge is fastest, 412 ms (400 ms on edge")
    assert "at 0.8 Mbit/s" in found.reason
    assert "against 1150 ms all on cloud, 4000 ms all on cam" in found.reason
    assert found.reason.endswith("optimal for the additive cost model and the current estimates")


def test_a_slow_last_layer_is_worth_a_split_where_the_tensor_is_small() -> None:
    costs = home()
    costs.known_s["edge"][3] = 0.5
    found = plan(costs)
    assert list(found.placement.values()) == ["edge", "edge", "edge", "cloud"]
    assert found.reason.startswith("split over edge, cloud: 441 ms (300 ms on edge + 10 ms")
    assert found.terms.bytes == {("cam", "edge"): 1000, ("edge", "cloud"): 10, ("cloud", "cam"): 10}


def test_the_undivided_rivals_are_what_they_say_and_bounded_by_the_best() -> None:
    for algorithm, node in (("device-only", "cam"), ("edge-only", "edge"), ("cloud-only", "cloud")):
        found = plan(home(), algorithm)
        assert set(found.placement.values()) == {node}
        assert found.lower_bound_s == pytest.approx(plan(home()).predicted_s)
        assert found.optimal is (node == "edge")
    assert "% less)" in plan(home(), "device-only").reason


@pytest.mark.parametrize("algorithm", ["neurosurgeon", "dads", "dads-heavy", "hpa"])
def test_a_rival_does_not_speak_of_the_fastest(algorithm: str) -> None:
    assert plan(home(), algorithm).reason.startswith(f"placed by {algorithm} on ")


def test_device_only_is_another_device_where_the_source_computes_nothing_never_an_edge() -> None:
    costs = fleet(
        chain(10, 10),
        {"laptop": (2, None), "cam-1": (0, [2.0]), "cam-2": (0, [1.0]), "edge": (1, [0.1])},
        {("laptop", name): (0.01, 1e4) for name in ("cam-1", "cam-2", "edge")},
        source="laptop",
    )
    assert set(plan(costs, "device-only").placement.values()) == {"cam-2"}
    assert set(plan(costs).placement.values()) == {"edge"}
    with pytest.raises(PlanningError, match="no cloud node can compute"):
        plan(costs, "cloud-only")
    alone = fleet(
        chain(10, 10),
        {"laptop": (0, None), "edge": (1, [0.1])},
        {("laptop", "edge"): (0.01, 1e4)},
        source="laptop",
    )
    with pytest.raises(PlanningError, match="no device node can compute"):
        plan(alone, "device-only")


def test_the_best_node_of_a_tier_is_chosen_by_speed_and_link_together() -> None:
    seconds = {"cam": (0, [9.0]), "near": (1, [0.3]), "fast": (1, [0.1]), "far": (1, [0.1])}
    links = {("cam", "near"): (0.0, 1e4), ("cam", "fast"): (0.0, 8e3), ("cam", "far"): (0.0, 1e2)}
    costs = fleet(chain(1000, 1), dict(seconds.items()), links)
    assert set(plan(costs).placement.values()) == {"fast"}
    assert set(plan(costs, allowed=("cam", "near", "far")).placement.values()) == {"near"}


def test_a_node_beaten_in_everything_is_left_out_before_any_cut() -> None:
    costs = fleet(
        chain(10, 10),
        {"cam": (0, [9.0]), **{f"edge-{at}": (1, [1.0 + at]) for at in range(50)}},
        {("cam", f"edge-{at}"): (0.0, 100.0) for at in range(50)},
    )
    problem = Problem(costs, {}, frozenset(costs.cluster.nodes))
    assert [node.name for node in problem.useful()[1]] == ["edge-0"]


def test_pins_and_forbidden_nodes_are_kept() -> None:
    found = plan(home(), pinned={"l0": "cam"})
    assert found.placement["l0"] == "cam"
    assert found.optimal
    assert "edge" not in plan(home(), allowed=("cam", "cloud")).placement.values()


def test_a_layer_may_be_pinned_to_a_node_that_is_worse_in_everything() -> None:
    costs = fleet(
        chain(10, 10, 10),
        {"cam": (0, [9.0, 9.0]), "fast": (1, [0.1, 0.1]), "slow": (1, [1.0, 1.0])},
        {("cam", "fast"): (0.0, 100.0), ("cam", "slow"): (0.0, 90.0)},
    )
    assert set(plan(costs, pinned={"l0": "slow"}).placement.values()) == {"slow"}


def test_a_placement_by_hand_is_taken_as_it_is_and_compared() -> None:
    by_hand = {"l0": "edge", "l1": "cam", "l2": "cam", "l3": "cam"}
    found = plan(home(), pinned=by_hand)
    assert found.placement == by_hand
    assert found.algorithm == "by hand"
    assert found.reason.startswith("placed by hand on edge, cam: 3")
    assert found.lower_bound_s == pytest.approx(plan(home()).predicted_s)


def fork(edge_s: float) -> CostModel:
    """a → small → join ← a: small is at home on the edge node, join in the cloud."""
    ops = [
        Op(name, "concat", reads, {}, {"axis": 0}, tensor(name, size))
        for name, reads, size in (
            ("a", ("x",), 100),
            ("small", ("a",), 1),
            ("join", ("a", "small"), 1),
        )
    ]
    graph = Graph("fork", 1, (tensor("x", 1000),), ("join",), tuple(ops), {})
    return fleet(
        graph,
        {"cam": (0, [1, 99, 99]), "edge": (1, [99, edge_s, 99]), "cloud": (2, [99, 3, 1])},
        {pair: (0.01, 100.0) for pair in (("cam", "edge"), ("edge", "cloud"), ("cam", "cloud"))},
    )


def test_a_tensor_may_pass_over_a_node_that_has_layers() -> None:
    found = plan(fork(1.0))
    assert found.placement == {"a": "cam", "small": "edge", "join": "cloud"}
    assert found.optimal


def test_where_nothing_proves_it_the_gap_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeflow.planning.mincut.PROGRAMMES_MAX", 0)
    found = plan(fork(1.0))
    assert not found.optimal
    assert 0 < found.lower_bound_s < found.predicted_s
    assert 0 < found.gap < 0.5
    assert "(bound: at most" in found.reason


def two(
    links: dict[tuple[str, str], tuple[float, float]], **seconds: tuple[int, list[float] | None]
) -> CostModel:
    return fleet(chain(10, 10, 10), dict(seconds), links)


@pytest.mark.parametrize(
    ("costs", "options", "says"),
    [
        (two({}, cam=(0, None)), {}, r"no node can compute chain for cam: cam computes nothing"),
        (two({}, cam=(0, None), e=(1, [1, 1])), {}, "e has no link back to cam"),
        (two({}, e=(1, [1, 1])), {}, "the source cam is not known"),
        (two({}, cam=(0, [np.inf, 1])), {}, "no node can run layer l0"),
        (two({}, cam=(0, [1, 1])), {"pinned": {"zz": "cam"}}, "pinned layer zz is not in chain"),
        (two({}, cam=(0, [1, 1])), {"pinned": {"l0": "e"}}, "pinned to e, which is not known"),
        (two({}, cam=(0, [1, 1])), {"allowed": ()}, "cam is not allowed here"),
        (two({}, cam=(0, [np.inf, 1])), {"pinned": {"l0": "cam"}}, "which cannot run it"),
        (
            home(),
            {"pinned": {"l1": "cam", "l0": "edge"}},
            "l1 is pinned to cam, below edge where l0",
        ),
        (home(), {"algorithm": "magic"}, "no algorithm 'magic': choose of mincut"),
        (home(), {"algorithm": "edge-only", "pinned": {"l1": "cam"}}, "edge-only cannot be"),
    ],
)
def test_what_cannot_be_planned_is_named(
    costs: CostModel, options: dict[str, object], says: str
) -> None:
    with pytest.raises(PlanningError, match=says):
        plan(costs, **options)  # type: ignore[arg-type]


def test_a_missing_link_of_a_placement_by_hand_is_named() -> None:
    costs = two({("cam", "e"): (0, 1.0)}, cam=(0, [1, 1]), e=(1, [1, 1]), f=(1, [1, 1]))
    with pytest.raises(PlanningError, match="f, which has no link back to cam"):
        plan(costs, pinned={"l0": "e", "l1": "f"})


def test_memory_that_one_node_lacks_splits_the_network_over_two() -> None:
    costs = home()
    weights = np.array([60, 60, 60, 60], dtype=np.int64)
    object.__setattr__(costs.workload, "weights_bytes", weights)
    nodes = dict(costs.cluster.nodes)
    nodes["edge"] = NodeCost("edge", TIERS[1], RATES, memory_bytes=130)
    tight = CostModel(costs.graph, Cluster(nodes, costs.cluster.links, "cam"), costs.known_s)
    found = plan(tight)
    assert list(found.placement.values()).count("edge") <= 2


@pytest.mark.parametrize("shape", ["chain", "blocks", "dag"])
def test_the_same_question_has_the_same_answer(shape: str) -> None:
    graph = random_graph(shape, 60, random.Random(3))
    cluster = home_cluster(60, 3, random.Random(4))
    first, second = propose(graph, cluster), propose(graph, cluster)
    assert first == second


@pytest.mark.parametrize("shape", ["chain", "blocks"])
def test_networks_with_waists_are_proven_by_cuts_alone(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeflow.planning.mincut.PROGRAMMES_MAX", 0)
    used = set()
    for seed in range(25):
        rng = random.Random(seed)
        found = propose(random_graph(shape, 40, rng), home_cluster(40, 2, rng), tiles=False)
        used.add(len(set(found.placement.values())))
        assert found.optimal
    assert used >= {1, 2}
