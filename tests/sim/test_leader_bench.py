"""`scripts/bench leader`: what it counts, and what it says."""

from __future__ import annotations

import json

import pytest

from edgeflow.bench import leader
from edgeflow.events import Heard, SegmentFailed, Tick
from edgeflow.messages import Availability, LayerTimes


def test_work_is_told_by_what_made_it() -> None:
    heard = Heard(LayerTimes("a", 1, "0" * 64, (1.0,)), False)
    events = (Tick(), SegmentFailed(1, ""), heard, Heard(Availability("a", True), False))
    found = [leader.kind_of(event) for event in events]
    assert found == ["ticks", "frames", "heard LayerTimes", "heard others"]


def test_both_stretches_are_told_with_how_they_were_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leader.main(["--seconds", "4", "--seeds", "1", "--untiled", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["nodes"], found["goal"]) == ("8", 0.02)
    assert found["commit"]
    assert [row["stretch"] for row in found["rows"]] == ["steady", "restless"]
    for row in found["rows"]:
        assert row["share"] >= row["planning_share"] > 0
        assert row["ms_per_s"]["ticks"] > 0
