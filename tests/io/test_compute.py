"""A worker process dies in every way there is, and its node goes on: real processes and signals."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
import torch

from edgeflow.config import NodeConfig
from edgeflow.errors import UsageError
from edgeflow.events import (
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.executors import build
from edgeflow.io import settings
from edgeflow.io.compute import process, state, tray
from edgeflow.layout.parcel import Placed, parcel
from edgeflow.messages import Rect
from edgeflow.model.graph import Array
from edgeflow.service import Service
from tests.io.compute_bench import KEY, SIDE, Bench, image, is_alive, net, until

SLOW = 20_000.0
"""A run then takes some seconds: time enough to die in."""


def whole(seed: int, engine: str = "onnx") -> Array:
    """The answer of an engine in this very process."""
    graph = net()
    names = [layer.name for layer in graph.layers]
    return build(graph, names, graph.arrays, threads=1, engine=engine).run(image(seed))["relu"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of more than half a second is taken for frozen."""
    monkeypatch.setattr(state, "JOB_S_MIN", 0.5)
    monkeypatch.setattr(process, "LOOK_S", 0.05)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many died, the next worker starts at once."""
    monkeypatch.setattr(state, "DEATHS_FREE", 10_000)


# --- what it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_worker_process_gives_the_bits_that_a_thread_gives(tmp_path: Path, engine: str) -> None:
    with (
        Bench(tmp_path, engine=engine) as apart,
        Bench(tmp_path, engine=engine, worker="thread", state="other") as here,
    ):
        built = apart.build(), here.build()
        assert built[0].engine == built[1].engine == engine
        assert len(built[0].layers_s) == len(built[1].layers_s)
        for job in range(1, 6):
            mine = apart.answer(job)
            assert mine.tobytes() == here.answer(job).tobytes() == whole(job, engine).tobytes()
            assert mine.shape == (1, 64, SIDE, SIDE)


def test_a_tile_is_computed_out_of_the_parts_at_hand(tmp_path: Path) -> None:
    tile = Rect(8, 20, 0, SIDE)
    with Bench(tmp_path) as bench:
        bench.build(tile=tile)
        full = image(1)["image"]
        upper = Placed(full[:, :, :16].copy(), Rect(0, 16, 0, SIDE))
        lower = Placed(full[:, :, 12:].copy(), Rect(12, SIDE, 0, SIDE))
        bench.give(1, {"image": upper}, {"image": lower})
        bench.hear(SegmentDone)
        placed = bench.kept[1]["relu"]
        assert placed.rect == tile
        np.testing.assert_allclose(placed.array, whole(1)[:, :, 8:20], rtol=1e-5, atol=1e-5)
        bench.give(2, {"image": upper})
        assert "is not at hand" in bench.hear(SegmentFailed).text


def test_outputs_that_somebody_still_holds_are_never_written_over(tmp_path: Path) -> None:
    jobs = 3 * tray.LENT_MAX
    with Bench(tmp_path) as bench:
        bench.build()
        for job in range(1, jobs + 1):
            bench.answer(job)
        assert bench.process._orders._tray._slabs.lent == tray.LENT_MAX
        for job in range(1, jobs + 1):
            assert bench.made(job).tobytes() == whole(job).tobytes(), job


def test_shared_memory_is_used_again_once_nobody_holds_it(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        for job in range(1, 40):
            bench.answer(job)
            if job % 2:
                bench.kept.clear()
        assert bench.process._orders._tray._slabs._count <= 4
        held = bench.answer(50)
    assert held.tobytes() == whole(50).tobytes(), "it outlives the worker, too"


def test_an_input_that_does_not_fit_fails_alone(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        pid = bench.pid()
        bench.give(1, parcel({"image": np.zeros((1, 3, 5, 5), np.float32)}))
        failed = bench.hear(SegmentFailed)
        assert failed.code == "failed"
        assert "the model takes" in failed.text
        bench.give(2, parcel({"other": np.zeros(1)}))
        assert "image is not at hand" in bench.hear(SegmentFailed).text
        bench.start(3, SegmentKey("1" * 64, 0, 0))
        assert "not built here" in bench.hear(SegmentFailed).text
        assert bench.answer(4).tobytes() == whole(4).tobytes()
        assert bench.pid() == pid


def test_a_dropped_segment_runs_what_it_was_given_and_nothing_more(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        bench.start(1)
        bench.start(2)
        bench.engine.drop(KEY)
        assert [bench.hear(SegmentDone).job, bench.hear(SegmentDone).job] == [1, 2]
        until(lambda: not bench.process._orders._wanted)
        bench.start(3)
        assert "not built here" in bench.hear(SegmentFailed).text


# --- how it dies ----------------------------------------------------------------------------------


def test_a_worker_killed_in_a_job_fails_that_job_and_runs_the_others(tmp_path: Path) -> None:
    with Bench(tmp_path, factor=300) as bench:
        bench.build()
        pid = bench.pid()
        for job in range(1, 5):
            bench.start(job)
        bench.wait_for_run()
        os.kill(pid, signal.SIGKILL)
        assert "died of SIGKILL (by hand, or by the kernel" in bench.died(1)
        for job in range(2, 5):
            assert bench.hear(SegmentDone).job == job
            assert bench.made(job).tobytes() == whole(job).tobytes()
        assert bench.pid() != pid
        assert bench.told.empty(), "nobody is told that it was built again"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_told_by_its_signal(tmp_path: Path, number: signal.Signals) -> None:
    with Bench(tmp_path, factor=SLOW) as bench:
        bench.build()
        bench.start(1)
        bench.wait_for_run()
        os.kill(bench.pid(), number)
        assert f"died of {number.name}" in bench.died(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_stops_a_node_does_not_stop_its_worker(tmp_path: Path, number: signal.Signals) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        pid = bench.pid()
        os.kill(pid, number)
        bench.answer(1)
        assert bench.pid() == pid


@pytest.mark.usefixtures("impatient")
def test_a_frozen_worker_is_ended_and_replaced(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        bench.answer(1)
        pid = bench.pid()
        os.kill(pid, signal.SIGSTOP)
        bench.start(2)
        assert "took more than 0.5 s over a job" in bench.died(2)
        assert bench.answer(3).tobytes() == whole(3).tobytes()
        assert not is_alive(pid)


@pytest.mark.usefixtures("impatient")
def test_a_slow_job_is_given_the_time_that_it_usually_takes(tmp_path: Path) -> None:
    with Bench(tmp_path, factor=3000) as bench:
        bench.build()
        pid = bench.pid()
        bench.answer(1)
        assert bench.pid() == pid


def test_a_worker_that_dies_idle_costs_no_job(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        pid = bench.pid()
        os.kill(pid, signal.SIGKILL)
        bench.wait_for_another(pid)
        assert bench.answer(1).tobytes() == whole(1).tobytes()


def test_a_build_that_kills_its_worker_twice_cannot_be_built(tmp_path: Path) -> None:
    with Bench(tmp_path, engine="torch") as bench:
        bench.load()
        bench.order()
        pids = []
        for _ in range(2):
            pids.append(bench.pid())
            until(lambda: bench.is_up() and bench.step() == "building")
            os.kill(pids[-1], signal.SIGKILL)
            bench.wait_for_another(pids[-1])
        unbuildable = bench.hear(SegmentUnbuildable)
        assert unbuildable.key == KEY
        assert "the worker process died of SIGKILL" in unbuildable.text
        assert "2 times while it built the segment" in unbuildable.text
        bench.order()
        bench.hear(SegmentBuilt)
        assert bench.answer(1).tobytes() == whole(1, "torch").tobytes()


@pytest.mark.usefixtures("free")
def test_two_hundred_deaths_leave_nothing_behind(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.build()
        held = bench.answer(1)
        me = psutil.Process()
        files, threads = me.num_fds(), me.num_threads()
        for _ in range(200):
            pid = bench.pid()
            os.kill(pid, signal.SIGKILL)
            bench.wait_for_another(pid)
        bench.answer(2)
        assert me.num_fds() <= files + 4
        assert me.num_threads() == threads
        children = [child for child in me.children() if is_alive(child.pid)]
        assert [child.pid for child in children] == [bench.pid()]
        assert held.tobytes() == whole(1).tobytes()


def test_many_deaths_are_followed_by_a_pause_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "DEATHS_FREE", 2)
    with Bench(tmp_path) as bench, caplog.at_level(logging.WARNING):
        bench.build()
        for at in range(3):
            pid = bench.pid()
            os.kill(pid, signal.SIGKILL)
            if at < 2:
                bench.wait_for_another(pid)
                until(lambda: bench.step() == "built")
        until(lambda: not bench.process.pids)
        start_s = time.monotonic()
        assert bench.answer(1).tobytes() == whole(1).tobytes()
        assert time.monotonic() - start_s > 0.4
    assert "the next one starts in 0.5 s" in caplog.text


def test_pauses_double_up_to_ten_seconds() -> None:
    deaths = state.Deaths()
    assert [deaths.add(0.1 * at) for at in range(12)] == [
        *(5 * [0.0]), 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0
    ]  # fmt: skip
    assert deaths.add(1000.0) == 0.0


# --- who ends with whom ---------------------------------------------------------------------------

NODE = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from compute_bench import Bench
bench = Bench(Path(sys.argv[1]), factor=20000.0)
bench.build()
bench.start(1)
bench.wait_for_run()
print(bench.pid(), flush=True)
time.sleep(60)
"""


def test_a_worker_ends_with_its_node_in_the_middle_of_a_job(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-I", "-c", NODE, str(tmp_path), here]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        assert is_alive(pid)
        node.kill()
    until(lambda: not is_alive(pid), 2.0)


def test_a_stopped_engine_ends_its_worker_at_once(tmp_path: Path) -> None:
    with Bench(tmp_path, factor=SLOW) as bench:
        bench.build()
        bench.start(1)
        bench.wait_for_run()
        pid, start_s = bench.pid(), time.monotonic()
    assert time.monotonic() - start_s < 1.0
    assert not is_alive(pid)
    assert not (tmp_path / "state" / "worker").exists()


def test_what_an_engine_was_writing_when_it_was_killed_goes(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "worker"
    with Bench(tmp_path) as bench:
        bench.load()
        until(bench.is_up)
        pid, left = bench.pid(), list[Path]()
        for at in range(50):  # onnxruntime's profile is there for some milliseconds of a build
            bench.order(SegmentKey("3" * 64, 0, at))
            while not left and bench.told.empty():
                left = list(folder.glob("edgeflow-onnx-*"))
            if left:
                break
            bench.hear(SegmentBuilt)
        os.kill(pid, signal.SIGKILL)
        assert left
        bench.wait_for_another(pid)
        until(lambda: not left[0].exists())


SERVICE = """
import sys, time
from edgeflow.config import NodeConfig
from edgeflow.service import Service
service = Service(NodeConfig(name="a", engine="onnx", state_dir=sys.argv[1], reachable=False))
while not any(type(item).__name__ == "Calibrated" for item in service.inbox.take()):
    time.sleep(0.02)
print(service.device, len(service.engine.pids), *({"torch", "onnxruntime"} & set(sys.modules)))
service.mqtt.close()
service.clean_up()
"""


def test_a_node_calibrates_and_loads_no_engine_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-c", SERVICE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["cpu", "1"], done.stderr


def test_a_node_that_computes_nothing_has_no_worker(tmp_path: Path) -> None:
    config = NodeConfig(name="a", compute="none", reachable=False, state_dir=str(tmp_path))
    service = Service(config)
    running = Thread(target=service.loop.run, daemon=True)
    running.start()
    pids, device = service.engine.pids, service.device
    service.loop.drain("test")
    running.join(20)
    service.clean_up()
    assert (pids, device) == ((), "none")


def test_only_the_worker_is_asked_whether_torch_sees_a_gpu(tmp_path: Path) -> None:
    with Bench(tmp_path, engine="torch", device="auto") as bench:
        has_gpu = torch.cuda.is_available()
        assert bench.engine.device == ("cuda" if has_gpu else "cpu")
        assert bench.engine.engines == ("torch",)


def test_settings_name_the_workers_there_are() -> None:
    assert settings.convert({"name": "a"}, "x.toml").worker == "process"
    with pytest.raises(UsageError, match="worker: 'fork' is none of process, thread"):
        settings.convert({"name": "a", "worker": "fork"}, "x.toml")
