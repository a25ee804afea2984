"""The comparison as one SVG: for each scene bars of predicted latency against min-cut's.

Nothing is loaded from elsewhere: any browser shows the file as it is. A bar higher than the panel
is cut off and has its number on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from edgeflow.bench.partitions.compare import ALGORITHMS, Row

COLOURS = ("#b8b8b8", "#8c8c8c", "#5c5c5c", "#e69f00", "#56b4e9", "#0072b2", "#cc79a7", "#009e73")
"""By algorithm; told apart by the colour-blind too (Okabe and Ito, 2008)."""
RATIO_MAX = 3.0
LEFT, TOP, PANEL, GAP, BAR = 60, 120, 150, 90, 11


def as_svg(rows: Sequence[Row]) -> str:
    """The picture; one panel a scene, one group of bars a network."""
    places = list(dict.fromkeys((row.machines, row.uplink) for row in rows))
    networks = list(dict.fromkeys(row.network for row in rows))
    group = BAR * (len(ALGORITHMS) + 2)
    width = LEFT + group * len(networks) + 20
    height = TOP + (PANEL + GAP) * len(places)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(LEFT, 24, "Predicted latency of one frame, as a multiple of min-cut's plan", 16),
        _text(LEFT, 42, "Predicted, not measured; all rates are ours. Lower is better.", 12),
        *_legend(),
    ]
    for at, panel in enumerate(places):
        floor = TOP + PANEL + at * (PANEL + GAP)
        lines += _axis(", ".join(panel), floor, width)
        for place, network in enumerate(networks):
            asked = (network, *panel)
            mine = {row.algorithm: row for row in rows if row.question == asked}
            lines += _bars(mine, LEFT + place * group + BAR, floor)
            for line, said in enumerate(network.split("-")):
                lines.append(_text(LEFT + place * group + BAR, floor + 16 + 13 * line, said, 11))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(x: float, y: float, said: str, size: int, turned: int = 0) -> str:
    turn = f' transform="rotate({turned} {x:g} {y:g})"' if turned else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{turn}>{escape(said)}</text>'


def _legend() -> Iterator[str]:
    x = LEFT
    for algorithm, colour in zip(ALGORITHMS, COLOURS, strict=True):
        yield f'<rect x="{x}" y="54" width="11" height="11" fill="{colour}"/>'
        yield _text(x + 15, 64, algorithm, 12)
        x += 30 + 7 * len(algorithm)


def _axis(title: str, floor: int, width: int) -> Iterator[str]:
    yield _text(LEFT, floor - PANEL - 24, title, 14)
    for ratio in range(int(RATIO_MAX) + 1):
        y = floor - ratio / RATIO_MAX * PANEL
        yield f'<line x1="{LEFT}" y1="{y:g}" x2="{width - 20}" y2="{y:g}" stroke="#dddddd"/>'
        yield _text(LEFT - 22, y + 4, f"{ratio}×", 11)


def _bars(mine: dict[str, Row], left: int, floor: int) -> Iterator[str]:
    for at, (algorithm, colour) in enumerate(zip(ALGORITHMS, COLOURS, strict=True)):
        row, x = mine[algorithm], left + at * BAR
        tall = min(row.ratio, RATIO_MAX) / RATIO_MAX * PANEL
        said = escape(f"{', '.join(row.question)}, {algorithm}: {row.predicted_ms:.1f} ms")
        yield (
            f'<rect x="{x}" y="{floor - tall:.1f}" width="{BAR - 1}" height="{tall:.1f}" '
            f'fill="{colour}"><title>{said} ({row.ratio:.2f}×)</title></rect>'
        )
        if row.ratio > RATIO_MAX:
            yield _text(x + 9, floor - PANEL - 2, f"{row.ratio:.3g}", 9, turned=-70)
