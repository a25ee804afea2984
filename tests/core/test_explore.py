"""Which spare frames go along doubtful ways, and what that may cost."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from edgeflow.cluster.membership import EASED
from edgeflow.codec import plan_hash
from edgeflow.estimation.link import FASTER
from edgeflow.frames.belief import REST_S, WORTH, Doubt, Trial
from edgeflow.frames.explore import (
    AFTER_S,
    CALM_FRAMES,
    CREDIT,
    DEBT,
    GAP,
    NEW_S,
    PATIENCE,
    PRICED_S,
    SAVED,
    TRIALS,
    TRIALS_QUICK,
    YOUNG_REST_S,
    YOUNG_S,
    Explorer,
    is_explored,
)
from edgeflow.frames.pace import Window
from edgeflow.layout.placement import parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import Plan, PlanId, Spec
from edgeflow.plans.heldplan import Way
from edgeflow.sim.toy import MODEL, TOY
from tests.core.sources import CLAIM, Source, outcomes

LINES = ("stem..head @edge-1", "stem..head @edge-2", "stem @edge-1 | left..head @cloud-1")
USUAL_S = 0.1


def ways() -> list[Way]:
    sessions = {"cam-1": 1, "edge-1": 1, "edge-2": 1, "cloud-1": 1}
    name = PlanId(CLAIM, 1)
    made = Plan(name, "job", MODEL, "cam-1", sessions, LINES, 0.01, 0.01, "x", "y", "0" * 64)
    plan = replace(made, hash=plan_hash(made))
    return [
        Way(plan, at, split(TOY, parse_placement(TOY, line), "cam-1"), "cam-1")
        for at, line in enumerate(LINES)
    ]


RUNNING, OTHER, MIXED = ways()


def explorer(frames: int = 1000, share: float = 0.02, **believed: float) -> Explorer:
    """After so many frames of the running plan, each of USUAL_S."""
    found = Explorer(share)
    for at in range(frames):
        found.on_answered(RUNNING, USUAL_S, at * USUAL_S)
    seconds = {LINES[0]: USUAL_S, LINES[1]: USUAL_S * 1.2, LINES[2]: USUAL_S * 1.5}
    found.believe(seconds, seconds, LINES[0], frames * USUAL_S)
    return found


NOW_S = 1000 * USUAL_S


def test_a_way_uses_nodes_and_links_from_the_source_and_back() -> None:
    places = {("cam-1", "edge-1"), ("edge-1", "edge-1"), ("edge-1", "cloud-1")}
    assert MIXED.places == places | {("cloud-1", "cloud-1"), ("cloud-1", "cam-1")}


def test_what_the_running_plan_uses_is_not_doubtful_until_it_rested() -> None:
    found = explorer()
    assert not found.is_doubtful(RUNNING, NOW_S)
    assert found.is_doubtful(OTHER, NOW_S)
    assert found.is_doubtful(MIXED, NOW_S), "its cloud node was never seen"
    assert found.is_doubtful(RUNNING, NOW_S + REST_S)


def test_the_best_of_the_doubtful_ways_is_tried() -> None:
    trial = explorer().choose([MIXED, OTHER], NOW_S)
    assert trial is not None
    assert trial.way is OTHER
    assert trial.limit_s >= PATIENCE * USUAL_S


def settle(found: Explorer, way: Way, now_s: float, times: float = 1.2) -> int:
    """Trials that take what was believed, until nothing is doubtful; how many."""
    count = 0
    while found.is_doubtful(way, now_s):
        assert found.choose([way], now_s) is not None
        found.on_tried(times * USUAL_S, now_s)
        found.budget_s, count = 1.0, count + 1
    return count


def test_a_node_whose_other_load_went_is_doubtful_at_once() -> None:
    """However often it was tried in vain while it was busy; a trial that finds no more ends it."""
    found, now_s = explorer(), NOW_S
    found.on_load({"edge-2": 0.9}, now_s)
    for _ in range(4):
        settle(found, OTHER, now_s)
        now_s = found.doubts["edge-2", "edge-2"].until_s
    settle(found, OTHER, now_s)
    now_s += AFTER_S
    for load, is_news in ((0.9, False), (0.9 - EASED / 2, False), (0.1, True)):
        found.on_load({"edge-2": load}, now_s)
        assert found.is_doubtful(OTHER, now_s) == is_news
    settle(found, OTHER, now_s)
    found.on_load({"edge-2": 0.1}, now_s + AFTER_S)
    assert not found.is_doubtful(OTHER, now_s + AFTER_S)
    found.on_load({"edge-2": 0.9}, now_s + AFTER_S)
    settle(found, OTHER, now_s + 1000)
    found.on_load({"edge-2": 0.2}, now_s + 1000 + AFTER_S)
    assert found.is_doubtful(OTHER, now_s + 1000 + AFTER_S), "and again"


def test_a_trial_does_not_ease_the_node_that_it_kept_busy() -> None:
    """Its share of a busy node's time, and what it took of an idle one's processor, come and go: a
    node that was busy all the time was tried every ten seconds."""
    for load, meanwhile in ((1.0, 0.4), (0.0, 0.7)):
        found = explorer()
        found.on_load({"edge-2": load}, NOW_S)
        settle(found, OTHER, NOW_S)
        for after_s in (0.1, AFTER_S - 0.1):
            found.on_load({"edge-2": meanwhile}, NOW_S + after_s)
        found.on_load({"edge-2": load}, NOW_S + AFTER_S)
        assert not found.is_doubtful(OTHER, NOW_S + AFTER_S)
        assert found.eased == set()


def test_a_way_that_is_new_is_priced_at_once() -> None:
    """The node of it joined a moment ago; it was left for ten seconds."""
    found = explorer()
    assert not found.needs_prices([RUNNING, OTHER, MIXED], LINES[0], NOW_S + NEW_S)
    del found.believed[OTHER.line]
    assert not found.needs_prices([RUNNING, OTHER], LINES[0], NOW_S + NEW_S / 2)
    assert found.needs_prices([RUNNING, OTHER], LINES[0], NOW_S + NEW_S)
    assert found.needs_prices([RUNNING], LINES[0], NOW_S + PRICED_S)


def test_a_way_that_is_young_is_priced_again_as_its_node_settles() -> None:
    """Who joined was believed to be slow in its first second, and not tried for ten more."""
    found, seconds = explorer(), dict.fromkeys(LINES, USUAL_S)
    for after_s, is_young in ((0.0, True), (YOUNG_REST_S, True), (YOUNG_S, False)):
        found.believe(seconds, seconds, LINES[0], NOW_S + after_s)
        again_s = NOW_S + after_s + YOUNG_REST_S
        assert found.needs_prices([RUNNING, OTHER, MIXED], LINES[0], again_s) == is_young
        assert not found.needs_prices([RUNNING, OTHER, MIXED], LINES[0], again_s - 0.1)
        assert not found.needs_prices([RUNNING], LINES[0], again_s), "frames were there"


def test_a_way_over_a_node_that_eased_is_priced_again_as_its_links_recover() -> None:
    """They were slow while it was busy, and that price kept it untried for ten seconds more."""
    found = explorer()
    found.on_load({"edge-2": 0.9}, NOW_S)
    found.on_load({"edge-2": 0.1}, NOW_S)
    assert found.needs_prices([RUNNING, OTHER], LINES[0], NOW_S + NEW_S)
    assert not found.needs_prices([RUNNING], LINES[0], NOW_S + NEW_S)


def test_what_is_believed_beside_another_plan_is_not_believed_beside_this_one() -> None:
    """The one that a slow link ended was tried again at once, as what it took before."""
    found = explorer()
    assert not found.needs_prices([RUNNING, OTHER], LINES[0], NOW_S + NEW_S)
    assert found.needs_prices([RUNNING, OTHER], LINES[1], NOW_S + NEW_S)


def test_a_link_that_got_faster_is_doubtful_at_once_and_prices_of_before_are_none() -> None:
    found, link = explorer(), ("edge-1", "cloud-1")
    settle(found, MIXED, NOW_S, times=1.5)
    for rate, is_news in ((4e6, False), (FASTER * 3.9e6, False), (2e6, False), (4e6, True)):
        found.on_rates({link: rate}, NOW_S)
        assert found.is_doubtful(MIXED, NOW_S) == is_news
        assert found.needs_prices([RUNNING], LINES[0], NOW_S) == is_news
    settle(found, MIXED, NOW_S, times=1.5)
    found.on_rates({link: 9e6}, NOW_S)
    assert not found.is_doubtful(MIXED, NOW_S), "a frame was there"


def test_a_node_that_eased_is_tried_though_trials_of_busy_ones_spent_the_budget() -> None:
    found = explorer()
    now_s = {LINES[0]: USUAL_S, LINES[1]: 3 * USUAL_S}
    found.believe(now_s, now_s | {LINES[1]: 0.7 * USUAL_S}, LINES[0], NOW_S)
    found.on_load({"edge-2": 0.9}, NOW_S)
    found.budget_s = -10 * USUAL_S
    assert not found.may_ask()
    found.on_load({"edge-2": 0.1}, NOW_S)
    assert found.may_ask()
    for _ in range(TRIALS_QUICK):
        assert found.choose([OTHER, MIXED], NOW_S) is not None
        found.on_tried(0.7 * USUAL_S, NOW_S)
    assert not found.may_ask(), "they have told what is left"


def test_a_way_that_was_never_used_gets_some_trials_and_later_one_at_a_time() -> None:
    found, now_s, rests_s = explorer(), NOW_S, []
    assert settle(found, OTHER, now_s) == TRIALS
    for _ in range(3):
        begin_s = now_s
        while not found.is_doubtful(OTHER, now_s):
            now_s += 1.0
        rests_s.append(now_s - begin_s)
        assert settle(found, OTHER, now_s) == 1
    assert rests_s == [REST_S, 2 * REST_S, 4 * REST_S]


def test_what_trials_settled_beside_one_plan_is_doubtful_beside_another() -> None:
    found, now_s = explorer(), NOW_S
    seconds = dict.fromkeys(LINES, USUAL_S)
    settle(found, OTHER, now_s)
    now_s += REST_S
    settle(found, OTHER, now_s)
    assert not found.is_doubtful(OTHER, now_s + REST_S)
    found.believe(seconds, seconds, LINES[0], now_s)
    assert not found.is_doubtful(OTHER, now_s + REST_S), "the same plan runs"
    found.believe(seconds, seconds, LINES[2], now_s)
    assert found.is_doubtful(OTHER, now_s)
    assert not found.is_doubtful(RUNNING, now_s - REST_S), "its own frames told"
    assert settle(found, OTHER, now_s) == 1
    assert found.is_doubtful(OTHER, now_s + REST_S), "and not for as long as before"


def test_a_way_that_is_believed_to_be_much_slower_is_not_tried() -> None:
    found = believing(1.01 * WORTH)
    assert found.choose([OTHER], NOW_S) is None
    assert believing(0.99 * WORTH).choose([OTHER], NOW_S) is not None
    found.believe({}, {}, LINES[0], NOW_S)
    assert found.choose([OTHER], NOW_S) is None


def believing(now: float, idle: float = math.inf) -> Explorer:
    """The other way takes so many times what the running one takes."""
    found = explorer()
    found.believe({LINES[0]: 1.0, LINES[1]: now}, {LINES[0]: 1.0, LINES[1]: idle}, LINES[0], NOW_S)
    return found


def test_a_way_over_a_busy_node_is_tried_if_it_were_better_without_that_load() -> None:
    assert believing(3.0, idle=1.1).choose([OTHER], NOW_S) is None
    assert believing(3.0, idle=0.9).choose([OTHER], NOW_S) is not None


def follow(found: Explorer, times: float, now_s: float) -> int:
    """Trials that take so many times the usual, until nothing is doubtful; how many."""
    count = 0
    while found.is_doubtful(OTHER, now_s):
        found.since = GAP
        assert found.choose([OTHER], now_s) is not None
        found.on_tried(times * USUAL_S, now_s)
        assert found.may_ask() or times > 1, "who was quicker makes nobody wait"
        count += 1
    return count


@pytest.mark.parametrize(("times", "trials"), [(1.1, TRIALS), (0.97, TRIALS), (0.9, TRIALS_QUICK)])
def test_news_are_followed_at_once_until_they_are_sure_enough(times: float, trials: int) -> None:
    """The estimate believes a step after TRIALS; that a tenth is no chance it says later."""
    found = believing(1.5)
    settle(found, OTHER, NOW_S, times=1.5)
    assert follow(found, times, NOW_S + REST_S) == trials


def test_a_trial_that_was_quick_by_chance_is_not_followed_for_long() -> None:
    found = believing(1.1)
    settle(found, OTHER, NOW_S, times=1.1)
    now_s = NOW_S + REST_S
    assert found.choose([OTHER], now_s) is not None
    found.on_tried(0.9 * USUAL_S, now_s)
    assert follow(found, 1.1, now_s) == 1


def test_news_are_followed_although_prices_of_before_are_told_meanwhile() -> None:
    """They came between the second trial and the third, which then was too dear for the budget."""
    found = believing(4.0, idle=0.8)
    found.doubts[("edge-2", "edge-2")] = Doubt(NOW_S)
    found.on_load({"edge-2": 0.9}, NOW_S)
    found.on_load({"edge-2": 0.1}, NOW_S)
    assert found.choose([OTHER], NOW_S) is not None
    found.on_tried(0.8 * USUAL_S, NOW_S)
    found.eased.clear()
    before = {LINES[0]: USUAL_S, LINES[1]: 4 * USUAL_S}
    found.believe(before, before, LINES[0], NOW_S)
    assert follow(found, 0.8, NOW_S) == TRIALS_QUICK - 1
    found.believe(before, before, LINES[0], NOW_S)
    assert found.believed[LINES[1]].now == pytest.approx(4.0), "what was found is told by now"


def test_the_least_ratio_of_a_node_counts_once_it_is_its_own() -> None:
    """Of the first, cold runs it says how cold they were."""
    found, home = Explorer(0.02), ("edge-1", 1)
    for at in range(CALM_FRAMES - 1):
        found.on_answered(RUNNING, USUAL_S, at * USUAL_S)
        found.on_ratios({home: 0.4})
    assert found.calm == {}
    found.on_answered(RUNNING, USUAL_S, NOW_S)
    for ratio in (0.9, 0.8, 4.0):
        found.on_ratios({home: ratio, ("edge-2", 1): 0.5, ("edge-1", 2): 0.5})
    assert found.calm == {home: 0.8}


def test_nothing_is_tried_beyond_the_credit_before_frames_have_earned_it() -> None:
    assert not Explorer(0.02).may_ask(), "nobody knows yet what is usual"
    found = explorer()
    found.budget_s = -(CREDIT - 0.19) * USUAL_S
    assert found.choose([OTHER], NOW_S) is None, "a fifth of a frame is not earned yet"
    found.on_answered(RUNNING, USUAL_S, NOW_S)
    assert found.choose([OTHER], NOW_S) is not None
    found.budget_s = -1.01 * CREDIT * USUAL_S
    assert found.choose([OTHER], NOW_S) is None


def test_what_is_believed_to_be_quicker_may_be_owed_for() -> None:
    """A node had joined, and waited for half a minute, as trials of busy ones had cost so much."""
    found = believing(0.8)
    found.budget_s = -0.99 * DEBT * USUAL_S
    assert found.may_ask()
    assert found.choose([OTHER], NOW_S) is not None
    found.budget_s = -1.01 * DEBT * USUAL_S
    assert not found.may_ask()


@pytest.mark.parametrize(("believed", "owed"), [(1.2, CREDIT), (0.8, DEBT)])
@pytest.mark.parametrize("times", [1.3, 1.9, 40.0])
def test_what_trials_add_stays_within_the_share_what_is_owed_and_one_trial(
    times: float, believed: float, owed: float
) -> None:
    """Whatever was believed: a trial here takes `times` the usual."""
    found, now_s, spent_s, extra_s = explorer(frames=10), 1.0, 1.0, 0.0
    seconds = {LINES[0]: 1.0, LINES[1]: believed}
    found.believe(seconds, seconds, LINES[0], now_s)
    for _ in range(20_000):
        trial = found.choose([OTHER], now_s) if found.may_ask() else None
        took_s = USUAL_S * times if trial else USUAL_S
        now_s, spent_s = now_s + took_s, spent_s + took_s
        if trial:
            extra_s += took_s - USUAL_S
            found.on_tried(took_s, now_s)
        else:
            found.on_answered(RUNNING, took_s, now_s)
    assert 0 < extra_s <= 0.02 * spent_s + (owed + times - 1) * USUAL_S


def test_a_slow_trial_is_followed_by_frames_of_the_running_plan() -> None:
    found = explorer()
    assert found.may_ask()
    found.choose([OTHER], NOW_S)
    found.on_tried(1.5 * USUAL_S, NOW_S)
    for _ in range(GAP):
        assert not found.may_ask()
        found.on_answered(RUNNING, USUAL_S, NOW_S)
    assert found.may_ask()


def test_a_busy_hour_saves_little() -> None:
    assert explorer(frames=100_000).budget_s <= SAVED * USUAL_S * 1.001


@pytest.mark.parametrize(
    "wish",
    [{"explore_share": 0.0}, {"policy": "static"}, {"policy": "partnner"}, {"placement": LINES[0]}],
)
def test_who_measures_by_itself_or_wants_none_gets_no_trials(wish: dict[str, str]) -> None:
    spec = Spec("job", 1, MODEL, "toy", "cam-1", "cam-1")
    assert is_explored(spec)
    assert not is_explored(replace(spec, **wish))


# --- at the source --------------------------------------------------------------------------------


def source() -> Source:
    found = Source()
    found.plan = RUNNING
    found.inflight.explorers["job"] = explorer()
    return found


def tried(source: Source, limit_s: float = 1.0) -> list[int]:
    """Variants under which frames leave now, one of them on trial."""
    source.inflight.explorers["job"].tried = OTHER
    room = Window(4)
    effects = source.inflight.pump("job", RUNNING, room, TOY, source.now_s, Trial(OTHER, limit_s))
    return [each.message.variant for each in effects]  # type: ignore[union-attr]


def test_a_frame_is_spare_while_nothing_else_is_under_way() -> None:
    found = source()
    assert not found.inflight.is_spare("job")
    found.submit()
    assert found.inflight.is_spare("job")
    assert not found.inflight.is_spare("other")
    found.submit()
    assert not found.inflight.is_spare("job"), "another one waits"
    (first, _) = found.pump()
    found.result(first)
    assert not found.inflight.is_spare("job"), "another one is in flight"


def test_a_trial_has_one_outcome_and_is_paid() -> None:
    found = source()
    found.submit()
    assert tried(found) == [OTHER.variant]
    before_s = found.inflight.explorers["job"].budget_s
    found.now_s += 3 * USUAL_S
    (frame,) = found.inflight.frames.values()
    assert outcomes(found.inflight.end(frame, "", "", found.now_s, frame.last)) == [""]
    paid_s = before_s - found.inflight.explorers["job"].budget_s
    assert paid_s == pytest.approx(2 * USUAL_S, rel=0.01)


def test_a_trial_that_takes_too_long_goes_the_usual_way_and_is_paid() -> None:
    found = source()
    found.submit()
    tried(found, limit_s=0.5)
    found.wait(0.6)
    (again,) = found.pump()
    assert (again.variant, again.attempt) == (RUNNING.variant, 2)
    found.now_s += USUAL_S
    assert outcomes(found.result(again)) == [""]
    assert found.inflight.explorers["job"].budget_s < 0


def test_a_trial_says_nothing_of_the_pace_of_the_running_plan() -> None:
    found = source()
    for _ in range(3):
        found.submit()
        (sent,) = found.pump()
        found.now_s += USUAL_S
        found.result(sent)
    flights = list(found.inflight.paces["job"].flights_s)
    found.submit()
    tried(found)
    (frame,) = found.inflight.frames.values()
    found.inflight.end(frame, "", "", found.now_s + 9.0, frame.last)
    assert list(found.inflight.paces["job"].flights_s) == flights
