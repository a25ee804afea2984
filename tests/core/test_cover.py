"""What is prepared for the loss of a node: who stands in for whom, and what is said if nobody."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.layout.placement import nodes_named, nodes_of, parse_placement
from edgeflow.leader.cover import Cover, cover
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Spec, Tier
from edgeflow.sim.toy import MODEL, TOY

SPEC = Spec("job", 1, MODEL, "toy", "cam-1", "cam-1")
WEIGHTS_BYTES = sum(weight.nbytes for weight in TOY.weights.values())
FLEET = {
    "cam-1": (DEVICE, 1e8),
    "edge-1": (EDGE, 1e10),
    "edge-2": (EDGE, 9e9),
    "edge-3": (EDGE, 8e9),
    "cloud-1": (CLOUD, 1e11),
}


def cluster(*names: str, mbps: float = 800.0) -> Cluster:
    """Some of the fleet, all linked alike."""

    def cost(name: str, tier: Tier, speed: float) -> NodeCost:
        return NodeCost(name, tier, Rates(speed, speed, speed, 1e-6))

    names = names or tuple(FLEET)
    link = LinkCost(0.001, mbps * 1e6 / 8)
    links = {(a, b): link for a in names for b in names if a != b}
    return Cluster({name: cost(name, *FLEET[name]) for name in names}, links, "cam-1")


def covered(
    line: str, fleet: Cluster, spec: Spec = SPEC, free_bytes: dict[str, int] | None = None
) -> Cover:
    return cover(spec, TOY, fleet, parse_placement(TOY, line), (), free_bytes or {})


def test_every_node_but_the_source_has_a_variant_without_it() -> None:
    found = covered("stem @cam-1 | left..join @edge-1 | squeeze..head @cloud-1", cluster())
    assert found.covers == {"edge-1", "cloud-1"}
    assert not found.gaps
    for lost in found.covers:
        assert any(lost not in nodes_of(layout) for layout in found.layouts)


def test_a_plan_of_the_source_alone_needs_none() -> None:
    assert covered("stem..head @cam-1", cluster()) == Cover((), frozenset(), {})


def test_a_few_variants_cover_a_whole_shelf_of_tiles() -> None:
    line = "stem..join @edge-1[0:40] edge-2[40:76] edge-3[76:112] | squeeze..head @edge-1"
    found = covered(line, cluster("cam-1", "edge-1", "edge-2", "edge-3"))
    assert found.covers == {"edge-1", "edge-2", "edge-3"}
    assert len(found.layouts) == 2


def test_a_shunned_node_stands_in_for_nobody() -> None:
    layout = parse_placement(TOY, "stem..head @edge-1")
    fleet = cluster("cam-1", "edge-1", "edge-2")
    (plain,) = cover(SPEC, TOY, fleet, layout, (), {}).layouts
    assert nodes_of(plain) == {"edge-2"}
    (shy,) = cover(SPEC, TOY, fleet, layout, ("edge-2",), {}).layouts
    assert nodes_of(shy) == {"cam-1"}


def test_a_wish_that_leaves_nobody_is_answered_by_the_default_policy() -> None:
    only = replace(SPEC, policy="edge-only")
    (layout,) = covered("stem..head @edge-1", cluster("cam-1", "edge-1"), only).layouts
    assert nodes_of(layout) == {"cam-1"}


def test_privacy_is_kept_and_a_limit_of_latency_is_not() -> None:
    strict = replace(SPEC, private="edge", latency_s_max=0.001)
    (layout,) = covered("stem..head @edge-1", cluster("cam-1", "edge-1", "cloud-1"), strict).layouts
    assert layout["stem"] == "cam-1"


def test_what_was_placed_by_hand_has_no_stand_in_and_says_so() -> None:
    fixed = replace(SPEC, placement="stem..head @edge-1")
    found = covered("stem..head @edge-1", cluster(), fixed)
    assert found == Cover((), frozenset(), {"edge-1": "the plan was fixed by hand"})


def test_a_node_without_memory_is_passed_over() -> None:
    free = {"edge-2": WEIGHTS_BYTES, "edge-3": 4 * WEIGHTS_BYTES}
    fleet = cluster("cam-1", "edge-1", "edge-2", "edge-3")
    (layout,) = covered("stem..head @edge-1", fleet, free_bytes=free).layouts
    assert nodes_of(layout) == {"edge-3"}


def test_what_memory_cannot_cover_is_said() -> None:
    mute = Cluster(
        {**cluster("cam-1", "edge-1", "edge-2").nodes, "cam-1": NodeCost("cam-1", DEVICE, None)},
        cluster("cam-1", "edge-1", "edge-2").links,
        "cam-1",
    )
    found = covered("stem..head @edge-1", mute, free_bytes={"edge-2": WEIGHTS_BYTES // 2})
    assert found.layouts == ()
    assert "memory" in found.gaps["edge-1"]
    assert covered("stem..head @edge-1", mute).covers == {"edge-1"}


def test_several_variants_share_the_memory_of_a_node() -> None:
    line = "stem..left @edge-1 | right..head @edge-2"
    fleet = cluster("cam-1", "edge-1", "edge-2", "edge-3")
    roomy = covered(line, fleet, free_bytes={"edge-1": 9 * WEIGHTS_BYTES, "edge-2": 0})
    assert roomy.covers == {"edge-1", "edge-2"}
    for layout in roomy.layouts:
        assert nodes_of(layout) <= {"cam-1", "edge-1", "edge-2", "edge-3"}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("stem..head @edge-1", {"edge-1"}),
        (
            "stem @cam-1(onnx) | left..head @edge-1(torch)[0:3] edge-2[3:9,0:4]",
            {"cam-1", "edge-1", "edge-2"},
        ),
        ("", set()),
    ],
)
def test_a_line_names_its_nodes_without_a_graph(line: str, names: set[str]) -> None:
    assert nodes_named(line) == names
