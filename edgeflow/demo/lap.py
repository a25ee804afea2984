"""What one run of frames came to, beside what the leader predicted.

Invariant: pure; figures of tiles are those of the plan at the run's end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeflow.costmodel.tileviews import totals
from edgeflow.demo.tally import quantile_ms
from edgeflow.messages import SegmentTime, TileMapView
from edgeflow.mind.snapshot import DeploymentView, Snapshot


@dataclass(slots=True)
class Lap:
    """One run's figures."""

    name: str
    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    retried: int = 0
    plans: Counter[str] = field(default_factory=Counter)
    """Plan -> frames under it."""
    sent_bytes: int = 0
    view: DeploymentView | None = None
    """At its end."""

    @property
    def p50_ms(self) -> float:
        """The median latency; 0 without frames."""
        return quantile_ms(self.latencies_s, 0.5)

    @property
    def tiles(self) -> tuple[TileMapView, ...]:
        """Of its plan."""
        return self.view.tiles if self.view else ()

    @property
    def is_measured(self) -> bool:
        """Whether every tile of its plan ran."""
        told = workers(self.tiles, self.view.segments if self.view else ())
        return all(each["measured_ms"] for each in told.values())

    def report(self) -> dict[str, Any]:
        """For --json and the table."""
        whole, frames = totals(self.tiles), len(self.latencies_s)
        return {
            "frames": frames,
            "errors": self.errors,
            "retried": self.retried,
            "p50_ms": self.p50_ms,
            "p99_ms": quantile_ms(self.latencies_s, 0.99),
            "predicted_ms": round(self.view.predicted_ms, 1) if self.view else 0.0,
            "recomputed_share": round(whole.recomputed_share, 4),
            "sent_bytes_per_frame": round(self.sent_bytes / frames) if frames else 0,
            "maps": len(self.tiles),
            "plans": dict(self.plans),
            "placement": self.view.placement if self.view else "",
            "workers": workers(self.tiles, self.view.segments if self.view else ()),
        }


def workers(
    views: Sequence[TileMapView], segments: Sequence[SegmentTime]
) -> dict[str, dict[str, float | None]]:
    """Node -> milliseconds a frame in its tiles, predicted and measured; None where one of its
    tiles was not measured."""
    measured = {each.segment: each.seconds for each in segments}
    found: dict[str, dict[str, float | None]] = {}
    for node in sorted({tile.node for view in views for tile in view.tiles}):
        mine = [tile for view in views for tile in view.tiles if tile.node == node]
        seen = [measured[tile.segment] for tile in mine if tile.segment in measured]
        found[node] = {
            "tiles": len(mine),
            "predicted_ms": round(sum(tile.predicted_s for tile in mine) * 1e3, 1),
            "measured_ms": round(sum(seen) * 1e3, 1) if len(seen) == len(mine) else None,
        }
    return found


def sent_bytes(snapshot: Snapshot) -> int:
    """Tensor bytes that ever crossed any link, as the nodes that are there counted them."""
    return sum(link.sent_bytes for link in snapshot.links)
