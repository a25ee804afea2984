"""What the frames of a running plan usually take, and when one is overdue.

    flight ─▶ mean, mean deviation ─▶ overdue: the mean and DEVIATIONS deviations ago

After the retransmission timer of Jacobson, "Congestion avoidance and control", SIGCOMM 1988.

What was overdue counts as if it had just been so: one bad second does not hide the next one.

Invariant: before the first flight nothing is overdue.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.messages import PlanId
from edgeflow.plans.heldplan import Way

SMOOTH = 0.2
"""Weight of the newest frame in what is usual."""
DEVIATIONS, OVERDUE = 6.0, 1.25
"""So many mean deviations more than the mean is overdue, and so many times the mean at least.
Lower takes hiccups for more than they are; higher lets the frames behind run into what slowed it.
TCP waits for four: what it sends again in vain costs it less."""


@dataclass(slots=True)
class Usual:
    """Of one deployment, at its source."""

    seconds: float = 0.0
    """From sent to answered; 0 before the first."""
    deviation_s: float = 0.0

    plan: PlanId | None = None
    """The running plan."""
    line: str = ""
    """Its placement."""

    def count(self, way: Way, flight_s: float) -> None:
        """One more frame, along a way; what stands in for the running one says nothing of it."""
        if way.variant or (self.plan is not None and way.plan.id < self.plan):
            return
        if way.line != self.line:
            self.seconds = 0.0
        self.plan, self.line = way.plan.id, way.line
        self.add(flight_s)

    def add(self, flight_s: float) -> None:
        """One more frame."""
        if self.seconds == 0.0:
            self.seconds, self.deviation_s = flight_s, flight_s / 2
        off_s = min(flight_s, self.limit_s) - self.seconds
        self.deviation_s += SMOOTH * (abs(off_s) - self.deviation_s)
        self.seconds += SMOOTH * off_s

    @property
    def limit_s(self) -> float:
        """What takes longer is overdue; 0 before the first."""
        return max(OVERDUE * self.seconds, self.seconds + DEVIATIONS * self.deviation_s)

    def is_overdue(self, flown_s: float) -> bool:
        """Whether a frame that is alone takes so long that something has happened on its way."""
        return 0.0 < self.limit_s < flown_s
