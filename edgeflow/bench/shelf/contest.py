"""Plans of one network in turns, in a lab that is up: what each takes, beside its prediction.

    one node ─▶ its layers are timed ─▶ plan ─▶ every node's tiles are timed ─▶ plan again ─▶ turns

The planner is the leader's, asked with what the leader knows. Each answer is compared with the
undivided network's, and the order of turns alternates, so that what drifts drifts for all.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeflow import audit, modelfile
from edgeflow.client.flow import Flow
from edgeflow.costmodel.cost import Cluster, CostModel
from edgeflow.costmodel.tileviews import tile_views
from edgeflow.layout.placement import Layout, TileMap, format_placement, parse_placement, tile_maps
from edgeflow.model import manifest
from edgeflow.model.graph import Array, Graph
from edgeflow.planning import propose
from edgeflow.planning.candidates import Problem
from edgeflow.planning.tiling.together import best_tiled
from edgeflow.policy.survey import survey
from edgeflow.tiles.grid import even
from edgeflow.tiles.rect import whole

LEARN_FRAMES = 8
"""Frames of a plan before the next one is made with what was learned."""
WARM_FRAMES = 4
DEPLOY_S = 240.0
DEADLINE_S = 120.0
RELATIVE_MAX = 1e-4
"""Tiles of real numbers may differ in their last bits: so far from the whole, by its largest."""


@dataclass(slots=True)
class Run:
    """One plan in turns."""

    network: str
    title: str
    placement: str
    predicted_ms: float
    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    wrong: int = 0
    inexact: int = 0
    """Answers that are right but not bit for bit."""
    recomputed_percent: float = 0.0
    moved_kb: float = 0.0
    """Between nodes, for one frame, the way back included."""

    @property
    def median_ms(self) -> float:
        """Infinite where nothing was answered."""
        return statistics.median(self.latencies_ms) if self.latencies_ms else float("inf")


def known(flow: Flow, source: str, model: str) -> Cluster:
    """What the leader would plan with now."""
    cluster: Cluster = flow.ask(
        lambda core: survey(core.parts.membership, source, model, time.monotonic())
    )
    return cluster


@dataclass(slots=True)
class Arena:
    """One network in a lab."""

    flow: Flow
    source: str
    model: Path
    graph: Graph = field(init=False)
    inputs: Mapping[str, Array] = field(init=False)
    right: Mapping[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        self.graph = modelfile.load(self.model)
        self.inputs = audit.example_inputs(self.graph)
        self.right = audit.run(self.graph, self.inputs)

    def costs(self) -> CostModel:
        """Of what is known now."""
        digest = manifest.digest(modelfile.index(self.model)[0])
        return CostModel(self.graph, known(self.flow, self.source, digest))

    def planned(self, nodes: Sequence[str], *, tiled: bool = False) -> Layout:
        """The best plan on these nodes; with `search` the best one that has tiles."""
        costs = self.costs()
        if tiled:
            found = best_tiled(Problem(costs, {}, frozenset(nodes)), float("inf"))
            if found is not None:
                return found.layout
        return propose(self.graph, costs, allowed=nodes).placement

    def deployed(self, title: str, layout: Layout) -> Run:
        """A plan by hand, ready for frames."""
        line = format_placement(self.graph, layout)
        self.flow.deploy(
            self.model,
            name=title,
            source=self.source,
            placement=line,
            window_frames=1,
            deadline_s=DEADLINE_S,
            wait_s=DEPLOY_S,
        )
        return Run(self.model.stem, title, line, 0.0)

    def learn(self, title: str, layout: Layout) -> None:
        """Let nodes time what this plan gives them."""
        note(f"{self.model.stem}, {title}: learning …")
        run = self.deployed(title, layout)
        for _ in range(LEARN_FRAMES):
            self.frame(run)
        self.flow.undeploy(title)
        time.sleep(2.5)  # layer times come with the heartbeats

    def frame(self, run: Run) -> float | None:
        """One frame; its seconds, or None where it failed."""
        started_s = time.perf_counter()
        result = self.flow.submit(self.inputs, deployment=run.title).result()
        seconds = time.perf_counter() - started_s
        if not result.ok:
            run.errors += 1
            return None
        for name, array in self.right.items():
            gap = float(np.abs(result.outputs[name] - array).max())
            run.wrong += gap > RELATIVE_MAX * float(np.abs(array).max())
            run.inexact += gap > 0
        return seconds

    def compete(self, plans: Mapping[str, Layout], rounds: int, frames: int) -> list[Run]:
        """All plans in turns."""
        runs = [self.deployed(title, layout) for title, layout in plans.items()]
        for run in runs:
            note(f"{self.model.stem}, {run.title}: {run.placement}")
            for _ in range(WARM_FRAMES):
                self.frame(run)
        for at in range(rounds):
            for run in runs if at % 2 == 0 else reversed(runs):
                seconds = [self.frame(run) for _ in range(frames)]
                run.latencies_ms += [each * 1e3 for each in seconds if each is not None]
        time.sleep(2.5)
        costs = self.costs()
        for run in runs:
            self.describe(run, costs)
            self.flow.undeploy(run.title)
        return runs

    def describe(self, run: Run, costs: CostModel) -> None:
        """What the cost model says of a plan, with all that was learned."""
        layout = parse_placement(self.graph, run.placement)
        terms = costs.evaluate(layout)
        run.predicted_ms = terms.total_s * 1e3
        run.recomputed_percent = recomputed_percent(costs, layout)
        run.moved_kb = sum(terms.bytes.values()) / 1e3


def recomputed_percent(costs: CostModel, layout: Layout) -> float:
    """FLOPs that several tiles compute, of all FLOPs of the network."""
    extra = sum(tile.recomputed_flops for each in tile_views(costs, layout) for tile in each.tiles)
    return 100 * extra / float(costs.workload.layer_flops().sum())


def in_strips(layout: Layout, node: str) -> Layout:
    """The same strips one after the other on one node, which does all the rest as well."""
    found: dict[str, str | TileMap] = dict.fromkeys(layout, node)
    for each in tile_maps(layout):
        strips = TileMap(each.layers, tuple((node, rect) for _, rect in each.tiles))
        found.update(dict.fromkeys(each.layers, strips))
    return found


def evenly(graph: Graph, layout: Layout, nodes: Sequence[str]) -> Layout:
    """The same cuts, with tiles of equal size over these nodes."""
    found = dict(layout)
    for each in tile_maps(layout):
        everything = whole(graph.tensors[graph.boundary(each.layers)[1][0]])
        assert everything is not None
        rects = even(everything.bottom, everything.right, len(nodes), 1)
        strips = TileMap(each.layers, tuple(zip(nodes, rects, strict=False)))
        found.update(dict.fromkeys(each.layers, strips))
    return found


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")
