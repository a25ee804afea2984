"""Ways that are left alone for a while, as long as there is another.

    trusted ──timed out, overdue, worker died──▶ doubted for a span ──▶ tried again ──span─▶ trusted
                                                       ^── once more: for twice the span ─'

A link that swallows all is noticed within 2 s, a worker is started again within 1 to 3 s; what goes
on for longer is tried ever more seldom, since each trial costs the frames in it a time-out.

Invariant: a doubt passes by itself; with no other way a doubted one is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.plans.heldplan import Route

TIMEOUT_DOUBT_S = 3.0
"""After an attempt that timed out: until the link's own heartbeats have told whether it is dead."""
WORKER_DOUBT_S = 1.5
"""After a worker died. Lower is back before the worker is (onnxruntime 1 s, torch 3 s), higher
stays on what may be slower."""
OVERDUE_DOUBT_S = 2.0
"""After a frame that was far slower than usual: until probes have told whether its link is, and the
leader has another plan. Higher pays more for a hiccup, lower meets what slowed it once more."""
DOUBT_S_MAX = 24.0
"""Once in so long at least a way is tried again."""


@dataclass(slots=True)
class Doubts:
    """By way: until when, and how long that was."""

    known: dict[Route, tuple[float, float]] = field(default_factory=dict)

    def add(self, route: Route, least_s: float, now_s: float) -> None:
        """One more reason."""
        until_s, span_s = self.known.get(route, (-math.inf, 0.0))
        if now_s < until_s:
            span_s = max(span_s, least_s)
        elif now_s < until_s + span_s:
            span_s = min(2 * span_s, DOUBT_S_MAX)
        else:
            span_s = least_s
        self.known[route] = max(until_s, now_s + span_s), span_s

    def until_s(self, route: Route, now_s: float) -> float:
        """When the doubt passes; minus infinity where there is none."""
        until_s, _ = self.known.get(route, (-math.inf, 0.0))
        return until_s if now_s < until_s else -math.inf

    def lift(self, route: Route) -> None:
        """There was no reason."""
        self.known.pop(route, None)

    def tick(self, now_s: float) -> None:
        """Forget what was over long enough ago."""
        for route, (until_s, span_s) in list(self.known.items()):
            if now_s >= until_s + span_s:
                del self.known[route]
