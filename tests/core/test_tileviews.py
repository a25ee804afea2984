"""Tile maps for people: numbers that can be checked by hand, and a status that always fits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.codec import CONTROL_BYTES_MAX, encode_control
from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost, NodeCost
from edgeflow.costmodel.tileviews import fitting, tile_views, told, totals
from edgeflow.layout.placement import parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import CLOUD, DEVICE, EDGE, Rates, Rect, Status, TileMapView, TileView
from edgeflow.sim.toy import TOY
from tests.core.test_lead import SPEC, Leader

RATES = Rates(1e9, 1e9, 1e9, 1e-6)
NODES = {
    "cam-1": NodeCost("cam-1", DEVICE, None),
    "edge-1": NodeCost("edge-1", EDGE, RATES),
    "edge-2": NodeCost("edge-2", EDGE, RATES),
    "cloud-1": NodeCost("cloud-1", CLOUD, RATES),
}
LINKS = {(a, b): LinkCost(0.001, 1e7) for a in NODES for b in NODES if a != b}
CLUSTER = Cluster(NODES, LINKS, "cam-1")
TILED = "stem..join @edge-1[0:56] edge-2[56:112] | squeeze @edge-1[0:20] edge-2[20:56] | head @{}"
LINE = TILED.format("cloud-1")


def rows(top: int, bottom: int, wide: int = 112) -> Rect:
    return Rect(top, bottom, 0, wide)


def views() -> tuple[TileMapView, ...]:
    return tile_views(CostModel(TOY, CLUSTER), parse_placement(TOY, LINE))


def many(maps: int, tiles: int) -> list[TileMapView]:
    """As large as they come: long names, long numbers."""
    tile = TileView("n" * 60, 999, rows(111, 112), rows(100, 112), 1 / 3e3, 1e9 / 3, 10**8)
    return [
        TileMapView(f"{at:03}{'l' * 60}", rows(0, 112), rows(0, 112), 1e9, (tile,) * tiles)
        for at in range(maps)
    ]


def status(*tiles: TileMapView, line: str = "", sentence: str = "") -> Status:
    return Status("d", "toy", "cam-1", "running", sentence, line, 0.1, 0.1, "p", "e", tiles)


def test_a_view_says_what_is_read_and_computed_twice_and_sent() -> None:
    first, second = views()
    assert (first.layers, second.layers) == ("stem..join", "squeeze")
    assert (first.makes, first.reads) == (rows(0, 112), rows(0, 112))
    assert (second.makes, second.reads) == (rows(0, 56, 56), rows(0, 112))
    upper, lower = first.tiles
    assert (upper.node, upper.makes, upper.reads) == ("edge-1", rows(0, 56), rows(0, 58))
    assert (lower.node, lower.makes, lower.reads) == ("edge-2", rows(56, 112), rows(54, 112))
    # One row of the stem's 112 is computed by both.
    stem = 2 * 3 * 32 * 9 * 112 * 112
    assert upper.recomputed_flops == pytest.approx(stem / 112, rel=1e-2)
    assert upper.recomputed_flops == pytest.approx(lower.recomputed_flops)
    assert (upper.in_bytes, lower.in_bytes) == (58 * 112 * 3 * 4, 58 * 112 * 3 * 4)
    # Rows 39:112 are read by edge-2, which has those from 56 on.
    assert [tile.in_bytes for tile in second.tiles] == [0, (56 - 39) * 112 * 32 * 4]
    assert all(tile.recomputed_flops == pytest.approx(0, abs=1) for tile in second.tiles)


def test_a_view_points_at_segments_whose_seconds_nodes_measure() -> None:
    parts = split(TOY, parse_placement(TOY, LINE), "cam-1")
    for tile in (tile for view in views() for tile in view.tiles):
        segment = parts.segments[tile.segment]
        assert (segment.node, segment.tile) == (tile.node, tile.makes)
    terms = CostModel(TOY, CLUSTER).evaluate(parse_placement(TOY, LINE))
    assert [tile.predicted_s for view in views() for tile in view.tiles] == [
        tile.compute_s for tile in terms.tiles
    ]


def test_totals_are_the_sums_of_all_tiles() -> None:
    whole = totals(views())
    assert whole.flops == sum(view.flops for view in views())
    assert whole.in_bytes == 2 * 58 * 112 * 3 * 4 + 17 * 112 * 32 * 4
    assert 0 < whole.recomputed_share < 0.01
    assert totals(()).recomputed_share == 0


def test_nothing_is_told_of_what_has_no_tiles_or_cannot_be_run() -> None:
    assert [view.layers for view in told(TOY, CLUSTER, LINE)] == ["stem..join", "squeeze"]
    assert told(TOY, CLUSTER, "stem..head @edge-1") == ()
    assert told(TOY, CLUSTER, LINE.replace("edge-2", "gone")) == ()
    assert told(TOY, CLUSTER, LINE.replace("edge-2", "cam-1")) == ()
    assert told(TOY, CLUSTER, "stem..join @edge-1[0:9]") == ()


@pytest.mark.parametrize(("maps", "tiles"), [(1, 64), (3, 64), (20, 64), (500, 2), (3000, 1)])
def test_a_status_fits_into_a_message_however_many_tiles_there_are(maps: int, tiles: int) -> None:
    line = "x" * 12_000
    found = fitting(many(maps, tiles), 40_000)
    assert found[0].tiles
    encoded = encode_control(status(*found, line=line, sentence="ü" * 2000))
    assert len(encoded) <= CONTROL_BYTES_MAX
    assert [view.layers for view in found] == [view.layers for view in many(len(found), 1)]
    if maps * tiles <= 64:
        assert len(found) == maps
        assert all(len(view.tiles) == tiles for view in found)


def test_what_does_not_fit_is_told_without_its_tiles() -> None:
    found = fitting(many(8, 64), 40_000)
    assert [len(view.tiles) for view in found] == [64, 64, 0, 0, 0, 0, 0, 0]
    assert fitting(many(8, 64), 0) == ()


def test_the_leaders_status_tells_tiles_once_a_plan_is_made_and_while_the_next_is_prepared() -> (
    None
):
    leader = Leader()
    wish = replace(SPEC, placement=TILED.format("edge-1"))
    leader.view.spec = wish
    plan = leader.commit()
    status = leader.lead.watches["job"].status
    assert status is not None
    assert (status.plan, [view.layers for view in status.tiles]) == (
        str(plan.id),
        ["stem..join", "squeeze"],
    )
    assert {tile.node for view in status.tiles for tile in view.tiles} == {"edge-1", "edge-2"}
    leader.view.spec = replace(wish, generation=2, placement="stem..head @edge-1")
    leader.run(4)
    status = leader.lead.watches["job"].status
    assert leader.board.preparing is not None
    assert status is not None
    assert (status.plan, len(status.tiles)) == (str(plan.id), 2)
    leader.commit()
    leader.run(1)
    status = leader.lead.watches["job"].status
    assert status is not None
    assert status.tiles == ()


def test_tiles_are_priced_at_reviews_not_at_every_tick() -> None:
    leader = Leader()
    leader.view.spec = replace(SPEC, placement=TILED.format("edge-1"))
    leader.commit()
    noted: list[object] = []
    for _ in range(80):
        leader.tick(0.1)
        (price,) = leader.lead.watches["job"].prices.known.values()
        if not noted or price is not noted[-1]:
            noted.append(price)
    assert 2 <= len(noted) <= 5
