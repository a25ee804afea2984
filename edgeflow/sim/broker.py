"""A broker as bad as real ones: order per publisher only, drops and doubles under stress, wills.

    up ──crash──▶ down ──▶ up, with all, nothing, or an older part of what it had retained
    up ──freeze─▶ frozen: connections stay, nothing passes ──▶ up: what waited passes, then the
                  wills of those who lost patience meanwhile

A client that reads slowly has a queue; what comes beyond its limit is dropped silently. Each
message goes through `codec` once, so that nothing is said here that could not be on a wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow import codec
from edgeflow.messages import ControlMessage, State
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.dialect import Dialect

CLUSTER = "sim"
QUEUE_MAX = 1000
"""Messages that wait for one client, as in the brokers' own defaults."""
PATIENCE_S = (5.0, 7.5)
"""How long a client waits for a frozen broker: one to one and a half times its keep-alive."""
Deliver = Callable[[ControlMessage, bool], None]
Retained = dict[str, tuple[ControlMessage, str]]
"""By topic: a message and who published it."""


@dataclass(slots=True)
class Session:
    """One connection."""

    client: str
    deliver: Deliver
    on_up: Callable[[], None]
    on_down: Callable[[], None]
    will: State
    sent_s: float = 0.0
    queued: int = 0
    """On their way to this client."""
    heard_s: dict[str, float] = field(default_factory=dict)
    """By publisher: when its last message arrives here, so that later ones come later."""


@dataclass(slots=True)
class Broker:
    """One broker program."""

    clockwork: Clockwork
    drops: float = 0.0
    doubles: float = 0.0
    queue_max: int = QUEUE_MAX
    deaf: set[str] = field(default_factory=set)
    """Clients that nothing reaches."""
    mute: set[str] = field(default_factory=set)
    """Clients from whom nothing arrives."""
    dialects: dict[str, Dialect] = field(default_factory=dict)
    """Clients that speak another version."""
    is_up: bool = True
    is_frozen: bool = False
    retained: Retained = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    waiting: list[tuple[str, ControlMessage]] = field(default_factory=list)
    """Came in while it was frozen."""
    said: dict[str, tuple[ControlMessage, ControlMessage]] = field(default_factory=dict)
    """By topic: the last message and how it is read; most are said again unchanged."""
    messages: int = 0
    dropped: int = 0
    refused: int = 0
    """Messages that no node could read."""

    @property
    def takes_calls(self) -> bool:
        """Whether a connection can be made now."""
        return self.is_up and not self.is_frozen

    def connect(self, session: Session) -> None:
        """Everything retained first, as the broker knows it, then what comes."""
        if not self.takes_calls:
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
        read = self._read(client, message)
        if read is None:
            return
        arrival_s = max(session.sent_s, self.clockwork.now_s + self.clockwork.jitter(0.001, 0.02))
        session.sent_s = arrival_s
        self.clockwork.after(arrival_s - self.clockwork.now_s, lambda: self._accept(client, read))

    def crash(self, retained: Retained) -> None:
        """Everybody is cut off; `retained` is what it will come back with."""
        self.is_up = False
        self.waiting.clear()
        sessions, self.sessions = list(self.sessions.values()), {}
        self.retained = retained
        for session in sessions:
            session.on_down()

    def freeze(self) -> None:
        """Nothing passes; whoever waits too long for a sign of life gives up."""
        self.is_frozen = True
        for client in list(self.sessions):
            self.clockwork.after(self.clockwork.jitter(*PATIENCE_S), _impatient(self, client))

    def thaw(self) -> None:
        """What waited passes, in its order."""
        self.is_frozen = False
        waiting, self.waiting = self.waiting, []
        for publisher, message in waiting:
            self._accept(publisher, message)

    def relax(self) -> None:
        """No more drops, doubles, short queues or deaf ears."""
        self.drops, self.doubles, self.queue_max = 0.0, 0.0, QUEUE_MAX
        self.deaf.clear()
        self.mute.clear()

    def _read(self, client: str, message: ControlMessage) -> ControlMessage | None:
        """The message as every node reads it; None where none can."""
        topic = codec.topic_of(CLUSTER, message)
        dialect = self.dialects.get(client)
        if dialect is not None:
            try:
                return dialect.spoken(CLUSTER, topic, message)
            except codec.CodecError:
                self.refused += 1
                return None
        known = self.said.get(topic)
        if known is not None and known[0] == message:
            return known[1]
        read = codec.decode_control(CLUSTER, topic, codec.encode_control(message))
        self.said[topic] = message, read
        return read

    def _accept(self, publisher: str, message: ControlMessage) -> None:
        if not self.is_up:
            return
        if self.is_frozen:
            self.waiting.append((publisher, message))
            return
        self.messages += 1
        if type(message).retain:
            self.retained[codec.topic_of(CLUSTER, message)] = (message, publisher)
        for session in list(self.sessions.values()):
            if session.client in self.deaf:
                continue
            if not self.drops or self.clockwork.random.random() >= self.drops:
                self._pass(session, message, publisher, retained=False)
            if self.doubles and self.clockwork.random.random() < self.doubles:
                again_s = self.clockwork.jitter(0.0, 3.0)
                self.clockwork.after(again_s, _late(self, session, message))

    def _pass(
        self, session: Session, message: ControlMessage, publisher: str, retained: bool
    ) -> None:
        if session.queued >= self.queue_max:
            self.dropped += 1
            return
        session.queued += 1
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
        session.queued -= 1
        if broker.sessions.get(session.client) is session:
            session.deliver(message, retained)

    return deliver


def _late(broker: Broker, session: Session, message: ControlMessage) -> Callable[[], None]:
    """A duplicate: it keeps no order."""

    def deliver() -> None:
        if broker.sessions.get(session.client) is session:
            session.deliver(message, False)

    return deliver


def _impatient(broker: Broker, client: str) -> Callable[[], None]:
    def give_up() -> None:
        if broker.is_frozen:
            broker.lose(client)

    return give_up
