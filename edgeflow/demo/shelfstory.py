"""The second act from beginning to end: one box, four boxes, one of them killed, three boxes.

boxes ─▶ each alone for a moment ─▶ one box ─▶ four together ─▶ kill -9 ─▶ three ─▶ table

The leader plans with what it has measured: so that it knows all four boxes equally well, each
answers a few pictures alone before the first run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeflow.api import Flow, InferResult, connect
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.lap import Lap
from edgeflow.demo.laps import Laps
from edgeflow.demo.setting import DEPLOY_S, Setting, hand_out, prepared, start_nodes
from edgeflow.demo.shelf import BOXES, CAMERA, WAVES, Shelf
from edgeflow.demo.shelfreport import print_laps, report
from edgeflow.demo.shelfshow import ShelfShow
from edgeflow.demo.tally import Tally
from edgeflow.errors import EdgeflowError

ONE, FOUR, THREE = "one box", "four boxes", "three boxes"
STEADY_S, STEADY_S_MAX = 11.0, 26.0
"""A plan that stayed for so long stays; and how long to wait for one that does."""
KILL_AT = 0.4
"""When in a frame a box dies, as a part of what a frame takes."""
CONTINUES_S = 20.0
"""A plan without the dead box after so long is none."""


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """How much of it."""

    frames: int = 12
    """A run."""
    size: int = 608
    steady_s: float = STEADY_S
    model: Path | None = None
    """A model file; without it the network is exported, which needs torch."""


@dataclass(slots=True)
class Accident:
    """What became of the box that was killed, and of the frame that it was working on."""

    killed: str = ""
    frame: InferResult | None = None
    passage_s: list[float] = field(default_factory=list)
    """Frames between the kill and the first plan without it."""


def tell(options: ShelfOptions, show: ShelfShow) -> dict[str, Any]:
    """Run it. EdgeflowError where something that has to work does not."""
    started_s = time.monotonic()
    with prepared(options.model, options.size, show) as setting:
        shelf = Shelf.of(setting.whole_s)
        show.phase(setting.describe(shelf.describe()))
        with Fleet(setting.folder) as fleet:
            figures = _with_fleet(options, show, fleet, shelf, setting)
    return {**figures, "seconds": round(time.monotonic() - started_s, 1)}


def _with_fleet(
    options: ShelfOptions,
    show: ShelfShow,
    fleet: Fleet,
    shelf: Shelf,
    setting: Setting,
) -> dict[str, Any]:
    model, photographs = setting.model, setting.photographs
    tally = Tally(setting.graph, setting.wholes)
    fleet.start_broker()
    show.phase(f"broker at {fleet.url}; edgeflow status --broker {fleet.url}")
    with connect(fleet.url, name=CAMERA, config=shelf.camera(fleet.url)) as flow:
        start_nodes(
            flow, fleet, WAVES, lambda name: fleet.start_node(name, "edge", shelf.options()), show
        )
        laps = Laps(flow, fleet, photographs, tally, show)
        hand_out(flow, model, tally.graph, BOXES, show, laps.know)
        show.title = "edgeflow demo --shelf: one box against four (one machine, emulated)"
        show.open()
        try:
            runs, accident = _runs(options, laps, model)
            show.look(flow.snapshot(), flow.notices(), tally)
        finally:
            show.close()
    print_laps(show, runs, accident.killed)
    return report(tally, runs, accident.killed, accident.frame, accident.passage_s, shelf)


def _runs(options: ShelfOptions, laps: Laps, model: Path) -> tuple[dict[str, Lap], Accident]:
    runs = {name: Lap(name) for name in (ONE, FOUR, THREE)}
    laps.show.begin("", "One box, the best there is, all of the network on it …")
    laps.flow.deploy(
        model, name="alone", policy="edge-only", tiles=False, window_frames=1, wait_s=DEPLOY_S
    )
    laps.settle("alone", 0.0, STEADY_S)
    laps.show.begin(ONE, f"{ONE}: {options.frames} frames, one at a time")
    laps.run(runs[ONE], "alone", options.frames)
    laps.flow.undeploy("alone")

    laps.show.begin("", "Four boxes, as edgeflow plans …")
    laps.flow.deploy(model, name="shelf", window_frames=1, wait_s=DEPLOY_S)
    laps.settle("shelf", options.steady_s, STEADY_S_MAX)
    laps.show.begin(FOUR, f"{FOUR}: {options.frames} frames, one at a time")
    laps.run(runs[FOUR], "shelf", options.frames)

    laps.show.begin("", "One of the boxes is killed with kill -9 in the middle of a frame …")
    accident = _kill(laps, runs[FOUR])
    laps.settle("shelf", options.steady_s, STEADY_S_MAX)
    laps.show.begin(THREE, f"{THREE}: {options.frames} frames, one at a time")
    laps.run(runs[THREE], "shelf", options.frames)
    return runs, accident


def _kill(laps: Laps, lap: Lap) -> Accident:
    """A box that works and does not lead dies while it has a part of a frame."""
    leader = laps.flow.snapshot().leader
    busy = {tile.node for view in lap.tiles for tile in view.tiles} or set(BOXES)
    accident = Accident(next(name for name in reversed(BOXES) if name in busy - {leader}))

    def strike() -> None:
        time.sleep(KILL_AT * lap.p50_ms / 1e3)
        laps.fleet.kill(accident.killed)
        laps.show.phase(f"kill -9 {accident.killed}, which works on a frame")

    accident.frame = laps.frame("shelf", 0, strike)
    until_s = time.monotonic() + CONTINUES_S
    while accident.killed in _placement(laps.flow):
        if time.monotonic() > until_s:
            raise EdgeflowError(f"no plan without {accident.killed} within {CONTINUES_S:.0f} s")
        accident.passage_s.append(laps.frame("shelf", len(accident.passage_s)).latency_s)
    return accident


def _placement(flow: Flow) -> str:
    return next(each.placement for each in flow.snapshot().deployments if each.name == "shelf")
