"""What the frames of a running plan usually take, and when one is overdue.

    flight ─▶ mean, mean deviation ─▶ overdue: the mean and DEVIATIONS deviations ago

After the retransmission timer of Jacobson, "Congestion avoidance and control", SIGCOMM 1988.

Invariant: before the first flight nothing is overdue.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def add(self, flight_s: float) -> None:
        """One more frame."""
        if self.seconds == 0.0:
            self.seconds, self.deviation_s = flight_s, flight_s / 2
        self.deviation_s += SMOOTH * (abs(flight_s - self.seconds) - self.deviation_s)
        self.seconds += SMOOTH * (flight_s - self.seconds)

    def is_overdue(self, flown_s: float) -> bool:
        """Whether a frame that is alone takes so long that something has happened on its way."""
        limit_s = max(OVERDUE * self.seconds, self.seconds + DEVIATIONS * self.deviation_s)
        return self.seconds > 0.0 and limit_s < flown_s
