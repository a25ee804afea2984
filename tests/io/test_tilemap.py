"""Tile maps drawn: each spot belongs to whom it should, with colours, without, and on a page."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pytest
from rich.console import Console

from edgeflow.cli.status import tell_deployment
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.layout.placement import parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import DEVICE, EDGE, Rates, Rect, SegmentTime, TileMapView, TileView
from edgeflow.mind.snapshot import DeploymentView
from edgeflow.sim.toy import TOY
from edgeflow.tiles.grid import even, uneven
from edgeflow.tiles.rect import overlap
from edgeflow.views import tilepage, tileways
from edgeflow.views.tilefacts import by_segment, legend, lines, percent, raster, read_box
from edgeflow.views.tilemap import COLOURS, TileMaps, fitted, tile_map, tile_table

RATES = Rates(1e9, 1e9, 1e9, 1e-6)
NODES = {"cam-1": NodeCost("cam-1", DEVICE, None)} | {
    name: NodeCost(name, EDGE, RATES) for name in ("edge-1", "edge-2", "edge-3")
}
CLUSTER = Cluster(
    NODES, {(a, b): LinkCost(0.001, 1e7) for a in NODES for b in NODES if a != b}, "cam-1"
)
LAYOUT = parse_placement(
    TOY,
    "stem..join @edge-1[0:50] edge-2[50:80] edge-3[80:112]"
    " | squeeze @edge-1[0:28,0:28] edge-2[0:28,28:56] edge-3[28:56] | head @edge-1",
)


def view(
    size: tuple[int, int], tiles: tuple[Rect, ...], halo: int = 1, nodes: int = 8
) -> TileMapView:
    """Tiles of a 3x3 convolution that keeps its map's size, one a node."""
    everything = Rect(0, size[0], 0, size[1])
    found = []
    for at, each in enumerate(tiles):
        wide = Rect(
            max(0, each.top - halo), each.bottom + halo, max(0, each.left - halo), each.right + halo
        )
        reads = overlap(wide, everything)
        assert reads is not None
        found.append(TileView(f"edge-{at % nodes + 1}", at, each, reads, 0.0123, 1e6, 4096))
    return TileMapView("conv1..conv2", everything, everything, 1e9, tuple(found))


STRIPS = view((8, 8), even(8, 8, 2, 1))


def printed(*views: TileMapView, width: int = 100, colours: str | None = None) -> str:
    """What a console without or with colours gets; nothing has run."""
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=colours,  # type: ignore[arg-type]
        force_terminal=colours is not None,
        soft_wrap=True,
        highlight=False,
    )
    console.print(TileMaps(views))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "tiles", [even(14, 9, 3, 1), even(14, 9, 2, 3), uneven(14, 9, (5, 2, 1), (1,))]
)
def test_each_spot_belongs_to_the_tile_that_makes_it_and_is_shared_where_another_reads_it(
    tiles: tuple[Rect, ...],
) -> None:
    drawn = view((14, 9), tiles)
    for y, row in enumerate(raster(drawn, 14, 9)):
        for x, spot in enumerate(row):
            here = Rect(y, y + 1, x, x + 1)
            assert overlap(tiles[spot.tile], here), (y, x)
            others = (tile for at, tile in enumerate(drawn.tiles) if at != spot.tile)
            assert spot.is_shared == any(overlap(each.reads, here) for each in others), (y, x)


def test_a_halo_is_scaled_from_the_map_that_is_read_to_the_map_that_is_made() -> None:
    tile = TileView("edge-1", 0, Rect(0, 4, 0, 8), Rect(0, 10, 0, 16), 0.1, 0.0, 0)
    pooled = TileMapView("pool", Rect(0, 8, 0, 8), Rect(0, 16, 0, 16), 1.0, (tile,))
    assert read_box(pooled, tile) == (0.0, 5.0, 0.0, 8.0)
    (below,) = tilepage.halo_boxes(pooled, 0)
    assert below == (4.0, 5.0, 0.0, 8.0)


def test_a_halo_too_thin_for_a_spot_is_left_out_not_blown_up() -> None:
    tall = view((800, 800), even(800, 800, 2, 1))
    assert not any(spot.is_shared for row in raster(tall, 12, 12) for spot in row)
    assert sum(spot.is_shared for row in raster(STRIPS, 8, 1) for spot in row) == 2


def test_without_colours_letters_tell_workers_apart_and_small_ones_halos() -> None:
    text = tile_map(STRIPS, legend([STRIPS]), lines_max=8, columns_max=16, is_plain=True)
    assert text.plain.split("\n") == ["A" * 16] * 3 + ["a" * 16, "b" * 16] + ["B" * 16] * 3
    told = printed(STRIPS)
    assert "\x1b" not in told
    assert "▀" not in told
    assert "A  edge-1" in told
    assert "small letters: read by a neighbour too" in told


def test_no_color_is_obeyed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    told = printed(STRIPS, colours="truecolor")
    assert "38;2" not in told
    assert "bbbb" in told


def test_with_colours_a_node_has_one_in_all_maps_and_its_halos_a_lighter_one() -> None:
    def sign(colour: str) -> str:
        return ";".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))

    swapped = TileMapView(
        "other",
        STRIPS.makes,
        STRIPS.reads,
        1e9,
        (replace_node(STRIPS.tiles[0], "edge-2"), replace_node(STRIPS.tiles[1], "edge-1")),
    )
    known = legend([STRIPS, swapped])
    assert known == {"edge-1": 0, "edge-2": 1}
    for drawn, first, last in ((STRIPS, 0, 1), (swapped, 1, 0)):
        spans = tile_map(drawn, known, lines_max=4, columns_max=8).spans
        styles = [str(span.style) for span in spans]
        assert styles[0] == f"{COLOURS[first][0]} on {COLOURS[first][0]}"
        assert styles[-1] == f"{COLOURS[last][0]} on {COLOURS[last][0]}"
        assert f"{COLOURS[first][0]} on {COLOURS[first][1]}" in styles
        assert f"{COLOURS[last][1]} on {COLOURS[last][0]}" in styles
    told = printed(STRIPS, colours="truecolor")
    assert all(f"38;2;{sign(colour)}" in told for colour, _ in COLOURS[:2])
    assert "lighter: read by a neighbour too" in told


def replace_node(tile: TileView, node: str) -> TileView:
    return TileView(
        node,
        tile.segment,
        tile.makes,
        tile.reads,
        tile.predicted_s,
        tile.recomputed_flops,
        tile.in_bytes,
    )


def test_the_table_has_a_line_a_worker_and_measured_times_only_where_something_runs() -> None:
    known = legend([STRIPS])
    titles = [column.header for column in tile_table(STRIPS, None, known).columns]
    assert titles == ["", "node", "rows", "predicted ms", "recomputed", "kB in"]
    table = tile_table(STRIPS, by_segment([SegmentTime("d", "p", 1, 0.0456, 3)]), known)
    cells = {str(column.header): list(map(str, column.cells)) for column in table.columns}
    assert cells["node"] == ["edge-1", "edge-2"]
    assert cells["rows"] == ["0:4", "4:8"]
    assert cells["predicted ms"] == ["12.3", "12.3"]
    assert cells["measured ms"] == ["–", "45.6"]
    # A million FLOPs more than half of a thousand million.
    assert cells["recomputed"] == ["0.2 %", "0.2 %"]
    assert cells["kB in"] == ["4.1", "4.1"]
    grid = view((8, 8), even(8, 8, 2, 2))
    table = tile_table(grid, None, legend([grid]))
    assert list(table.columns[2].cells)[3] == "4:8, 4:8"
    assert table.columns[2].header == "rows, columns"


def test_many_tiles_are_told_node_by_node() -> None:
    crowd = view((64, 64), even(64, 64, 8, 8), nodes=3)
    found = lines(crowd, dict.fromkeys(range(64), 0.01))
    assert [(line.node, line.what) for line in found] == [
        ("edge-1", "22 tiles"),
        ("edge-2", "21 tiles"),
        ("edge-3", "21 tiles"),
    ]
    assert found[0].measured_s == pytest.approx(0.22)
    assert lines(crowd, {0: 0.01})[0].measured_s is None


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (224, 224), (7, 7), (3, 100)])
def test_a_picture_stays_within_its_bounds(size: tuple[int, int]) -> None:
    drawn = view(size, even(*size, 2, 2))
    down, across = fitted(drawn, 12, 40)
    assert down % 2 == 0
    assert 2 <= down <= 24
    assert 1 <= across <= 40
    rows = tile_map(drawn, legend([drawn])).plain.split("\n")
    assert (len(rows), {len(row) for row in rows}) == (down // 2, {across})


def test_a_narrow_terminal_gets_the_table_alone_and_nothing_is_cut_off() -> None:
    told = printed(STRIPS, width=40)
    assert re.search(r"^A  edge-1 ", told, re.MULTILINE)
    assert "…" not in told
    assert "kB in" in told


def test_a_wide_terminal_gets_maps_side_by_side() -> None:
    def heads(width: int) -> int:
        told = printed(STRIPS, STRIPS, STRIPS, width=width)
        return sum("conv1..conv2" in line for line in told.splitlines())

    assert (heads(80), heads(150), heads(250)) == (3, 2, 1)


def test_a_map_whose_tiles_are_not_told_says_so() -> None:
    bare = TileMapView("conv3..conv4", STRIPS.makes, STRIPS.reads, 1e9, ())
    told = printed(STRIPS, bare)
    assert "too many tiles" in told
    page = tilepage.section([STRIPS, bare], legend([STRIPS, bare]), None)
    assert "too many tiles" in page


def test_a_deployment_shows_its_maps_with_measured_times() -> None:
    running = DeploymentView(
        "d", "vgg", "cam-1", "mincut", "running", "", "conv1..conv2 @edge-1[0:4] edge-2[4:8]",
        "3.1@edge-1", 20.0, 20.0, {}, (STRIPS,), (SegmentTime("d", "3.1@edge-1", 0, 0.0321, 9),),
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=100, soft_wrap=True)
    tell_deployment(console, running)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "conv1..conv2 @edge-1[0:4] edge-2[4:8]" in told
    assert re.search(r"edge-1 +0:4 +12\.3 +32\.1", told)
    assert re.search(r"edge-2 +4:8 +12\.3 +–", told)


def test_percents_are_short_and_never_minus_nothing() -> None:
    told = [percent(each) for each in (-1e-9, 0, 0.0004, 0.0123, 0.5, 3.871)]
    assert told == ["0.0 %", "0.0 %", "0.0 %", "1.2 %", "50.0 %", "387 %"]


def test_a_page_names_each_worker_and_hatches_its_halo() -> None:
    page = tilepage.section([STRIPS], legend([STRIPS]), {0: 0.0321})
    assert page.count('class="tile c0"') == page.count('class="tile c1"') == 1
    assert page.count('class="hatch c0"') == page.count('class="hatch c1"') == 1
    assert "A  edge-1" in page
    assert "B  edge-2" in page
    assert "32.1" in page
    # The lower worker's halo is one row of eight above its own rectangle.
    row = tilepage.HEIGHT / 8
    assert f'y="{3 * row:.2f}"'.rstrip('"').rstrip("0").rstrip(".") in page


@pytest.mark.parametrize("way", [1.0, -1.0])
@pytest.mark.parametrize(("width", "height"), [(100.0, 3.0), (3.0, 100.0), (50.0, 50.0)])
def test_hatching_stays_within_its_rectangle(width: float, height: float, way: float) -> None:
    path = tilepage.hatching(10.0, 20.0, width, height, way)
    points = [tuple(map(float, pair.split())) for pair in re.findall(r"[ML]([\d. -]+)", path)]
    assert points
    for x, y in points:
        assert 10 <= x <= 10 + width
        assert 20 <= y <= 20 + height
    for (x1, y1), (x2, y2) in zip(points[::2], points[1::2], strict=True):
        assert abs(y2 - y1 - way * (x2 - x1)) < 0.21


def test_ways_carry_the_bytes_that_the_cost_model_counts() -> None:
    parts = split(TOY, LAYOUT, "cam-1")
    moved: dict[tuple[str, str], int] = {}
    for way in tileways.ways(TOY, parts):
        one, other = (
            parts.source if at < 0 else parts.segments[at].node for at in (way.sender, way.reader)
        )
        assert way.is_kept == (one == other)
        if not way.is_kept:
            moved[one, other] = moved.get((one, other), 0) + way.nbytes
    assert moved == CostModel(TOY, CLUSTER).evaluate(LAYOUT).bytes


def test_columns_are_tile_maps_and_whole_segments_in_order() -> None:
    parts = split(TOY, LAYOUT, "cam-1")
    found = [(parts.segments[step[0]].layers[0], len(step)) for step in tileways.columns(parts)]
    assert found == [("stem", 3), ("squeeze", 3), ("head", 1)]


def test_ribbons_lie_within_their_boxes_one_below_the_other() -> None:
    parts = split(TOY, LAYOUT, "cam-1")
    spots, every = tileways.placed(parts, tileways.columns(parts)), tileways.ways(TOY, parts)
    measure, moved = tileways.byte_height(spots, every), [way for way in every if not way.is_kept]
    for is_out in (True, False):
        ends = tileways.met(spots, moved, measure, is_out=is_out)
        for at, spot in spots.items():
            mine = sorted(
                (ends[way] - way.nbytes * measure / 2, ends[way] + way.nbytes * measure / 2)
                for way in moved
                if (way.sender if is_out else way.reader) == at
            )
            assert all(top >= spot.y - 1e-6 for top, _ in mine)
            assert all(bottom <= spot.y + spot.height + 1e-6 for _, bottom in mine)
            assert all(one[1] <= other[0] + 1e-6 for one, other in pairwise(mine))


def test_a_plan_of_too_many_steps_has_no_picture_of_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, known = split(TOY, LAYOUT, "cam-1"), {"edge-1": 0, "edge-2": 1, "edge-3": 2}
    drawn = tileways.draw(TOY, parts, known)
    assert drawn is not None
    assert all(f"{name}</title>" in drawn for name in ("cam-1", "edge-1", "edge-2", "edge-3"))
    monkeypatch.setattr(tileways, "COLUMNS_MAX", 4)
    assert tileways.draw(TOY, parts, known) is None
