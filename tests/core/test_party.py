"""Who may speak of a frame: nodes of its plan, in their sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from edgeflow.events import (
    BlobsChecked,
    Deliver,
    Effect,
    ManifestLoaded,
    RunSegment,
    SegmentBuilt,
    SegmentKey,
    SendSignal,
    SendTensors,
    Signal,
    Tensors,
    Wanted,
)
from edgeflow.layout.headers import heads
from edgeflow.messages import Cancel, Failure, Frame, Outcome, Refusal, Result
from edgeflow.sim.toy import MODEL, TOY
from tests.core.test_node import SPEC, Node, plan

HEAD = heads(TOY, TOY.outputs)
SPLIT = "stem @cam-1 | left..join @edge-1 | squeeze..head @cloud-1"


def of(effects: list[Effect], kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


@pytest.fixture
def flying() -> tuple[Node, Frame]:
    """A source with one frame under way at edge-1 and cloud-1, and the header it left under."""
    cam, line = Node("cam-1"), "stem..join @edge-1 | squeeze..head @cloud-1"
    wanted = plan(line=line)
    cam.hear(Wanted(SPEC))
    cam.hold(wanted)
    sent = of(cam.submit(1), SendTensors)
    assert [each.peer for each in sent] == ["edge-1"]
    return cam, sent[0].message


def answers(frame: Frame) -> dict[str, Callable[[str, int], Signal | Tensors]]:
    one = (frame.deployment, frame.frame, frame.attempt)
    result = Result(one[0], frame.plan, frame.variant, frame.hash, one[1], one[2], 0.1, HEAD)
    failure, refusal = Failure(*one, "malformed", "no"), Refusal(*one, "spent", frame.plan)
    return {
        "result": lambda peer, session: Tensors(peer, session, result, 7, 100),
        "failure": lambda peer, session: Signal(peer, session, failure),
        "refusal": lambda peer, session: Signal(peer, session, refusal),
    }


@pytest.mark.parametrize("kind", ["result", "failure", "refusal"])
@pytest.mark.parametrize(("peer", "session"), [("edge-2", 1), ("cloud-1", 2), ("mallory", 1)])
def test_only_a_node_of_the_plan_answers_a_frame(
    flying: tuple[Node, Frame], kind: str, peer: str, session: int
) -> None:
    cam, frame = flying
    cam.hear(answers(frame)[kind](peer, session))
    open_ = cam.core.parts.inflight.frames[frame.frame]
    assert open_.flying
    assert open_.spent == 0
    assert cam.core.parts.strangers == 1
    assert of(cam.hear(answers(frame)["result"]("cloud-1", 1)), Deliver)[0].code == ""


@pytest.mark.parametrize(
    ("peer", "session", "runs"), [("edge-1", 1, 1), ("edge-2", 1, 0), ("edge-1", 2, 0)]
)
def test_only_a_node_of_the_plan_brings_a_frame(peer: str, session: int, runs: int) -> None:
    cloud = Node("cloud-1")
    wanted = plan(line=SPLIT)
    cloud.hear(ManifestLoaded(MODEL, TOY))
    cloud.board(committed=wanted)
    cloud.hear(BlobsChecked(MODEL, wanted.hash, ()))
    cloud.hear(SegmentBuilt(SegmentKey(wanted.hash, 0, 2), "torch"))
    frame = Frame("job", wanted.id, 0, wanted.hash, "cam-1", 1, 1, 1, 5.0, heads(TOY, ["join"]), 2)
    effects = cloud.hear(Tensors(peer, session, frame, 5, 100))
    assert len(of(effects, RunSegment)) == runs
    if not runs:
        assert not of(effects, SendSignal)
        cloud.hear(Tensors("edge-2", 1, replace(frame, hash="0" * 64), 6, 100))
        assert cloud.core.parts.strangers == 2


def test_only_the_source_cancels_its_frames_and_only_the_asked_source_ends_an_errand() -> None:
    cloud = Node("cloud-1")
    cancel = Cancel("job", "cam-1", 1, 1, 1, True)
    cloud.hear(Signal("edge-1", 1, cancel))
    assert cloud.core.parts.strangers == 1
    cloud.hear(Signal("cam-1", 1, cancel))
    assert cloud.core.parts.strangers == 1
    cloud.hear(Wanted(SPEC))
    cloud.submit(1)
    outcome = Outcome("job", 1, "", "", HEAD)
    assert not of(cloud.hear(Tensors("edge-1", 1, outcome, 2, 100)), Deliver)
    assert of(cloud.hear(Tensors("cam-1", 1, outcome, 3, 100)), Deliver)
