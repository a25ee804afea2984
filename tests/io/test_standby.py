"""Equal segments are built once, what nobody wants any more is not built; and what is prepared is
shown."""

from __future__ import annotations

import io
import os
import select
import signal
from pathlib import Path

import numpy as np
from rich.console import Console

from edgeflow.cli.status import tell_deployment
from edgeflow.events import BuildSegment, SegmentBuilt, SegmentFailed, SegmentKey
from edgeflow.io.compute.child import Child
from edgeflow.io.compute.wire import Drop, Made, Start
from edgeflow.messages import Rect
from edgeflow.mind.snapshot import DeploymentView
from tests.io.compute_bench import KEY, SIDE, Bench

NEXT, LAST = SegmentKey("1" * 64, 0, 0), SegmentKey("2" * 64, 3, 1)
ROWS = [Rect(at, at + 8, 0, SIDE) for at in (0, 8, 16)]


def is_shared(built: SegmentBuilt) -> bool:
    """Was nothing built for it? Who builds a segment runs it once, and tells what layers took."""
    return built.layers_s == ()


def test_a_plan_of_the_same_parts_builds_nothing(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        assert not is_shared(bench.build())
        first = bench.answer(1)
        assert is_shared(bench.build(NEXT))
        bench.engine.drop(KEY)
        assert is_shared(bench.build(LAST)), "the retired plan took the common part with it"
        assert np.array_equal(bench.answer(1, LAST), first)
        bench.start(2)
        assert bench.hear(SegmentFailed).job == 2


def test_what_no_plan_holds_is_freed(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        bench.engine.drop(KEY)
        assert not is_shared(bench.build(NEXT))


def test_a_build_that_waits_is_left_out_once_it_is_dropped(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.load()
        layers = tuple(layer.name for layer in bench.graph.layers)
        keys = [KEY, NEXT, LAST]
        wishes = [
            BuildSegment(key, bench.model, layers, tile)
            for key, tile in zip(keys, ROWS, strict=True)
        ]
        orders = [bench.engine._order(bench.graph, wish) for wish in wishes]
        worker = Child("b")
        try:
            files = str(tmp_path / "engines.json"), str(tmp_path / "worker")
            (tmp_path / "worker").mkdir()
            os.kill(worker.pid, signal.SIGSTOP)
            worker.channel.send(Start(1, "cpu", ("onnx",), False, 1.0, *files))
            for order in orders[:2]:
                worker.channel.send(order)
            worker.channel.send(Drop(NEXT))
            worker.channel.send(orders[2])
            os.kill(worker.pid, signal.SIGCONT)
            assert built(worker, LAST) == [KEY, LAST]
        finally:
            worker.end()


def built(worker: Child, last: SegmentKey) -> list[SegmentKey]:
    """What it says to have built, up to this one."""
    found: list[SegmentKey] = []
    while last not in found:
        select.select([worker.channel], [], [], 30.0)
        assert worker.channel.read(), "the worker died"
        while (message := worker.channel.next()) is not None:
            if isinstance(message, Made):
                found.append(message.built.key)
    return found


def test_the_status_shows_what_is_prepared_and_when_it_would_be_better() -> None:
    standby = "if the links of cam-1 get 12 times as slow: a..c @cam-1"
    view = DeploymentView(
        *("job", "net", "cam-1", "mincut", "running", "", "a..c @edge-1", "3.1@edge-1"),
        predicted_ms=20.0,
        lower_bound_ms=20.0,
        nodes={},
        standbys=(standby,),
    )
    console = Console(file=io.StringIO(), width=100, soft_wrap=True)
    tell_deployment(console, view)
    assert isinstance(console.file, io.StringIO)
    assert f"  {standby}\n" in console.file.getvalue()
