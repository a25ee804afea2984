"""Who leads, by the beats that reach a connection of its own at the broker.

    Leader, not retained ──▶ (when, claim)      BrokerDown … BrokerUp ──▶ nothing could be heard

The watcher is no node: it announces nothing, opens no link, and only looks at its watch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock

from edgeflow.config import NodeConfig
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.mqtt import Mqtt
from edgeflow.messages import ControlMessage, Leader


@dataclass(slots=True)
class Watch:
    """Collects from its start to `close`."""

    beats: list[tuple[float, str, int]] = field(default_factory=list)
    """(monotonic seconds, node, term) of every beat, in their order."""
    deaf: list[tuple[float, bool]] = field(default_factory=list)
    """(monotonic seconds, whether the broker went) at every change."""
    _lock: Lock = field(default_factory=Lock)
    _mqtt: Mqtt | None = None

    def start(self, config: NodeConfig) -> None:
        """Connect, and go on doing so."""
        self._mqtt = Mqtt(config, 1, self._hear)
        self._mqtt.start()

    def close(self) -> None:
        """No more."""
        if self._mqtt is not None:
            self._mqtt.close()

    def leader(self) -> str:
        """Whose beat was the last; empty where there was none."""
        with self._lock:
            return self.beats[-1][1] if self.beats else ""

    def _hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        now_s = time.monotonic()
        with self._lock:
            if isinstance(event, BrokerUp | BrokerDown):
                self.deaf.append((now_s, isinstance(event, BrokerDown)))
            elif isinstance(event, Heard) and not event.retained:
                self._note(event.message, now_s)

    def _note(self, message: ControlMessage, now_s: float) -> None:
        if isinstance(message, Leader) and not message.resigned:
            self.beats.append((now_s, message.claim.node, message.claim.term))
