"""Nodes of another version: said once, not planned with; and what of theirs is read."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from edgeflow.cluster.foreign import Foreigners, shares_protocol, spoken
from edgeflow.cluster.membership import Membership
from edgeflow.codec import CodecError, decode_control, encode_control, topic_of
from edgeflow.events import BrokerUp, Calibrated, Effect, Event, Heard, Publish, Tell, Tick
from edgeflow.messages import (
    EDGE,
    PROTOCOL,
    Board,
    Caps,
    Claim,
    ControlMessage,
    Held,
    Holding,
    Load,
    Notice,
    Plan,
    PlanId,
    Rates,
    Spec,
    State,
)
from edgeflow.mind.node import NodeCore
from edgeflow.mind.snapshot import take

RATES = Rates(1e9, 1e9, 1e9, 1e-6)
NEWER = (PROTOCOL + 1, PROTOCOL + 3)


def caps(name: str, session: int = 1, spoken: tuple[int, int] = (PROTOCOL, PROTOCOL)) -> Caps:
    plain = Caps(name, session, EDGE, "", "", 1, 1, (), (), RATES, True, True, (), "")
    return replace(plain, protocols=spoken)


def load(name: str, seq: int) -> Load:
    return Load(name, 1, seq, 0, 0, None, False, 0, 0, {}, None, {}, {})


@pytest.mark.parametrize(
    ("spoken", "v", "shares"),
    [
        ((PROTOCOL, PROTOCOL), PROTOCOL, True),
        ((0, PROTOCOL + 5), PROTOCOL, True),
        ((0, PROTOCOL - 1), PROTOCOL, False),
        (NEWER, PROTOCOL, False),
        ((PROTOCOL, PROTOCOL), PROTOCOL + 1, False),
    ],
)
def test_a_version_in_common_is_needed(spoken: tuple[int, int], v: int, shares: bool) -> None:
    assert shares_protocol(replace(caps("edge-2", spoken=spoken), v=v)) is shares


def test_who_speaks_another_protocol_is_not_planned_with() -> None:
    table = Membership("cam-1", 1)
    table.on_broker(True, 0.0, reconnect=False)
    for name, spoken_there in (("edge-1", (0, PROTOCOL)), ("edge-2", NEWER)):
        table.on_state(State(name, 1, 1, "ready"), False, 1.0)
        table.on_caps(caps(name, spoken=spoken_there), False)
        table.on_load(load(name, 1), 1.0)
    assert [peer.name for peer in table.alive(1.1)] == ["edge-1"]
    assert table.is_usable("edge-1", 1, 1.1)
    assert not table.is_usable("edge-2", 1, 1.1)


def test_it_is_said_once_a_session_in_the_log() -> None:
    foreigners = Foreigners("cam-1")
    (told,) = foreigners.on_caps(caps("edge-2", 1, NEWER))
    assert isinstance(told, Tell)
    for word in ("edge-2", "protocol 2 to 4", "protocol 1", "the same version"):
        assert word in told.sentence
    assert foreigners.on_caps(caps("edge-2", 1, NEWER)) == []
    assert len(foreigners.on_caps(caps("edge-2", 2, NEWER))) == 1
    assert foreigners.on_caps(caps("edge-2", 3)) == []
    assert foreigners.notices(["job"]) == []


@pytest.mark.parametrize(
    ("protocols", "v", "words"),
    [((2, 4), 2, "protocol 2 to 4"), ((2, 2), 2, "protocol 2"), ((1, 1), 7, "protocol 7")],
)
def test_what_is_spoken_reads_like_words(protocols: tuple[int, int], v: int, words: str) -> None:
    assert spoken(replace(caps("a", spoken=protocols), v=v)) == words


class Leader:
    """One core that leads, alone."""

    def __init__(self) -> None:
        self.core, self.now_s = NodeCore(caps("edge-1")), 10.0
        self.hear(BrokerUp(1))
        self.hear(Calibrated(RATES))
        self.hear(Heard(Spec("job", 1, "0" * 64, "toy", "cam-1", "cam-1"), True))
        self.tick(4.0)
        assert self.leads()

    def leads(self) -> bool:
        return self.core.parts.election.leads

    def hear(self, event: Event) -> list[Effect]:
        return self.core.handle(event, self.now_s)

    def tick(self, seconds: float) -> list[Effect]:
        effects: list[Effect] = []
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            for effect in self.hear(Tick()):
                effects.append(effect)
                if isinstance(effect, Publish) and isinstance(effect.message, Load):
                    self.hear(Heard(effect.message, False))
        return effects


def test_the_leader_says_it_in_the_events_of_each_deployment_once_and_status_shows_it() -> None:
    leader = Leader()
    leader.hear(Heard(caps("edge-2", spoken=NEWER), True))
    said = [e.message for e in leader.tick(3.0) if isinstance(e, Publish)]
    (notice,) = [message for message in said if isinstance(message, Notice)]
    assert (notice.deployment, notice.kind) == ("job", "protocol")
    assert "edge-2" in notice.sentence
    views = {node.name: node.state for node in take(leader.core, leader.now_s).nodes}
    assert views["edge-2"] == "speaks protocol 2 to 4"


def test_caps_of_another_protocol_are_read_and_nothing_else_of_it() -> None:
    def wire(message: ControlMessage) -> bytes:
        fields = msgspec.json.decode(encode_control(message))
        return msgspec.json.encode({**fields, "v": PROTOCOL + 1, "unheard_of": [1]})

    theirs = caps("edge-2", spoken=NEWER)
    read = decode_control("home", topic_of("home", theirs), wire(theirs))
    assert read == replace(theirs, v=PROTOCOL + 1)
    beat = load("edge-2", 1)
    with pytest.raises(CodecError, match="version 2") as wrong:
        decode_control("home", topic_of("home", beat), wire(beat))
    assert wrong.value.kind == "version"


def test_fields_that_nobody_knows_are_passed_over_and_unknown_topics_counted_apart() -> None:
    beat = load("edge-2", 1)
    fields = {**msgspec.json.decode(encode_control(beat)), "of_tomorrow": {"a": 1}}
    assert decode_control("home", topic_of("home", beat), msgspec.json.encode(fields)) == beat
    with pytest.raises(CodecError) as wrong:
        decode_control("home", "edgeflow/home/nodes/edge-2/dreams", b"{}")
    assert wrong.value.kind == "unknown"


HIGH = PlanId(Claim(8, 9, "edge-9", 1), 3)


BOARD = Board("job", Claim(1, 0, "cam-1", 1), 1, None, None, retired=HIGH)
NEW = Plan(HIGH, "job", "0" * 64, "cam-1", {}, ("a",), 1.0, 1.0, "x", "y", "0" * 64)
ROLLED_BACK = Board("job", Claim(1, 0, "cam-1", 1), 1, None, NEW)
HELD = Held("job", "edge-2", 1, (Holding(HIGH, "0" * 64, "ready", 0, 0),))


@pytest.mark.parametrize(
    ("word", "retained"),
    [
        (BOARD, True),
        (BOARD, False),
        (ROLLED_BACK, True),
        (replace(ROLLED_BACK, committed=None, preparing=NEW), False),
        (HELD, True),
        (HELD, False),
        (replace(load("edge-2", 1), fences={"job": HIGH}), False),
        (replace(load("edge-2", 1), claim=HIGH.claim), False),
    ],
)
def test_a_leader_plans_above_every_plan_that_anybody_ever_heard_of(
    word: ControlMessage, retained: bool
) -> None:
    leader = Leader()
    leader.hear(Heard(word, retained))
    assert not leader.leads()
    leader.tick(3.0)
    assert leader.leads()
    assert leader.core.parts.election.term == 9
