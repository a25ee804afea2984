"""A frame that kills the workers that compute it, with real processes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import psutil

from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, answers, pictures, placement_over, until

Model = tuple[Path, Graph]


def kill_busy_worker(fleet: Fleet, name: str) -> None:
    """Kill the process that computes for a node once it is in the slow part of a frame: its
    emulated slowness is a sleep, and everything before takes processor time."""

    def was_busy() -> bool:
        try:
            (worker,) = psutil.Process(fleet.nodes[name].pid).children()
            before_s = worker.cpu_times().user
            time.sleep(0.7)
            if before_s < 0.3 or worker.cpu_times().user > before_s:
                return False
            worker.kill()
        except (psutil.NoSuchProcess, ValueError):  # the last one is gone, the next not there yet
            return False
        return True

    until(was_busy, f"the worker of {name} to compute")


def test_a_frame_that_kills_two_workers_is_quarantined_and_the_next_one_answered(
    fleet: Fleet, small: Model
) -> None:
    path, graph = small
    fleet.start("edge", "edge-1", "--emulate", "compute_factor=3000")
    (image,) = pictures(1)
    with fleet.join() as flow:
        flow.deploy(path, placement=placement_over(graph, "edge-1"), name="job")
        poison = flow.submit(image)
        kill_busy_worker(fleet, "edge-1")
        kill_busy_worker(fleet, "edge-1")
        said = poison.result(20)
        assert said.code == "poison", said
        assert said.attempts == 2
        assert "killed the worker of edge-1 twice" in said.text
        file = flow.service.state_dir / "quarantine" / "job-1.npz"
        assert f"{file.parent.name}/{file.name}" in said.text
        until(file.exists, "the input to be kept")
        with np.load(file) as kept:
            assert [np.array_equal(kept[name], image) for name in kept] == [True]
        answer = flow.infer(image)
        assert np.array_equal(answer.output, answers(graph, [image])[0])
