"""One outcome a frame: attempts, refusals, deadlines, windows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from edgeflow.events import Deliver, Release, SendTensors
from edgeflow.frames.doubts import DOUBT_S_MAX, TIMEOUT_DOUBT_S, WORKER_DOUBT_S, Doubts
from edgeflow.frames.inflight import BROKEN_S, MOVES_MAX, PARKED_BYTES_MAX, PARKED_FRAMES_MAX
from edgeflow.frames.openframe import Attempt, OpenFrame, attempt_at
from edgeflow.frames.outcome import ATTEMPTS_MAX, BACKOFF_S
from edgeflow.frames.pace import TIMEOUT_S_MIN
from edgeflow.messages import Frame, Outcome, PlanId, Rect, Result, TensorHead
from edgeflow.sim.toy import TOY
from tests.core.sources import CLAIM, HEAD, IMAGE, Source, held, outcomes


@pytest.fixture
def source() -> Source:
    return Source()


def test_a_frame_is_sent_answered_and_forgotten(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    assert (sent.frame, sent.attempt, sent.budget_s, sent.tensors) == (1, 1, 30.0, IMAGE)
    effects = source.result(sent)
    assert outcomes(effects) == [""]
    assert [each.bundle for each in effects if isinstance(each, Release)] == [1, 2]
    assert (source.bundles.holders, source.inflight.parked_bytes) == ({}, 0)


def test_a_frame_leaves_under_the_heads_it_came_with(source: Source) -> None:
    """Only they know how long the file of this one is."""
    assert source.plan is not None
    head = TensorHead("image", "uint8", (4711,))
    frame = OpenFrame(1, "job", 1, 4711, 0.0, 9.0, 1, None, (head,))
    frame.attempts[0] = Attempt(0, source.plan, TOY, 0.0)
    assert attempt_at(frame, source.plan, 1, 0, 0.0).tensors == (head,)


def test_a_second_result_finds_nothing_to_answer(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    source.result(sent)
    assert source.result(sent) == [Release(3)]
    assert source.inflight.tallies["job"].late == 1


def test_the_first_result_decides_also_that_of_an_earlier_attempt(source: Source) -> None:
    source.submit()
    (first,) = source.pump()
    source.wait(TIMEOUT_S_MIN)
    (second,) = source.pump()
    assert second.attempt == 2
    assert outcomes(source.result(first)) == [""]
    assert outcomes(source.result(second)) == []


def test_a_result_under_another_plan_is_not_taken(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    assert outcomes(source.result(replace(sent, hash="e" * 64))) == []
    assert outcomes(source.result(replace(sent, attempt=9))) == []
    assert len(source.inflight.frames) == 1


def test_without_a_plan_a_frame_is_parked_until_its_deadline(source: Source) -> None:
    source.plan = None
    source.submit(deadline_s=5.0)
    assert source.pump() == []
    assert outcomes(source.wait(4.9)) == []
    assert outcomes(source.wait(0.1)) == ["deadline"]


def test_plan_not_held_is_no_attempt(source: Source) -> None:
    source.submit()
    for _ in range(10):
        (sent,) = source.pump()
        assert source.refuse(sent, "not-held") == []
        assert source.pump() == []
        source.wait(BACKOFF_S)
    assert source.inflight.frames[1].spent == 0


def test_a_frame_whose_time_was_spent_on_its_way_ends_at_its_deadline(source: Source) -> None:
    source.submit(deadline_s=5.0)
    (sent,) = source.pump()
    source.wait(0.5)
    assert outcomes(source.refuse(sent, "spent")) == []
    source.wait(4.4)
    assert source.pump() == []
    assert outcomes(source.wait(0.1)) == ["deadline"]


def test_three_attempts_are_all(source: Source) -> None:
    source.submit()
    said: list[str] = []
    for _ in range(ATTEMPTS_MAX):
        (sent,) = source.pump()
        said += outcomes(source.fail(sent))
        source.wait(0.0)
    assert said == ["failed"]
    assert source.bundles.holders == {}


def test_an_input_that_no_node_can_answer_is_tried_once(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    (told, *_) = source.fail(sent, "malformed")
    assert isinstance(told, Deliver)
    assert (told.code, told.text, told.attempts) == ("malformed", "it broke", 1)
    assert source.pump() == []


def test_a_late_refusal_does_not_end_the_attempt_after_it(source: Source) -> None:
    source.submit()
    (first,) = source.pump()
    source.wait(TIMEOUT_S_MIN)
    (second,) = source.pump()
    source.refuse(first)
    source.fail(first)
    frame = source.inflight.frames[1]
    assert (frame.flying, frame.sent, frame.spent) == (True, second.attempt, 1)


def test_two_refusals_of_one_attempt_count_once(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    source.refuse(sent)
    source.refuse(sent)
    assert source.inflight.frames[1].spent == 1


def test_a_refusal_of_another_plan_is_of_another_session_and_changes_nothing(
    source: Source,
) -> None:
    source.submit()
    (sent,) = source.pump()
    source.refuse(replace(sent, plan=PlanId(CLAIM, 7)))
    assert source.inflight.frames[1].flying


def test_each_further_attempt_has_twice_the_time(source: Source) -> None:
    source.submit()
    took = []
    for _ in range(ATTEMPTS_MAX):
        source.pump()
        before_s = source.now_s
        while source.inflight.frames and source.inflight.frames[1].flying:
            source.wait(0.25)
        took.append(source.now_s - before_s)
    assert took == [TIMEOUT_S_MIN, 2 * TIMEOUT_S_MIN, 4 * TIMEOUT_S_MIN]


def test_a_plan_that_lost_a_node_rests_until_it_may_work_again(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    source.fail(sent, "peer-lost")
    assert source.pump() == []
    source.wait(BROKEN_S - 0.1)
    assert source.pump() == []
    source.plan, rested = held(2), source.plan
    assert len(source.pump()) == 1
    source.submit()
    source.plan = rested
    source.wait(0.1)
    assert len(source.pump()) == 1


BOTH = "stem @edge-1 | left..head @edge-2"


def test_no_way_with_a_node_that_another_has_lost_takes_an_attempt(source: Source) -> None:
    """Three fallbacks with it took all three attempts, before its death was known."""
    source.plan = held(1, BOTH)
    source.submit()
    (sent,) = source.pump()
    source.fail(sent, "peer-lost", lost="edge-2")
    source.plan, lost = held(2, "stem @edge-2 | left..head @edge-1"), source.plan
    assert source.pump() == []
    source.plan = held(3)
    (again,) = source.pump()
    source.result(again)
    source.submit()
    source.wait(BROKEN_S)
    source.plan = lost
    assert len(source.pump()) == 1


@pytest.mark.parametrize("lost", ["cam-1", "cloud-1", None])
def test_only_a_node_that_computes_for_an_attempt_is_lost_by_it(
    source: Source, lost: str | None
) -> None:
    """All ways have their source, and who names a node of no part in this knows nothing of it."""
    source.plan = held(1, BOTH)
    source.submit()
    (sent,) = source.pump()
    source.fail(sent, "peer-lost", lost=lost)
    source.plan = held(2, "stem @cloud-1 | left..head @edge-2")
    assert len(source.pump()) == 1


def test_a_lost_node_parks_all_frames_of_its_plan(source: Source) -> None:
    source.submit()
    source.submit()
    source.pump()
    source.inflight.on_lost(lambda plan: True, source.now_s)
    assert source.pump() == []
    assert [frame.spent for frame in source.inflight.frames.values()] == [1, 1]


def test_the_window_bounds_what_is_in_flight(source: Source) -> None:
    for _ in range(6):
        source.submit()
    sent = source.pump(window=4)
    assert [each.frame for each in sent] == [1, 2, 3, 4]
    assert source.pump(window=4) == []
    source.result(sent[1])
    assert [each.frame for each in source.pump(window=4)] == [5]


def test_too_many_frames_are_an_overload_at_once(source: Source) -> None:
    for _ in range(PARKED_FRAMES_MAX):
        assert source.submit() == []
    assert outcomes(source.submit()) == ["overload"]
    assert len(source.inflight.frames) == PARKED_FRAMES_MAX


def test_too_many_bytes_are_an_overload_at_once(source: Source) -> None:
    source.submit(size_bytes=PARKED_BYTES_MAX)
    assert outcomes(source.submit(size_bytes=1)) == ["overload"]


def test_a_frame_that_does_not_fit_the_model_is_refused_with_the_reason(source: Source) -> None:
    (said, release) = source.submit(tensors=(TensorHead("image", "uint8", (4,)),))
    assert isinstance(said, Deliver)
    assert said.code == "malformed"
    assert "wanted is float32 1x3x112x112" in said.text
    assert release == Release(1)


def test_a_fleet_that_fails_often_is_not_helped_without_end(source: Source) -> None:
    source.submit()
    source.inflight.tallies["job"].retries = 0.5
    (sent,) = source.pump()
    assert outcomes(source.fail(sent)) == ["failed"]


def test_outputs_of_two_attempts_never_mix(source: Source) -> None:
    line = "stem..join @edge-1 | squeeze @edge-1[0:28] edge-2[28:56] | "
    source.plan = held(line=line + "head @edge-1[0:14] edge-2[14:28]")
    source.submit()
    source.pump()
    source.wait(TIMEOUT_S_MIN)
    (again,) = source.pump()
    first = replace(again, attempt=1)
    heads = [
        TensorHead("head", "float32", (1, 8, 14, 28), Rect(top, top + 14, 0, 28)) for top in (0, 14)
    ]
    assert outcomes(source.result(first, (heads[0],))) == []
    assert outcomes(source.result(again, (heads[1],))) == []
    assert outcomes(source.result(again, (heads[0],))) == [""]
    assert source.bundles.holders == {}


def test_a_removed_deployment_ends_its_frames(source: Source) -> None:
    source.submit()
    source.submit()
    source.pump(window=1)
    effects = source.inflight.remove("job", "it was removed", source.now_s)
    assert outcomes(effects) == ["removed", "removed"]
    assert source.bundles.holders == {}


def test_a_remote_submitter_gets_its_outcome_and_is_forgotten_when_it_goes(
    source: Source,
) -> None:
    source.submit(reply=("cam-2", 7))
    (sent,) = source.pump()
    answer = source.result(sent)[0]
    assert isinstance(answer, SendTensors)
    assert isinstance(answer.message, Outcome)
    assert (answer.peer, answer.message.frame, answer.message.code) == ("cam-2", 7, "")
    source.submit(reply=("cam-2", 8))
    source.inflight.on_submitter_lost("cam-2", source.now_s)
    assert source.inflight.frames == {}
    assert source.bundles.holders == {}


def test_metrics_tell_what_happened_since(source: Source) -> None:
    source.submit()
    source.submit()
    (sent, _) = source.pump()
    source.now_s += 0.5
    source.result(sent)
    told = source.inflight.metrics("job", source.now_s)
    assert (told.frames, told.results, told.in_flight, told.parked) == (2, 1, 1, 0)
    assert told.latency_p50_s == pytest.approx(0.5)
    assert source.inflight.tallies["job"].is_told


def test_a_result_for_an_unknown_deployment_leaves_no_trace(source: Source) -> None:
    message = Result("other", PlanId(CLAIM, 1), 0, "h" * 64, 1, 1, 0.0, HEAD)
    assert source.inflight.on_result(message, 1, source.now_s) == []
    assert source.inflight.tallies == {}


def two_ways(source: Source) -> tuple[Frame, Frame]:
    """Two frames fly along the first way."""
    source.submit()
    source.submit()
    first, second = source.pump()
    return first, second


def test_when_an_attempt_times_out_the_others_leave_that_way_too(source: Source) -> None:
    first, second = two_ways(source)
    before = source.plan
    assert before is not None
    frame = source.inflight.frames[first.frame]
    frame.expires_s = source.now_s + 0.5
    source.wait(0.5)
    until_s = source.inflight.doubts.until_s(before.route, source.now_s)
    assert until_s == source.now_s + TIMEOUT_DOUBT_S
    source.plan = held(2)
    again = source.pump()
    assert [each.frame for each in again] == [first.frame, second.frame]
    assert {each.plan for each in again} == {source.plan.plan.id}
    spent = [source.inflight.frames[each.frame].spent for each in again]
    assert spent == [1, 0]


def test_a_frame_moves_away_from_doubts_a_few_times_at_most(source: Source) -> None:
    _, second = two_ways(source)
    ways = [source.plan, *map(held, range(2, MOVES_MAX + 3))]
    for way, other in pairwise(ways):
        assert way is not None
        source.inflight.doubts.add(way.route, 1.0, source.now_s)
        source.plan = other
        source.pump()
    assert source.inflight.frames[second.frame].sent == 1 + MOVES_MAX


def test_the_death_of_a_worker_is_a_doubt_that_passes(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    assert source.plan is not None
    doubts, route = source.inflight.doubts, source.plan.route
    source.fail(sent, "worker-died")
    assert doubts.until_s(route, source.now_s) == source.now_s + WORKER_DOUBT_S
    source.wait(WORKER_DOUBT_S)
    assert doubts.until_s(route, source.now_s) < source.now_s
    source.wait(WORKER_DOUBT_S)
    assert doubts.known == {}


def test_a_doubt_that_comes_again_lasts_twice_as_long() -> None:
    doubts, route, now_s = Doubts(), held().route, 0.0
    spans = []
    for _ in range(6):
        doubts.add(route, 3.0, now_s)
        doubts.add(route, 1.5, now_s + 0.1)  # in the same trouble
        spans.append(doubts.until_s(route, now_s) - now_s)
        now_s = doubts.until_s(route, now_s) + 1.0
    wanted = [min(3.0 * 2**at, DOUBT_S_MAX) + 0.1 for at in range(6)]
    assert spans == pytest.approx(wanted)
    now_s += 2 * DOUBT_S_MAX
    doubts.add(route, 3.0, now_s)
    assert doubts.until_s(route, now_s) == now_s + 3.0


def test_without_a_doubt_frames_stay_on_the_way_that_they_took(source: Source) -> None:
    two_ways(source)
    source.plan = held(2)
    assert source.pump() == []
