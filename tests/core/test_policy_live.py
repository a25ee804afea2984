"""When a plan is left for a better one: gain, doubt, what a switch costs, and no flapping."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import Cluster, LinkCost
from edgeflow.estimation.link import LinkEstimate
from edgeflow.layout.placement import format_placement, parse_placement
from edgeflow.leader.prices import TOLD_FRAMES
from edgeflow.messages import Board, Lately
from edgeflow.planning.standing import standing
from edgeflow.policy.hpa import BAND, Hpa
from edgeflow.policy.live import LOOK_S, LOOKS, SEARCH_S, Live
from edgeflow.policy.static import Static
from edgeflow.policy.switching import BUILD_S, DISTURBED, Switches, lost_s, missing_bytes
from edgeflow.policy.worth import CHANGES_A_MINUTE, LARGE, MARGIN, TRIED_TELL
from tests.core.asking import CLAIM, GRAPH, SPEC, Asked, cluster


def price_s(asked: Asked, line: str = "") -> float:
    """Of a line, or of what runs, as things are now."""
    return standing(SPEC, GRAPH, asked.cluster, line or asked.line).seconds


def best_s(asked: Asked) -> float:
    """Of the best plan there is."""
    return Live().first(asked.question()).predicted_s


def both(mbps: float, deviation: float = 0.0) -> Cluster:
    """Radio and up-link alike."""
    return cluster(mbps, mbps, deviation=deviation)


def moved(
    asked: Asked, share: float, make: Callable[[float], Cluster] = both, step: float = 1 / 1.01
) -> float:
    """From 50 Mbit/s on, to where the best plan takes this share of what runs; at which rate."""
    mbps = 50.0
    while best_s(asked) > share * price_s(asked):
        mbps *= step
        asked.cluster = make(mbps)
    return mbps


@pytest.mark.parametrize("since_s", [1.0, 60.0])
def test_a_large_step_is_followed_at_once_also_a_second_after_the_last_change(
    since_s: float,
) -> None:
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    before = asked.line
    asked.cluster = cluster(50 / 12, 50 / 12)
    choice = asked.review(since_s)
    assert choice is not None
    assert choice.kind == "better"
    assert asked.line != before
    asked.cluster = cluster(50, 50)
    assert asked.review(since_s) is not None, "and back"
    assert asked.line == before


def test_a_small_gain_waits_and_a_smaller_one_is_none() -> None:
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    moved(asked, 1 - 2.5 * MARGIN)
    assert 0.09 < 1 - best_s(asked) / price_s(asked) < 0.12
    assert asked.review(2.0) is None
    assert asked.review(8.0) is not None


def two_edges(edge: float, other: float) -> Cluster:
    """Of so many times the seconds; tiles could be planned for them, so that a search is dear."""
    one = cluster(50, 2, edge)
    links = {
        (a.replace("edge", "edge-2"), b.replace("edge", "edge-2")): link
        for (a, b), link in one.links.items()
    }
    other_node = replace(one.nodes["edge"], name="edge-2", ratio=other)
    return replace(one, nodes={**one.nodes, "edge-2": other_node}, links={**one.links, **links})


def test_a_small_gain_does_not_wait_for_the_next_search_where_that_is_dear() -> None:
    asked = Asked(Live(), two_edges(1.0, 1.2), spec=changed(SPEC, tiles=True))
    live = asked.policy
    assert isinstance(live, Live)
    assert "@edge-2" not in asked.first()
    asked.review(LOOK_S)
    asked.now_s += LOOK_S
    asked.since_s, asked.cluster = asked.now_s, two_edges(1.2, 1.05)
    assert asked.review(0.5) is None, "found, and it has to prove itself"
    searched_s, _ = live.searched
    assert searched_s == asked.now_s
    assert asked.review(0.5) is None
    assert live.searched[0] == searched_s, "there is no search in vain"
    assert asked.review(SEARCH_S / 2) is not None
    assert "@edge-2" in asked.line
    assert live.found is None


def test_a_dear_search_is_made_at_once_where_something_moves_but_not_all_the_time() -> None:
    asked = Asked(Live(), two_edges(1.0, 1.3), spec=changed(SPEC, tiles=True))
    live = asked.policy
    assert isinstance(live, Live)
    asked.first()
    asked.review(SEARCH_S)

    def looks(after_s: float, edge: float) -> bool:
        asked.cluster = two_edges(edge, 1.3)
        asked.review(after_s)
        return live.searched[0] == asked.now_s

    assert not looks(SEARCH_S / 2, 1.0)
    assert looks(SEARCH_S / 2, 1.0)
    assert [looks(0.1, (1.25, 1.0)[at % 2]) for at in range(6)] == [True] * int(LOOKS) + [False] * 3
    assert not looks(LOOK_S / 2, 1.0)
    assert looks(LOOK_S / 2, 1.0), "it moved meanwhile"


def test_a_large_gain_does_not_wait_for_a_search_to_be_due() -> None:
    asked = Asked(Live(), two_edges(1.0, 1.2), spec=changed(SPEC, tiles=True))
    asked.first()
    asked.review(SEARCH_S)
    asked.since_s = asked.now_s - SEARCH_S
    asked.cluster = two_edges(3.0, 1.2)
    assert asked.review(0.25) is not None
    assert "@edge-2" in asked.line


def test_what_was_found_is_not_taken_once_it_is_no_better() -> None:
    asked = Asked(Live(), two_edges(1.0, 1.2), spec=changed(SPEC, tiles=True))
    asked.first()
    asked.cluster = two_edges(1.2, 1.05)
    asked.review(0.5)
    asked.cluster = two_edges(1.2, 1.25)
    assert asked.review(SEARCH_S / 2) is None


def test_what_is_not_certain_must_promise_more() -> None:
    for deviation, follows in ((0.0, True), (0.2, False)):
        asked = Asked(Live(), cluster(50, 50, deviation=deviation))
        asked.first()
        moved(asked, 0.9, partial(both, deviation=deviation), step=1 / 1.02)
        assert (asked.review(600.0) is not None) == follows


def test_two_plans_of_equal_price_change_places_once() -> None:
    """Each is better than the other by 6 % in turn."""
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    mbps = moved(asked, 0.94)
    worse, better = asked.cluster, cluster(1.16 * mbps, 1.16 * mbps)
    for turn in range(40):
        asked.cluster = (worse, better)[turn % 2]
        asked.review(15.0)
    assert len(asked.choices) == 1


def test_what_broke_down_again_and_again_has_to_promise_more() -> None:
    """The link to the cloud comes and goes: first it is followed at once, then it is left alone."""
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    back = []
    for _ in range(6):
        asked.cluster = cluster(50, 2)
        assert asked.review(5.0) is not None or "cloud" not in asked.line
        asked.cluster = cluster(50, 50)
        back.append(asked.review(20.0) is not None)
    assert back[0]
    assert not back[-1]


def test_however_badly_it_broke_down_twice_half_of_what_is_taken_is_worth_it() -> None:
    """Frames behind an overdue one went another way: it cannot have cost more."""
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    for _ in range(2):
        asked.cluster = cluster(50, 0.05)
        assert asked.review(5.0) is not None
        asked.cluster = cluster(50, 50)
        assert asked.review(60.0) is not None


def test_what_was_left_for_what_got_better_did_not_break_down() -> None:
    """Without the cloud all goes on as promised, for a while: that does not count."""
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    mbps = moved(asked, 0.68, lambda mbps: cluster(50, mbps), step=1 / 1.05)
    for _ in range(8):
        asked.cluster = cluster(50, mbps)
        assert asked.review(60.0) is not None
        asked.cluster = cluster(50, 250)
        assert asked.review(4.0) is not None


def test_what_was_better_for_long_is_taken_though_it_was_left_lately() -> None:
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    mbps = moved(asked, 0.92)
    assert asked.review(30.0) is not None
    asked.cluster = cluster(1.25 * mbps, 1.25 * mbps)
    assert 0.05 < 1 - best_s(asked) / price_s(asked) < 0.15
    for _ in range(15):
        assert asked.review(2.0) is None
    for _ in range(200):
        asked.review(2.0)
    assert len(asked.choices) == 2


def test_where_frames_say_that_leaving_was_a_mistake_the_way_back_is_open() -> None:
    ways = []
    for here_s in (0.2, 0.3):
        asked = Asked(Live(), cluster(50, 50))
        asked.first()
        for _ in range(5):
            asked.frame(0.2)
        mbps = moved(asked, 0.92)
        assert asked.review(30.0) is not None
        for _ in range(5):
            asked.frame(here_s)
        asked.cluster = cluster(1.25 * mbps, 1.25 * mbps)
        ways.append(asked.review(10.0) is not None)
    assert ways == [False, True]


@pytest.mark.parametrize(
    ("trials", "took", "is_followed"),
    [
        (TRIED_TELL, 0.8, True),
        (TRIED_TELL - 1, 0.8, False),
        (2 * TRIED_TELL, 0.9, False),
    ],
)
def test_a_plan_that_spare_frames_found_quicker_need_not_promise_more_each_time(
    trials: int, took: float, is_followed: bool
) -> None:
    """Nor wait for its price, which a link's way back kept up for half a minute."""
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    left = asked.line
    mbps = moved(asked, 0.92)
    assert asked.review(30.0) is not None
    usual_s = price_s(asked)
    for _ in range(TOLD_FRAMES + 1):
        asked.question()
        asked.frame(usual_s)
    asked.on_trial[left] = Lately(str(asked.plan), 1, trials, (took * usual_s,) * trials)
    asked.cluster = cluster(1.25 * mbps, 1.25 * mbps)
    choice = asked.review(10.0)
    assert (choice is not None) == is_followed
    said = f"spare frames took {took * usual_s * 1e3:.1f} ms"
    assert choice is None or choice.why.startswith(said)


@pytest.mark.parametrize(("trials", "is_followed"), [(TRIED_TELL, True), (TRIED_TELL - 1, False)])
def test_what_spare_frames_found_quicker_counts_however_rough_estimates_are(
    trials: int, is_followed: bool
) -> None:
    asked = Asked(Live(), cluster(1, 1, deviation=0.4))
    asked.first()
    usual_s, mbps = price_s(asked), 1.0
    while best_s(asked) > 0.82 * usual_s:
        mbps *= 1.02
        asked.cluster = cluster(mbps, mbps, deviation=0.4)
    for _ in range(TOLD_FRAMES + 1):
        asked.question()
        asked.frame(usual_s)
    line = format_placement(GRAPH, Live().first(asked.question()).placement)
    asked.on_trial[line] = Lately(str(asked.plan), 1, trials, (0.8 * usual_s,) * trials)
    assert (asked.review(10.0) is not None) == is_followed


def test_a_plan_that_frames_find_quick_is_not_left_for_its_price_until_that_moves() -> None:
    """Its link is priced four times too slow; then it is slow indeed, and left at once."""
    for is_measured in (True, False):
        asked = Asked(Live(), cluster(50, 50))
        asked.first()
        quick_s = price_s(asked)
        asked.cluster = cluster(50, 12)
        assert best_s(asked) < 0.8 * price_s(asked)
        kept = []
        for _ in range(TOLD_FRAMES if is_measured else 0):
            asked.question()
            asked.frame(quick_s)
        for _ in range(20):
            kept.append(asked.review(2.0) is None)
            asked.frame(quick_s)
        assert all(kept) == is_measured
        if is_measured:
            asked.cluster = cluster(50, 4)
            assert asked.review(0.25) is not None


Estimates = dict[object, LinkEstimate]


def noisy(chance: random.Random, mbps: tuple[float, float], links: Estimates) -> Cluster:
    """The cluster as estimated from one more message on each link, its rate off by up to 20 %."""
    flat = cluster(*mbps)
    found = {}
    for pair, link in flat.links.items():
        rate = link.bytes_per_s * (1 + 0.2 * (2 * chance.random() - 1))
        size = chance.choice((1 << 10, 256 << 10, 600_000))
        estimate = links.get(pair, LinkEstimate()).add(size, link.delay_s + size / rate)
        links[pair] = estimate
        if estimate.bytes_per_s > 0:
            share = estimate.deviation_s / estimate.seconds(estimate.typical_bytes)
            found[pair] = LinkCost(estimate.delay_s, estimate.bytes_per_s, share)
    return Cluster(flat.nodes, {**flat.links, **found}, "cam")


@pytest.mark.parametrize("mbps", [(6.4, 6.4), (25.0, 13.0), (6.4, 3.0)])
@pytest.mark.parametrize("policy", [Live, Hpa])
def test_flat_noise_causes_at_most_one_change_in_ten_minutes(
    policy: type[Live] | type[Hpa], mbps: tuple[float, float]
) -> None:
    """Where two plans are equally good."""
    chance, links = random.Random(3), Estimates()
    asked = Asked(policy(), cluster(*mbps))
    for _ in range(30):
        asked.cluster = noisy(chance, mbps, links)
    asked.first()
    for _ in range(200):
        asked.cluster = noisy(chance, mbps, links)
        asked.review(3.0)
    assert len(asked.choices) <= 1, asked.tried


def test_there_are_at_most_so_many_changes_a_minute() -> None:
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    for turn in range(60):
        mbps = (50, 4)[turn % 2]
        asked.cluster = cluster(mbps, mbps)
        asked.review(1.0)
    assert CHANGES_A_MINUTE // 2 <= len(asked.choices) <= CHANGES_A_MINUTE


def test_a_running_plan_that_breaks_what_has_to_be_kept_is_left_at_once() -> None:
    asked = Asked(Live(), cluster(50, 50))
    asked.first()
    asked.cluster = cluster(49, 10)
    limit_s = (price_s(asked) + best_s(asked)) / 2
    asked.spec = changed(SPEC, latency_s_max=limit_s)
    choice = asked.review(0.1)
    assert choice is not None
    assert "breaks what has to be kept" in choice.why


def test_a_switch_costs_what_has_to_be_fetched_and_built() -> None:
    asked = Asked(Live(), cluster(8, 8))
    asked.first()
    layout = parse_placement(GRAPH, f"{GRAPH.layers[0].name}..{GRAPH.layers[-1].name} @edge")
    question = replace(asked.question(), keepers=frozenset({"cam"}), prepared=())
    weights = sum(weight.nbytes for weight in GRAPH.weights.values())
    assert missing_bytes(question, layout) == weights
    fetch_s = weights / 1e6
    assert lost_s(question, layout) == pytest.approx(DISTURBED * (2 * fetch_s + BUILD_S))
    kept = replace(question, keepers=frozenset({"cam", "edge"}), switch_s=3.0)
    assert lost_s(kept, layout) == pytest.approx(DISTURBED * 3.0)
    before = replace(question, prepared=(f"{GRAPH.layers[0].name}..{GRAPH.layers[-1].name} @edge",))
    assert missing_bytes(before, layout) == 0
    assert asked.plan is not None
    assert lost_s(question, parse_placement(GRAPH, asked.line)) == 0.0


def test_weights_over_a_thin_link_are_waited_for_until_things_have_lasted() -> None:
    waited_s = []
    for keepers in (frozenset({"cam"}), frozenset({"cam", "cloud"})):
        asked = Asked(Live(), cluster(50, 1))
        asked.first()
        asked.cluster = cluster(50, 25)
        for second in range(300):
            asked.now_s += 1.0
            if asked.policy.review(replace(asked.question(), keepers=keepers)) is not None:
                waited_s.append(second)
                break
    assert waited_s[0] > 50, "47 MB at 25 Mbit/s for a fifth of a frame"
    assert waited_s[1] < 5


def test_static_stays_whatever_things_cost() -> None:
    asked = Asked(Static(), cluster(50, 50))
    asked.first()
    asked.cluster = cluster(2, 2)
    assert best_s(asked) < (1 - LARGE) * price_s(asked)
    assert asked.review(600.0) is None


def test_hpa_touches_only_what_left_its_band() -> None:
    policy = Hpa()
    asked = Asked(policy, cluster(20, 20))
    asked.first()
    asked.cluster = cluster(20 * 0.9, 20, edge_ratio=BAND * 0.98)
    asked.review()
    assert policy.touched == ()
    asked.cluster = cluster(20, 20, edge_ratio=BAND * 1.02)
    asked.review()
    assert policy.touched == tuple(f"{layer.name}@edge" for layer in GRAPH.layers)
    asked.review()
    assert policy.touched == (), "decided at the new cost"
    asked.cluster = cluster(10, 20, edge_ratio=BAND * 1.02)
    asked.review()
    assert set(policy.touched) == {("cam", "edge"), ("edge", "cam")}


def test_hpa_follows_a_step_as_a_whole_new_plan_would() -> None:
    asked = Asked(Hpa(), cluster(50, 50))
    asked.first()
    asked.cluster = cluster(2, 2)
    assert asked.review(2.0) is not None
    again = Asked(Hpa(), asked.cluster)
    again.first()
    assert price_s(asked) <= price_s(again) * 1.01


def test_hpa_starts_anew_where_nodes_come_or_go() -> None:
    policy = Hpa()
    asked = Asked(policy, cluster(200, 4, edge=False))
    asked.first()
    assert "edge" not in policy.rows[0].tariff.row
    asked.cluster = cluster(200, 4)
    asked.review(10.0)
    assert "edge" in policy.rows[0].tariff.row
    assert "edge" in asked.line


def test_what_switches_took_is_remembered_but_not_of_what_was_built_before() -> None:
    asked = Asked(Live())
    asked.first()
    assert asked.plan is not None
    switches = Switches()
    switches.begin(asked.line, 10.0)
    board = Board("job", CLAIM, 1, asked.plan, None)
    switches.see(board, 11.0)
    assert switches.usual_s == 0.0
    board = Board("job", CLAIM, 1, None, asked.plan)
    switches.see(board, 13.0)
    assert switches.usual_s == 3.0
    switches.begin(asked.line, 20.0)
    switches.see(board, 20.1)
    assert switches.usual_s == 3.0
    assert list(switches.lines) == [asked.line]
