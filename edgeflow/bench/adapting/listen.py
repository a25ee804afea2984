"""What is said of one deployment's plans, heard by a connection of its own at the broker.

    Board   ──▶ plan id ─▶ its placement lines; when each was first seen committed
    History ──▶ plan id ─▶ the sentence of the change

The listener is no node: it announces nothing, opens no link, and only looks at its watch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import msgspec

from edgeflow.config import NodeConfig
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.mqtt import Mqtt
from edgeflow.messages import Board, ControlMessage, History


@dataclass(slots=True)
class Listener:
    """Collects from its start to `close`."""

    deployment: str
    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Plan id in words -> its placement lines."""
    committed: list[tuple[float, str]] = field(default_factory=list)
    """(monotonic seconds, plan id in words), in the order in which they were seen."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Plan id in words -> the last told `PlanChange` of it."""
    reasons: dict[str, str] = field(default_factory=dict)
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

    def told(self) -> dict[str, Any]:
        """All of it, as plain data."""
        with self._lock:
            return {
                "variants": {plan: list(lines) for plan, lines in self.variants.items()},
                "committed": list(self.committed),
                "changes": dict(self.changes),
                "reasons": dict(self.reasons),
            }

    def _hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        if isinstance(event, Heard):
            with self._lock:
                self._note(event.message, time.monotonic())

    def _note(self, message: ControlMessage, now_s: float) -> None:
        if isinstance(message, Board) and message.deployment == self.deployment:
            for plan in (message.preparing, message.committed, *message.draining):
                if plan is not None:
                    self.variants[str(plan.id)] = plan.variants
                    self.reasons[str(plan.id)] = plan.reason
            is_new = message.committed is not None and (
                not self.committed or self.committed[-1][1] != str(message.committed.id)
            )
            if message.committed is not None and is_new:
                self.committed.append((now_s, str(message.committed.id)))
        elif isinstance(message, History) and message.deployment == self.deployment:
            for change in message.changes:
                self.changes[change.plan] = msgspec.to_builtins(change)
