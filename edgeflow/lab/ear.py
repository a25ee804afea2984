"""A connection of its own at the broker that only listens.

It is no node: it announces nothing, opens no link, and only looks at its watch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from threading import Lock

from edgeflow.config import NodeConfig
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.mqtt import Mqtt


@dataclass(slots=True)
class Ear(ABC):
    """Hears from its start to `close`; what it keeps is guarded by `lock`."""

    lock: Lock = field(default_factory=Lock, init=False)
    _mqtt: Mqtt | None = field(default=None, init=False)

    def start(self, config: NodeConfig) -> None:
        """Connect, and go on doing so."""
        self._mqtt = Mqtt(config, 1, self._hear)
        self._mqtt.start()

    def close(self) -> None:
        """No more."""
        if self._mqtt is not None:
            self._mqtt.close()

    def _hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        with self.lock:
            self.hear(event)

    @abstractmethod
    def hear(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        """In the thread of the connection, with the lock held."""
