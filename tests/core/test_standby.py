"""Which plans are prepared because they are likely next, and which are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost
from edgeflow.layout.placement import Layout, format_placement, nodes_of, parse_placement
from edgeflow.leader import standby
from edgeflow.leader.change import (
    GUESS,
    SERVED,
    SERVED_IDLE,
    SLOWER,
    STEP,
    changes,
    has_come,
    has_moved,
)
from edgeflow.leader.cover import WEIGHTS_FACTOR
from edgeflow.leader.standby import STANDBYS_MAX, Standby, standbys
from edgeflow.policy.survey import GUESSED, ask
from tests.core.asking import GRAPH, SPEC, cluster

NAMES = [layer.name for layer in GRAPH.layers]
WEIGHTS_BYTES = WEIGHTS_FACTOR * sum(weight.nbytes for weight in GRAPH.weights.values())


def on(*nodes: str) -> Layout:
    """The layers in equal shares over these nodes."""
    return {name: nodes[at * len(nodes) // len(NAMES)] for at, name in enumerate(NAMES)}


def with_twin(fleet: Cluster, **what: object) -> Cluster:
    """A second edge node beside the first, linked alike."""
    twin = replace(fleet.nodes["edge"], name="twin", **what)  # type: ignore[arg-type]
    renamed = {"edge": "twin"}
    links = {
        (renamed.get(a, a), renamed.get(b, b)): link
        for (a, b), link in fleet.links.items()
        if "edge" in (a, b)
    }
    return Cluster({**fleet.nodes, "twin": twin}, {**fleet.links, **links}, fleet.source)


def found(
    fleet: Cluster,
    *prepared: Layout,
    known: Sequence[Layout] = (),
    before: Sequence[Layout] = (),
    shunned: Sequence[str] = (),
    free_bytes: Mapping[str, int] | None = None,
    policy: str = "mincut",
) -> tuple[Standby, ...]:
    spec = changed(SPEC, policy=policy)
    return standbys(spec, GRAPH, fleet, prepared, known, before, shunned, free_bytes or {})


def lines(likely: Sequence[Standby]) -> list[str]:
    return [format_placement(GRAPH, each.layout) for each in likely]


GOOD = cluster(cam_edge_mbps=50.0, cloud_mbps=50.0)


def test_when_its_radio_gets_slow_the_camera_has_a_plan_of_its_own() -> None:
    likely = found(GOOD, on("cloud"), on("edge"))
    assert "the links of cam get 12 times as slow" in [each.what for each in likely]
    for each in likely:
        scene = next(it.cluster for it in changes(GOOD, {"cloud"}) if it.what == each.what)
        best = ask(SPEC, GRAPH, scene, ())
        assert format_placement(GRAPH, each.layout) == format_placement(GRAPH, best.placement)


def test_who_hands_frames_in_on_the_same_machine_hides_no_radio() -> None:
    """Nor is it news where that link is three times as quick as a moment ago."""
    hands = replace(GOOD.nodes["cam"], name="hands", rates=None)

    def beside(bytes_per_s: float) -> Cluster:
        near = {at: LinkCost(1e-4, bytes_per_s) for at in (("cam", "hands"), ("hands", "cam"))}
        return Cluster({**GOOD.nodes, "hands": hands}, {**GOOD.links, **near}, GOOD.source)

    fleet = beside(2e9)
    assert lines(found(fleet, on("cloud"), on("edge"))) == lines(
        found(GOOD, on("cloud"), on("edge"))
    )
    assert not has_moved(fleet, beside(6e9))


def test_what_is_prepared_serves_a_scene_and_nothing_more_is_prepared_for_it() -> None:
    likely = found(GOOD, on("cloud"), on("edge"))
    again = found(GOOD, on("cloud"), on("edge"), *(each.layout for each in likely))
    assert likely
    assert again == ()


def test_a_slow_node_has_a_plan_without_it() -> None:
    (slow, *_) = [each for each in changes(GOOD, {"edge"}) if each.what.startswith("edge gets")]
    assert slow.cluster.nodes["edge"].ratio == SLOWER
    assert slow.what == "edge gets 5 times as slow"
    assert any("cloud" in nodes_of(each.layout) for each in found(GOOD, on("edge")))


def test_what_makes_an_unused_node_worse_is_no_change() -> None:
    said = [each.what for each in changes(GOOD, {"edge"})]
    assert not any(what.startswith("cloud gets") for what in said)
    assert "the links of cloud get 12 times as slow" not in said
    assert "the links of cloud get 12 times as fast" in said


def test_a_busy_node_may_get_idle() -> None:
    busy = replace(GOOD.nodes["cloud"], ratio=6.0, layers_s=(0.001,) * len(NAMES))
    fleet = replace(GOOD, nodes={**GOOD.nodes, "cloud": busy})
    (idle,) = [each for each in changes(fleet, {"edge"}) if each.what == "cloud gets idle"]
    assert idle.cluster.nodes["cloud"].ratio == 1.0
    assert "cloud gets idle" in [each.what for each in found(fleet, on("edge"), on("cam"))]


def test_a_busy_node_has_its_plan_ready_though_another_would_serve_nearly_as_well() -> None:
    """That its load went is seen by frames that compute there alone."""
    timed = replace(GOOD.nodes["cloud"], layers_s=(0.002,) * len(NAMES))
    for percent in range(100, 1, -1):
        edge = replace(GOOD.nodes["edge"], ratio=percent / 100)
        idle = replace(GOOD, nodes={**GOOD.nodes, "cloud": timed, "edge": edge})
        best = ask(SPEC, GRAPH, idle, ())
        times = CostModel(GRAPH, idle).evaluate(on("edge")).total_s / best.predicted_s
        if times < 1.07:
            break
    assert SERVED_IDLE < times < SERVED
    assert nodes_of(best.placement) == {"cloud"}
    busy = replace(idle, nodes={**idle.nodes, "cloud": replace(timed, ratio=6.0)})
    assert "cloud gets idle" in [each.what for each in found(busy, on("edge"), on("cam"))]
    ready = found(busy, on("edge"), best.placement)
    assert "cloud gets idle" not in [each.what for each in ready]


def test_a_slow_radio_slows_links_down_to_what_it_can_and_no_further() -> None:
    fleet = cluster(cam_edge_mbps=600.0, cloud_mbps=20.0)
    (slow,) = [
        each
        for each in changes(fleet, set())
        if each.what == "the links of cam get 12 times as slow"
    ]
    mbps = {ends: link.bytes_per_s / 125_000 for ends, link in slow.cluster.links.items()}
    assert mbps["cam", "edge"] == pytest.approx(600 / STEP)
    assert mbps["cam", "cloud"] == 20.0, "50 Mbit/s are left, and the cloud's end is the limit"
    assert mbps["edge", "cloud"] == 20.0


def test_a_fast_radio_makes_the_other_end_the_limit() -> None:
    fleet = cluster(cam_edge_mbps=4.0, cloud_mbps=20.0)
    fleet = replace(fleet, links={**fleet.links, ("cam", "cloud"): LinkCost(0.002, 4 * 125_000)})
    (fast,) = [
        each
        for each in changes(fleet, set())
        if each.what == "the links of cam get 12 times as fast"
    ]
    assert fast.cluster.links["cam", "cloud"].bytes_per_s == 20 * 125_000


def test_at_most_a_few_are_prepared_the_most_worth_first() -> None:
    fleet = with_twin(cluster(cam_edge_mbps=20.0, cloud_mbps=8.0), ratio=0.9)
    likely = found(fleet, on("cam", "edge", "cloud"))
    assert 1 < len(likely) <= STANDBYS_MAX
    assert len(set(lines(likely))) == len(likely)


def test_what_ran_before_comes_first_while_its_nodes_are_here() -> None:
    before = [on("edge", "cloud"), on("cam", "edge")]
    first, second, *_ = found(GOOD, on("cloud"), before=[on("cloud"), *before])
    assert [first.layout, second.layout] == before
    assert first.what == "things get as they were"
    assert on("edge", "cloud") not in [
        each.layout for each in found(GOOD, on("cloud"), before=before, shunned=["edge"])
    ]


def test_what_was_prepared_is_kept_where_it_serves_as_well() -> None:
    fleet = with_twin(GOOD, ratio=1.05)
    slow = replace(
        fleet, nodes={**fleet.nodes, "cloud": replace(fleet.nodes["cloud"], ratio=SLOWER)}
    )
    best = ask(SPEC, GRAPH, slow, ())
    assert nodes_of(best.placement) == {"edge"}
    assert format_placement(GRAPH, on("twin")) not in lines(found(fleet, on("cloud")))
    kept = found(fleet, on("cloud"), known=[on("twin")])
    assert format_placement(GRAPH, on("twin")) in lines(kept)
    assert format_placement(GRAPH, on("edge")) not in lines(kept)
    assert SERVED > 1.05


def test_a_node_that_is_only_guessed_is_prepared_where_it_may_be_better() -> None:
    fleet = cluster(cam_edge_mbps=300.0, cloud_mbps=50.0)
    sure = with_twin(fleet)
    vague = with_twin(fleet, deviation=GUESSED)
    hopeless = with_twin(fleet, ratio=2 * GUESS, deviation=GUESSED)
    what = f"twin is {GUESS:g} times as good as guessed"
    (twin,) = [each for each in found(vague, on("cloud"), on("edge")) if each.what == what]
    assert "twin" in nodes_of(twin.layout)
    for other in (sure, hopeless):
        likely = found(other, on("cloud"), on("edge"))
        assert not any("twin" in nodes_of(each.layout) for each in likely)


def test_a_link_that_was_never_measured_is_a_guess_too() -> None:
    fleet = with_twin(GOOD)
    links = {
        ends: replace(link, deviation=GUESSED) if "twin" in ends else link
        for ends, link in fleet.links.items()
    }
    (guess,) = [
        each
        for each in changes(replace(fleet, links=links), {"edge"})
        if each.what.startswith("twin is")
    ]
    assert guess.cluster.links["cam", "twin"].bytes_per_s == 100 * 125_000
    assert guess.cluster.links["cam", "edge"].bytes_per_s == 50 * 125_000


def test_memory_that_is_short_keeps_standbys_away() -> None:
    assert found(GOOD, on("cloud"))
    tight = dict.fromkeys(("edge", "cloud"), 1)
    for each in found(GOOD, on("cloud"), before=[on("edge")], free_bytes=tight):
        assert nodes_of(each.layout) <= {"cam"}, "the source holds the whole model anyway"


def test_standbys_share_the_memory_of_a_node() -> None:
    once = {"edge": WEIGHTS_BYTES}
    before = [on("edge"), on("cam", "edge")]
    both = found(GOOD, on("cloud"), before=before, free_bytes={"edge": 2 * WEIGHTS_BYTES})
    assert [each.layout for each in both[:2]] == before
    one = [each.layout for each in found(GOOD, on("cloud"), before=before, free_bytes=once)]
    assert before[0] in one
    assert before[1] not in one


@pytest.mark.parametrize("policy", ["static", "partnner", "profile-first"])
def test_policies_that_choose_otherwise_get_none(policy: str) -> None:
    assert found(GOOD, on("cloud"), before=[on("edge")], policy=policy) == ()


def test_what_was_placed_by_hand_has_no_next_plan() -> None:
    by_hand = changed(SPEC, placement=format_placement(GRAPH, on("cloud")))
    assert standbys(by_hand, GRAPH, GOOD, [on("cloud")], [], [on("edge")], (), {}) == ()


def test_what_is_private_stays_private() -> None:
    spec = changed(SPEC, private="edge")
    likely = standbys(spec, GRAPH, GOOD, [on("edge")], [], [], (), {})
    assert likely
    for each in likely:
        first = parse_placement(GRAPH, format_placement(GRAPH, each.layout))[NAMES[0]]
        assert first != "cloud"


def test_conditions_have_moved_where_a_rate_or_a_speed_is_another() -> None:
    assert not has_moved(GOOD, cluster(cam_edge_mbps=30.0, cloud_mbps=80.0, edge_ratio=1.9))
    assert has_moved(GOOD, cluster(cam_edge_mbps=50.0, cloud_mbps=20.0))
    assert has_moved(GOOD, cluster(cam_edge_mbps=50.0, cloud_mbps=50.0, edge_ratio=2.1))
    assert not has_moved(GOOD, cluster(cam_edge_mbps=50.0, cloud_mbps=50.0, edge=False))


def test_a_link_has_come_where_none_was() -> None:
    alone = cluster(cam_edge_mbps=50.0, cloud_mbps=50.0, edge=False)
    assert has_come(alone, GOOD)
    assert not has_come(GOOD, alone)
    assert not has_come(GOOD, GOOD)
    assert not has_come(None, GOOD)


def test_what_is_nearly_as_good_serves() -> None:
    fleet = with_twin(GOOD, ratio=1.05)
    likely = found(fleet, on("cloud"), on("twin"))
    assert format_placement(GRAPH, on("edge")) not in lines(likely)


def test_of_a_deep_network_only_the_likeliest_changes_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = found(GOOD, on("cloud"))
    monkeypatch.setattr(standby, "SCENE_LAYERS_MAX", len(GRAPH.layers))
    (first,) = found(GOOD, on("cloud"))
    assert len(every) > 1
    likeliest = max(changes(GOOD, {"cloud"}), key=lambda each: each.weight)
    assert first.what == likeliest.what
    monkeypatch.setattr(standby, "SCENE_LAYERS_MAX", len(GRAPH.layers) - 1)
    assert found(GOOD, on("cloud")) == ()
