"""What goes over the broker of a fuzzed fleet: payloads that were heard, made wrong, and nonsense.

    heard ─▶ mutated · of another topic · of a future version · too long · on a topic of nobody
    nonsense: well-formed words about nodes and deployments that do not exist

A mutant that is still well-formed and speaks in the name of a living node, of the running
deployment or of a leader is held back: whoever may say that is trusted, and need not be malformed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from edgeflow.bench.fuzzing import mutate
from edgeflow.bench.fuzzing.files import dumped
from edgeflow.codec import CodecError, decode_control, encode_control, plan_hash, topic_of
from edgeflow.messages import (
    CLOUD,
    EDGE,
    Board,
    Caps,
    Claim,
    ControlMessage,
    Endpoint,
    Held,
    History,
    Holding,
    Lately,
    LayerTimes,
    Leader,
    LinkReport,
    Load,
    Metrics,
    Notice,
    Plan,
    PlanChange,
    PlanId,
    Rates,
    Request,
    Response,
    Spec,
    State,
    Status,
)

CLUSTER = "home"
PREFIX = f"edgeflow/{CLUSTER}/"
GHOSTS, JUNK = 24, 12
"""Names of nodes and deployments that are made up: a few, said again and again."""
LINES = (
    "", "?", "one @", "@worker-1", "one..three @nobody", "three..one @worker-1", "one @worker-1 |",
    "one..three @worker-1[0:9999999999]", "one..three @worker-1[-1:5] worker-2[5:16]",
    "one..three @worker-1[0:0] worker-2[0:16]", "é @ü", "one @worker-1 | one @worker-2",
    "one..three @worker-1[0:8,0:8] worker-2[8:16,0:16]", "|" * 500, "one..three @" + "w" * 300,
)  # fmt: skip
COUNTS = (0, 1, 7, 1 << 31, (1 << 62))
STATES = ("init", "ready", "lost", "offline", "asleep", "")
HELD = ("ready", "failed", "active", "?", "")
FLOATS = (0.0, 1e-300, 0.5, 1.0, 1e9, 1e300)


class Said(NamedTuple):
    """One PUBLISH."""

    topic: bytes
    payload: bytes
    retain: bool


class Words:
    """Makes payloads out of what was heard so far."""

    def __init__(
        self, chance: random.Random, heard: Mapping[str, bytes], real: frozenset[str], plan: Plan
    ) -> None:
        self.chance, self.heard, self.real, self.plan = chance, heard, real, plan
        self.seq = 1

    def next(self) -> Said:
        """One message."""
        chance = self.chance
        if chance.random() < 0.15:
            return self._nonsense()
        for _ in range(5):
            said = self._mutant()
            if not self._is_trusted(said):
                return said
        return self._nonsense()

    def _mutant(self) -> Said:
        chance = self.chance
        names = list(self.heard)
        topic, other = chance.choice(names), chance.choice(names)
        payload, kind = self.heard[topic], chance.random()
        if kind < 0.55:
            payload = self._tree(payload, self.heard[other])
        elif kind < 0.75:
            payload = mutate.bytes_of(chance, payload, self.heard[other])
        elif kind < 0.85:
            topic = other
        elif kind < 0.9:
            payload = payload.replace(b'"v":1', b'"v":%d' % chance.choice((0, 2, 99, 1 << 70)))
        elif kind < 0.92:
            payload = chance.choice((b" ", payload)) * chance.choice((200, 66_000 // 2))
            payload = payload[:130_000]
        elif kind < 0.98:
            topic = self._topic(topic)
        else:
            return Said(chance.choice((topic.encode()[:-1] + b"\xff", b"")), payload, False)
        return Said(topic.encode(), payload, chance.random() < 0.3)

    def _tree(self, payload: bytes, other: bytes) -> bytes:
        try:
            tree, lent = json.loads(payload), json.loads(other)
        except ValueError:
            return payload + b"?"
        return dumped(self.chance, mutate.tree_of(self.chance, tree, lent))

    def _topic(self, topic: str) -> str:
        levels = topic.split("/")
        at = self.chance.randrange(2, len(levels))
        levels[at] = self.chance.choice(("", "x", "é", "a b", "$SYS", "..", "n" * 300, "leader"))
        return "/".join(levels) + self.chance.choice(("", "", "/", "/more"))

    def _is_trusted(self, said: Said) -> bool:
        """Is it well-formed, and about somebody real?"""
        try:
            message = decode_control(CLUSTER, said.topic.decode(), said.payload)
        except (CodecError, UnicodeDecodeError):
            return False
        names = {getattr(message, name, "") for name in ("node", "name", "deployment", "source")}
        return isinstance(message, Leader) or bool(names & self.real)

    # --- nonsense ---------------------------------------------------------------------------------

    def _nonsense(self) -> Said:
        message = self._about_nobody()
        try:
            payload = encode_control(message)
        except CodecError:
            payload = msgspec.json.encode(message)
        topic = topic_of(CLUSTER, message).encode()
        return Said(topic, payload, type(message).retain and self.chance.random() < 0.5)

    def _about_nobody(self) -> ControlMessage:
        chance, self.seq = self.chance, self.seq + 1
        ghost, junk = f"ghost-{chance.randrange(GHOSTS)}", f"junk-{chance.randrange(JUNK)}"
        if chance.random() < 0.5:
            return self._about_a_node(ghost, junk)
        return self._about_a_deployment(ghost, junk)

    def _about_a_node(self, ghost: str, junk: str) -> ControlMessage:
        chance = self.chance
        session, number = chance.randint(1, 3), chance.choice(FLOATS)
        node = chance.choice((ghost, *sorted(self.real)))
        made: tuple[Callable[[], ControlMessage], ...] = (
            lambda: State(ghost, session, chance.choice(COUNTS), chance.choice(STATES)),
            lambda: self._caps(ghost, session, number),
            lambda: self._load(ghost, session, junk, number),
            lambda: LayerTimes(ghost, session, self.plan.model, (number,) * chance.randrange(9)),
            lambda: Request(node, chance.choice(("ping", "dance")), "i" * 200, {"a": "b" * 999}),
            lambda: Response(ghost, "ping", "i" * chance.choice((1, 60_000)), "?", {"a": "b"}),
        )
        return chance.choice(made)()

    def _about_a_deployment(self, ghost: str, junk: str) -> ControlMessage:
        chance = self.chance
        count, number, line = chance.choice(COUNTS), chance.choice(FLOATS), chance.choice(LINES)
        held = Holding(self._id(), "0" * 64, chance.choice(HELD), count, count, "no")
        made: tuple[Callable[[], ControlMessage], ...] = (
            lambda: self._spec(junk, line),
            lambda: self._board(junk, line),
            lambda: Held(junk, ghost, 1, (held,) * chance.randrange(3), True),
            lambda: Status(junk, "?", ghost, "running", "?", line, number, number, "?", ghost),
            lambda: self._metrics(junk, count, number),
            lambda: self._history(junk, line, number),
            lambda: Notice(junk, ghost, "\0", "x" * chance.choice((0, 2000))),
        )
        return chance.choice(made)()

    def _caps(self, ghost: str, session: int, number: float) -> Caps:
        chance = self.chance
        rates = Rates(number or 1.0, 1e300, 1e-300, number, number)
        end = Endpoint(chance.choice(("127.0.0.1", "::1", "nowhere", "", "a b")), 1, 70_000)
        return Caps(
            ghost, session, chance.choice((EDGE, CLOUD)), "?", "?", -1, 1 << 62, ("?",), ("torch",),
            rates, False, chance.random() < 0.5, (end,) * chance.randrange(4),
            chance.choice(("", "k" * 40)),
        )  # fmt: skip

    def _load(self, ghost: str, session: int, junk: str, number: float) -> Load:
        names = [ghost, *sorted(self.real)]
        links = {name: LinkReport(True, number, number, 1 << 62, 1 << 62) for name in names}
        ratios = {self.plan.model: number}
        claim = self._id().claim
        return Load(
            ghost, session, self.seq, -number, 1 << 62, -number, True, 1 << 62, 1 << 62, links,
            claim, {junk: self._id()}, ratios,
        )  # fmt: skip

    def _metrics(self, junk: str, count: int, number: float) -> Metrics:
        lately = Lately(str(self._id()), count % 3, count, (number,) * self.chance.randrange(99))
        source = self.chance.choice((self.plan.source, "ghost-0"))
        return Metrics(
            junk, source, count, 0, count, 0, 0, -number, number, -1.0, (lately,) * 9
        )  # fmt: skip

    def _history(self, junk: str, line: str, number: float) -> History:
        change = PlanChange(
            -number, str(self._id()), "?", line, line, line, number, number, number, number,
            1 << 62, self.chance.choice((0.0, number)), 1 << 62,
        )  # fmt: skip
        return History(junk, "ghost-0", (change,) * self.chance.choice((0, 1, 99)))

    def _id(self) -> PlanId:
        term = self.chance.choice((0, 1, (1 << 53) - 1, 1 << 53, 1 << 63))
        return PlanId(Claim(term, -1, "ghost-0", 1), self.seq)

    def _spec(self, junk: str, line: str) -> Spec:
        chance = self.chance
        made = Spec(
            junk, self.seq, chance.choice((self.plan.model, "b" * 64)), "?",
            chance.choice((self.plan.source, "ghost-0")), "ghost-1",
            policy=chance.choice(("mincut", "", "brute", "?" * 99)),
            placement=line or "?",
            private=chance.choice(("", "@", "one@", "?", "@@", "one@device", "x" * 300)),
        )  # fmt: skip
        return msgspec.structs.replace(made, removed=chance.random() < 0.1)

    def _board(self, junk: str, line: str) -> Board:
        chance = self.chance
        plan = Plan(
            self._id(), junk, chance.choice((self.plan.model, "b" * 64)), self.plan.source,
            dict(self.plan.sessions), (line, *chance.sample(LINES, 3)), 1.0, 1.0, "?", "?",
            "0" * 64,
        )  # fmt: skip
        if chance.random() < 0.8:
            plan = msgspec.structs.replace(plan, hash=plan_hash(plan))
        given = (plan, None) if chance.random() < 0.5 else (None, plan)
        return Board(junk, plan.id.claim, self.seq, *given)
