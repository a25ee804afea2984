"""`edgeflow rehearse`: what it prints, the page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgeflow.cli.main import create_app
from edgeflow.errors import UsageError
from edgeflow.io import weatherfile

ROOT = Path(__file__).parents[2]


def rehearse(*words: str | Path) -> Result:
    return CliRunner().invoke(create_app(), ["rehearse", *map(str, words)])


def told(said: Result) -> dict[str, Any]:
    """The JSON object that it printed."""
    assert said.exit_code == 0, said.output
    found: dict[str, Any] = json.loads(said.stdout.strip().split("\n")[-1])
    return found


def test_one_json_object_tells_each_policy_beside_the_oracle() -> None:
    words = ("--minutes", "0.7", "--event", "20 link * cloud-1 4mbps", "--json")
    found = told(rehearse(*words, "--policy", "mincut", "--policy", "static"))
    mincut, static = found["runs"]
    assert (mincut["policy"], static["policy"]) == ("mincut", "static")
    assert mincut["lost"] == mincut["failed"] == 0
    assert [each["at_s"] for each in mincut["moments"]] == [0.0, 20.0]
    assert mincut["moments"][1]["frames"] <= 8
    assert static["moments"][1]["frames"] is None
    assert len(static["changes"]) == 1
    assert mincut["regret"] < static["regret"]


def test_links_that_are_one_radio_wait_for_each_other(tmp_path: Path) -> None:
    """Frames to one node and probes to all others leave by it."""
    file = tmp_path / "radio.toml"
    file.write_text('minutes = 0.5\nradios = ["cam-1"]\nevents = ["10 link cam-1 * 1mbps"]\n')
    apart = told(rehearse("--minutes", "0.5", "--event", "10 link cam-1 * 1mbps", "--json"))
    radio = told(
        rehearse(
            *("--minutes", "0.5", "--event", "10 link cam-1 * 1mbps", "--radio", "cam-1", "--json")
        )
    )
    assert told(rehearse(file, "--json"))["runs"] == radio["runs"]
    assert radio["runs"][0]["mean_ms"] > apart["runs"][0]["mean_ms"]


def test_a_radio_of_a_node_that_is_not_there_is_refused() -> None:
    said = rehearse("--radio", "cam-9")
    assert isinstance(said.exception, UsageError)
    assert "cam-9" in str(said.exception)
    assert "cam-1" in str(said.exception)


def test_people_read_changes_convergence_and_what_it_cost() -> None:
    said = rehearse("steps", "--minutes", "1.2")
    assert said.exit_code == 0
    for words in ("nothing here is measured", "first plan", "link * cloud-1 4mbps", "× best plans"):
        assert words in said.stdout


def test_the_page_shows_frames_plans_and_rates_and_fetches_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    trace = ROOT / "configs" / "traces" / "4g.csv"
    said = rehearse("--minutes", "0.6", "--trace", f"* cloud-1={trace}", "--html", page)
    assert said.exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<circle") == text.count('class="dot')
    assert text.count("<circle") > 60
    assert "cam-1 cloud-1" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_file_says_cluster_events_and_traces(tmp_path: Path) -> None:
    path = tmp_path / "radio.toml"
    configs = ROOT / "configs"
    path.write_text(
        f"""
about = "a radio"
minutes = 0.5
cluster = "{configs / "clusters" / "camera-4g.toml"}"
events = ["20 load edge-1 0.8"]
[traces]
"* cloud-1" = "{configs / "traces" / "4g.csv"}"
""",
        encoding="utf-8",
    )
    found = told(rehearse(path, "--json"))
    assert found["about"] == "a radio"
    assert found["runs"][0]["moments"][1]["what"] == "load edge-1 0.8"
    assert found["runs"][0]["failed"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minuts = 3", "minuts"),
        ("minutes = 0", "above 0"),
        ('events = ["soon load edge-1 0.8"]', "does not begin with seconds"),
        ('events = ["9 load edge-9 0.8"]', "no node 'edge-9'"),
        ('[traces]\n"cloud-1" = "no.csv"', "no such file"),
        ('cluster = "no.toml"', "no.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        weatherfile.read(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("storm",), "there is no weather 'storm'"),
        (("--policy", "hope"), "no policy 'hope'"),
        (("--event", "5 link cam-1 cloud-1 fast"), "means nothing"),
        (("--trace", "cam-1=configs/traces/4g.csv"), "name two nodes"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = rehearse(*words)
    assert isinstance(found.exception, UsageError)
    assert said in str(found.exception)
