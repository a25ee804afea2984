"""What a person sees of the second act: bars of all runs on one scale, and the plan's tile maps.

    one box    ████████████  960 ms
    four boxes █████         410 ms, 2.3× sooner
    maps       ▀▀▀ ▀▀▀ ▀▀▀   a colour a box, lighter what a neighbour reads too
    box        tiles · predicted · measured

Invariant: a box has one colour from beginning to end, also when another one has died.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgeflow.costmodel.tileviews import totals
from edgeflow.demo.lap import workers
from edgeflow.demo.shelf import BOXES
from edgeflow.demo.show import BARS, HAND_OUT, Show, headline, links_line
from edgeflow.demo.tally import Seen, Tally
from edgeflow.messages import TileMapView
from edgeflow.mind.snapshot import DeploymentView, NodeView, Snapshot
from edgeflow.views.tilefacts import percent, size_of
from edgeflow.views.tilemap import COLOURS, tile_map

FRAMES_DRAWN = 48
"""Bars in a row."""
LINES = 5
"""Height of a map."""
WIDTH_MIN, WIDTH_MAX = 3, 14
"""Of a map; where the screen has no room for all, the last ones are not drawn."""
LEGEND = {name: at for at, name in enumerate(BOXES)}


@dataclass(slots=True)
class ShelfShow(Show):
    """The screen of the second act."""

    run: str = ""
    """Whose frames come now."""
    runs: dict[str, list[float]] = field(default_factory=dict)
    """Run -> seconds of its frames."""

    def begin(self, run: str, text: str) -> None:
        """From here on frames are those of this run."""
        self.run = run
        self.runs.setdefault(run, [])
        self.phase(text)

    def frame(self, seen: Seen) -> None:
        """One outcome."""
        # Zero arguments would look for the class that the slots replaced.
        Show.frame(self, seen)
        if seen.result.ok and self.run:
            self.runs[self.run].append(seen.result.latency_s)

    def _screen(self, snapshot: Snapshot, notices: Sequence[str], tally: Tally) -> Panel:
        shown = [each for each in snapshot.deployments if not each.name.startswith(HAND_OUT)]
        parts: list[RenderableType] = [
            headline(self._seen[-1] if self._seen else None, tally, self.total),
            Text(),
            *bars(self.runs),
            Text(),
        ]
        for each in shown[-1:]:
            parts += [plan_line(each), *self._maps(each.tiles), Text()]
        view = shown[-1] if shown else None
        parts += [boxes_table(snapshot.nodes, view, snapshot.leader), links_line(snapshot), Text()]
        told = [notice for notice in notices if not notice.startswith(HAND_OUT)]
        parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in told[-2:]]
        return Panel(Group(*parts), title=self.title, title_align="left")

    def _maps(self, views: Sequence[TileMapView]) -> list[RenderableType]:
        """All maps in a row, from the first layers to the last."""
        views = [view for view in views if view.tiles]
        if not views:
            return []
        room = self.console.width - 4
        wide = min(WIDTH_MAX, max(WIDTH_MIN, room // len(views) - 1))
        row = Table.grid(padding=(0, 1, 0, 0))
        drawn = views[: max(1, room // (wide + 1))]
        is_plain = self.console.color_system is None
        row.add_row(*(tile_map(view, LEGEND, LINES, wide, is_plain) for view in drawn))
        row.add_row(*(Text(size_of(view.makes)[:wide], style="dim") for view in drawn))
        return [row]


def bars(runs: dict[str, list[float]]) -> list[Text]:
    """One row a run, all on one scale: the slowest usual frame of all."""
    known = {name: seconds for name, seconds in runs.items() if seconds}
    if not known:
        return [Text("no frame yet", style="dim")]
    # A frame that waited for a new plan is off the scale, or all others would be flat.
    top = max(2 * statistics.median(seconds) for seconds in known.values()) * 0.6
    first = statistics.median(next(iter(known.values())))
    wide = max(map(len, known))
    return [_row(name.ljust(wide), known[name], top, first) for name in known]


def _row(name: str, seconds: Sequence[float], top: float, first: float) -> Text:
    last, middle = seconds[-FRAMES_DRAWN:], statistics.median(seconds)
    row = Text(f"{name}  ", style="bold")
    for value in last:
        bar = BARS[min(int(value / top * len(BARS)), len(BARS) - 1)]
        row.append(bar, style="red" if value > top else "cyan")
    row.append(f"  {middle * 1e3:.0f} ms", style="bold")
    if middle != first:
        row.append(f"  {first / middle:.1f}× sooner", style="bold green")
    return row


def plan_line(view: DeploymentView) -> Text:
    """The plan in a line: with tiles its placement would be a paragraph."""
    text = Text(f"plan {view.plan or '–'}  ", style="bold")
    names = sorted({tile.node for each in view.tiles for tile in each.tiles})
    if names:
        whole = totals(view.tiles)
        text.append(
            f"{len(view.tiles)} maps tiled over {len(names)} boxes, "
            f"{percent(whole.recomputed_share)} of their FLOPs recomputed"
        )
    else:
        text.append(view.placement or view.sentence)
    text.append(f"  predicted {view.predicted_ms:.0f} ms" if view.plan else "", style="dim")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def boxes_table(nodes: Sequence[NodeView], view: DeploymentView | None, leader: str) -> Table:
    """One line a box: its colour, how it is, and its tiles of the plan in milliseconds a frame."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("box", "state", "emulated"):
        table.add_column(title, no_wrap=True)
    for title in ("tiles", "predicted ms", "measured ms"):
        table.add_column(title, justify="right", no_wrap=True)
    works = workers(view.tiles, view.segments) if view else {}
    for node in nodes:
        if node.name not in LEGEND:
            continue
        name = Text("█ ", COLOURS[LEGEND[node.name]][0]).append(node.name, "")
        name.append(" leads" if node.name == leader else "", style="bold yellow")
        style = "bold red" if node.state in ("lost", "offline") else ""
        does = works.get(node.name, {})
        told = [does.get(key) for key in ("tiles", "predicted_ms", "measured_ms")]
        figures = ["–" if each is None else f"{each:g}" for each in told]
        table.add_row(name, Text(node.state, style), node.emulated, *figures)
    return table
