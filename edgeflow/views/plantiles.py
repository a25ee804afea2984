"""Tile maps of the plans that a planner answers: on a terminal, on a page, as data.

Drawn are those of the placement given by hand and of the answer whose cut is explained; the data
has those of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.costmodel.tileviews import tile_views, totals
from edgeflow.layout.placement import format_placement, tile_maps
from edgeflow.layout.split import split
from edgeflow.messages import TileMapView
from edgeflow.model.graph import Graph
from edgeflow.views import tilepage, tileways
from edgeflow.views.markup import Markup, element, join
from edgeflow.views.tilefacts import kilobytes, legend, percent
from edgeflow.views.tilemap import TileMaps
from edgeflow.whatif.findings import BY_HAND, Answer, Findings

STYLE = tilepage.STYLE + tileways.STYLE
WAYS = (
    "Ribbons are bytes that travel, in their sender's colour and all in one measure; dotted is what"
    " a node keeps for its own next step."
)


def views_of(graph: Graph, cluster: Cluster, answer: Answer) -> tuple[TileMapView, ...]:
    """Of one answer; none where it has no plan, or no tiles."""
    if answer.proposal is None or not tile_maps(answer.proposal.placement):
        return ()
    return tile_views(CostModel(graph, cluster), answer.proposal.placement)


def data(graph: Graph, cluster: Cluster, answer: Answer) -> dict[str, Any]:
    """What --json says of the tiles of one plan."""
    views = views_of(graph, cluster, answer)
    whole = totals(views)
    return {
        "tiles": [msgspec.to_builtins(view) for view in views],
        "recomputed_flops": whole.recomputed_flops,
        "recomputed_share": whole.recomputed_flops / _model_flops(graph, cluster),
        "tiles_in_bytes": whole.in_bytes,
    }


def _model_flops(graph: Graph, cluster: Cluster) -> float:
    return float(CostModel(graph, cluster).workload.flops.sum()) or 1.0


def drawn(found: Findings) -> Iterator[tuple[Answer, tuple[TileMapView, ...]]]:
    """The answers whose tile maps are drawn, each placement once."""
    graph, cluster = found.asked.graph, found.scene.cluster()
    by_hand = [each for each in found.answers if each.algorithm == BY_HAND and each.proposal]
    seen = []
    for answer in (*by_hand, found.best):
        views = views_of(graph, cluster, answer)
        if views and answer.proposal and answer.proposal.placement not in seen:
            seen.append(answer.proposal.placement)
            yield answer, views


def show(console: Console, found: Findings) -> None:
    """The maps on a terminal."""
    for answer, views in drawn(found):
        console.print(f"\ntiles, {answer.algorithm}:", markup=False)
        console.print(TileMaps(views))
        console.print(_whole_plan(found, answer, views), markup=False)


def _whole_plan(found: Findings, answer: Answer, views: tuple[TileMapView, ...]) -> str:
    assert answer.proposal is not None
    graph, cluster = found.asked.graph, found.scene.cluster()
    share = totals(views).recomputed_flops / _model_flops(graph, cluster)
    moved = sum(answer.proposal.terms.bytes.values())
    return (
        f"the whole plan: {percent(share)} of the model's FLOPs recomputed,"
        f" {kilobytes(moved)} kB a frame between nodes"
    )


def sections(found: Findings) -> list[Markup]:
    """The same for a page, with the way of the patches."""
    graph, cluster = found.asked.graph, found.scene.cluster()
    parts = []
    for answer, views in drawn(found):
        assert answer.proposal is not None
        known = legend(views)
        ways = tileways.draw(graph, split(graph, answer.proposal.placement, cluster.source), known)
        told = _whole_plan(found, answer, views)
        parts.append(
            join(
                element("h2", f"Tile maps: {answer.algorithm}"),
                element("p", element("code", format_placement(graph, answer.proposal.placement))),
                element("p", f"{told[0].upper()}{told[1:]}.", class_="about"),
                *([ways, element("p", WAYS, class_="about")] if ways else []),
                tilepage.section(views, known, None),
            )
        )
    return parts
