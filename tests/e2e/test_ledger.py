"""A real run leaves a ledger, and the ledger is judged as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

import edgeflow
from edgeflow.client.driver import Driver
from edgeflow.client.flow import Flow
from edgeflow.errors import DeployError, EdgeflowError, UsageError
from edgeflow.io.ledgerfile import LedgerFile, digest, read
from edgeflow.ledger.judge import Head, Line, Outcome, Submit, judge
from edgeflow.model.graph import Graph
from tests.e2e.conftest import PATIENCE_S, Fleet, Image, answers, pictures

Model = tuple[Path, Graph]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    command = [sys.executable, "-I", "-m", "edgeflow", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def last_object(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def model(small: Model, tmp_path: Path) -> Path:
    """The small network as one that takes picture files."""
    graph = replace(small[1], recipe={"input": small[1].inputs[0].name, "height": 64, "width": 64})
    edgeflow.save(graph, tmp_path / "pictures.safetensors")
    return tmp_path / "pictures.safetensors"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Picture files."""
    paths = [tmp_path / f"{at}.png" for at in range(3)]
    for path, array in zip(paths, pictures(3), strict=True):
        Pictures.fromarray(array[0]).save(path)
    return [str(path) for path in paths]


def test_a_run_by_command_is_judged_from_its_ledger(
    fleet: Fleet, model: Path, files: list[str], tmp_path: Path, spawn: Spawn
) -> None:
    fleet.start("edge", "edge-1")
    path = tmp_path / "run.ledger"
    asked = ["infer", *files, "--broker", fleet.url, "--model", str(model), "--check"]
    with fleet.join() as flow:
        flow.deploy(model, name="job", source="edge-1")
        done = run(*asked, "--frames", "30", "--ledger", str(path))
        assert done.returncode == 0, done.stderr
        assert "30 submitted, 30 answered, 30 good (100 %)" in done.stdout
        assert "0 wrong of 30 judged" in done.stdout
        again = run(*asked, "--frames", "30", "--ledger", str(path))
        assert again.returncode == 2
        assert "exists" in again.stderr
        check_it_ends_well_when_it_is_told_to(asked, tmp_path / "stopped.ledger", spawn)
    check_figures(path)
    check_a_flipped_hash_is_found(path, tmp_path / "flipped.ledger")


def check_figures(path: Path) -> None:
    events = path.with_name("events.jsonl")
    first_s = next(record for record in read(path) if isinstance(record, Submit)).at_s
    events.write_text(json.dumps({"at_s": first_s + 0.001, "sentence": "the link is thin"}) + "\n")
    words = ("ledger", str(path), "--per", "0.1", "--events", str(events))
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    seen = last_object(done)
    assert (seen["submitted"], seen["answered"], seen["good"], seen["wrong"]) == (30, 30, 30, 0)
    assert (seen["lost"], seen["open"], seen["ended"], seen["kept"]) == (0, 0, True, True)
    assert seen["head"]["deployment"] == "job"
    assert sum(row["good"] for row in seen["buckets"]) == 30
    assert seen["events"] == [{"after_s": 0.001, "sentence": "the link is thin"}]
    told = run(*words).stdout
    assert "0 wrong of 30 judged" in told
    assert "▸ the link is thin" in told
    assert "█" in told


def check_a_flipped_hash_is_found(path: Path, flipped: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    at = max(at for at, line in enumerate(lines) if b'"outcome"' in line)
    outcome = json.loads(lines[at])
    sign = "0" if outcome["sha256"][0] != "0" else "1"
    lines[at] = json.dumps({**outcome, "sha256": sign + outcome["sha256"][1:]}).encode() + b"\n"
    flipped.write_bytes(b"".join(lines))
    done = run("ledger", str(flipped), "--json")
    assert done.returncode == 6
    assert last_object(done)["wrong"] == 1
    assert "1 wrong" in done.stderr
    flipped.write_bytes(b"".join([*lines[:at], b"{}\n", *lines[at:]]))
    broken = run("ledger", str(flipped))
    assert broken.returncode == 2
    assert f"flipped.ledger:{at + 1}" in broken.stderr


def check_it_ends_well_when_it_is_told_to(asked: list[str], path: Path, spawn: Spawn) -> None:
    process = spawn("edgeflow", *asked, "--seconds", "inf", "--rate", "20", "--ledger", str(path))
    end_s = time.monotonic() + PATIENCE_S
    while not path.exists() or path.read_bytes().count(b'"outcome"') < 5:
        assert time.monotonic() < end_s
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    seen = judge(read(path))
    assert seen.ended
    assert (seen.lost, seen.open, seen.wrong, seen.answered) == (0, 0, 0, seen.submitted)


def driver_of(
    flow: Flow, small: Model, ledger: LedgerFile | None = None, **options: Any
) -> tuple[Driver, list[Line]]:
    """Five pictures with their right answers, and what is heard of them."""
    graph, images = small[1], pictures(5)
    heard: list[Line] = []
    driver = Driver(
        flow,
        "small",
        {str(at): {graph.inputs[0].name: image} for at, image in enumerate(images)},
        ledger,
        rights(graph, images),
        on_record=heard.append,
        **options,
    )
    return driver, heard


def rights(graph: Graph, images: list[Image]) -> dict[str, str]:
    found = answers(graph, images)
    return {str(at): digest({graph.outputs[0]: each}) for at, each in enumerate(found)}


def test_frames_are_driven_from_python_by_window_by_rate_and_through_errors(
    fleet: Fleet, small: Model, tmp_path: Path
) -> None:
    fleet.start("edge", "edge-1")
    with fleet.join() as flow:
        flow.deploy(small[0])
        with LedgerFile(tmp_path / "window.ledger") as ledger:
            driver, heard = driver_of(flow, small, ledger)
            driver.run(frames=40, window_frames=3)
            with pytest.raises(UsageError, match="once"):
                driver.run()
        assert read(ledger.path) == heard
        assert most_under_way(heard) == 3
        seen = judge(heard)
        assert (seen.submitted, seen.good, seen.wrong, seen.ended) == (40, 40, 0, True)

        driver, heard = driver_of(flow, small)
        driver.run(seconds=1.0, rate_fps=25)
        submits = [record for record in heard if isinstance(record, Submit)]
        assert 0 < len(submits) <= 25
        assert all(
            submit.at_s >= submits[0].at_s + at / 25 - 0.02 for at, submit in enumerate(submits)
        ), "an open loop is never early"
        assert judge(heard).good == len(submits)
        assert next(record.rate_fps for record in heard if isinstance(record, Head)) == 25

        driver, heard = driver_of(flow, small)
        driver.inputs = {"odd": {small[1].inputs[0].name: np.zeros((1, 3, 64, 64), np.uint8)}}
        driver.run(frames=6)
        seen = judge(heard)
        assert (seen.errors, seen.success_rate, seen.kept) == ({"malformed": 6}, 0.0, True)
        check_what_makes_no_sense_is_refused(flow, small)
        check_a_node_that_breaks_ends_the_run(flow, small)


def most_under_way(heard: list[Line]) -> int:
    steps = [isinstance(r, Submit) - isinstance(r, Outcome) for r in heard]
    return max(sum(steps[:at]) for at in range(1, len(steps) + 1))


def check_what_makes_no_sense_is_refused(flow: Flow, small: Model) -> None:
    with pytest.raises(UsageError, match="one of the two"):
        driver_of(flow, small)[0].run(rate_fps=5, window_frames=2)
    with pytest.raises(UsageError, match="above 0"):
        driver_of(flow, small)[0].run(rate_fps=float("nan"))
    driver, heard = driver_of(flow, small)
    driver.deployment = "nothing"
    with pytest.raises(DeployError, match="nothing"):
        driver.run()
    assert not heard


def check_a_node_that_breaks_ends_the_run(flow: Flow, small: Model) -> None:
    def fail() -> None:
        raise OSError("the card is gone")

    driver, heard = driver_of(flow, small)
    timer = Timer(0.5, flow.service.inbox.put, [fail])
    timer.start()
    started_s = time.monotonic()
    with pytest.raises(EdgeflowError, match="the card is gone"):
        driver.run(seconds=60)
    timer.join()
    assert time.monotonic() - started_s < 20
    seen = judge(heard)
    assert seen.ended
    assert seen.good
    assert seen.answered + seen.lost == seen.submitted
    assert os.getpid() == next(record.pid for record in heard if isinstance(record, Head))
