"""A broker as bad as real ones: order per publisher only, drops and doubles under stress, wills.

Each message goes through `codec` once, so that nothing is said here that could not be on a wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow import codec
from edgeflow.messages import ControlMessage, State
from edgeflow.sim.clockwork import Clockwork

CLUSTER = "sim"
Deliver = Callable[[ControlMessage, bool], None]


@dataclass(slots=True)
class Session:
    """One connection."""

    client: str
    deliver: Deliver
    on_up: Callable[[], None]
    on_down: Callable[[], None]
    will: State
    sent_s: float = 0.0
    heard_s: dict[str, float] = field(default_factory=dict)
    """By publisher: when its last message arrives here, so that later ones come later."""


@dataclass(slots=True)
class Broker:
    """The one logical broker of the cluster."""

    clockwork: Clockwork
    drops: float = 0.0
    doubles: float = 0.0
    deaf: set[str] = field(default_factory=set)
    """Clients that nothing reaches."""
    mute: set[str] = field(default_factory=set)
    """Clients from whom nothing arrives."""
    is_up: bool = True
    retained: dict[str, tuple[ControlMessage, str]] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    messages: int = 0

    def connect(self, session: Session) -> None:
        """Everything retained first, as the broker knows it, then what comes."""
        if not self.is_up:
            return
        self.sessions[session.client] = session
        session.on_up()
        for message, publisher in list(self.retained.values()):
            self._pass(session, message, publisher, retained=True)

    def disconnect(self, client: str, *, gracefully: bool) -> None:
        """The connection ends; without a goodbye the will is published."""
        session = self.sessions.pop(client, None)
        if session is None:
            return
        if not gracefully and self.is_up:
            delay_s = self.clockwork.jitter(0.01, 3.0)
            self.clockwork.after(delay_s, lambda: self._accept(client, session.will))

    def lose(self, client: str) -> None:
        """A connection breaks; the will may come after the client is back."""
        session = self.sessions.get(client)
        if session is not None:
            self.disconnect(client, gracefully=False)
            session.on_down()

    def publish(self, client: str, message: ControlMessage) -> None:
        """From a connected client; lost where the broker is gone when it would arrive."""
        session = self.sessions.get(client)
        if session is None or client in self.mute:
            return
        topic = codec.topic_of(CLUSTER, message)
        decoded = codec.decode_control(CLUSTER, topic, codec.encode_control(message))
        arrival_s = max(session.sent_s, self.clockwork.now_s + self.clockwork.jitter(0.001, 0.02))
        session.sent_s = arrival_s
        self.clockwork.after(
            arrival_s - self.clockwork.now_s, lambda: self._accept(client, decoded)
        )

    def crash(self, retained: dict[str, tuple[ControlMessage, str]]) -> None:
        """Everybody is cut off; `retained` is what it will come back with."""
        self.is_up = False
        sessions, self.sessions = list(self.sessions.values()), {}
        self.retained = retained
        for session in sessions:
            session.on_down()

    def _accept(self, publisher: str, message: ControlMessage) -> None:
        if not self.is_up:
            return
        self.messages += 1
        if type(message).retain:
            self.retained[codec.topic_of(CLUSTER, message)] = (message, publisher)
        for session in list(self.sessions.values()):
            if session.client in self.deaf:
                continue
            if self.clockwork.random.random() >= self.drops:
                self._pass(session, message, publisher, retained=False)
            if self.doubles and self.clockwork.random.random() < self.doubles:
                again_s = self.clockwork.jitter(0.0, 3.0)
                self.clockwork.after(again_s, _late(self, session, message))

    def _pass(
        self, session: Session, message: ControlMessage, publisher: str, retained: bool
    ) -> None:
        arrival_s = self.clockwork.now_s + self.clockwork.jitter(0.001, 0.02)
        arrival_s = max(arrival_s, session.heard_s.get(publisher, 0.0))
        session.heard_s[publisher] = arrival_s
        self.clockwork.after(
            arrival_s - self.clockwork.now_s, _delivery(self, session, message, retained)
        )


def _delivery(
    broker: Broker, session: Session, message: ControlMessage, retained: bool
) -> Callable[[], None]:
    def deliver() -> None:
        if broker.sessions.get(session.client) is session:
            session.deliver(message, retained)

    return deliver


def _late(broker: Broker, session: Session, message: ControlMessage) -> Callable[[], None]:
    """A duplicate: it keeps no order."""
    return _delivery(broker, session, message, retained=False)
