"""`edgeflow simulate`: what it prints, what it keeps, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgeflow import sim
from edgeflow.cli.main import create_app
from edgeflow.errors import UsageError
from edgeflow.sim import Outcome
from edgeflow.sim.script import Fault, draw, read, written

NODES = ["cam-1", "edge-1", "cloud-1"]


def simulate(*words: str | Path) -> Result:
    return CliRunner().invoke(create_app(), ["simulate", *map(str, words)])


def told(said: Result) -> dict[str, object]:
    """The JSON object that it printed."""
    found: dict[str, object] = json.loads(said.stdout.strip().split("\n")[-1])
    return found


def refusal(said: Result) -> str:
    """The text of the error that it ended with."""
    assert isinstance(said.exception, UsageError)
    return str(said.exception)


def test_one_json_object_tells_everything() -> None:
    said = simulate("--nodes", "3", "--seeds", "2", "--json")
    assert said.exit_code == 0
    found = told(said)
    assert (found["seeds"], found["nodes"], found["violations"]) == (2, 3, [])
    assert int(str(found["faults"])) > 2
    assert int(str(found["results"])) > 50
    assert set(found) == {
        "seeds",
        "nodes",
        "groups",
        "sim_hours",
        "events",
        "faults",
        "results",
        "errors",
        "violations",
        "failing_share_max",
        "seeds_per_s",
    }


def test_two_processes_say_what_one_says() -> None:
    words = ["simulate", "--seeds", "3", "--nodes", "3", "--faults", "links", "--json"]
    said = [
        subprocess.run(
            [sys.executable, "-m", "edgeflow", *words, "--jobs", jobs],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for jobs in ("1", "2")
    ]
    found = [{**json.loads(each), "seeds_per_s": 0} for each in said]
    assert found[0] == found[1]


class Fake:
    """Histories that fail wherever `culprit` happens; and which were played."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit
        self.played: list[int] = []

    def __call__(
        self, seed: int, nodes: int, groups: Sequence[str], script: Sequence[Fault] | None = None
    ) -> Outcome:
        self.played.append(seed)
        faults = tuple(draw(seed, NODES, groups, 4.0, 20.0) if script is None else script)
        is_broken = seed == 8 and any(fault.kind == self.culprit for fault in faults)
        broken = "D1: frame 3 ended twice" if is_broken else ""
        return Outcome(seed, 3, broken, ("a line of the story",), 45.0, 10, 1, {}, 2, faults)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    culprit = draw(8, NODES, ("links", "clocks"), 4.0, 20.0)[3].kind
    made = Fake(culprit)
    monkeypatch.setattr(sim, "run_seed", made)
    return made


FAKED = ("--faults", "links,clocks")


def test_a_broken_promise_ends_with_its_story_and_exit_code_1(fake: Fake) -> None:
    said = simulate("--seeds", "3", "--first-seed", "7", *FAKED)
    assert said.exit_code == 1
    assert "a line of the story" in said.stderr
    assert "edgeflow simulate --nodes 3 --seeds 1 --first-seed 8 --faults links,clocks" in (
        said.stderr
    )
    assert "seed 8" in said.stdout


def test_a_broken_promise_is_told_with_the_faults_that_are_needed(
    fake: Fake, tmp_path: Path
) -> None:
    said = simulate("--seeds", "1", "--first-seed", "8", *FAKED)
    lines = said.stderr[said.stderr.index("# seed 8") :].strip().split("\n")
    seed, nodes, faults = read(lines)
    assert (seed, nodes) == (8, 3)
    assert [fault.kind for fault in faults] == [fake.culprit]
    path = tmp_path / "script"
    path.write_text("\n".join(lines), encoding="utf-8")
    again = simulate("--script", path, *FAKED, "--json")
    assert again.exit_code == 1
    assert told(again)["violations"] == [
        {"seed": 8, "nodes": 3, "violation": "D1: frame 3 ended twice"}
    ]


def test_a_campaign_goes_on_where_it_was_killed(fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    simulate("--seeds", "3", "--resume", path, *FAKED)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    fake.played.clear()
    said = simulate("--seeds", "5", "--resume", path, *FAKED, "--json")
    assert fake.played == [2, 3, 4]
    assert told(said)["seeds"] == 5


@pytest.mark.parametrize("other", [("--faults", "disks"), (*FAKED, "--nodes", "9")])
def test_a_file_of_another_question_is_refused(
    fake: Fake, tmp_path: Path, other: tuple[str, ...]
) -> None:
    path = tmp_path / "seeds.jsonl"
    simulate("--seeds", "1", "--resume", path, *FAKED)
    said = simulate("--seeds", "1", "--resume", path, *other)
    assert "give another file" in refusal(said)


def test_a_file_of_other_code_is_refused(fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    simulate("--seeds", "1", "--resume", path, *FAKED)
    header, outcome = path.read_text(encoding="utf-8").splitlines()
    changed = {**json.loads(header), "code": "0" * 12}
    path.write_text(f"{json.dumps(changed)}\n{outcome}\n", encoding="utf-8")
    assert "code 000000000000" in refusal(simulate("--seeds", "1", "--resume", path, *FAKED))


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("--faults", "gremlins"), "give some of all, processes"),
        (("--faults", "switch,links"), "stand alone"),
        (("--nodes", "2"), "at least 3 nodes"),
    ],
)
def test_what_cannot_be_played_is_refused_with_the_cure(words: tuple[str, ...], cure: str) -> None:
    assert cure in refusal(simulate(*words))


@pytest.mark.parametrize(
    "lines",
    [
        "4.2 kill edge-1 cloud-1 for 1.0 much 0.5",
        "# seed 3, 4 nodes\n4.2 kill edge-1",
        "# seed 3, 4 nodes\n4.2 tickle edge-1 cloud-1 for 1.0 much 0.5",
        "# seed 3, 4 nodes\n4.2 kill edge-9 cloud-1 for 1.0 much 0.5",
    ],
)
def test_a_script_that_says_nothing_sensible_is_refused(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "script"
    path.write_text(lines, encoding="utf-8")
    assert refusal(simulate("--script", path))


def test_a_script_is_read_back_as_it_was_written() -> None:
    faults = draw(3, NODES, ("links", "users"), 4.0, 20.0)
    assert read(written(3, 3, faults)) == (3, 3, faults)
