"""A prepared plan is taken instead of one that is hardly better."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import Cluster
from edgeflow.layout.placement import format_placement
from edgeflow.planning import Proposal
from edgeflow.policy.live import Live
from edgeflow.policy.prepared import or_prepared
from edgeflow.policy.survey import ask
from tests.core.asking import GRAPH, Asked, cluster

NAMES = [layer.name for layer in GRAPH.layers]


def on(node: str) -> str:
    """All layers there."""
    return f"{NAMES[0]}..{NAMES[-1]} @{node}"


def slow(ratio: float) -> Cluster:
    """The way to the cloud got slow. There is a twin of the edge node, so many times as slow."""
    found = cluster(cloud_mbps=2.0)
    twin = replace(found.nodes["edge"], name="twin", ratio=ratio)
    renamed = {"edge": "twin"}
    links = {
        (renamed.get(a, a), renamed.get(b, b)): link
        for (a, b), link in found.links.items()
        if "edge" in (a, b)
    }
    return Cluster({**found.nodes, "twin": twin}, {**found.links, **links}, "cam")


def running(ratio: float) -> Asked:
    """All runs in the cloud, and is prepared on the twin, when the link gets slow."""
    asked = Asked(Live(), cluster(cam_edge_mbps=300.0, cloud_mbps=100.0))
    assert asked.first() == on("cloud")
    assert asked.plan is not None
    asked.plan = changed(asked.plan, variants=(asked.line, on("twin")))
    asked.cluster = slow(ratio)
    return asked


def chosen(asked: Asked) -> tuple[str, Proposal]:
    best = ask(asked.spec, GRAPH, asked.cluster, asked.shunned)
    assert format_placement(GRAPH, best.placement) == on("edge")
    found = or_prepared(asked.question(), best)
    return format_placement(GRAPH, found.placement), best


def test_a_prepared_plan_is_taken_where_it_is_hardly_worse_than_the_best() -> None:
    asked = running(1.02)
    line, best = chosen(asked)
    assert line == on("twin")
    found = or_prepared(asked.question(), best)
    assert best.predicted_s < found.predicted_s == found.terms.total_s


def test_what_is_clearly_worse_is_not_taken_however_prepared_it_is() -> None:
    assert chosen(running(1.2))[0] == on("edge")


def test_what_is_not_prepared_is_not_taken() -> None:
    asked = running(1.02)
    assert asked.plan is not None
    asked.plan = changed(asked.plan, variants=(asked.line,))
    assert chosen(asked)[0] == on("edge")


def test_a_prepared_plan_on_a_shunned_node_is_not_taken() -> None:
    asked = running(1.02)
    asked.shunned = ("twin",)
    assert chosen(asked)[0] == on("edge")


def test_for_little_traffic_the_best_plan_is_built() -> None:
    asked = running(1.02)
    asked.spec = changed(asked.spec, objective="traffic")
    best = ask(asked.spec, GRAPH, asked.cluster, ())
    assert or_prepared(asked.question(), best) is best


def test_a_slow_link_makes_the_prepared_plan_run() -> None:
    asked = running(1.02)
    choice = asked.review(5.0)
    assert choice is not None
    assert asked.line == on("twin")
    assert "prepared already" in choice.proposal.reason
