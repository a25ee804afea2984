"""A whole core, and frames that are withdrawn, kill workers, or wait while it stands still."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.events import (
    Deliver,
    Effect,
    LinkDown,
    LinkUp,
    ManifestLoaded,
    Quarantine,
    Release,
    RunSegment,
    SegmentDone,
    SegmentFailed,
    SendSignal,
    Signal,
    Tensors,
    Tick,
    Wanted,
    Withdrawn,
)
from edgeflow.messages import Cancel, Failure, Frame, Outcome, Result, Submit, TensorHead, Withdraw
from edgeflow.sim.toy import MODEL, TOY
from tests.core.test_node import IMAGE, SPEC, Node, plan, sent

STEM = (TensorHead("stem", "float32", (1, 32, 112, 112)),)
HEAD = (TensorHead("head", "float32", (1, 8, 28, 28)),)


@pytest.fixture
def cam() -> Node:
    """A source whose whole model runs on edge-1."""
    cam = Node("cam-1")
    cam.hear(Wanted(SPEC))
    cam.hear(ManifestLoaded(MODEL, TOY))
    cam.board(committed=plan(line="stem..head @edge-1"))
    return cam


def outcomes(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(each.token, each.code) for each in effects if isinstance(each, Deliver)]


def signals(effects: list[Effect], kind: type) -> list[SendSignal]:
    found = [effect for effect in effects if isinstance(effect, SendSignal)]
    return [effect for effect in found if isinstance(effect.message, kind)]


def failure(cam: Node, attempt: int, code: str = "worker-died") -> list[Effect]:
    said = Failure("job", 1, attempt, code, "edge-1: killed by signal 9")
    return cam.hear(Signal("edge-1", 1, said))


def test_a_withdrawn_frame_ends_here_and_at_its_worker(cam: Node) -> None:
    assert len(sent(cam.submit(1))) == 1
    effects = cam.hear(Withdrawn(1))
    assert outcomes(effects) == [(1, "cancelled")]
    (told,) = signals(effects, Cancel)
    assert (told.peer, told.message) == ("edge-1", Cancel("job", "cam-1", 1, 1, 1))
    assert cam.core.parts.bundles.holders == {}
    assert outcomes(cam.hear(Withdrawn(1))) == []


def test_room_that_a_withdrawn_frame_leaves_is_taken_at_once(cam: Node) -> None:
    for token in range(1, 6):
        cam.submit(token)
    (next_,) = sent(cam.hear(Withdrawn(2)))
    assert isinstance(next_.message, Frame)
    assert next_.message.frame == 5


def test_a_source_that_computes_forgets_a_withdrawn_frame_itself() -> None:
    cam = Node("cam-1")
    cam.hear(Wanted(SPEC))
    cam.hold(plan(line="stem..head @cam-1"))
    cam.submit(1)
    cam.submit(2)
    assert outcomes(cam.hear(Withdrawn(2))) == [(2, "cancelled")]
    assert outcomes(cam.hear(Withdrawn(1))) == [(1, "cancelled")]
    effects = cam.hear(SegmentDone(1, 77, 100, 0.01))
    assert outcomes(effects) == []
    assert not any(isinstance(effect, RunSegment) for effect in effects)
    assert cam.core.parts.bundles.holders == {}


def test_a_worker_hears_a_cancel_before_the_frame_it_is_about() -> None:
    edge, wanted = Node("edge-1"), plan()
    edge.hold(wanted, committed=False)
    edge.hear(Signal("cam-1", 1, Cancel("job", "cam-1", 1, 1, 1)))
    frame = Frame("job", wanted.id, 0, wanted.hash, "cam-1", 1, 1, 1, 5.0, STEM, 1)
    assert edge.hear(Tensors("cam-1", 1, frame, 1, 1605632)) == [Release(1)]
    again = replace(frame, attempt=2)
    (run,) = edge.hear(Tensors("cam-1", 1, again, 2, 1605632))
    assert isinstance(run, RunSegment)


def test_a_stranger_withdraws_what_it_submitted(cam: Node) -> None:
    cam.hear(Tensors("edge-2", 1, Submit("job", 3, 5.0, IMAGE), 90, 150528))
    effects = cam.hear(Signal("edge-2", 1, Withdraw("job", 3)))
    (answer,) = sent(effects)
    assert isinstance(answer.message, Outcome)
    assert (answer.peer, answer.message.code) == ("edge-2", "cancelled")
    assert len(signals(effects, Cancel)) == 1


def test_a_word_of_withdrawal_that_overtakes_the_frame_holds(cam: Node) -> None:
    cam.hear(Signal("edge-2", 1, Withdraw("job", 3)))
    effects = cam.hear(Tensors("edge-2", 1, Submit("job", 3, 5.0, IMAGE), 90, 150528))
    assert effects == [Release(90)]
    effects = cam.hear(Tensors("edge-2", 1, Submit("job", 4, 5.0, IMAGE), 91, 150528))
    assert len(sent(effects)) == 1


def test_a_frame_withdrawn_by_its_remote_submitter_goes_to_the_source_as_a_word() -> None:
    edge = Node("edge-1")
    edge.hear(Wanted(SPEC))
    edge.submit(1)
    effects = edge.hear(Withdrawn(1))
    assert outcomes(effects) == [(1, "cancelled")]
    (told,) = signals(effects, Withdraw)
    assert told.peer == "cam-1"


# --- overload -------------------------------------------------------------------------------------


def busy(cam: Node) -> None:
    """The window is full, and it is known that each result takes a second."""
    for token in range(1, 15):
        cam.submit(token)
    answered = plan(line="stem..head @edge-1")
    for number in range(1, 8):
        cam.now_s += 1.0
        cam.beat()
        result = Result("job", answered.id, 0, answered.hash, number, 1, 0.01, HEAD)
        cam.hear(Tensors("edge-1", 1, result, 90 + number, 100))


def test_more_frames_than_the_fleet_can_answer_are_refused_at_once(cam: Node) -> None:
    busy(cam)
    (said, *_) = cam.submit(20)
    assert isinstance(said, Deliver)
    assert (said.token, said.code) == (20, "overload")
    assert "3 frames wait and one is answered every 1 s" in said.text


def test_frames_that_wait_for_a_plan_are_no_overload(cam: Node) -> None:
    busy(cam)
    cam.hear(LinkDown("edge-1", 1))
    for token in range(20, 30):
        assert outcomes(cam.submit(token)) == []


def test_the_bytes_of_the_window_are_the_deployments(cam: Node) -> None:
    cam.say(replace(SPEC, generation=2, window_bytes=2 * 150528))
    for token in range(1, 6):
        cam.submit(token)
    flying = [frame.flying for frame in cam.core.parts.inflight.frames.values()]
    assert flying == [True, True, False, False, False]


# --- poison ---------------------------------------------------------------------------------------


def test_a_worker_that_dies_is_told_as_such() -> None:
    edge, wanted = Node("edge-1"), plan()
    edge.hold(wanted, committed=False)
    frame = Frame("job", wanted.id, 0, wanted.hash, "cam-1", 1, 1, 1, 5.0, STEM, 1)
    edge.hear(Tensors("cam-1", 1, frame, 1, 1605632))
    (told,) = signals(edge.hear(SegmentFailed(1, "killed by signal 9", "worker-died")), Failure)
    assert isinstance(told.message, Failure)
    assert (told.peer, told.message.code) == ("cam-1", "worker-died")


def test_one_death_is_tried_again_and_the_second_makes_the_frame_poison(cam: Node) -> None:
    cam.submit(1)
    (again,) = sent(failure(cam, 1))
    assert isinstance(again.message, Frame)
    assert again.message.attempt == 2
    effects = failure(cam, 2)
    assert outcomes(effects) == [(1, "poison")]
    (said,) = [effect for effect in effects if isinstance(effect, Deliver)]
    assert "worker of edge-1 twice" in said.text
    assert "quarantine/job-1.npz in the state folder of cam-1" in said.text
    assert "killed by signal 9" in said.text
    kept = effects.index(Quarantine(1, "job-1"))
    assert kept < effects.index(Release(1))
    assert cam.core.parts.bundles.holders == {}


def test_a_death_of_an_attempt_that_was_given_up_counts_too(cam: Node) -> None:
    cam.submit(1)
    frame = cam.core.parts.inflight.frames[1]
    frame.expires_s = cam.now_s
    assert len(sent(cam.tick())) == 1
    failure(cam, 1)
    assert outcomes(failure(cam, 2)) == [(1, "poison")]


# --- standing still -------------------------------------------------------------------------------


def test_a_source_that_stood_still_reads_its_inbox_before_it_gives_anything_up(cam: Node) -> None:
    wanted = plan(line="stem..head @edge-1")
    cam.tick(0.2)
    cam.submit(1)
    cam.submit(2)
    cam.now_s += 8.0  # the deadline was 5 s
    assert outcomes(cam.hear(Tick())) == []
    assert cam.core.parts.inflight.frames[1].spent == 0
    result = Result("job", wanted.id, 0, wanted.hash, 1, 1, 0.01, HEAD)
    assert outcomes(cam.hear(Tensors("edge-1", 1, result, 91, 100))) == [(1, "")]
    assert outcomes(cam.tick(0.1)) == [(2, "deadline")]


def test_who_submits_elsewhere_reads_its_inbox_first_too() -> None:
    edge = Node("edge-1")
    edge.hear(Wanted(SPEC))
    edge.tick(0.2)
    edge.submit(1)
    edge.now_s += 8.0
    assert outcomes(edge.hear(Tick())) == []
    answer = Outcome("job", 1, "", "", HEAD)
    assert outcomes(edge.hear(Tensors("cam-1", 1, answer, 91, 100))) == [(1, "")]


def test_attempts_get_back_the_time_for_which_their_source_stood_still(cam: Node) -> None:
    cam.tick(0.2)
    cam.submit(1)
    frame = cam.core.parts.inflight.frames[1]
    frame.deadline_s, before_s = cam.now_s + 60.0, frame.expires_s
    cam.now_s += 20.0
    cam.hear(Tick())
    assert frame.expires_s == pytest.approx(before_s + 20.0, abs=0.2)
    assert frame.last.sent_s == pytest.approx(cam.now_s, abs=0.2)
    cam.hear(LinkUp("edge-1", 1))
    cam.beat()
    cam.tick(0.5)
    assert (frame.flying, frame.spent) == (True, 0)


def test_who_stands_still_all_the_time_keeps_deadlines_all_the_same(cam: Node) -> None:
    cam.submit(1)
    said: list[tuple[int, str]] = []
    for _ in range(8):
        cam.now_s += 1.0
        said += outcomes(cam.hear(Tick()))
    assert said == [(1, "deadline")]
