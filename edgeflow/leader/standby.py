"""Which plans are likely next, so that they are there before they are wanted.

    what ran before ─▶ a standby: what came may go
    what may change (`edgeflow.leader.change`) ─▶ a scene ─▶ the best plan there
      ─ far better than all that is prepared? ─▶ a standby, the most worth first

A plan that is a variant of the running one needs no fetch and no build, since equal segments are
built once: a switch to it is a few messages. Of guesses the variant is what the source tries
(`edgeflow.frames.explore`). Only what ran before may have tiles: strips follow speeds to the row,
so that those of a scene are seldom those that are wanted.

Invariant: pure. Nothing is prepared for a scene that something prepared serves well enough.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.errors import EdgeflowError
from edgeflow.frames.tally import MEASURING
from edgeflow.layout.placement import Layout, format_placement, nodes_of
from edgeflow.leader.change import Change, changes
from edgeflow.leader.cover import best_untiled, left_over, needs
from edgeflow.messages import Spec
from edgeflow.model.graph import Graph
from edgeflow.planning.goal import Scale, restricted
from edgeflow.planning.standing import goal_of

STANDBYS_MAX = 4
"""Beside the fallbacks; each takes memory and a build. More are ready for more, later."""
BEFORE_MAX = 2
"""Plans that ran before among them."""
SCENES_MAX, SCENE_LAYERS_MAX = 12, 1000
"""Looked at, and their layers in all: a plan each, 2 ms of a desktop's core for 30 layers. Of deep
networks only the likeliest: the leader hears nothing meanwhile."""
NO_STANDBYS = MEASURING | {"static"}
"""Policies whose next plan is none, or one of their own measuring."""


class Standby(NamedTuple):
    """A plan worth preparing."""

    what: str
    """The change for which it is."""
    layout: Layout


@dataclass(slots=True)
class _Scene:
    """A change, its best plan, and how well it is served by what is prepared."""

    change: Change
    best: Layout
    value: float
    scale: Scale
    served: float = math.inf

    @property
    def gain(self) -> float:
        """What preparing its best plan is worth; 0 where it is served."""
        if self.served <= self.change.served * self.value:
            return 0.0
        return self.change.weight * (1 - self.value / self.served)

    def serve(self, *prepared: Layout) -> None:
        """These are prepared."""
        self.served = min([self.served, *map(self.price, prepared)])

    def price(self, layout: Layout) -> float:
        """What it would cost here; infinite where it cannot be run."""
        if not nodes_of(layout) <= self.scale.costs.cluster.nodes.keys():
            return math.inf
        try:
            return self.scale.value(self.scale.costs.evaluate(layout))
        except EdgeflowError:
            return math.inf


@dataclass(slots=True)
class _Shelf:
    """What is found worth preparing, and the memory beside it."""

    graph: Graph
    source: str
    free_bytes: dict[str, int]
    found: list[Standby] = field(default_factory=list)

    def put(self, what: str, layout: Layout) -> bool:
        """One more; False where there is no room. The source holds the whole model anyway."""
        for node, size in needs(self.graph, layout):
            if size > self.free_bytes.get(node, size) and node != self.source:
                return False
        self.free_bytes = left_over(self.graph, layout, self.free_bytes)
        self.found.append(Standby(what, layout))
        return True


def standbys(
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    prepared: Sequence[Layout],
    known: Sequence[Layout],
    before: Sequence[Layout],
    shunned: Collection[str],
    free_bytes: Mapping[str, int],
) -> tuple[Standby, ...]:
    """What to prepare beside `prepared`, whose first is the running plan, the most worth first.

    `known` was prepared so far: it is kept where it serves as well. `before` ran before, the last
    first. `free_bytes` by node, where known, without `known`.
    """
    if spec.policy in NO_STANDBYS or spec.placement or not prepared:
        return ()
    usable = cluster.nodes.keys() - set(shunned)
    again = [each for each in before if each not in prepared and nodes_of(each) <= usable]
    shelf = _Shelf(graph, spec.source, dict(free_bytes))
    for layout in again[:BEFORE_MAX]:
        shelf.put("things get as they were", layout)
    scenes = list(_scenes(spec, graph, cluster, nodes_of(prepared[0]), shunned, shelf.free_bytes))
    for scene in scenes:
        scene.serve(*prepared, *(each.layout for each in shelf.found))
    while scenes and len(shelf.found) < STANDBYS_MAX:
        scene = max(scenes, key=lambda each: each.gain)
        if scene.gain <= 0:
            break
        scenes.remove(scene)
        layout = _kept(scene, known, usable) or scene.best
        if shelf.put(scene.change.what, layout):
            for each in scenes:
                each.serve(layout)
    return tuple(shelf.found)


def _scenes(
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    used: Collection[str],
    shunned: Collection[str],
    free_bytes: Mapping[str, int],
) -> Iterator[_Scene]:
    goal = goal_of(changed(spec, latency_s_max=0.0))
    likely = sorted(changes(cluster, used), key=lambda each: -each.weight)
    for change in likely[: min(SCENES_MAX, SCENE_LAYERS_MAX // len(graph.layers))]:
        try:
            best = best_untiled(spec, graph, change.cluster, shunned, free_bytes)
        except EdgeflowError:
            continue
        scale = Scale.of(goal, restricted(CostModel(graph, change.cluster), goal))
        yield _Scene(change, best.placement, best.value, scale)


def _kept(scene: _Scene, known: Sequence[Layout], usable: Collection[str]) -> Layout | None:
    """What is there already and serves it."""
    most = scene.change.served * scene.value
    here = (each for each in known if nodes_of(each) <= set(usable))
    return next((each for each in here if scene.price(each) <= most), None)


def in_words(graph: Graph, found: Sequence[Standby]) -> dict[str, str]:
    """By placement line, the change for which it is prepared."""
    return {format_placement(graph, each.layout): each.what for each in found}
