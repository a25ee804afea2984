"""What is said of one deployment's plans, heard by a connection of its own at the broker.

Board   ──▶ plan id ─▶ its placement lines; when each was first seen committed
History ──▶ plan id ─▶ the sentence of the change
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.lab.ear import Ear
from edgeflow.messages import Board, ControlMessage, History


@dataclass(slots=True)
class Listener(Ear):
    """Collects from its start to `close`."""

    deployment: str
    variants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Plan id in words -> its placement lines."""
    committed: list[tuple[float, str]] = field(default_factory=list)
    """(monotonic seconds, plan id in words), in the order in which they were seen."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Plan id in words -> the last told `PlanChange` of it."""
    reasons: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """All of it, as plain data."""
        with self.lock:
            return {
                "variants": {plan: list(lines) for plan, lines in self.variants.items()},
                "committed": list(self.committed),
                "changes": dict(self.changes),
                "reasons": dict(self.reasons),
            }

    def hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        """Boards and histories, retained ones too."""
        if isinstance(event, Heard):
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
