"""A tile map on a terminal: the map as a little picture, and beside it one line a worker.

    conv1..pool2
    ████████  56×56 out of 224×224; 3.1 % recomputed, 310 kB in
    ▒▒▒▒▒▒▒▒       node    rows   predicted ms  measured ms  recomputed  kB in
    ▒▒▒▒▒▒▒▒  █ A  edge-1  0:28           12.3         12.9       3.1 %    155
    ████████  █ B  edge-2  28:56          12.4         12.6       3.1 %    155

A colour is a node, the same in every map. Lighter is what a neighbour reads too: the halos. Where
there are no colours letters stand for nodes, small ones for halos.

Invariant: what it prints hangs on the views and the console's width and colours alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table
from rich.text import Text

from edgeflow.messages import TileMapView
from edgeflow.tiles.rect import columns, rows
from edgeflow.views.tilefacts import (
    Legend,
    Measured,
    Pixel,
    caption,
    kilobytes,
    legend,
    letter,
    lines,
    percent,
    raster,
    summary,
)

COLOURS = (
    ("#2f6fde", "#9dbcf3"),
    ("#d98200", "#f6cd8c"),
    ("#00897b", "#86cdc5"),
    ("#a33bc2", "#dba6ea"),
    ("#546e7a", "#b4c3ca"),
    ("#c2185b", "#f09cbd"),
    ("#6b8e00", "#c9de86"),
    ("#6d4c41", "#c3aba2"),
)
"""(own, halo) by a node's number, in the order of the pages' colours; readable on black and
on white."""
UNTOLD = "#808080"
LINES_ALONE, LINES_AMONG = 12, 6
"""Height of a picture that stands alone, and of one of several."""
COLUMNS_MAX, COLUMNS_MIN = 40, 6
"""Width of a picture; where there is less room there is none."""
GAP, BETWEEN = 2, 3
WIDTH_MAX = 1000


def tile_map(
    view: TileMapView,
    known: Legend,
    lines_max: int = LINES_ALONE,
    columns_max: int = COLUMNS_MAX,
    is_plain: bool = False,
) -> Text:
    """The map with its rectangles, two rows of pixels a line; `is_plain`: letters, no colours."""
    down, across = fitted(view, lines_max, columns_max)
    if is_plain:
        spots = raster(view, down // 2, across)
        return Text("\n".join("".join(_letter(view, known, spot) for spot in row) for row in spots))
    spots = raster(view, down, across)
    text = Text()
    for at in range(0, down, 2):
        text.append("\n" if at else "")
        for upper, lower in zip(spots[at], spots[at + 1], strict=True):
            style = Style(color=_colour(view, known, upper), bgcolor=_colour(view, known, lower))
            text.append("▀", style)
    return text


def fitted(view: TileMapView, lines_max: int, columns_max: int) -> tuple[int, int]:
    """(rows, columns) of pixels, which are square: as large as fits, rows even."""
    high, wide = rows(view.makes), columns(view.makes)
    scale = min(2 * lines_max / high, columns_max / wide)
    return max(2, 2 * round(high * scale / 2)), max(1, round(wide * scale))


def _colour(view: TileMapView, known: Legend, spot: Pixel) -> str:
    if spot.tile < 0:
        return UNTOLD
    return COLOURS[known[view.tiles[spot.tile].node] % len(COLOURS)][spot.is_shared]


def _letter(view: TileMapView, known: Legend, spot: Pixel) -> str:
    if spot.tile < 0:
        return "·"
    found = letter(known[view.tiles[spot.tile].node])
    return found.lower() if spot.is_shared else found


def tile_table(
    view: TileMapView, measured: Measured | None, known: Legend, is_plain: bool = False
) -> Table:
    """One line a worker; `measured` None: nothing runs, no column for it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    told = lines(view, measured or {})
    for title in ("node", "rows, columns" if any("," in line.what for line in told) else "rows"):
        table.add_column(title, no_wrap=True)
    times = ("predicted ms",) if measured is None else ("predicted ms", "measured ms")
    for title in (*times, "recomputed", "kB in"):
        table.add_column(title, justify="right", no_wrap=True)
    for line in told:
        at = known[line.node]
        mark = Text() if is_plain else Text("█ ", COLOURS[at % len(COLOURS)][0])
        seen = "–" if line.measured_s is None else f"{line.measured_s * 1e3:.1f}"
        table.add_row(
            mark.append(letter(at), ""),
            Text(line.node),
            line.what,
            f"{line.predicted_s * 1e3:.1f}",
            *(() if measured is None else (seen,)),
            percent(line.recomputed_share),
            kilobytes(line.in_bytes),
        )
    return table


@dataclass(frozen=True, slots=True)
class TileMaps:
    """All maps of a plan, as large as the console allows; prints like any renderable."""

    views: Sequence[TileMapView]
    measured: Measured | None = None
    """None: nothing runs."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_plain = console.no_color or console.color_system is None
        known, width = legend(self.views), options.max_width
        blocks = [self._block(view, known, console, width, is_plain) for view in self.views]
        needed = max(_width(console, each) for each in blocks)
        if len(blocks) > 1 and 2 * needed + BETWEEN <= width:
            yield Columns(blocks, padding=(1, BETWEEN), width=needed)
            yield Text()
        else:
            for block in blocks:
                # Never cut off: a narrow terminal wraps its lines.
                yield from console.render(block, options.update(max_width=max(width, needed)))
                yield Text()
        marks = "small letters" if is_plain else "lighter"
        yield Text(f"{summary(self.views)}; {marks}: read by a neighbour too", style="dim")

    def _block(
        self, view: TileMapView, known: Legend, console: Console, width: int, is_plain: bool
    ) -> RenderableType:
        head = Text(view.layers, style="bold")
        facts = Text(caption(view), style="dim")
        if not view.tiles:
            return Group(head, facts)
        table = tile_table(view, self.measured, known, is_plain)
        told = Group(facts, table)
        room = width - GAP - _width(console, table)
        if room < COLUMNS_MIN:
            return Group(head, told)
        among = min(LINES_ALONE, max(LINES_AMONG, table.row_count + 2))
        high = LINES_ALONE if len(self.views) == 1 else among
        beside = Table.grid(padding=(0, GAP))
        beside.add_row(tile_map(view, known, high, min(room, COLUMNS_MAX), is_plain), told)
        return Group(head, beside)


def _width(console: Console, drawn: RenderableType) -> int:
    """What it takes where there is room for all of it."""
    free = console.options.update(max_width=WIDTH_MAX)
    return Measurement.get(console, free, drawn).maximum
