"""A deployment's story as one HTML page: latency before and after each change, then each in words.

      ▒▒                    ▒ before, █ after, measured: the median of the last and the first frames
      ▒▒  ─                 ─ predicted at that moment
      ▒▒ ██     ▒▒ ██
    ──────────┴─────────
      20:14      20:31

Nothing is fetched: styles and drawing are inside, there is no script.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from edgeflow.leader import wording
from edgeflow.messages import PlanChange
from edgeflow.mind.snapshot import DeploymentView
from edgeflow.views.chart import Axis, number
from edgeflow.views.markup import Markup, element, join
from edgeflow.views.page import COLOUR_STYLE, table
from edgeflow.views.page import STYLE as PAGE_STYLE
from edgeflow.views.whystory import now, when

WIDTH, HEIGHT = 1000.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 20.0, 34.0, 34.0
GROUP_MAX = 150.0
"""A change takes no more of the width, however few there are."""
LABEL_WIDTH = 56.0
"""Where changes are narrower than their time, every other one is told."""
STYLE = """
svg .before { fill: var(--c4); fill-opacity: .55 } svg .after { fill: var(--c0) }
svg .predicted { stroke: var(--mark); stroke-width: 2.5 }
svg .number { font-size: 11.5px; text-anchor: middle } svg .middle { text-anchor: middle }
i.key { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em }
i.before { background: var(--c4); opacity: .55 } i.after { background: var(--c0) }
i.predicted { background: var(--mark); height: .2em; vertical-align: middle }
"""
HEAD = (
    "when", "why", "", "placement", "predicted", "measured", "frames", "switch", "what came of it",
)  # fmt: skip
NUMBERS = ("predicted", "measured", "frames", "switch")


def page(view: DeploymentView, changes: Sequence[PlanChange], now_s: float) -> str:
    """The whole document. `now_s`: unix time of its making."""
    heading = f"Why {view.name} runs as it does"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(now_s))
    about = f"{view.model} from {view.source}, by {view.policy}; as told at {made}"
    body = join(
        element("h1", heading),
        element("p", about, class_="about"),
        *([draw(changes), _key()] if changes else []),
        element("h2", "Changes, the newest last"),
        table(HEAD, rows(changes), NUMBERS),
        element("h2", "Now"),
        *(element("p", line.strip()) for line in now(view)),
        element(
            "footer",
            "predicted: by the estimates of that moment. measured: the median of the last frames"
            " before a change, and of the first 20 after it, sent to answered, at their source.",
        ),
    )
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", heading),
        element("style", Markup(PAGE_STYLE + COLOUR_STYLE + STYLE)),
    )
    whole = element("html", element("head", head), element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def rows(changes: Sequence[PlanChange]) -> Iterator[tuple[str, ...]]:
    """A row for the old plan of each change, where there was one, and a row for the new one."""
    for each in changes:
        title = (when(each), f"{each.kind}: {each.why}")
        if each.before:
            old = (_ms(each.predicted_before_s), _ms(each.measured_before_s))
            yield (*title, "before", element("code", each.before), *old, "", "", "")
            title = ("", "")
        new = (_ms(each.predicted_after_s), _ms(each.measured_after_s), str(each.frames_after))
        fetched = f", {wording.size(each.fetched_bytes)}" if each.fetched_bytes else ""
        cost = f"{each.switch_s:.1f} s{fetched}"
        came = (cost if each.switch_s else "is being prepared", wording.verdict(each))
        yield (*title, "after", element("code", each.after), *new, *came)


def _ms(seconds: float) -> str:
    return wording.ms(seconds) if seconds else "–"


def draw(changes: Sequence[PlanChange]) -> Markup:
    """Two bars a change, with what was predicted across them."""
    seconds = [
        value
        for each in changes
        for value in (
            each.measured_before_s, each.measured_after_s,
            each.predicted_before_s, each.predicted_after_s,
        )
    ]  # fmt: skip
    axis = Axis(0.0, max(seconds, default=0.0) * 1e3 * 1.08 or 1.0, HEIGHT - BOTTOM, TOP, False)
    step = min(GROUP_MAX, (WIDTH - LEFT - RIGHT) / len(changes))
    parts = [
        element("text", "milliseconds a frame", x=LEFT, y=TOP - 16.0, class_="title"),
        *_grid(axis),
        *(
            part
            for at, each in enumerate(changes)
            for part in _group(each, LEFT + step * at, step, axis)
        ),
        *(
            _time(each, LEFT + step * (at + 0.5))
            for at, each in enumerate(changes)
            if step >= LABEL_WIDTH or at % 2 == 0
        ),
    ]
    label = "Latency before and after each change"
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return element("svg", *parts, viewBox=box, class_="chart", role="img", aria_label=label)


def _grid(axis: Axis) -> Iterator[Markup]:
    for value in axis.ticks():
        y = axis.place(value)
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        text = {"x": LEFT - 8.0, "y": y + 4.0, "text_anchor": "end", "class_": "tick"}
        yield element("text", number(value), **text)


def _group(change: PlanChange, left: float, step: float, axis: Axis) -> Iterator[Markup]:
    """The bars of one change."""
    wide = step * 0.32
    pairs = (
        ("before", change.measured_before_s, change.predicted_before_s),
        ("after", change.measured_after_s, change.predicted_after_s),
    )
    for at, (kind, measured_s, predicted_s) in enumerate(pairs):
        x = left + step * 0.16 + at * wide * 1.12
        if measured_s:
            top = axis.place(measured_s * 1e3)
            size = {"width": wide, "height": axis.start - top}
            yield element("rect", x=x, y=top, **size, class_=kind)
            middle = x + wide / 2
            yield element("text", number(measured_s * 1e3), x=middle, y=top - 4.0, class_="number")
        if predicted_s:
            y = axis.place(predicted_s * 1e3)
            yield element("line", x1=x - 3.0, x2=x + wide + 3.0, y1=y, y2=y, class_="predicted")


def _time(change: PlanChange, middle: float) -> Markup:
    """Of a change, below its bars; its sentence where a pointer rests on it."""
    then = when(change)
    told = f"{then}  {change.kind}: {change.why}"
    text = then.rpartition(" ")[2] if ":" in then else "?"
    place = {"x": middle, "y": HEIGHT - BOTTOM + 18.0, "class_": "tick middle"}
    return element("text", element("title", told), text, **place)


def _key() -> Markup:
    """What is what."""
    kinds = (("before", "measured before"), ("after", "measured after"), ("predicted", "predicted"))
    told = [join(element("i", class_=f"key {kind}"), text) for kind, text in kinds]
    return element("p", *told, class_="about")
