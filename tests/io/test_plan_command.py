"""`edgeflow plan` as a shell would call it: tables, an object, a page, errors with their code."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edgeflow
from edgeflow.cli.main import main
from edgeflow.io import clusterfile
from edgeflow.io.settings import read_toml
from edgeflow.layout.placement import format_placement, parse_placement
from edgeflow.messages import TileMapView
from edgeflow.planning import propose
from edgeflow.views import chart
from edgeflow.views.markup import Markup, element, join

CONFIGS = Path(__file__).parents[2] / "configs"
CLUSTER = CONFIGS / "clusters" / "pi-5g.toml"
VOID = ("meta", "br", "img", "link")

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeflow", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a thin waist behind its second layer and heavy layers behind that."""
    pytest.importorskip("torch")
    import torch
    from torch import nn

    torch.manual_seed(3)
    heavy = [nn.Conv2d(256, 256, 3, padding=1) for _ in range(7)]
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.Conv2d(8, 8, 3, stride=4), nn.Conv2d(8, 256, 1), *heavy
    )
    graph = edgeflow.export(net.eval(), (torch.zeros(1, 3, 256, 256),), name="waist")
    path = tmp_path_factory.mktemp("models") / "waist.safetensors"
    edgeflow.save(graph, path)
    return path


def planned(shell: Shell, model: Path, *words: object) -> dict[str, Any]:
    """The object that --json prints as the last line."""
    code, out, err = shell("plan", model, "--cluster", CLUSTER, *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_the_table_shows_algorithms_side_by_side_and_says_it_is_paper(
    model: Path, shell: Shell
) -> None:
    code, out, _ = shell("plan", model, "--cluster", CLUSTER)
    assert code == 0
    assert "on paper: profiles, not measurements" in out
    assert "raspberry-pi-5 conv_gflops" in out
    for word in (
        "latency, ms",
        "backbone, kB",
        "optimal",
        "planning, ms",
        "device-only",
        "cloud-only",
    ):
        assert word in out
    assert "edge-only: no edge node can compute waist" in out
    assert "why this cut: split" in out
    assert "one layer earlier" in out


def test_the_object_holds_plans_that_parse_back_and_add_up(model: Path, shell: Shell) -> None:
    told = planned(shell, model)
    graph = edgeflow.load(model)
    scene = clusterfile.convert(read_toml(CLUSTER), CLUSTER)
    assert "not measurements" in told["basis"]
    assert {figure["estimate"] for figure in told["figures"]} == {True, False}
    assert {"mincut", "device-only", "cloud-only", "brute"} <= {
        plan["algorithm"] for plan in told["plans"]
    }
    for plan in told["plans"]:
        asked = propose(graph, scene.cluster(), plan["algorithm"])
        assert parse_placement(graph, plan["placement"]) == asked.placement
        assert plan["latency_ms"] == pytest.approx(asked.predicted_s * 1e3)
        parts = [*plan["compute_ms"].values(), *plan["transfer_ms"].values(), plan["way_back_ms"]]
        assert sum(parts) == pytest.approx(plan["latency_ms"])
    best = told["plans"][0]
    assert best["optimal"]
    assert all(each["latency_ms"] >= best["latency_ms"] for each in told["neighbours"])


def test_a_number_that_is_set_counts(model: Path, shell: Shell) -> None:
    slow = planned(shell, model, "--algorithm", "cloud-only", "--set", "uplink.mbps=1")
    fast = planned(shell, model, "--algorithm", "cloud-only", "--set", "uplink.mbps=100")
    assert [plan["algorithm"] for plan in slow["plans"]] == ["cloud-only"]
    assert slow["plans"][0]["latency_ms"] > 10 * fast["plans"][0]["latency_ms"]
    assert slow["set"] == ["uplink.mbps=1"]


def test_frames_may_enter_elsewhere(model: Path, shell: Shell) -> None:
    told = planned(shell, model, "--source", "cloud-1")
    assert told["source"] == "cloud-1"
    assert told["plans"][0]["transfer_ms"] == {}


def test_objective_limit_and_privacy_are_those_of_a_deployment(model: Path, shell: Shell) -> None:
    quick = planned(shell, model)["plans"][0]
    words = ("--objective", "traffic", "--latency-ms-max", 2 * quick["latency_ms"])
    frugal = planned(shell, model, *words)
    assert (frugal["objective"], frugal["plans"][0]["value_unit"]) == ("traffic", "bytes")
    assert frugal["plans"][0]["backbone_kb"] < quick["backbone_kb"]
    assert frugal["plans"][0]["latency_ms"] <= 2 * quick["latency_ms"]
    secret = planned(shell, model, "--private", "device", "--algorithm", "mincut")["plans"][0]
    assert secret["placement"].split("@")[1].startswith("pi-1")
    refused = planned(shell, model, "--private", "device")["refused"]
    assert "cloud-only" in refused


def test_a_sweep_of_another_objective_says_so_on_its_page(model: Path, shell: Shell) -> None:
    page = model.parent / "traffic.html"
    words = ("plan", model, "--cluster", CLUSTER, "--objective", "traffic")
    code, out, err = shell(*words, "--sweep", "uplink.mbps=1:500", "--html", page)
    assert code == 0, err
    assert "predicted backbone, kB" in page.read_text(encoding="utf-8")
    code, out, err = shell(*words[:-1], "throughput", "--sweep", "uplink.mbps=1:500")
    assert code == 0, err
    assert "slowest stage, ms" in out


def test_a_sweep_finds_the_changes_that_brute_force_confirms(model: Path, shell: Shell) -> None:
    swept = planned(shell, model, "--sweep", "uplink.mbps=0.5:500")["sweep"]
    graph = edgeflow.load(model)
    scene = clusterfile.convert(read_toml(CLUSTER), CLUSTER)
    assert swept["unit"] == "Mbit/s"
    assert len(swept["points"]) > 30
    assert swept["changes"]
    for change in swept["changes"]:
        for factor, line in ((0.995, change["before"]), (1.005, change["behind"])):
            there = scene.changed("uplink.mbps", change["value"] * factor).cluster()
            asked = propose(graph, there, "brute")
            assert format_placement(graph, asked.placement) == line


def test_a_lab_file_is_a_cluster_too(model: Path, shell: Shell) -> None:
    lab = CONFIGS / "labs" / "two-tier.toml"
    code, out, err = shell("plan", model, "--cluster", lab)
    assert (code, "calibrating" in err) == (0, True)
    assert "this machine's cores at N %, calibrated now" in out


class Reader(HTMLParser):
    """Whether elements close in turn, and what they point to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.pointers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.open += [] if tag in VOID else [tag]
        self.pointers += [f"{key}={value}" for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_needs_nothing_from_outside(model: Path, shell: Shell) -> None:
    page = model.parent / "plan.html"
    words = ("plan", model, "--cluster", CLUSTER, "--sweep", "uplink.mbps=0.5:500", "--html", page)
    assert shell(*words)[0] == 0
    text = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert {"svg", "polyline", "circle", "table", "code"} <= set(reader.seen)
    assert not {"script", "link", "img", "iframe"} & set(reader.seen)
    assert reader.pointers == []
    assert not re.search(r"url\(|@import|https?://(?!\S*</)", text)
    assert "on paper: profiles, not measurements" in text
    assert "uplink.mbps, Mbit/s" in text
    assert "predicted latency, ms" in text
    assert "prefers-color-scheme: dark" in text
    told = planned(shell, model, "--sweep", "uplink.mbps=0.5:500")["sweep"]
    assert text.count("<circle") == len(told["changes"])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weak camera and two boxes on one cable."""
    boxes = "".join(
        f'[nodes.edge-{at}]\ntier = "edge"\nboard = "raspberry-pi-5"\n' for at in (1, 2)
    )
    path = tmp_path_factory.mktemp("clusters") / "shelf.toml"
    path.write_text(
        f"""
        name = "shelf"
        about = "two boxes"
        source = "cam-1"
        [profiles]
        boards = "{CONFIGS}/profiles/boards.toml"
        links = "{CONFIGS}/profiles/links.toml"
        [nodes.cam-1]
        tier = "device"
        compute = "none"
        {boxes}
        [[links]]
        name = "lan"
        between = [["device", "edge"], ["device", "edge"]]
        profile = "ethernet"
        """,
        encoding="utf-8",
    )
    return path


def tiled(model: Path) -> str:
    """The last layers of the model on both boxes, the first on one."""
    names = [layer.name for layer in edgeflow.load(model).layers]
    return f"{names[0]}..{names[2]} @edge-1 | {names[3]}..{names[-1]} @edge-1[0:9] edge-2[9:16]"


def test_tiles_by_hand_are_drawn_with_what_they_cost(
    model: Path, shelf: Path, shell: Shell
) -> None:
    words = ("--cluster", shelf, "--placement", tiled(model), "--algorithm", "edge-only")
    code, out, err = shell("plan", model, *words)
    assert code == 0, err
    assert "tiles, by hand:" in out
    assert re.search(r"A  edge-1  0:9 ", out)
    assert re.search(r"B  edge-2  9:16 ", out)
    assert "measured" not in out.split("tiles, by hand:")[1]
    told = planned(shell, model, *words)
    by_hand, whole = told["plans"]
    assert (by_hand["algorithm"], by_hand["placement"]) == ("by hand", tiled(model))
    (view,) = (msgspec.convert(each, TileMapView) for each in by_hand["tiles"])
    assert [(tile.node, str(tile.makes)) for tile in view.tiles] == [
        ("edge-1", "0:9,0:16"),
        ("edge-2", "9:16,0:16"),
    ]
    assert by_hand["tiles_in_bytes"] == sum(tile.in_bytes for tile in view.tiles)
    assert by_hand["moved_kb"] == pytest.approx(sum(by_hand["transfer_bytes"].values()) / 1e3)
    assert f"{100 * by_hand['recomputed_share']:.1f} % of the model's FLOPs recomputed" in out
    assert (whole["tiles"], whole["recomputed_share"]) == ([], 0)


def test_the_planner_tiles_unless_it_is_told_not_to(model: Path, shelf: Path, shell: Shell) -> None:
    words = ("--cluster", shelf, "--algorithm", "mincut")
    (free,), (bound,) = (
        planned(shell, model, *words, *more)["plans"] for more in ((), ("--no-tiles",))
    )
    assert free["latency_ms"] < bound["latency_ms"]
    assert {tile["node"] for view in free["tiles"] for tile in view["tiles"]} == {
        "edge-1",
        "edge-2",
    }
    assert bound["tiles"] == []
    assert "[" not in bound["placement"]


def test_a_page_without_a_sweep_draws_the_tile_maps(model: Path, shelf: Path, shell: Shell) -> None:
    page = model.parent / "tiles.html"
    words = ("--cluster", shelf, "--placement", tiled(model), "--no-tiles", "--html", page)
    code, _, err = shell("plan", model, *words)
    assert code == 0, err
    text = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.pointers == []
    assert not re.search(r"url\(|@import|https?://(?!\S*</)", text)
    assert text.count("<svg") == 2  # the map, and the way of the patches
    assert "Tile maps: by hand" in text
    assert 'class="hatch c1"' in text
    for word in ("A  edge-1", "B  edge-2", "cam-1 → edge-1", "edge-2 → cam-1"):
        assert word in text, word


def test_a_sweep_does_not_call_another_size_of_tiles_another_plan(
    model: Path, shelf: Path, shell: Shell
) -> None:
    words = ("--cluster", shelf, "--algorithm", "mincut", "--sweep", "lan.mbps=20:2000")
    swept = planned(shell, model, *words)["sweep"]
    assert any("[" in point["placement"] for point in swept["points"])
    for change in swept["changes"]:
        before, behind = (re.sub(r"\[.*?\]", "", change[side]) for side in ("before", "behind"))
        assert before != behind


def test_what_comes_from_files_is_escaped(model: Path, shell: Shell, tmp_path: Path) -> None:
    text = CLUSTER.read_text(encoding="utf-8").replace("../profiles", f"{CONFIGS}/profiles")
    evil = "<script>alert('x')</script>"
    text = text.replace("one Raspberry Pi 5,", evil).replace('"uplink"', '"<b>"')
    cluster = tmp_path / "evil.toml"
    cluster.write_text(text, encoding="utf-8")
    page = tmp_path / "evil.html"
    words = ("plan", model, "--cluster", cluster, "--sweep", "<b>.mbps=1:50", "--html", page)
    code, out, err = shell(*words)
    assert code == 0, err
    assert evil in out
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert "<b>" not in written
    assert "&lt;script&gt;" in written


def test_markup_escapes_all_but_markup() -> None:
    assert element("p", "a < b", title='"x"') == '<p title="&quot;x&quot;">a &lt; b</p>'
    assert element("p", element("b", "&")) == "<p><b>&amp;</b></p>"
    assert join("<", Markup("<br>")) == "&lt;<br>"
    assert element("rect", x=1.50, stroke_width=2, class_=None) == (
        '<rect x="1.5" stroke-width="2"></rect>'
    )


def test_names_at_the_right_stand_one_below_the_other_within_the_chart() -> None:
    bottom = chart.HEIGHT - chart.BOTTOM
    rows = [1, 2, 1, 3]
    places = chart.spread([bottom, bottom - 1, 200.0, bottom], rows)
    assert places[2] == 200.0
    order = sorted(range(4), key=lambda at: places[at])
    for before, behind in pairwise(order):
        gap = places[behind] - places[before]
        assert gap >= rows[before] * chart.LABEL_HEIGHT - 1e-9
    lowest = [y + (row - 1) * chart.LABEL_HEIGHT for y, row in zip(places, rows, strict=True)]
    assert max(lowest) <= bottom


def test_curves_that_coincide_are_one_with_both_names() -> None:
    flat, slope = ((1.0, 5.0), (2.0, 5.0)), ((1.0, 9.0), (2.0, math.inf))
    curves = [chart.Curve("a", flat), chart.Curve("b", slope), chart.Curve("best", flat, True)]
    assert [(each.label, each.is_main) for each in chart.merged(curves)] == [
        ("best, a", True),
        ("b", False),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--cluster", "nowhere.toml"), 2, "nowhere.toml: no such file"),
        (("--cluster", CLUSTER, "--source", "attic"), 2, "no source attic; there is pi-1"),
        (("--cluster", CLUSTER, "--algorithm", "magic"), 2, "--algorithm magic: there is mincut"),
        (("--cluster", CLUSTER, "--set", "uplink.mbps=0"), 2, "must be a number above 0"),
        (("--cluster", CLUSTER, "--set", "uplink.mbps=nan"), 2, "must be a number above 0"),
        (("--cluster", CLUSTER, "--set", "uplink.mbps=fast"), 2, "write NAME=NUMBER"),
        (("--cluster", CLUSTER, "--set", "moon.mbps=1"), 2, "there is no link moon; there is upl"),
        (("--cluster", CLUSTER, "--sweep", "uplink.mbps=5"), 2, "write NAME=NUMBER"),
        (("--cluster", CLUSTER, "--sweep", "uplink.mbps=9:3"), 2, "0 < LOW < HIGH"),
        (("--cluster", CLUSTER, "--sweep", "uplink.mbps=0:3"), 2, "0 < LOW < HIGH"),
        (("--cluster", CLUSTER, "--objective", "beauty"), 2, "beauty: there is latency"),
        (("--cluster", CLUSTER, "--latency-ms-max", "-1"), 2, "give milliseconds above 0"),
        (("--cluster", CLUSTER, "--latency-ms-max", "0.01"), 5, "no plan"),
        (("--cluster", CLUSTER, "--private", "moon"), 5, "no node is of a tier 'moon'"),
        (("--cluster", CLUSTER, "--placement", "0 @moon"), 2, "place every layer"),
        (("--cluster", CLUSTER, "--algorithm", "edge-only"), 5, "no edge node can compute waist"),
        (("--cluster", CLUSTER, "--set", "device.memory_gb=0.0000001",
          "--set", "cloud.memory_gb=0.0000001"), 5, "memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_an_exit_code(
    model: Path, shell: Shell, words: tuple[object, ...], code: int, said: str
) -> None:
    found, out, err = shell("plan", model, *words)
    assert (found, out) == (code, "")
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert said in lines[0]


def test_a_model_that_is_none_is_refused(shell: Shell, tmp_path: Path) -> None:
    assert shell("plan", tmp_path / "none.safetensors", "--cluster", CLUSTER)[0] == 2
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"\0" * 20)
    assert shell("plan", torn, "--cluster", CLUSTER)[0] == 3
