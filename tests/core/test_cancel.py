"""Frames that nobody waits for any more: nothing of them starts, wherever the word finds them."""

from __future__ import annotations

import pytest

from edgeflow.events import Deliver, Effect, SendTensors
from edgeflow.frames.cancelled import KEPT, Cancelled
from edgeflow.frames.outcome import ATTEMPTS_MAX
from edgeflow.frames.pace import TIMEOUT_S_MIN
from edgeflow.messages import Outcome
from tests.core.sources import Source, cancels, held, outcomes

TWO = "stem..join @edge-1 | squeeze..head @cloud-1"
TILES = "stem..join @edge-1[0:60] edge-2[60:112] | squeeze..head @cloud-1"


@pytest.fixture
def source() -> Source:
    source = Source()
    source.plan = held(line=TWO)
    return source


def texts(effects: list[Effect]) -> list[str]:
    return [each.text for each in effects if isinstance(each, Deliver)]


# --- the user's ----------------------------------------------------------------------------------


def test_a_withdrawn_frame_ends_at_once_and_its_nodes_are_told(source: Source) -> None:
    source.submit()
    source.pump()
    effects = source.inflight.withdraw(1, source.now_s)
    assert outcomes(effects) == ["cancelled"]
    assert cancels(effects) == [("edge-1", 1, 1, True), ("cloud-1", 1, 1, True)]
    assert source.bundles.holders == {}
    assert source.inflight.withdraw(1, source.now_s) == []


def test_a_withdrawn_frame_that_was_never_sent_is_nobodys_news(source: Source) -> None:
    source.submit()
    effects = source.inflight.withdraw(1, source.now_s)
    assert outcomes(effects) == ["cancelled"]
    assert cancels(effects) == []


def test_a_result_that_comes_after_all_is_not_delivered(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    source.inflight.withdraw(1, source.now_s)
    assert outcomes(source.result(sent)) == []
    assert source.inflight.tallies["job"].late == 1


def test_who_has_its_outcome_cannot_be_withdrawn(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    assert outcomes(source.result(sent)) == [""]
    assert source.inflight.withdraw(1, source.now_s) == []


def test_a_remote_submitter_withdraws_its_own_frame_only(source: Source) -> None:
    for node, number in (("cam-2", 7), ("cam-3", 7), ("cam-2", 8)):
        source.submit(reply=(node, number))
    effects = source.inflight.withdraw_for(("cam-2", 7), source.now_s)
    (answer,) = [each for each in effects if isinstance(each, SendTensors)]
    assert isinstance(answer.message, Outcome)
    assert (answer.peer, answer.message.frame, answer.message.code) == ("cam-2", 7, "cancelled")
    assert list(source.inflight.frames) == [2, 3]


# --- the source's own -----------------------------------------------------------------------------


def test_an_answered_frame_costs_no_cancel(source: Source) -> None:
    source.submit()
    (sent,) = source.pump()
    assert cancels(source.result(sent)) == []


def test_an_attempt_that_took_too_long_is_cancelled_but_its_result_is_welcome(
    source: Source,
) -> None:
    source.submit()
    (first,) = source.pump()
    effects = source.wait(TIMEOUT_S_MIN)
    assert cancels(effects) == [("edge-1", 1, 1, False), ("cloud-1", 1, 1, False)]
    source.pump()
    effects = source.result(first)
    assert outcomes(effects) == [""]
    assert cancels(effects) == [("edge-1", 1, 2, True), ("cloud-1", 1, 2, True)]


def test_a_deadline_cancels_what_flies(source: Source) -> None:
    source.submit(deadline_s=0.5)
    source.pump()
    effects = source.wait(0.5)
    assert outcomes(effects) == ["deadline"]
    assert cancels(effects) == [("edge-1", 1, 1, True), ("cloud-1", 1, 1, True)]


def test_a_tile_that_is_refused_frees_its_partners(source: Source) -> None:
    source.plan = held(line=TILES)
    source.submit()
    sent, _ = source.pump()
    told = {(node, over) for node, _, _, over in cancels(source.refuse(sent, "not-held"))}
    assert told == {("edge-1", False), ("edge-2", False), ("cloud-1", False)}


def test_a_node_that_was_the_only_one_need_not_be_told(source: Source) -> None:
    source.plan = held()
    source.submit()
    for _ in range(ATTEMPTS_MAX):
        (sent,) = source.pump()
        assert cancels(source.fail(sent)) == []


def test_the_last_failure_frees_what_is_left_of_the_attempt(source: Source) -> None:
    source.submit()
    for _ in range(ATTEMPTS_MAX):
        (sent,) = source.pump()
        effects = source.fail(sent)
    assert outcomes(effects) == ["failed"]
    assert {over for *_, over in cancels(effects)} == {True}


def test_frames_of_a_submitter_that_is_gone_are_cancelled(source: Source) -> None:
    source.submit(reply=("cam-2", 7))
    source.pump()
    effects = source.inflight.on_submitter_lost("cam-2", source.now_s)
    assert cancels(effects) == [("edge-1", 1, 1, True), ("cloud-1", 1, 1, True)]


def test_a_removed_deployment_frees_its_nodes(source: Source) -> None:
    source.submit()
    source.pump()
    effects = source.inflight.remove("job", "it was removed", source.now_s)
    assert len(cancels(effects)) == 2


# --- remembered -----------------------------------------------------------------------------------


def test_attempts_up_to_the_cancelled_one_are_covered() -> None:
    cancelled = Cancelled()
    cancelled.add(("cam-1", 1, 5), 2)
    cancelled.add(("cam-1", 1, 5), 1)
    found = [cancelled.covers(("cam-1", 1, 5), attempt) for attempt in (1, 2, 3)]
    assert found == [True, True, False]
    assert not cancelled.covers(("cam-1", 2, 5), 1)
    assert not cancelled.covers(("cam-1", 1, 6), 0)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    cancelled = Cancelled()
    for frame in range(KEPT + 10):
        cancelled.add(("cam-1", 1, frame), 1)
    assert len(cancelled.attempts) == KEPT
    assert not cancelled.covers(("cam-1", 1, 9), 1)
    assert cancelled.covers(("cam-1", 1, 10), 1)
