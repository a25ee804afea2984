"""The demo, small: every frame answered, the leader replaced, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-I", "-m", "edgeflow", "demo"]
SMALL = ["--frames", "40", "--contest-frames", "2", "--size", "224", "--json"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_answers_every_frame_although_its_leader_dies(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*DEMO, *SMALL], capture_output=True, text=True, timeout=280, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    wrong = {key: figures[key] for key in ("errors", "lost", "duplicates", "mismatches")}
    assert not any(wrong.values()), wrong
    assert figures["results"] == figures["frames"] >= 40
    assert figures["labels_right"] > 0
    assert figures["leader_after"] not in ("", figures["leader_before"])
    assert set(figures["head_to_head"]) == {"device-only", "edge-only", "cloud-only", "edgeflow"}
    assert still_running(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("number", "act"), [(signal.SIGKILL, ()), (signal.SIGINT, ("--shelf",))])
def test_however_the_demo_ends_its_processes_end_too(
    tmp_path: Path, number: int, act: tuple[str, ...]
) -> None:
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [*DEMO, *act, "--size", "224"]
        demo = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        end_s = time.monotonic() + 60
        while " leads" not in log.read_text() and time.monotonic() < end_s:
            assert demo.poll() is None, log.read_text()
            time.sleep(0.1)
        assert still_running(tmp_path), "the demo's nodes are known by their folder"
        demo.send_signal(number)
        assert demo.wait(30) in (130, 128 + number, -number)
    finally:
        demo.kill()
        demo.wait()
    end_s = time.monotonic() + 15
    while still_running(tmp_path) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert still_running(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_four_boxes_share_each_frame_and_three_go_on_when_one_dies(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*DEMO, "--shelf", "--frames", "3", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    wrong = {key: figures[key] for key in ("errors", "lost", "duplicates", "mismatches")}
    assert not any(wrong.values()), wrong
    assert figures["results"] == figures["frames"] >= 9
    assert figures["labels_right"] == figures["labels_judged"] > 0
    one, four, three = figures["runs"].values()
    assert (one["maps"], one["frames"], four["frames"], three["frames"]) == (0, 3, 3, 3)
    assert len(four["workers"]) > 1
    assert figures["killed"] in four["workers"]
    assert figures["killed"] not in three["placement"]
    assert figures["killed_frame_attempts"] > 1
    assert all(each["measured_ms"] for each in four["workers"].values())
    assert four["sent_bytes_per_frame"] > one["sent_bytes_per_frame"]
    assert still_running(tmp_path) == []


def still_running(folder: Path) -> list[str]:
    """Command lines of the processes that work in this folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid():
            found.append(line)
    return found
