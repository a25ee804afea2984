"""A frame that nobody waits for any more, over real sockets."""

from __future__ import annotations

import os
import signal
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path

import numpy as np
import pytest

import edgeflow
from edgeflow.api import Flow, InferResult
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, Image, answers, pictures, placement_over, until

Model = tuple[Path, Graph]


def errors(flow: Flow) -> int:
    """Outcomes of the deployment that were errors, as its source counts them."""
    count: int = flow.ask(lambda core: core.parts.inflight.tallies["job"].errors)
    return count


def open_frames(flow: Flow) -> int:
    """Frames without an outcome yet, at their source."""
    count: int = flow.ask(lambda core: len(core.parts.inflight.frames))
    return count


def test_a_cancelled_future_ends_its_frame_once_wherever_it_is(fleet: Fleet, small: Model) -> None:
    path, graph = small
    fleet.start("edge", "edge-1")
    images = pictures(3)
    right = answers(graph, images)
    with fleet.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "edge-1"), name="job", window_frames=1)
        assert flow.infer(images[0]).ok
        process = fleet.nodes["edge-1"].pid
        os.kill(process, signal.SIGSTOP)
        try:
            told: list[Future[InferResult]] = []
            flying, parked, wanted = (flow.submit(image) for image in images)
            for answer in (flying, parked, wanted):
                answer.add_done_callback(told.append)
            until(lambda: open_frames(flow) == 3, "the frames to enter", flow)
            assert flying.cancel()
            assert parked.cancel()
            until(lambda: open_frames(flow) == 1, "both to be withdrawn", flow)
            for answer in (flying, parked):
                with pytest.raises(CancelledError):
                    answer.result(0)
            assert wait([flying, parked], 5).not_done == set()
        finally:
            os.kill(process, signal.SIGCONT)
        assert np.array_equal(wanted.result(30).output, right[2])
        assert not wanted.cancel()
        assert told == [flying, parked, wanted]
        assert errors(flow) == 2
        check_a_remote_submitter(fleet, flow, images[0])


def check_a_remote_submitter(fleet: Fleet, flow: Flow, image: Image) -> None:
    """Its source hears of it, and gives its frame up."""
    with edgeflow.connect(fleet.url, name="laptop", compute="none") as laptop:
        until(lambda: [each.name for each in laptop.snapshot().deployments] == ["job"], "the job")
        assert laptop.infer(image, deployment="job").ok
        process = fleet.nodes["edge-1"].pid
        os.kill(process, signal.SIGSTOP)
        try:
            answer = laptop.submit(image, deployment="job")
            until(lambda: open_frames(flow) == 1, "the frame to reach its source", flow)
            assert answer.cancel()
            until(lambda: open_frames(flow) == 0, "the source to hear of it", flow)
        finally:
            os.kill(process, signal.SIGCONT)
        assert errors(flow) == 3
