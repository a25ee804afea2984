"""The demo from beginning to end; returns the figures that --json prints.

model ─▶ whole network here ─▶ broker, nodes ─▶ deploy ─▶ live, leader killed ─▶ contest ─▶ stop
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from edgeflow.api import Flow, connect
from edgeflow.demo.contest import Entry, compete, judge
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.live import Live
from edgeflow.demo.setting import DEPLOY_S, Setting, hand_out, prepared, start_nodes
from edgeflow.demo.show import Show
from edgeflow.demo.tally import Tally, quantile_ms
from edgeflow.demo.world import CAMERA, CLOUD, EDGES, WAVES, World


@dataclass(frozen=True, slots=True)
class Options:
    """How much of it."""

    frames: int = 240
    window: int = 2
    contest_frames: int = 20
    size: int = 448
    stay: bool = False
    """Keep the cluster running at the end, until Ctrl-C."""
    model: Path | None = None
    """A model file; without it the network is exported, which needs torch."""


def tell(options: Options, show: Show) -> dict[str, Any]:
    """Run it. EdgeflowError where something that has to work does not."""
    with prepared(options.model, options.size, show) as setting:
        world = World.of(setting.whole_s)
        show.phase(setting.describe(world.describe()))
        with Fleet(setting.folder) as fleet:
            return _with_fleet(options, show, fleet, world, setting)


def _with_fleet(
    options: Options,
    show: Show,
    fleet: Fleet,
    world: World,
    setting: Setting,
) -> dict[str, Any]:
    model, photographs = setting.model, setting.photographs
    tally = Tally(setting.graph, setting.wholes)
    fleet.start_broker()
    show.phase(
        f"broker at {fleet.url}; look over its shoulder:\n"
        f"  mosquitto_sub -p {fleet.port} -v -t 'edgeflow/+/deployments/+/events'\n"
        f"  edgeflow status --broker {fleet.url}"
    )
    with connect(fleet.url, name=CAMERA, config=world.camera(fleet.url)) as flow:
        start_nodes(flow, fleet, WAVES, lambda name: _start(fleet, world, name), show)
        hand_out(flow, model, tally.graph, EDGES, show)
        started_s = time.monotonic()
        flow.deploy(model, name="pictures", window_frames=options.window, wait_s=DEPLOY_S)
        live = Live(flow, fleet, photographs, tally, show, options.frames, options.window)
        show.title = "edgeflow demo: one network on five nodes (all on this machine, emulated)"
        show.total = options.frames
        show.open()
        try:
            live.run()
            show.look(flow.snapshot(), flow.notices(), tally)
        finally:
            show.close()
        flow.undeploy("pictures")
        show.phase("Head to head: the same frames undivided on each tier, and as edgeflow plans …")
        entries = compete(flow, model, photographs, tally, options.contest_frames, show.phase)
        print_contest(show, entries)
        figures = report(live, entries, world, started_s)
        if options.stay:
            stay(flow, model, fleet, show)
    return figures


def _start(fleet: Fleet, world: World, name: str) -> None:
    fleet.start_node(name, "cloud" if name == CLOUD else "edge", world.options(name))


def print_contest(show: Show, entries: Mapping[str, Entry]) -> None:
    """The table of the head-to-head, and the verdict."""
    title = (
        "the same frames, one at a time; not counted: ten of each before,"
        " and edgeflow's until it has kept its plan for 11 s"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("placement", no_wrap=True)
    for title in ("p50 ms", "p99 ms", "predicted ms", "up-link kB a frame", "errors"):
        table.add_column(title, justify="right")
    for name, entry in entries.items():
        figures = entry.report()
        uplink_kb = figures["uplink_bytes_per_frame"] / 1e3
        table.add_row(
            name,
            f"{figures['p50_ms']:.0f}",
            f"{figures['p99_ms']:.0f}",
            f"{figures['predicted_ms']:.0f}",
            f"{uplink_kb:.1f}",
            str(entry.errors),
        )
    show.console.print(table)
    show.phase(f"edgeflow's plan: {entries['edgeflow'].placement}")
    show.phase(judge(dict(entries))[1])


def report(
    live: Live, entries: Mapping[str, Entry], world: World, started_s: float
) -> dict[str, Any]:
    """Every figure of this run, under the names of --json."""
    tally, death = live.tally, live.death
    ratio, verdict = judge(dict(entries))
    first_s = live.first_s - started_s if live.first_s is not None else None
    return {
        "frames": tally.submitted,
        "results": tally.results,
        "errors": tally.errors,
        "lost": tally.lost,
        "duplicates": tally.duplicates,
        "mismatches": tally.mismatches + sum(entry.mismatches for entry in entries.values()),
        "inexact": tally.inexact,
        "labels_right": tally.labels_right,
        "labels_judged": tally.judged,
        "leader_before": death.before,
        "leader_after": death.after,
        "leader_gap_s": None if death.gap_s is None else round(death.gap_s, 2),
        "leader_carried_tensors": death.carried,
        "retried": tally.retried,
        "plans": [
            {"plan": plan, "placement": line, "frames": tally.plans.get(plan, 0)}
            for plan, line in live.lines.items()
        ],
        "first_result_s": None if first_s is None else round(first_s, 2),
        "latency_p50_ms": quantile_ms(tally.latencies_s, 0.5),
        "latency_p99_ms": quantile_ms(tally.latencies_s, 0.99),
        "head_to_head": {name: entry.report() for name, entry in entries.items()},
        "ratio_to_best": ratio,
        "verdict": verdict,
        "error_texts": tally.error_texts[:5],
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "emulated": world.describe(),
    }


def stay(flow: Flow, model: Path, fleet: Fleet, show: Show) -> None:
    """Leave the cluster running for the person to look around in."""
    flow.deploy(model, name="pictures")
    show.phase(
        "The cluster stays until Ctrl-C. In another terminal:\n"
        f"  export EDGEFLOW_BROKER={fleet.url}\n"
        "  edgeflow status · edgeflow events · edgeflow infer PICTURE.jpg"
    )
    while True:
        fleet.check()
        time.sleep(0.5)
