"""Which plans are likely next, so that they are there before they are wanted.

    what ran before ─▶ a standby: what came may go
    what may change ─▶ a scene ─▶ the best plan there ─▶ far better than all that is prepared?
      a node's links STEP times as slow, or as fast             yes: a standby, the most worth first
      a node SLOWER times as slow, or without its present load
      a node or link whose cost is a guess, if it were GUESS times as good

A plan that is a variant of the running one needs no fetch and no build, since equal segments are
built once: a switch to it is a few messages. Of guesses the variant is what the source tries
(`edgeflow.frames.explore`). Only what ran before may have tiles: strips follow speeds to the row,
so that those of a scene are seldom those that are wanted.

Invariant: pure. Nothing is prepared for a scene that something prepared serves well enough.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from msgspec.structs import replace as changed

from edgeflow.costmodel.cost import Cluster, CostModel, LinkCost
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import Layout, format_placement, nodes_of
from edgeflow.leader.cover import best_untiled, left_over, needs
from edgeflow.messages import Spec
from edgeflow.model.graph import Graph
from edgeflow.planning.goal import Scale, restricted
from edgeflow.planning.standing import goal_of
from edgeflow.policy.survey import GUESSED

STANDBYS_MAX = 4
"""Beside the fallbacks; each takes memory and a build. More are ready for more, later."""
BEFORE_MAX = 2
"""Plans that ran before among them."""
STEP = 12.0
"""Wi-Fi goes from 50 to 4 Mbit/s when a door is closed. Plans of steps between lie between."""
SLOWER = 5.0
"""A core that four others share."""
BUSY = 1.5
"""A node so many times as slow as when it was timed has a load that may go."""
GUESS = 2.0
"""What is only guessed may be so many times better: more tries what is hardly ever worth it."""
SERVED, SERVED_IDLE = 1.1, 1.02
"""A scene needs nothing where something prepared is at most so much slower than its best plan. Of a
node whose load may go less: that it went is known from frames that compute there, and who has only
the last layer there, in a plan that serves nearly as well, never learns it."""
SCENES_MAX, SCENE_LAYERS_MAX = 12, 1000
"""Looked at, and their layers in all: a plan each, 2 ms of a desktop's core for 30 layers. Of deep
networks only the likeliest: the leader hears nothing meanwhile."""
MOVED = 2.0
"""Rates or speeds that are so many times others make other plans the likely ones."""
NO_STANDBYS = frozenset({"static", "partnner", "profile-first"})
"""Policies whose next plan is none, or one of their own measuring."""


class Change(NamedTuple):
    """What may come."""

    what: str
    """In words, behind "if"."""
    cluster: Cluster
    weight: float
    """How likely, beside the others."""
    served: float = SERVED
    """By something that takes at most so many times as long as its best plan."""


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


def has_moved(before: Cluster, now: Cluster) -> bool:
    """Whether a node or link is so much better or worse that other plans are the likely ones."""
    links = [each for each in now.links.keys() & before.links.keys() if _has_part(now, *each)]
    nodes = now.nodes.keys() & before.nodes.keys()
    return any(
        _is_apart(now.links[each].bytes_per_s, before.links[each].bytes_per_s) for each in links
    ) or any(_is_apart(now.nodes[each].ratio, before.nodes[each].ratio) for each in nodes)


def changes(cluster: Cluster, used: Collection[str]) -> Iterator[Change]:
    """What may come, for a plan on `used` nodes; what makes an unused node worse is nothing."""
    for name, node in sorted(cluster.nodes.items()):
        is_used = name in used or name == cluster.source
        if is_used:
            slow = f"the links of {name} get {STEP:g} times as slow"
            yield Change(slow, _linked(cluster, name, 1 / STEP), 1.0)
        fast = f"the links of {name} get {STEP:g} times as fast"
        yield Change(fast, _linked(cluster, name, STEP), 0.5)
        if node.rates is None:
            continue
        if name in used:
            slow = f"{name} gets {SLOWER:g} times as slow"
            yield Change(slow, _paced(cluster, name, node.ratio * SLOWER), 0.8)
        if node.layers_s and node.ratio >= BUSY:
            yield Change(f"{name} gets idle", _paced(cluster, name, 1.0), 1.0, SERVED_IDLE)
        if name not in used and _is_guessed(cluster, name):
            better = f"{name} is {GUESS:g} times as good as guessed"
            yield Change(better, _brighter(cluster, name), 0.9)


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


def _is_apart(one: float, other: float) -> bool:
    return max(one, other) > MOVED * min(one, other)


def _is_guessed(cluster: Cluster, name: str) -> bool:
    """Was it never seen computing this model, or a link of it never measured?"""
    links = (link for ends, link in cluster.links.items() if name in ends)
    return cluster.nodes[name].deviation >= GUESSED or any(_vague(link) for link in links)


def _vague(link: LinkCost) -> bool:
    return link.deviation >= GUESSED


def _linked(cluster: Cluster, name: str, factor: float) -> Cluster:
    """With what limits that node's links so many times as fast; of a faster one the other end may
    be the limit then."""
    links = dict(cluster.links)
    for ends, link in cluster.links.items():
        if name in ends and _has_part(cluster, *ends):
            side = ends.index(name)
            own = max(_to_others(cluster, name, side))
            rate = min(link.bytes_per_s, own * factor)
            if factor > 1:
                rate = max(rate, min(own * factor, _beyond(cluster, ends, 1 - side)))
            links[ends] = replace(link, bytes_per_s=rate)
    return replace(cluster, links=links)


def _beyond(cluster: Cluster, ends: tuple[str, str], side: int) -> float:
    """The fastest link of that end to somebody else, that way; infinite where there is none."""
    return max(_to_others(cluster, ends[side], side, but=ends), default=math.inf)


def _to_others(
    cluster: Cluster, name: str, side: int, but: tuple[str, str] | None = None
) -> Iterator[float]:
    """Rates of its links on that side."""
    return (
        link.bytes_per_s
        for at, link in cluster.links.items()
        if at[side] == name and at != but and _has_part(cluster, *at)
    )


def _has_part(cluster: Cluster, *ends: str) -> bool:
    """Whether a plan may use that link: who only hands frames in may be on the same machine, and
    what links it tells nothing of a radio."""
    nodes = [cluster.nodes.get(name) for name in ends if name != cluster.source]
    return all(node is not None and node.rates is not None for node in nodes)


def _paced(cluster: Cluster, name: str, ratio: float) -> Cluster:
    """With that node so many times as slow as it was timed."""
    node = replace(cluster.nodes[name], ratio=ratio)
    return replace(cluster, nodes={**cluster.nodes, name: node})


def _brighter(cluster: Cluster, name: str) -> Cluster:
    """With all that is guessed of that node GUESS times as good."""
    node = cluster.nodes[name]
    if node.deviation >= GUESSED:
        cluster = _paced(cluster, name, node.ratio / GUESS)
    links = {
        ends: replace(link, bytes_per_s=link.bytes_per_s * GUESS)
        if name in ends and _vague(link)
        else link
        for ends, link in cluster.links.items()
    }
    return replace(cluster, links=links)


def in_words(graph: Graph, found: Sequence[Standby]) -> dict[str, str]:
    """By placement line, the change for which it is prepared."""
    return {format_placement(graph, each.layout): each.what for each in found}
