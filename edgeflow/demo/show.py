"""What a person sees while the demo runs: a live screen on a terminal, plain lines elsewhere.

phase  ─▶ one line that stays
frame, look ─▶ the live screen, at most five times a second
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edgeflow.demo.tally import Seen, Tally
from edgeflow.mind.snapshot import Snapshot

REFRESH_S = 0.2
BARS = "▁▂▃▄▅▆▇█"
HAND_OUT = "hand-out"
"""How deployments begin that only hand out weights: no news."""
HISTORY = 60
"""Frames in the row of bars."""


@dataclass(slots=True)
class Show:
    """The screen. `is_live` needs a terminal."""

    console: Console
    is_live: bool
    title: str = ""
    total: int = 0
    """Frames that are to come; 0: nobody knows."""
    _live: Live | None = None
    _seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _drawn_s: float = 0.0
    _told: int = 0
    _said: int = 0

    def __enter__(self) -> Show:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def phase(self, text: str) -> None:
        """A line that stays above the live screen."""
        self.console.print(text, markup=False, highlight=False)

    def open(self) -> None:
        """The live screen appears, where there is a terminal."""
        if self.is_live:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.start()

    def close(self) -> None:
        """Its last picture stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def frame(self, seen: Seen) -> None:
        """One outcome."""
        self._seen.append(seen)

    def is_due(self) -> bool:
        """Whether another picture of the cluster is wanted now."""
        return time.monotonic() - self._drawn_s >= (REFRESH_S if self._live else 2.0)

    def look(self, snapshot: Snapshot, notices: Sequence[str], tally: Tally) -> None:
        """Draw the cluster."""
        self._drawn_s = time.monotonic()
        if self._live is not None:
            self._live.update(self._screen(snapshot, notices, tally), refresh=True)
            return
        for notice in notices[self._told :]:
            if not notice.startswith(HAND_OUT):
                self.phase(f"  {notice}")
        self._told = len(notices)
        answered = tally.results + tally.errors
        count = f"{answered} of {self.total}" if self.total else str(answered)
        if answered > self._said:
            self.phase(f"  {count}: {_sentence(self._seen[-1])}")
        elif answered:
            self.phase(f"  {count}: frames wait for a plan")
        self._said = answered

    def _screen(self, snapshot: Snapshot, notices: Sequence[str], tally: Tally) -> Panel:
        parts: list[RenderableType] = [
            headline(self._seen[-1] if self._seen else None, tally, self.total)
        ]
        parts += [_bars(self._seen), Text(), _plans(snapshot), Text(), _nodes(snapshot)]
        parts += [links_line(snapshot), Text()]
        told = [notice for notice in notices if not notice.startswith(HAND_OUT)]
        parts += [Text(line, style="dim") for line in told[-3:]]
        for text in (part for part in parts if isinstance(part, Text)):
            text.no_wrap, text.overflow = False, "fold"  # the console's own lines are never wrapped
        return Panel(Group(*parts), title=self.title, title_align="left")


def _sentence(seen: Seen) -> str:
    if not seen.result.ok:
        return f"{seen.photograph}: {seen.result.code}: {seen.result.text}"
    ms = seen.result.latency_s * 1e3
    return f"{seen.photograph}: {seen.label} {seen.confidence:.0%}, {ms:.0f} ms"


def headline(last: Seen | None, tally: Tally, total: int) -> Text:
    """The latest answer, and the counts of all."""
    line = Text(
        (f"{tally.results}/{total} frames  " if total else f"{tally.results} frames  "),
        style="bold",
    )
    if last is not None:
        line.append(_sentence(last), style="bold green" if last.result.ok else "bold red")
    line.append(
        f"   errors {tally.errors}  duplicates {tally.duplicates}  not as the whole"
        f" {tally.mismatches}  tried again {tally.retried}",
        style="dim",
    )
    return line


def _bars(seen: Sequence[Seen]) -> Text:
    """Latency of the last frames; the highest bar is the slowest of them."""
    values = [each.result.latency_s for each in seen]
    top = max(values, default=1.0) or 1.0
    bars = "".join(BARS[min(int(value / top * len(BARS)), len(BARS) - 1)] for value in values)
    return Text(f"{bars} latency, up to {top * 1e3:.0f} ms", style="cyan")


def _plans(snapshot: Snapshot) -> Text:
    text = Text()
    for each in snapshot.deployments:
        text.append(f"plan {each.plan or '–'}  ", style="bold")
        text.append(each.placement or each.sentence)
        text.append(f"  predicted {each.predicted_ms:.0f} ms" if each.plan else "", style="dim")
    return text


def _nodes(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("node", "tier", "state", "computes", "emulated"):
        table.add_column(title, no_wrap=title != "emulated")
    layers = layers_by_node(snapshot)
    for node in snapshot.nodes:
        name = Text(node.name, style="bold" if node.leads else "")
        name.append(" leads" if node.leads else "", style="bold yellow")
        style = "red" if node.state in ("lost", "offline") else ""
        does = layers.get(node.name, "–")
        table.add_row(name, node.tier, Text(node.state, style), does, node.emulated)
    return table


def layers_by_node(snapshot: Snapshot) -> dict[str, str]:
    """Node -> the layers that the present plans give it."""
    found: dict[str, str] = {}
    for each in snapshot.deployments:
        for segment in each.placement.split(" | "):
            layers, at, node = segment.rpartition(" @")
            if at:
                found[node.strip()] = layers.strip()
    return found


def links_line(snapshot: Snapshot) -> Text:
    """What the busiest links carried."""
    used = [link for link in snapshot.links if link.sent_bytes > 0]
    text = Text("tensors sent  ", style="dim")
    for link in sorted(used, key=lambda link: -link.sent_bytes)[:6]:
        text.append(f"{link.sender}→{link.receiver} ", style="bold")
        text.append(f"{link.sent_bytes / 1e6:.1f} MB ({link.mbps:.0f} Mbit/s)   ")
    return text
