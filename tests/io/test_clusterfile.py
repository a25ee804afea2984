"""A cluster file is checked as a whole: errors name file, place and cure, figures their source."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest

from edgeflow.costmodel.cost import LinkCost
from edgeflow.errors import UsageError
from edgeflow.io import clusterfile, profiles
from edgeflow.io.settings import read_toml
from edgeflow.lab import labfile, sketch
from edgeflow.messages import Rates

CONFIGS = Path(__file__).parents[2] / "configs"
RATES = {"conv_gflops": 40, "matmul_gflops": 60, "memory_gb_per_s": 8, "op_overhead_us": 10}
GOOD: dict[str, Any] = {
    "name": "small",
    "source": "cam-1",
    "nodes": {
        "cam-1": {"tier": "device", "board": "pi", "ratio": 2, "memory_gb": 1.5},
        "edge-1": {"tier": "edge", "rates": RATES},
        "edge-2": {"tier": "edge", "compute": "none"},
        "cloud-1": {"tier": "cloud", "board": "pi"},
    },
    "links": [
        {"name": "radio", "between": ["device", "edge"], "profile": "wifi"},
        {"name": "uplink", "between": [["device", "edge"], "cloud"], "up_mbps": 6, "down_mbps": 15},
        {"between": ["cam-1", "edge-2"], "mbps": 5, "delay_ms": 7},
    ],
    "profiles": {"boards": "boards.toml", "links": "links.toml"},
}
FIGURE = '{ value = 20.0, source = "a public document" }'
GUESS = '{ value = 10.0, estimate = true, why = "half of it" }'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = [*profiles.RATE_UNITS]
    board = "\n".join(f"{key} = {GUESS if key == 'conv_gflops' else FIGURE}" for key in keys)
    (tmp_path / "boards.toml").write_text(f'[boards.pi]\nabout = "a Pi"\n{board}\n')
    link = "\n".join(f"{key} = {FIGURE}" for key in ("up_mbps", "down_mbps", "delay_ms"))
    (tmp_path / "links.toml").write_text(f'[links.wifi]\nabout = "Wi-Fi"\n{link}\n')
    return tmp_path / "small.toml"


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


def test_boards_rates_and_links_become_what_the_planner_knows(folder: Path) -> None:
    scene = clusterfile.convert(GOOD, folder)
    cluster = scene.cluster()
    assert cluster.source == "cam-1"
    assert cluster.nodes["cam-1"].rates == Rates(10e9, 20e9, 20e9, 20e-6, 20e9)
    assert (cluster.nodes["cam-1"].ratio, cluster.nodes["cam-1"].memory_bytes) == (2, 1_500_000_000)
    assert cluster.nodes["edge-1"].rates == Rates(40e9, 60e9, 8e9, 10e-6)
    assert cluster.nodes["edge-2"].rates is None
    assert cluster.links["cam-1", "edge-1"] == LinkCost(0.02, 2.5e6)
    assert cluster.links["edge-1", "cloud-1"] == LinkCost(0.0, 0.75e6)
    assert cluster.links["cloud-1", "edge-1"] == LinkCost(0.0, 15e6 / 8)
    assert ("edge-1", "edge-2") not in cluster.links


def test_a_link_between_two_nodes_goes_before_one_between_tiers(folder: Path) -> None:
    assert clusterfile.convert(GOOD, folder).cluster().links["edge-2", "cam-1"] == LinkCost(
        0.007, 5e6 / 8
    )
    turned = {**GOOD, "links": GOOD["links"][::-1]}
    assert (
        clusterfile.convert(turned, folder).cluster() == clusterfile.convert(GOOD, folder).cluster()
    )


def test_figures_that_are_used_are_cited_and_no_others(folder: Path) -> None:
    cited = {each.what: each for each in clusterfile.convert(GOOD, folder).cited}
    assert cited["pi conv_gflops"].is_estimate
    assert cited["pi conv_gflops"].source == "half of it"
    assert cited["pi matmul_gflops"].source == "a public document"
    assert "wifi delay_ms" in cited
    own = changed("links.0.mbps", 8)
    assert {each.what for each in clusterfile.convert(own, folder).cited} & {
        "wifi up_mbps",
        "wifi delay_ms",
    } == {"wifi delay_ms"}


def test_it_is_told_as_paper(folder: Path) -> None:
    assert "not measurements" in clusterfile.convert(GOOD, folder).basis


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("nodes", {}, "there is no node; add [nodes.edge-1]"),
        ("nodes.cam-1.board", "zx81", "nodes.cam-1: board: there is no zx81 among the profiles"),
        ("nodes.cam-1.tier", "fog", "nodes.cam-1: tier: 'fog' is none of device, edge, cloud"),
        ("nodes.cam-1.ratio", 0, "nodes.cam-1: ratio: 0 is no number above 0"),
        ("nodes.cam-1.ratio", math.nan, "ratio: nan is no number"),
        ("nodes.cam-1.memory_gb", -1, "memory_gb: -1 is no number of 0 or more"),
        ("nodes.cam-1.memory_gb", 1e300, "memory_gb: 1e+300 is more than 1e+06; 0 is no limit"),
        ("nodes.cam-1.rates", RATES, 'give either board = "NAME", or a table rates'),
        ("nodes.edge-1.rates", None, "rates"),
        ("nodes.edge-1.rates", {**RATES, "conv_gflops": 0}, "rates.conv_gflops: 0 is no number"),
        ("nodes.edge-1.rates", {"conv_gflops": 1}, "matmul_gflops"),
        ("nodes.edge-1.speed", 3, "unknown field `speed`"),
        ("nodes.edge", {"tier": "edge", "compute": "none"}, "nodes.edge: a tier has this name"),
        ("source", "attic", "source: there is no node attic; there is cam-1"),
        ("links.0.profile", "pigeon", "links[0]: profile: there is no pigeon among the profiles"),
        ("links.1.up_mbps", 0, "links[1]: up_mbps: 0 is no rate: write Mbit/s above 0, or leave"),
        ("links.1.up_mbps", -3, "up_mbps: -3 is no rate"),
        ("links.1.up_mbps", math.inf, "up_mbps: inf is no rate"),
        ("links.1.down_mbps", math.nan, "down_mbps: nan is no rate"),
        ("links.2.delay_ms", -1, "links[2]: delay_ms: -1 is no number of 0 or more"),
        ("links.0.between", ["device", "attic"], "there is no node or tier 'attic'; there is cam"),
        ("links.0.between", ["cloud", "cloud"], "a link needs two different nodes"),
        ("links.1.between", ["edge", "device"], "links[1]: links[0] is between the same"),
        ("links.0", {"between": ["device", "edge"]}, "give mbps, or up_mbps and down_mbps"),
        ("links.0.speed", 3, "unknown field `speed`"),
        ("profiles.boards", "", "without profiles; add [profiles] with boards ="),
        ("profiles.links", "", "without profiles; add [profiles] with links ="),
        ("profiles.boards", "nowhere.toml", "nowhere.toml: no such file"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, path: str, value: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        clusterfile.convert(changed(path, value), folder)
    assert str(folder.parent) in str(caught.value)
    assert said in str(caught.value)


def test_a_tier_that_has_no_nodes_is_named(folder: Path) -> None:
    table = copy.deepcopy(GOOD)
    del table["nodes"]["cloud-1"]
    with pytest.raises(UsageError, match="no node of the tier cloud; add one, or drop the link"):
        clusterfile.convert(table, folder)


def test_without_a_source_the_only_device_is_it_and_two_are_none(folder: Path) -> None:
    table = changed("source", "")
    assert clusterfile.convert(table, folder).source == "cam-1"
    table["nodes"]["cam-2"] = {"tier": "device", "compute": "none"}
    assert clusterfile.convert(table, folder, "cam-2").source == "cam-2"
    with pytest.raises(UsageError, match=r"say where frames enter: .*--source \(cam-1, cam-2\)"):
        clusterfile.convert(table, folder)


@pytest.mark.parametrize(
    "figure",
    [
        "{ value = 20.0 }",
        '{ value = 20.0, source = " " }',
        "{ value = 20.0, estimate = true }",
        '{ value = 20.0, source = "a", estimate = true, why = "b" }',
        '{ value = 20.0, source = "a", why = "b" }',
    ],
)
def test_a_figure_without_a_source_is_refused(folder: Path, figure: str) -> None:
    file = folder.parent / "boards.toml"
    file.write_text(file.read_text().replace(GUESS, figure))
    with pytest.raises(UsageError, match=r"boards\.pi\.conv_gflops: say where 20 comes from"):
        clusterfile.convert(GOOD, folder)


def test_a_figure_that_is_no_number_is_refused(folder: Path) -> None:
    file = folder.parent / "links.toml"
    file.write_text(file.read_text().replace("value = 20.0", "value = 0.0", 1))
    with pytest.raises(UsageError, match=r"links\.wifi\.up_mbps: 0 is no rate"):
        clusterfile.convert(GOOD, folder)


def test_every_shipped_cluster_loads_and_says_whose_its_figures_are() -> None:
    found = sorted((CONFIGS / "clusters").glob("*.toml"))
    assert len(found) >= 3
    for path in found:
        scene = clusterfile.convert(read_toml(path), path)
        assert scene.name == path.stem
        assert scene.cited
        assert "none is a measurement of ours" in path.read_text(encoding="utf-8")


def test_every_shipped_profile_is_whole_and_has_its_sources() -> None:
    boards = profiles.boards(CONFIGS / "profiles" / "boards.toml")
    links = profiles.links(CONFIGS / "profiles" / "links.toml")
    assert {"raspberry-pi-5", "jetson-orin-nano", "server-cpu"} <= boards.keys()
    assert {"wifi", "ethernet", "4g", "5g", "fibre"} <= links.keys()


# --- a lab file as a cluster ---------------------------------------------------------------------

MACHINE = Rates(100e9, 200e9, 10e9, 1e-6, 20e9)


def sketched(name: str) -> Any:
    path = CONFIGS / "labs" / f"{name}.toml"
    return sketch.sketch(labfile.load(path), "", str(path), lambda threads: MACHINE)


def test_a_node_of_a_lab_has_its_share_of_this_machine() -> None:
    cluster = sketched("d3-4g").cluster()
    assert cluster.source == "cam-1"
    assert cluster.nodes["cam-1"].rates == Rates(10e9, 20e9, 1e9, 1e-6 / 0.1, 2e9)
    assert cluster.nodes["cloud-1"].rates == Rates(50e9, 100e9, 5e9, 2e-6, 10e9)


def test_links_of_a_lab_are_the_ways_through_its_tree() -> None:
    links = sketched("d3-4g").cluster().links
    assert links["cam-1", "edge-1"].bytes_per_s == 40e6 / 8
    assert links["cam-1", "edge-1"].delay_s == pytest.approx(0.002)
    assert links["cam-1", "cloud-1"].bytes_per_s == 6e6 / 8
    assert links["cloud-1", "cam-1"].bytes_per_s == 15e6 / 8
    assert links["cloud-1", "cam-1"].delay_s == pytest.approx(0.027)
    assert links["edge-1", "edge-2"].bytes_per_s == 100e6 / 8


def test_a_cable_of_a_lab_is_set_by_its_name() -> None:
    thin = sketched("d3-4g").changed("uplink.up_mbps", 1).cluster().links
    assert thin["edge-3", "cloud-1"].bytes_per_s == 1e6 / 8


def test_through_a_nat_links_are_opened_from_inside() -> None:
    links = sketched("cameras").cluster().links
    assert {("cam-1", "cloud-1"), ("cloud-1", "cam-1"), ("cam-1", "edge-1")} <= links.keys()
    table = read_toml(CONFIGS / "labs" / "cameras.toml")
    table["nodes"]["cloud-1"]["settings"] = {"reachable": False}
    lab = labfile.convert(table, "shy")
    assert ("cam-1", "cloud-1") not in sketch.sketch(
        lab, "", "shy", lambda _: MACHINE
    ).cluster().links


def test_more_than_a_core_is_so_many_threads() -> None:
    asked: list[int] = []

    def calibrate(threads: int) -> Rates:
        asked.append(threads)
        return MACHINE

    table = read_toml(CONFIGS / "labs" / "two-tier.toml")
    table["nodes"]["cloud-1"]["cpu"] = 1.5
    lab = labfile.convert(table, "two")
    rates = sketch.sketch(lab, "", "two", calibrate).nodes["cloud-1"].rates
    assert sorted(asked) == [1, 2]
    assert rates is not None
    assert rates.conv_flops_per_s == 75e9
