"""A lab file is checked as a whole before anything is built, and each error names the cure."""

from __future__ import annotations

import copy
import os
import shutil
import struct
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from edgeflow.errors import LabError, UsageError
from edgeflow.lab import changes, clocks, command, labfile, tracing

GOOD: dict[str, Any] = {
    "name": "small",
    "switches": ["home", "internet"],
    "nodes": {
        "cam-1": {"tier": "device", "cpu": 0.2},
        "cloud-1": {"tier": "cloud", "cpu": 0.5},
    },
    "links": [
        {"between": ["cam-1", "home"]},
        {"between": ["cloud-1", "internet"]},
        {"name": "uplink", "between": ["home", "internet"], "up_mbps": 10, "delay_ms": 5},
    ],
    "timeline": [{"at_s": 1, "do": "link", "link": "uplink", "up_mbps": 2}],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with one place replaced: `links.0.between`."""
    table = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    at: Any = table
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return table


def test_a_good_file_says_who_is_where() -> None:
    lab = labfile.convert(GOOD, "small.toml")
    assert lab.hosts == ("broker", "cam-1", "cloud-1")
    assert lab.broker_switch == "home"
    assert [link.title for link in lab.links] == ["cam-1:home", "cloud-1:internet", "uplink"]
    assert [link.is_impaired for link in lab.links] == [False, False, True]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("links.0.between", ["cam-9", "home"], "there is no node or switch cam-9; there is cam-1"),
        ("links.2.up_mbps", 0, "a rate is above 0: leave it out for no limit"),
        ("links.2.up_mbps", -5, "a rate is above 0"),
        ("links.2.delay_ms", -1, "delay_ms"),
        ("links.2.loss_percent", 101, "loss_percent"),
        ("links.2.mbps", 5, "unknown field `mbps`"),
        ("links.1.between", ["cloud-1", "cam-1"], "the second end must be a switch, cam-1 is"),
        ("links.1.between", ["cam-1", "internet"], "cam-1 has a link already"),
        ("links.1.between", ["home", "internet"], "home and internet are already connected"),
        ("links.1.name", "uplink", "uplink is there twice"),
        ("nodes.cam-1.cpu", 0, "cpu"),
        ("nodes.cam-1.tier", "fog", "tier 'fog' is none of device, edge, cloud"),
        ("nodes.broker", {"tier": "edge", "cpu": 0.1}, "the name is taken"),
        ("nodes.edge-1", {"tier": "edge", "cpu": 0.1}, "edge-1 is not connected: add"),
        ("nodes", {}, "there is no node"),
        ("switches", [], "there is no switch"),
        ("links.2.kind", "nat", "cloud-1 cannot dial a broker behind NAT; plug it in on the other"),
        ("links.2.kind", "wormhole", "kind"),
        ("broker_at", "garage", "there is no switch garage; there is home, internet"),
        ("timeline.0.link", "radio", "timeline[0]: there is no link radio"),
        ("timeline.0", {"do": "kill", "host": "edge-7"}, "there is no host edge-7"),
        ("timeline.0", {"do": "explode", "host": "cam-1"}, "explode"),
        ("timeline.0", {"do": "cpu", "node": "broker", "cpu": 0.5}, "there is no node broker"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        labfile.convert(changed(path, value), "small.toml")
    assert str(caught.value).startswith("small.toml: ")
    assert any(part in str(caught.value) for part in said.split("|")), caught.value


def test_a_lab_that_does_not_fit_the_machine_is_refused_with_its_sum() -> None:
    lab = labfile.convert(changed("nodes.cloud-1.cpu", 1.5), "small.toml")
    labfile.need_room(lab, 4)
    with pytest.raises(UsageError, match=r"wants 1\.\d+ cores .* but 1\.60 is all it may use"):
        labfile.need_room(lab, 2)


def test_every_shipped_lab_fits_a_machine_of_two_cores() -> None:
    found = sorted((Path(__file__).parents[2] / "configs" / "labs").glob("*.toml"))
    assert len(found) >= 7
    for path in found:
        lab = labfile.load(path)
        assert lab.name == path.stem
        assert "ours" in path.read_text(encoding="utf-8"), "say whose the values are"
        labfile.need_room(lab, 2)


def test_a_bare_machine_is_there_and_nothing_is_started_on_it() -> None:
    lab = labfile.convert(changed("nodes.cam-1.bare", True), "small.toml")
    assert lab.hosts == ("broker", "cam-1", "cloud-1")
    assert lab.running == ("cloud-1",)


CLOCKS = """
import sys, time
print(time.time(), time.monotonic(), flush=True)
sys.stdin.readline()
time.sleep(0.01)
print(time.time(), time.monotonic(), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="labs need Linux")
@pytest.mark.skipif(not any(map(shutil.which, clocks.COMPILERS)), reason="no C compiler")
def test_a_clock_is_set_in_one_process_and_only_the_time_of_day(tmp_path: Path) -> None:
    clocks.make(tmp_path)
    environ = {**os.environ, **clocks.environment("cam-1", tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-I", "-c", CLOCKS],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        wall_s, monotonic_s = map(float, running.stdout.readline().split())
        assert abs(wall_s - time.time()) < 5
        clocks.shift("cam-1", -3600, tmp_path)
        running.stdin.write("\n")
        running.stdin.flush()
        later_s, passed_s = map(float, running.stdout.readline().split())
    assert -3600 <= later_s - wall_s < -3590
    assert 0 < passed_s - monotonic_s < 10
    assert clocks.environment("cam-1", tmp_path) == clocks.environment("cam-1", tmp_path)
    assert (tmp_path / "cam-1.clock").read_bytes() == struct.pack("=q", -3600 * 10**9)


def test_without_a_compiler_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "COMPILERS", ())
    with pytest.raises(LabError, match="apt-get install gcc"):
        clocks.need_compiler()


def test_without_root_or_iproute2_the_cure_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root: sudo -E edgeflow lab"):
        command.need_tools()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="ip is missing: sudo apt-get install iproute2"):
        command.need_tools()


@pytest.mark.parametrize(
    "words",
    [
        "link link=uplink up_mbps=2 delay_ms=30",
        "cut link=uplink direction=up",
        "mend link=uplink",
        "partition hosts=cam-1,broker towards=cloud-1 one_way=True",
        "heal",
        "cpu node=cam-1 cpu=0.1",
        "load node=cam-1 processes=2",
        "kill host=broker",
        "stop host=cam-1",
        "cont host=cam-1",
        "restart host=cam-1",
        "restart host=broker state=older",
        "kill-worker node=cam-1",
        "clock node=cam-1 ahead_s=-3600",
        "save",
    ],
)
def test_a_change_is_said_in_the_words_that_make_it(words: str) -> None:
    change = changes.parse(words.split())
    assert changes.parse(changes.sentence(change).split()) == change
    assert changes.sentence(change).startswith(words.partition(" one_way")[0])


def test_bare_words_are_the_first_fields() -> None:
    assert changes.parse(["cut", "uplink", "down"]) == changes.Cut("uplink", "down")
    assert changes.parse(["cpu", "cam-1", "0.5"]) == changes.SetCpu("cam-1", 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what is to happen"),
        (["melt", "cam-1"], "there is no change 'melt'; there is link, cut"),
        (["link", "uplink", "up_mbps=0"], "it takes link, up_mbps"),
        (["kill"], "host"),
        (["cut", "uplink", "sideways"], "direction"),
        (["heal", "cam-1"], "it takes nothing"),
        (["restart", "broker", "newer"], "state"),
        (["clock", "cam-1", "tomorrow"], "it takes node, ahead_s"),
        (["kill-worker"], "node"),
    ],
)
def test_a_change_that_is_none_names_what_there_is(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        changes.parse(words)
    assert said in str(caught.value)


TRACED = """
name = "small"
[nodes.cam-1]
tier = "device"
cpu = 0.2
[[links]]
between = ["cam-1", "home"]
[[timeline]]
at_s = 5
do = "trace"
link = "cam-1:home"
file = "../traces/steps.csv"
direction = "up"
[[timeline]]
at_s = 6.5
do = "kill"
host = "cam-1"
"""


def written_lab(folder: Path, text: str) -> Path:
    """A lab file with a trace in the folder beside it."""
    for name in ("labs", "traces"):
        (folder / name).mkdir()
    (folder / "traces" / "steps.csv").write_text("seconds,mbps\n0,50\n1,4\n2,4\n3,20\n")
    file = folder / "labs" / "traced.toml"
    file.write_text(text)
    return file


def test_a_trace_on_a_time_line_is_as_many_link_changes_between_the_others(tmp_path: Path) -> None:
    lab = labfile.load(written_lab(tmp_path, TRACED))
    said = [(each.at_s, changes.sentence(each)) for each in tracing.unrolled(lab.timeline)]
    assert said == [
        (5, "link link=cam-1:home up_mbps=50"),
        (6, "link link=cam-1:home up_mbps=4"),
        (6.5, "kill host=cam-1"),
        (8, "link link=cam-1:home up_mbps=20"),
    ]


def test_a_repeated_trace_goes_on_in_both_directions(tmp_path: Path) -> None:
    text = TRACED.replace('direction = "up"', "repeat = true")
    lab = labfile.load(written_lab(tmp_path, text))
    found = [
        (each.at_s, each.up_mbps, each.down_mbps)
        for each in islice(tracing.unrolled(lab.timeline), 6)
        if isinstance(each, changes.SetLink)
    ]
    assert found == [(5, 50, 50), (6, 4, 4), (8, 20, 20), (9, 50, 50), (10, 4, 4)]


def test_a_trace_that_is_missing_or_wrong_is_told_before_the_lab_is_built(tmp_path: Path) -> None:
    file = written_lab(tmp_path, TRACED)
    (tmp_path / "traces" / "steps.csv").write_text("seconds,mbps\n0,0\n")
    with pytest.raises(UsageError, match=r"steps.csv:2: 0 Mbit/s .* a rate is above 0"):
        labfile.load(file)
    (tmp_path / "traces" / "steps.csv").unlink()
    with pytest.raises(UsageError, match=r"steps.csv: no such file; examples lie in"):
        labfile.load(file)


def test_a_trace_reads_the_same_as_a_command(tmp_path: Path) -> None:
    wanted = changes.parse(["trace", "uplink", "4g.csv", "up", "repeat=true"])
    assert wanted == changes.FollowTrace(link="uplink", file="4g.csv", direction="up", repeat=True)
    assert changes.parse(changes.sentence(wanted).split()) == wanted
