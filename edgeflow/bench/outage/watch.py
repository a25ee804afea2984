"""Who leads, by the beats that reach a connection of its own at the broker.

Leader, not retained ──▶ (when, claim)      BrokerDown … BrokerUp ──▶ nothing could be heard
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.lab.ear import Ear
from edgeflow.messages import ControlMessage, Leader


@dataclass(slots=True)
class Watch(Ear):
    """Collects from its start to `close`."""

    beats: list[tuple[float, str, int]] = field(default_factory=list)
    """(monotonic seconds, node, term) of every beat, in their order."""
    deaf: list[tuple[float, bool]] = field(default_factory=list)
    """(monotonic seconds, whether the broker went) at every change."""

    def leader(self) -> str:
        """Whose beat was the last; empty where there was none."""
        with self.lock:
            return self.beats[-1][1] if self.beats else ""

    def hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        """Live beats, and when the broker came and went."""
        now_s = time.monotonic()
        if isinstance(event, BrokerUp | BrokerDown):
            self.deaf.append((now_s, isinstance(event, BrokerDown)))
        elif isinstance(event, Heard) and not event.retained:
            self._note(event.message, now_s)

    def _note(self, message: ControlMessage, now_s: float) -> None:
        if isinstance(message, Leader) and not message.resigned:
            self.beats.append((now_s, message.claim.node, message.claim.term))
