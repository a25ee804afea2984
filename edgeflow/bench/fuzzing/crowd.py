"""Everybody who talks rubbish to a fuzzed fleet, on every way in.

    member (let in)   mutants of tensors and signals over its own links
    strangers         connections that say nothing right
    mail              MQTT
    files             models and settings, through their readers, in this process

Invariant: one seed and one fleet give the same messages in the same order, as far as what the fleet
says of itself is the same.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from msgspec.structs import replace

from edgeflow.bench.fuzzing.files import Count, Models, Settings
from edgeflow.bench.fuzzing.forgery import Forger
from edgeflow.bench.fuzzing.mail import Mail
from edgeflow.bench.fuzzing.node import DEPLOYMENT, WORKERS
from edgeflow.bench.fuzzing.peer import Strangers, Way
from edgeflow.bench.fuzzing.words import CLUSTER, PREFIX, Words
from edgeflow.codec import CodecError, decode_control, encode_control, topic_of
from edgeflow.errors import DeployError
from edgeflow.messages import (
    EDGE,
    Board,
    Caps,
    ControlMessage,
    Hello,
    Load,
    Metrics,
    Plan,
    State,
)

NAME, SOURCE = "mallory", "source"
NODES = (SOURCE, *WORKERS)
SHARES = {"links": 0.45, "strangers": 0.01, "mqtt": 0.32}
"""Of all messages."""
FILES = {"models": 0.11, "settings": 0.11}
"""The rest, read before the fleet is talked to."""
BEAT_S, RENEW_S = 1.0, 2.0
READY_S = 90.0
BATCH = 20


@dataclass(slots=True)
class Crowd:
    """Made once the fleet runs. `session` is the member's own."""

    port: int
    folder: Path
    seed: int
    sent: Counter[str] = field(default_factory=Counter)
    files: dict[str, Count] = field(default_factory=dict)
    context: zmq.Context[zmq.Socket[bytes]] = field(default_factory=zmq.Context)
    ways: list[Way] = field(default_factory=list)
    mail: Mail = field(init=False)
    chance: random.Random = field(init=False)
    me: Hello = field(init=False)
    _plan: Plan | None = None
    _frame: int = 1
    _beat_s: float = 0.0
    _renew_s: float = 0.0
    _seq: int = 0

    def __post_init__(self) -> None:
        self.mail = Mail(self.port, NAME, PREFIX)
        self.chance = random.Random(self.seed)
        self.me = Hello(NAME, time.time_ns() // 1_000_000)
        self.files = {"models": Count(), "settings": Count()}

    def join(self) -> None:
        """Become a member, with links to all; DeployError where that does not come about."""
        until_s = time.monotonic() + READY_S
        while not (len(self.ways) == len(NODES) and all(way.is_up for way in self.ways)):
            self.tend()
            if self.plan is not None and not self.ways:
                self._dial()
            time.sleep(0.02)
            if time.monotonic() > until_s:
                up = ", ".join(way.node for way in self.ways if way.is_up) or "nobody"
                raise DeployError(f"the fleet did not get ready: links to {up}; see its logs")

    def read(self, messages: int) -> None:
        """The files among so many messages, by their readers."""
        for kind, share in FILES.items():
            of_kind = Models if kind == "models" else Settings
            reader: Models | Settings = of_kind(self.chance, self.folder)
            for _ in range(round(messages * share)):
                reader.next(self.files[kind])
                self.sent[kind] += 1

    def run(self, messages: int) -> None:
        """All others of so many, in a random mixture."""
        plan = self.plan
        assert plan is not None
        examples = {
            topic: payload for topic, payload in self.mail.heard.items() if self._is_sound(topic)
        }
        # What the crowd itself says comes back: it is not to count as this process's growth.
        self.mail.only = frozenset(examples)
        real = frozenset({*NODES, DEPLOYMENT})
        words = Words(self.chance, examples, real, plan)
        forger = Forger(self.chance, plan, self.me)
        strangers = Strangers(self.context, self.chance, NAME)
        messages -= sum(round(messages * share) for share in FILES.values())
        kinds, weights = list(SHARES), list(SHARES.values())
        for at, kind in enumerate(self.chance.choices(kinds, weights, k=messages)):
            if at % BATCH == 0:
                self.tend()
                words.plan = forger.plan = self.plan or plan
                forger.frame = self._frame
            self._one(kind, words, forger, strangers)
            self.sent[kind] += 1
        strangers.close()

    def _one(self, kind: str, words: Words, forger: Forger, strangers: Strangers) -> None:
        if kind == "links":
            lane, parts = forger.next()
            self.chance.choice(self.ways).send(lane, parts)
        elif kind == "strangers":
            strangers.knock(self.chance.choice(self.ways), forger.next()[1])
        else:
            said = words.next()
            self.mail.publish(said.topic, said.payload, retain=said.retain)

    def tend(self) -> None:
        """Stay a member: heartbeats, Hellos, reading what came."""
        now_s = time.monotonic()
        self.mail.pump()
        for way in self.ways:
            way.pump()
        if now_s - self._renew_s >= RENEW_S:
            self._renew_s = now_s
            self._say(State(NAME, self.me.session, 1, "ready"))
            self._say(self._caps())
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s, self._seq = now_s, self._seq + 1
            self._say(self._load())
            metrics = self._heard(f"deployments/{DEPLOYMENT}/metrics")
            if isinstance(metrics, Metrics):
                self._frame = metrics.frames
            board = self._heard(f"deployments/{DEPLOYMENT}/plan")
            if isinstance(board, Board) and board.committed is not None:
                self._plan = board.committed

    @property
    def plan(self) -> Plan | None:
        """The committed one, once it was heard."""
        return self._plan

    def close(self) -> None:
        """Hang up everywhere."""
        for way in self.ways:
            way.close()
        self.mail.close()
        self.context.destroy(linger=0)

    def _dial(self) -> None:
        """Everybody whose caps were heard, once all were."""
        caps = [self._heard(f"nodes/{name}/caps") for name in NODES]
        found = [each for each in caps if isinstance(each, Caps) and each.endpoints]
        if len(found) == len(NODES):
            self.ways = [
                Way(self.context, self.me, each.node, each.session, each.endpoints[0])
                for each in found
            ]

    def _say(self, message: ControlMessage) -> None:
        topic = topic_of(CLUSTER, message).encode()
        self.mail.publish(topic, encode_control(message), retain=type(message).retain)

    def _heard(self, topic: str) -> ControlMessage | None:
        """The last word on a topic, if it was one."""
        payload = self.mail.heard.get(PREFIX + topic)
        try:
            return decode_control(CLUSTER, PREFIX + topic, payload) if payload else None
        except CodecError:
            return None

    def _is_sound(self, topic: str) -> bool:
        name = topic.removeprefix(PREFIX)
        is_ours = any(word in name for word in ("ghost-", "junk-", NAME))
        return not is_ours and self._heard(name) is not None

    def _caps(self) -> Caps:
        """It computes nothing, leads nobody and dials everyone."""
        caps = Caps(
            NAME, self.me.session, EDGE, "", "", 1, 1 << 30, (), (), None, False, False, (), ""
        )
        return replace(caps, emulated="a fuzzer")

    def _load(self) -> Load:
        return Load(NAME, self.me.session, self._seq, 0.0, 1, None, False, 0, 0, {}, None, {}, {})
