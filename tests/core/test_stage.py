"""A worker's part: what it takes, what it refuses, what it forgets."""

from __future__ import annotations

import re
from math import exp

import pytest
from msgspec.structs import replace

from edgeflow.codec import plan_hash
from edgeflow.estimation.busyness import MEAN_S
from edgeflow.events import (
    Effect,
    Release,
    RunSegment,
    SegmentDone,
    SendSignal,
    SendTensors,
    Tensors,
)
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.stage import QUEUED_BYTES_MAX, QUEUED_FRAMES_MAX, Stage
from edgeflow.layout.placement import parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import (
    Cancel,
    Claim,
    Failure,
    Frame,
    Plan,
    PlanId,
    Rect,
    Refusal,
    Result,
    TensorHead,
)
from edgeflow.plans.heldplan import Way
from edgeflow.sim.toy import MODEL, TOY

LINE = "stem left @cam-1 | right @edge-2 | join @edge-1 | squeeze..head @cloud-1"
LINKED = frozenset({"cam-1", "edge-2", "cloud-1"})
NODES = {"cam-1": 1, "edge-1": 1, "edge-2": 1, "cloud-1": 1}


def held(me: str = "edge-1", line: str = LINE) -> Way:
    name = PlanId(Claim(1, 1, "edge-9", 1), 1)
    made = Plan(name, "job", MODEL, "cam-1", NODES, (line,), 0.01, 0.01, "x", "y", "0" * 64)
    found = split(TOY, parse_placement(TOY, line), "cam-1")
    plan = replace(made, hash=plan_hash(made))
    return Way(plan, 0, found, me)


class Worker:
    """edge-1, which joins what cam-1 and edge-2 made."""

    def __init__(self) -> None:
        self.bundles = Bundles()
        self.stage = Stage("edge-1", self.bundles)
        self.held: Way | None = held()
        self.now_s, self.bundle = 50.0, 0

    def frame(self, number: int, *names: str, budget_s: float = 5.0, attempt: int = 1) -> Frame:
        plan = held().plan
        heads = tuple(TensorHead(name, "float32", (1, 32, 112, 112)) for name in names)
        return Frame("job", plan.id, 0, plan.hash, "cam-1", 1, number, attempt, budget_s, heads, 2)

    def take(self, frame: Frame, size_bytes: int = 100) -> list[Effect]:
        self.bundle += 1
        self.bundles.hold(self.bundle)
        event = Tensors("cam-1", 1, frame, self.bundle, size_bytes)
        effects = self.stage.on_frame(event, self.held, TOY, self.now_s)
        return effects + self.bundles.drop(self.bundle)

    def take_whole(self, number: int, budget_s: float = 5.0) -> list[Effect]:
        self.take(self.frame(number, "left", budget_s=budget_s))
        return self.take(self.frame(number, "right", budget_s=budget_s))

    def done(self, linked: frozenset[str] = LINKED) -> list[Effect]:
        self.bundle += 1
        self.bundles.hold(self.bundle)
        event = SegmentDone(self.stage.job, self.bundle, 100, 0.01)
        effects = self.stage.on_done(event, TOY, linked, self.now_s)
        return effects + self.bundles.drop(self.bundle)


def runs(effects: list[Effect]) -> list[tuple[int, ...]]:
    return [effect.bundles for effect in effects if isinstance(effect, RunSegment)]


def refusals(effects: list[Effect]) -> list[str]:
    return [
        effect.message.code
        for effect in effects
        if isinstance(effect, SendSignal) and isinstance(effect.message, Refusal)
    ]


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_a_frame_runs_once_all_its_inputs_are_here(worker: Worker) -> None:
    assert runs(worker.take(worker.frame(1, "left"))) == []
    assert runs(worker.take(worker.frame(1, "right"))) == [(1, 2)]
    assert worker.stage.queued_bytes == 200


def test_the_outputs_go_to_the_next_segment_and_nothing_is_kept(worker: Worker) -> None:
    worker.take_whole(1)
    worker.now_s += 2
    effects = worker.done()
    (sent,) = [effect for effect in effects if isinstance(effect, SendTensors)]
    assert isinstance(sent.message, Frame)
    assert (sent.peer, sent.message.budget_s) == ("cloud-1", 3.0)
    assert [head.name for head in sent.message.tensors] == ["join"]
    assert [each.bundle for each in effects if isinstance(each, Release)] == [1, 2, 3]
    assert (worker.bundles.holders, worker.stage.queued_bytes, len(worker.stage)) == ({}, 0, 0)


def test_outputs_of_the_model_go_to_the_source(worker: Worker) -> None:
    line = "stem..left right @cam-1 | join..head @edge-1"
    last = held(line=line)
    heads = tuple(TensorHead(name, "float32", (1, 32, 112, 112)) for name in ("left", "right"))
    frame = Frame("job", last.plan.id, 0, last.plan.hash, "cam-1", 1, 1, 1, 5.0, heads, 1)
    worker.held = last
    worker.take(frame)
    (sent,) = [effect for effect in worker.done() if isinstance(effect, SendTensors)]
    assert isinstance(sent.message, Result)
    assert sent.peer == "cam-1"


def test_what_is_not_held_is_refused(worker: Worker) -> None:
    worker.held = None
    assert refusals(worker.take(worker.frame(1, "left"))) == ["not-held"]
    assert worker.bundles.holders == {}


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan")])
def test_a_spent_budget_is_refused(worker: Worker, budget_s: float) -> None:
    assert refusals(worker.take(worker.frame(1, "left", budget_s=budget_s))) == ["spent"]


def test_an_endless_budget_has_an_end(worker: Worker) -> None:
    worker.take(worker.frame(1, "left", budget_s=float("inf")))
    worker.now_s += 3601
    worker.stage.tick(worker.now_s)
    assert len(worker.stage) == 0


def test_a_tensor_that_does_not_fit_is_refused(worker: Worker) -> None:
    assert refusals(worker.take(worker.frame(1, "stem"))) == ["malformed"]


def test_a_frame_in_the_name_of_another_source_is_refused(worker: Worker) -> None:
    for frame in (
        replace(worker.frame(1, "left"), source="cam-2"),
        replace(worker.frame(1, "left"), source_session=2),
    ):
        assert refusals(worker.take(frame)) == ["malformed"]


def test_full_means_refuse(worker: Worker) -> None:
    for number in range(QUEUED_FRAMES_MAX):
        worker.take(worker.frame(number, "left"))
    assert refusals(worker.take(worker.frame(999, "left"))) == ["full"]
    assert refusals(worker.take(worker.frame(0, "right"))) == []


def test_bytes_are_bounded_also_for_the_second_piece_of_a_frame(worker: Worker) -> None:
    worker.take(worker.frame(1, "left"), QUEUED_BYTES_MAX)
    effects = worker.take(worker.frame(1, "right"), 1)
    assert refusals(effects) == ["full"]
    assert (worker.stage.queued_bytes, worker.bundles.holders) == (0, {})


def test_a_piece_that_came_already_changes_nothing(worker: Worker) -> None:
    worker.take(worker.frame(1, "left"))
    assert worker.take(worker.frame(1, "left")) == [Release(2)]
    assert worker.stage.queued_bytes == 100


def test_attempts_and_sources_are_gathered_apart(worker: Worker) -> None:
    worker.take(worker.frame(1, "left", attempt=1))
    assert runs(worker.take(worker.frame(1, "right", attempt=2))) == []
    assert len(worker.stage.gathers) == 2


def test_one_runs_at_a_time_in_the_order_they_were_complete(worker: Worker) -> None:
    assert len(runs(worker.take_whole(1))) == 1
    assert runs(worker.take_whole(2)) == []
    assert len(runs(worker.done())) == 1
    assert worker.stage.running is not None
    assert worker.stage.running.frame.frame == 2


def test_nothing_starts_after_its_budget_is_spent(worker: Worker) -> None:
    worker.take_whole(1, budget_s=10.0)
    worker.take_whole(2, budget_s=1.0)
    worker.now_s += 1.0
    assert runs(worker.done()) == []
    assert (worker.stage.expired, worker.bundles.holders) == (1, {})


def test_partial_gathers_expire(worker: Worker) -> None:
    worker.take(worker.frame(1, "left", budget_s=1.0))
    assert worker.stage.tick(worker.now_s + 0.9) == []
    assert worker.stage.tick(worker.now_s + 1.0) == [Release(1)]
    assert worker.stage.queued_bytes == 0


def test_a_retired_plan_gives_its_waiting_frames_back(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    worker.take(worker.frame(3, "left"))
    assert refusals(worker.stage.retire(held().plan.hash)) == ["not-held", "not-held"]
    assert len(worker.stage) == 1
    assert [effect for effect in worker.done() if isinstance(effect, SendTensors)]


def test_frames_of_a_source_that_is_gone_are_dropped(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    worker.take(worker.frame(3, "left"))
    assert worker.stage.on_source_lost("cam-1", 2) == []
    effects = worker.stage.on_source_lost("cam-1", 1)
    assert [each.bundle for each in effects if isinstance(each, Release)] == [5, 3, 4]
    assert len(worker.stage) == 1


def test_a_lost_next_hop_is_told_to_the_source(worker: Worker) -> None:
    worker.take_whole(1)
    (told,) = [e for e in worker.done(frozenset()) if isinstance(e, SendSignal)]
    assert isinstance(told.message, Failure)
    assert (told.peer, told.message.code) == ("cam-1", "peer-lost")
    assert told.message.lost == "cloud-1"


def test_a_segment_that_fails_is_told_and_the_next_one_runs(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    effects = worker.stage.on_failed(worker.stage.job, "no memory", worker.now_s)
    (told,) = [effect for effect in effects if isinstance(effect, SendSignal)]
    assert isinstance(told.message, Failure)
    assert told.message.text == "edge-1: no memory"
    assert len(runs(effects)) == 1


def test_an_answer_of_an_old_job_changes_nothing(worker: Worker) -> None:
    worker.take_whole(1)
    assert worker.stage.on_failed(99, "late", worker.now_s) == []
    assert worker.stage.running is not None


def test_an_input_that_no_node_can_answer_is_told_as_such(worker: Worker) -> None:
    worker.take_whole(1)
    job = worker.stage.job
    effects = worker.stage.on_failed(job, "no picture", worker.now_s, "malformed")
    (failure,) = [each.message for each in effects if isinstance(each, SendSignal)]
    assert isinstance(failure, Failure)
    assert (failure.code, failure.text) == ("malformed", "edge-1: no picture")


# --- cancelled ------------------------------------------------------------------------------------


def cancel(worker: Worker, number: int, attempt: int = 1, is_over: bool = True) -> list[Effect]:
    return worker.stage.on_cancel(Cancel("job", "cam-1", 1, number, attempt, is_over))


def test_a_cancelled_frame_leaves_gathers_and_queue(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    worker.take(worker.frame(3, "left"))
    assert [each.bundle for each in cancel(worker, 2) if isinstance(each, Release)] == [3, 4]
    assert [each.bundle for each in cancel(worker, 3) if isinstance(each, Release)] == [5]
    assert runs(worker.done()) == []
    assert (worker.bundles.holders, worker.stage.queued_bytes, len(worker.stage)) == ({}, 0, 0)


def test_a_cancel_that_overtakes_its_tensors_holds(worker: Worker) -> None:
    cancel(worker, 1)
    assert worker.take(worker.frame(1, "left")) == [Release(1)]
    assert worker.take(worker.frame(1, "right")) == [Release(2)]
    assert len(worker.stage) == 0


def test_another_attempt_session_or_frame_is_not_meant(worker: Worker) -> None:
    cancel(worker, 1, attempt=1)
    cancel(worker, 2)
    worker.stage.on_cancel(Cancel("job", "cam-1", 2, 3, 1))
    worker.take(worker.frame(1, "left", attempt=2))
    worker.take(worker.frame(3, "left"))
    assert len(worker.stage.gathers) == 2
    assert cancel(worker, 1, attempt=1) == []
    assert len(worker.stage.gathers) == 2


def test_what_runs_is_left_to_end_and_goes_no_further(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    assert cancel(worker, 1) == []
    effects = worker.done()
    assert [each for each in effects if isinstance(each, SendTensors)] == []
    assert len(runs(effects)) == 1


@pytest.mark.parametrize(("is_over", "results"), [(True, 0), (False, 1)])
def test_outputs_that_are_being_computed_still_serve_a_frame_without_an_outcome(
    worker: Worker, is_over: bool, results: int
) -> None:
    last = held(line="stem..left right @cam-1 | join..head @edge-1")
    heads = tuple(TensorHead(name, "float32", (1, 32, 112, 112)) for name in ("left", "right"))
    worker.held = last
    plan = last.plan
    worker.take(Frame("job", plan.id, 0, plan.hash, "cam-1", 1, 1, 1, 5.0, heads, 1))
    cancel(worker, 1, is_over=is_over)
    sent = [each.message for each in worker.done() if isinstance(each, SendTensors)]
    assert [type(each) for each in sent] == [Result] * results


TILES = (
    "stem..join @edge-1[0:60] edge-2[60:112] | squeeze @edge-1[0:30] edge-2[30:56] | head @edge-1"
)


def patch(name: str, top: int, bottom: int, size: int) -> TensorHead:
    channels = int(TOY.tensors[name].shape[1])
    rect = Rect(top, bottom, 0, size)
    return TensorHead(name, TOY.tensors[name].dtype, (1, channels, bottom - top, size), rect)


def tiled(number: int, segment: int, *heads: TensorHead) -> Frame:
    plan = held(line=TILES).plan
    return Frame("job", plan.id, 0, plan.hash, "cam-1", 1, number, 1, 5.0, heads, segment)


def test_a_tile_runs_once_every_part_of_its_rectangle_is_there(worker: Worker) -> None:
    worker.held = held(line=TILES)
    parts = worker.held.split
    assert parts is not None
    squeeze = parts.of("edge-1")[1]
    # Window rows 0 to 60 of join: edge-1 made 60 of them, one comes from edge-2.
    assert [each.rect for each in squeeze.inputs] == [Rect(0, 60, 0, 112), Rect(60, 61, 0, 112)][
        : len(squeeze.inputs)
    ]
    for at, each in enumerate(squeeze.inputs):
        assert each.rect is not None
        head = patch("join", each.rect.top, each.rect.bottom, 112)
        effects = worker.take(tiled(1, squeeze.at, head))
        is_last = at == len(squeeze.inputs) - 1
        assert [bool(run) for run in runs(effects)] == [True] * is_last


def test_a_wrong_rectangle_is_refused_by_name(worker: Worker) -> None:
    worker.held = held(line=TILES)
    stem = patch("image", 0, 61, 112)
    for head, says in (
        (stem, r"image\[0:61,0:112\] is not wanted, but 0:62,0:112"),
        (TensorHead("image", "uint8", (1, 3, 112, 112)), "no tensor is called image"),
        (patch("join", 0, 62, 112), "join"),
    ):
        (effect,) = [
            each.message
            for each in worker.take(tiled(1, 0, head))
            if isinstance(each, SendSignal) and isinstance(each.message, Refusal)
        ]
        assert effect.code == "malformed"
        assert re.search(says, effect.text), effect.text


def test_a_segment_of_another_node_is_refused(worker: Worker) -> None:
    worker.held = held(line=TILES)
    (effect,) = [each for each in worker.take(tiled(1, 1)) if isinstance(each, SendSignal)]
    assert isinstance(effect.message, Refusal)
    assert effect.message.text == "segment 1 of its plan is not for this node"


def test_the_time_of_running_jobs_and_the_wait_before_them_are_counted(worker: Worker) -> None:
    worker.take_whole(1)
    worker.take_whole(2)
    worker.now_s += 2.0
    assert worker.stage.busyness.busy(worker.now_s)["job"] == round(1 - exp(-2 / MEAN_S), 4)
    worker.done()
    half = pytest.approx((0.0 * exp(-2 / MEAN_S) + 2.0) / (exp(-2 / MEAN_S) + 1))
    assert worker.stage.busyness.wait_s(worker.now_s) == half, "the second one waited for the first"
    worker.stage.on_failed(worker.stage.job, "no", worker.now_s)
    assert worker.stage.busyness.running == "", "nothing runs"
    worker.now_s += 10 * MEAN_S
    assert worker.stage.busyness.busy(worker.now_s) == {}
