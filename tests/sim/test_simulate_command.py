"""`edgeflow simulate`: what it prints, and its exit code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from edgeflow import sim
from edgeflow.cli.main import create_app
from edgeflow.sim import Outcome


def test_one_json_object_tells_everything() -> None:
    said = CliRunner().invoke(create_app(), ["simulate", "--nodes", "3", "--seeds", "2", "--json"])
    assert said.exit_code == 0
    told = json.loads(said.stdout.strip().split("\n")[-1])
    assert (told["seeds"], told["nodes"], told["violations"]) == (2, 3, [])
    assert told["faults"] > 2
    assert told["results"] > 50
    assert set(told) == {
        "seeds",
        "nodes",
        "sim_hours",
        "events",
        "faults",
        "results",
        "errors",
        "violations",
        "seeds_per_s",
    }


def test_a_broken_promise_ends_with_its_story_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play(seed: int, nodes: int) -> Outcome:
        broken = "D1: frame 3 ended twice" if seed == 8 else ""
        return Outcome(seed, nodes, broken, ("a line of the story",), 45.0, 10, 1, {}, 2)

    monkeypatch.setattr(sim, "run_seed", play)
    said = CliRunner().invoke(create_app(), ["simulate", "--seeds", "3", "--first-seed", "7"])
    assert said.exit_code == 1
    assert "a line of the story" in said.stderr
    assert "edgeflow simulate --nodes 7 --seeds 1 --first-seed 8" in said.stderr
    assert "seed 8" in said.stdout
