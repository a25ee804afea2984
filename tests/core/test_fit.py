"""Plans beside other deployments: what their load costs, what fits, what is refused and why."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.costmodel.sharing import ALONE, CROWDED_MAX, UTILISATION_MAX, Place, Sharing, Use
from edgeflow.layout.placement import format_placement, nodes_of
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Spec, Tier
from edgeflow.planning import PlanningError, Proposal
from edgeflow.planning.brute import all_placements
from edgeflow.planning.candidates import Problem
from edgeflow.planning.fit import UnfitError, busy_s, is_overrun, overfull, scaled
from edgeflow.planning.standing import standing
from edgeflow.policy.survey import ask
from edgeflow.sim.toy import MODEL, TOY

SPEEDS: dict[str, tuple[Tier, float]] = {
    "cam-1": (DEVICE, 8e9),
    "edge-1": (EDGE, 1e10),
    "edge-2": (EDGE, 1e10),
}
SPEC = Spec("job", 1, MODEL, "toy", "cam-1", "cam-1", tiles=False)
TOY_S = 0.052
"""Of the whole toy on one of the edges."""


def cluster(
    sharing: Sharing = ALONE,
    bytes_per_s: float = 1e8,
    speeds: Mapping[str, tuple[Tier, float]] = SPEEDS,
) -> Cluster:
    """As `survey` makes it: priced with what the others take."""
    nodes = {
        name: NodeCost(name, tier, Rates(speed, speed, speed, 1e-6))
        for name, (tier, speed) in speeds.items()
    }
    links = {(a, b): LinkCost(0.001, bytes_per_s) for a, b in product(nodes, nodes) if a != b}
    factors = {place: sharing.slowdown(place) for place in [*((n, n) for n in nodes), *links]}
    priced = scaled(Cluster(nodes, links, "cam-1"), factors)
    return Cluster(priced.nodes, priced.links, "cam-1", sharing)


def on(node: str) -> Place:
    return node, node


def use(name: str, *, is_said: bool = False, **shares: float) -> Use:
    """Node names with _ for -."""
    busy = {on(node.replace("_", "-")): share for node, share in shares.items()}
    return Use(name, busy, busy, is_said)


def said(fps: float, *others: Use) -> Sharing:
    return Sharing(fps, True, others)


def asked(sharing: Sharing, **changes: object) -> Proposal:
    spec = Spec(**{**{name: getattr(SPEC, name) for name in SPEC.__struct_fields__}, **changes})
    return ask(spec, TOY, cluster(sharing), ())


def line(found: Proposal) -> str:
    return format_placement(TOY, found.placement)


def shares(sharing: Sharing, found: Proposal) -> Mapping[Place, float]:
    """Of each place's time, with nobody else there."""
    there = cluster(sharing)
    return {place: sharing.rate_fps * s for place, s in busy_s(there, found.terms).items()}


def test_others_make_a_node_as_much_slower_as_processor_sharing_says() -> None:
    alone, beside = cluster(), cluster(Sharing(others=(use("night", edge_1=0.5),)))
    for name, factor in (("edge-1", 2.0), ("edge-2", 1.0), ("cam-1", 1.0)):
        was, now = (CostModel(TOY, each).layers_s(name).sum() for each in (alone, beside))
        assert now == pytest.approx(was * factor)


def test_a_full_node_costs_no_more_than_a_window_of_frames() -> None:
    crowd = Sharing(others=(use("a", edge_1=0.6), use("b", edge_1=0.6)))
    assert crowd.slowdown(on("edge-1")) == pytest.approx(1 / (1 - CROWDED_MAX)) == pytest.approx(5)


def test_of_two_equal_nodes_the_one_that_others_leave_is_taken() -> None:
    assert line(asked(Sharing(others=(use("night", edge_1=0.3),)))) == "stem..head @edge-2"
    assert line(asked(Sharing(others=(use("night", edge_2=0.3),)))) == "stem..head @edge-1"


def test_a_link_that_others_use_is_slower_as_well() -> None:
    busy = {("cam-1", "edge-1"): 0.5}
    there = cluster(Sharing(others=(Use("night", busy, busy),)))
    assert there.links["cam-1", "edge-1"].bytes_per_s == pytest.approx(0.5e8)
    assert there.links["edge-1", "cam-1"].bytes_per_s == pytest.approx(1e8)


def test_a_rate_that_fits_changes_nothing() -> None:
    free = asked(ALONE)
    assert asked(said(10.0)) == free
    assert shares(said(10.0), free)[on("edge-1")] == pytest.approx(10 * TOY_S, rel=0.05)


def test_the_quickest_plan_gives_way_to_the_best_that_fits() -> None:
    """17 frames/s take 0.88 of an edge; 22 take more than one has."""
    fits, spread = asked(said(17.0)), asked(said(22.0))
    assert nodes_of(fits.placement) == {"edge-1"}
    assert nodes_of(spread.placement) > {"edge-1"} or nodes_of(spread.placement) > {"edge-2"}
    assert all(share <= UTILISATION_MAX for share in shares(said(22.0), spread).values())
    assert spread.predicted_s > fits.predicted_s
    assert spread.lower_bound_s <= spread.predicted_s
    assert not spread.optimal
    assert "has no room: edge-1 would compute for 1.14 s of each second" in spread.reason
    assert "where 0.90 s may be filled" in spread.reason


def test_the_plan_that_fits_is_a_quick_one_and_not_the_most_even_one() -> None:
    """Of 16 frames/s a crowded cloud can take no whole ones, and an edge can; dividing them would
    load both less, and take longer."""
    speeds = {"cam-1": (DEVICE, 1e9), "edge-1": (EDGE, 1e10), "cloud-1": (CLOUD, 4e10)}
    crowd = said(16.0, use("night", cloud_1=0.72))
    there = cluster(crowd, speeds=speeds)
    assert line(ask(SPEC, TOY, cluster(speeds=speeds), ())) == "stem..head @cloud-1"
    assert line(ask(SPEC, TOY, there, ())) == "stem..head @edge-1"


@pytest.mark.parametrize("fps", [12.0, 20.0, 24.0, 30.0])
@pytest.mark.parametrize("taken", [0.0, 0.4, 0.8])
def test_what_is_refused_no_placement_can_do_and_what_is_found_fits(
    fps: float, taken: float
) -> None:
    sharing = said(fps, use("night", edge_1=taken), use("day", edge_2=taken))
    there = cluster(sharing)
    costs = CostModel(TOY, there)
    problem = Problem(costs, {}, frozenset(there.nodes))
    fitting = [
        costs.evaluate(each).total_s
        for each in all_placements(problem)
        if not overfull(there, costs.evaluate(each))
    ]
    if not fitting:
        with pytest.raises(UnfitError, match=f"keeps up with {fps:.3g} frames/s"):
            asked(sharing)
        return
    found = asked(sharing)
    assert not overfull(there, found.terms)
    assert found.predicted_s <= 1.25 * min(fitting), "the best that fits, or near it"


def test_a_refusal_names_the_place_the_need_the_rest_who_has_it_and_the_cure() -> None:
    crowd = said(12.0, use("night", edge_1=0.7, cam_1=0.5), use("day", edge_1=0.1, edge_2=0.85))
    with pytest.raises(PlanningError) as caught:
        asked(crowd)
    assert str(caught.value) == (
        "no plan of toy keeps up with 12 frames/s: cam-1 would compute for 0.78 s of each second, "
        "where 0.40 s is left beside night; at most 6.6 frames/s fit anywhere. "
        "Ask for fewer (--rate-fps), remove night or day, or add a node"
    )


def test_a_link_that_is_too_slow_for_the_rate_is_named() -> None:
    """An image of 150 kB on 1 MB/s: 6 a second, at most; the camera computes nothing."""
    with pytest.raises(UnfitError, match=r"the link cam-1 to edge-1 would send for 1\.51 s"):
        ask(SPEC, TOY, cluster(said(10.0), bytes_per_s=1e6), ("cam-1",))


def test_who_said_no_rate_is_never_refused_but_led_to_where_its_rate_fits() -> None:
    there = (use("night", edge_1=0.5),)
    full = use("night", edge_1=0.89, cam_1=0.89)
    crowd = Sharing(40.0, False, (full, use("day", edge_2=0.89)))
    assert line(asked(crowd)), "no plan fits, and it gets one"
    slow = Sharing(12.0, False, there)
    assert nodes_of(asked(slow).placement) == {"edge-2"}


def test_alone_who_said_no_rate_may_fill_a_node() -> None:
    assert asked(Sharing(22.0)) == asked(ALONE)


def test_a_plan_by_hand_is_checked_as_well() -> None:
    crowd = said(12.0, use("night", edge_1=0.8))
    assert asked(said(12.0), placement="stem..head @edge-1")
    with pytest.raises(UnfitError, match=r"where 0\.10 s is left beside night"):
        asked(crowd, placement="stem..head @edge-1")


def test_other_algorithms_get_the_same_choice() -> None:
    crowd = said(12.0, use("night", edge_1=0.5))
    assert nodes_of(asked(crowd, policy="edge-only").placement) == {"edge-2"}
    full = said(12.0, use("night", edge_1=0.5), use("day", edge_2=0.5))
    with pytest.raises(UnfitError, match="remove"):
        asked(full, policy="edge-only")


def test_a_running_plan_is_overrun_beyond_all_of_the_time_and_no_sooner() -> None:
    """Else it would leave and come back as estimates sway."""
    run = "stem..head @edge-1"
    for fps, is_lost in ((15.0, False), (18.5, False), (21.0, True)):
        there = cluster(said(fps))
        terms = CostModel(TOY, there).evaluate(asked(ALONE).placement)
        assert is_overrun(there, terms) is is_lost
        assert (standing(SPEC, TOY, there, run).value == float("inf")) is is_lost


def test_who_was_promised_nothing_overruns_nobody() -> None:
    greedy, promised = use("all", edge_1=0.9), use("some", edge_1=0.9, is_said=True)
    terms = CostModel(TOY, cluster()).evaluate(asked(ALONE).placement)
    assert not is_overrun(cluster(said(10.0, greedy)), terms)
    assert is_overrun(cluster(said(10.0, promised)), terms)
