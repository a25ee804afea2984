"""A scene says what the planner is asked; one number changes what it should and nothing else."""

from __future__ import annotations

import math

import pytest

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.errors import UsageError
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates
from edgeflow.whatif.scene import Scene, Wire

RATES = Rates(1e9, 1e9, 1e9, 1e-5)
NODES = {
    "cam": NodeCost("cam", DEVICE, RATES),
    "edge-1": NodeCost("edge-1", EDGE, RATES),
    "cloud.a": NodeCost("cloud.a", CLOUD, RATES),
}
SCENE = Scene(
    name="paper",
    about="",
    basis="",
    nodes=NODES,
    wires=(
        Wire("radio", (("cam",), ("home",)), 40.0, 20.0, 2.0),
        Wire("uplink", (("home",), ("internet",)), 6.0, 15.0, 25.0),
        Wire("cable", (("cam",), ("edge-1",)), 100.0, 100.0, 0.0),
    ),
    ways={
        ("cam", "cloud.a"): ((0, True), (1, True)),
        ("cloud.a", "cam"): ((1, False), (0, False)),
        ("cam", "edge-1"): ((2, True),),
    },
    source="cam",
)


def test_a_way_is_as_wide_as_its_thinnest_wire_and_as_long_as_all_of_them() -> None:
    links = SCENE.cluster().links
    assert links["cam", "cloud.a"] == LinkCost(0.027, 6e6 / 8)
    assert links["cloud.a", "cam"] == LinkCost(0.027, 15e6 / 8)
    assert ("edge-1", "cam") not in links


@pytest.mark.parametrize(
    ("name", "up", "down", "delay_ms"),
    [
        ("uplink.mbps", 4.0, 4.0, 25.0),
        ("uplink.up_mbps", 4.0, 15.0, 25.0),
        ("uplink.down_mbps", 6.0, 4.0, 25.0),
        ("uplink.delay_ms", 6.0, 15.0, 4.0),
    ],
)
def test_a_wire_is_set_by_its_name(name: str, up: float, down: float, delay_ms: float) -> None:
    wire = SCENE.changed(name, 4.0).wires[1]
    assert (wire.up_mbps, wire.down_mbps, wire.delay_ms) == (up, down, delay_ms)
    assert SCENE.wires[1].up_mbps == 6.0


def test_a_wire_is_set_by_its_ends_and_the_other_way_round() -> None:
    assert SCENE.changed("cam:edge-1.up_mbps", 7).wires[2].up_mbps == 7
    turned = SCENE.changed("edge:device.up_mbps", 7).wires[2]
    assert (turned.up_mbps, turned.down_mbps) == (100.0, 7)


def test_a_node_is_set_by_its_name_or_its_tier() -> None:
    assert SCENE.changed("edge-1.ratio", 2).nodes["edge-1"].ratio == 2
    assert SCENE.changed("cloud.memory_gb", 2).nodes["cloud.a"].memory_bytes == 2_000_000_000
    assert SCENE.changed("cloud.a.ratio", 3).nodes["cloud.a"].ratio == 3


def test_what_a_number_is_now_is_known_where_it_is_one() -> None:
    assert SCENE.value_of("uplink.mbps") == 6.0
    assert SCENE.value_of("edge.ratio") == 1.0
    assert SCENE.value_of("nothing.mbps") is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("uplink.mbps", 0.0, "uplink.mbps=0: must be a number above 0"),
        ("uplink.mbps", -1.0, "above 0"),
        ("uplink.mbps", math.nan, "above 0"),
        ("uplink.mbps", math.inf, "above 0"),
        ("uplink.delay_ms", -1.0, "0 or more"),
        ("uplink.colour", 1.0, r"set WIRE.mbps\|up_mbps"),
        ("mbps", 1.0, "as in uplink.mbps=4"),
        ("downlink.mbps", 1.0, "no link downlink; there is radio, uplink, cable"),
        ("fog.ratio", 1.0, "no node or tier fog; there is cam, edge-1"),
    ],
)
def test_what_cannot_be_set_is_named(name: str, value: float, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SCENE.changed(name, value)


def test_a_delay_of_nothing_may_be_set() -> None:
    assert SCENE.changed("uplink.delay_ms", 0.0).wires[1].delay_ms == 0.0


def test_a_source_must_be_there() -> None:
    assert SCENE.entered_at("edge-1").cluster().source == "edge-1"
    with pytest.raises(UsageError, match="no source attic; there is cam, edge-1"):
        SCENE.entered_at("attic")


def test_a_live_cluster_becomes_a_scene_and_comes_back_as_it_was() -> None:
    links = {
        ("edge-1", "cam"): LinkCost(0.002, 5e6),
        ("cam", "edge-1"): LinkCost(0.004, 1e6),
        ("cam", "cloud.a"): LinkCost(0.02, 2e5),
    }
    cluster = Cluster(NODES, links, "cam")
    scene = Scene.of(cluster, "home", "", "live")
    assert scene.cluster().links.keys() == links.keys()
    for pair, link in scene.cluster().links.items():
        assert link.bytes_per_s == pytest.approx(links[pair].bytes_per_s)
        assert link.delay_s == pytest.approx(links[pair].delay_s)
    both = scene.changed("cam:edge-1.mbps", 80).cluster().links
    assert {both[pair].bytes_per_s for pair in links if "edge-1" in pair} == {1e7}
    one = scene.changed("cam:edge-1.down_mbps", 80).cluster().links
    assert one["edge-1", "cam"].bytes_per_s == pytest.approx(1e7)
    assert one["cam", "edge-1"].bytes_per_s == pytest.approx(1e6)
    thin = scene.changed("device:cloud.mbps", 8).cluster().links
    assert thin["cam", "cloud.a"].bytes_per_s == pytest.approx(1e6)
    assert thin["cam", "edge-1"].bytes_per_s == pytest.approx(1e6)
