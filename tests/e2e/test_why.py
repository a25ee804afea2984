"""`edgeflow why` of a real fleet: what was measured stands beside what was promised."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from edgeflow.api import Flow
from edgeflow.cli.why import history_of
from edgeflow.leader.history import JUDGED_FRAMES
from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, pictures, told, until
from tests.e2e.test_cli import complaint, edgeflow


def why(fleet: Fleet, *more: str) -> Any:
    return json.loads(told(fleet, "why", "small", "--json", *more).splitlines()[-1])


def infer(flow: Flow) -> None:
    """Frames at a pace at which each is told of."""
    for image in pictures(JUDGED_FRAMES + 2):
        flow.infer(image)
        time.sleep(0.03)


def known(flow: Flow) -> list[int]:
    """How many frames were measured of each plan."""
    history = history_of(flow, "small")
    return [change.frames_after for change in history.changes] if history else []


def test_each_change_of_a_plan_is_told_with_what_was_promised_and_measured(
    fleet: Fleet, small: tuple[Path, Graph], tmp_path: Path
) -> None:
    path, _ = small
    fleet.start("edge", "edge-1")
    fleet.start("edge", "edge-2")
    page = tmp_path / "why.html"
    with fleet.join() as flow:
        flow.deploy(path, name="small", placement="permute @cam-1 | stem..softmax @edge-1")
        infer(flow)
        deploy = ("deploy", str(path), "--name", "small", "--source", "cam-1")
        told(fleet, *deploy, "--placement", "permute @cam-1 | stem..softmax @edge-2")
        infer(flow)
        outcomes = [JUDGED_FRAMES, JUDGED_FRAMES]
        until(lambda: known(flow) == outcomes, "what came of both plans", flow)
        seen, text = why(fleet), told(fleet, "why", "--last", "1", "--html", str(page))
        sentences = [line for line in flow.notices() if "over 20 frames" in line]
        missing = edgeflow("why", "other", EDGEFLOW_BROKER=fleet.url)
    first, second = seen["changes"]
    assert (first["kind"], first["before"]) == ("first", "")
    assert (second["kind"], second["why"]) == ("wished", "the deployment was changed")
    assert second["before"] == first["after"] == "permute @cam-1 | stem..softmax @edge-1"
    assert second["after"] == "permute @cam-1 | stem..softmax @edge-2"
    assert first["frames_after"] == JUDGED_FRAMES
    assert first["fetched_bytes"] > 10_000
    for change in (first, second):
        assert change["measured_after_s"] > 0
        assert change["predicted_after_s"] > 0
        assert change["switch_s"] > 0
        assert abs(change["unix_s"] - second["unix_s"]) < 300
    assert second["measured_before_s"] > 0
    assert second["predicted_before_s"] > 0
    assert seen["now"]["placement"] == second["after"]
    assert len(sentences) == 2
    assert "first plan" not in text
    assert re.search(r"\n  after   predicted +[\d.]+ ms  measured [\d.]+ ms \(20 frames\)", text)
    assert page.read_text(encoding="utf-8").count("<rect") == 2
    assert "there is small" in complaint(missing, 5)
