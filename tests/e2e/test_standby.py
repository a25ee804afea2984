"""A plan that was prepared beside the running one runs without a fetch and without a build."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import edgeflow
from edgeflow.api import Flow
from edgeflow.events import BlobsChecked, ChunkStored, Event, SegmentBuilt
from edgeflow.messages import Plan
from edgeflow.mind import eventlog
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, Image, answers, pictures, until


def committed(flow: Flow) -> Plan:
    """The running plan."""
    plan: Plan = flow.ask(lambda core: core.parts.deployments.views["job"].board.committed)
    return plan


def heard(path: Path) -> list[Event]:
    """All events of a node so far."""
    records = eventlog.read(memoryview(path.read_bytes()))
    return [each.event for each in records if isinstance(each, eventlog.Step)]


def test_a_switch_to_a_prepared_plan_builds_and_fetches_nothing(
    fleet: Fleet, small: tuple[Path, Graph], tmp_path: Path
) -> None:
    path, graph = small
    logs = {name: tmp_path / f"{name}.events" for name in ("edge-1", "cloud-1")}
    for name, log in logs.items():
        fleet.start(name.partition("-")[0], name, "--event-log", str(log))
    images = pictures(8)
    with edgeflow.connect(fleet.url, name="cam-1", compute="none", can_lead=False) as flow:
        until(lambda: fleet._is_complete(flow), "the fleet", flow)
        flow.deploy(path, name="job", policy="edge-only")
        until(lambda: len(committed(flow).variants) > 1, "variants", flow)
        before = committed(flow)
        line = next(each for each in before.variants[1:] if "@cloud-1" in each)

        def frames() -> Iterator[Image]:
            for at in range(120):
                if at == 30:
                    flow.deploy(path, name="job", placement=line, wait_s=None)
                yield images[at % 8]
                time.sleep(0.02)

        results = list(flow.stream(frames(), deployment="job"))
        until(lambda: committed(flow).variants[0] == line, "the switch", flow)
        after = committed(flow)
        flow.infer(images[0], deployment="job")
    right = answers(graph, images)
    for at, result in enumerate(results):
        assert (result.code, result.attempts) == ("", 1)
        np.testing.assert_array_equal(result.output, right[at % 8])
    assert {str(before.id), str(after.id)} >= {result.plan for result in results}
    check_built_once(logs, before, after)


def check_built_once(logs: dict[str, Path], before: Plan, after: Plan) -> None:
    """Who builds a segment runs it once and says what its layers took; who shares one does not."""
    names = after.sessions.keys() & logs.keys()
    assert names, "the source computes alone"
    for name in names:
        events = heard(logs[name])
        built = [each for each in events if isinstance(each, SegmentBuilt)]
        assert any(each.layers_s for each in built if each.key.hash == before.hash)
        again = [each for each in built if each.key.hash == after.hash]
        assert again, f"{name} has no part in the new plan"
        assert [each.layers_s for each in again] == [()] * len(again)
        checks = [each for each in events if isinstance(each, BlobsChecked)]
        begin = events.index(next(each for each in checks if each.purpose == after.hash))
        assert not any(isinstance(each, ChunkStored) for each in events[begin:])
