"""Two processes under one name: who stays, and what a dead one's leftovers do."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from edgeflow.events import (
    Asked,
    BrokerUp,
    Calibrated,
    Effect,
    Event,
    Heard,
    Publish,
    Stop,
    Submitted,
    Tell,
    Tick,
    Wanted,
)
from edgeflow.messages import (
    EDGE,
    Caps,
    ControlMessage,
    Endpoint,
    Held,
    Load,
    Rates,
    Request,
    Response,
    Spec,
    State,
    TensorHead,
)
from edgeflow.mind.node import NodeCore

RATES = Rates(1e9, 1e9, 1e9, 1e-6)


def caps(session: int, board: str = "Raspberry Pi 5") -> Caps:
    place = (Endpoint("192.168.1.7", 7450, 7451),)
    return Caps("edge-1", session, EDGE, board, "", 1, 1, (), (), None, True, True, place, "")


@dataclass
class Bus:
    """A broker that brings what one says to all, some later than others, and some never."""

    seed: int = 0
    drops: float = 0.0
    now_s: float = 100.0
    nodes: list[Process] = field(default_factory=list)
    mail: list[tuple[float, int, Process, ControlMessage]] = field(default_factory=list)
    count: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def say(self, message: ControlMessage) -> None:
        for node in self.nodes:
            if self.random.random() >= self.drops:
                at_s = self.now_s + self.random.uniform(0.001, 0.3)
                self.mail.append((at_s, next(self.count), node, message))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.now_s += 0.01
            due = sorted(item for item in self.mail if item[0] <= self.now_s)
            self.mail = [item for item in self.mail if item[0] > self.now_s]
            for _, _, node, message in due:
                node.hear(Heard(message, False))
            for node in self.nodes:
                node.live()


@dataclass
class Process:
    """One process that is called edge-1; `init_s` it measures itself."""

    bus: Bus
    session: int
    init_s: float = 1.0
    board: str = "Raspberry Pi 5"
    ended: Stop | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = NodeCore(caps(self.session, self.board))
        self.tick_s, self.ready_s = self.bus.now_s, self.bus.now_s + self.init_s
        self.bus.nodes.append(self)
        self.hear(BrokerUp(1))

    def __lt__(self, other: Process) -> bool:
        return self.session < other.session

    def live(self) -> None:
        if self.bus.now_s >= self.ready_s:
            self.ready_s = float("inf")
            self.hear(Calibrated(RATES))
        if self.bus.now_s >= self.tick_s:
            self.tick_s += 0.1
            self.hear(Tick())

    def hear(self, event: Event) -> list[Effect]:
        if self.ended is not None:
            return []
        effects = self.core.handle(event, self.bus.now_s)
        for effect in effects:
            if isinstance(effect, Publish):
                self.bus.say(effect.message)
            elif isinstance(effect, Stop):
                self.ended = effect
            elif isinstance(effect, Tell):
                self.log.append(effect.sentence)
        return effects


@pytest.mark.parametrize("sessions", [(5, 9), (9, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_who_was_here_first_stays_whatever_the_numbers(
    sessions: tuple[int, int], seed: int
) -> None:
    bus = Bus(seed)
    first = Process(bus, sessions[0])
    bus.run(5.0)
    second = Process(bus, sessions[1], board="Jetson")
    bus.run(1.5)
    assert first.ended is None
    assert second.ended is not None
    for word in ("edge-1", "Raspberry Pi 5", "192.168.1.7:7450", "--name"):
        assert word in second.ended.text
    assert any("Jetson" in line and "that one stops" in line for line in first.log)
    assert second.core.parts.state == "init"


@pytest.mark.parametrize("seed", range(40))
def test_exactly_one_of_two_stops_whenever_they_start(seed: int) -> None:
    chance = random.Random(seed)
    bus = Bus(seed, drops=chance.choice([0.0, 0.3]))
    a = Process(bus, chance.randrange(1, 1000), chance.uniform(0.1, 1.5))
    bus.run(chance.uniform(0.0, 3.0))
    b = Process(bus, chance.randrange(1001, 2000), chance.uniform(0.1, 1.5))
    bus.run(15.0)
    assert (a.ended is None) is not (b.ended is None)
    ended = a.ended or b.ended
    assert ended is not None
    assert "--name" in ended.text


def test_one_that_is_started_again_and_again_disturbs_nobody() -> None:
    bus = Bus()
    first = Process(bus, 1)
    bus.run(3.0)
    for session in range(2, 8):
        again = Process(bus, session)
        bus.run(2.0)
        assert again.ended is not None
    assert first.ended is None
    assert sum("that one stops" in line for line in first.log) == 6


def test_a_successor_may_start_while_its_predecessor_drains() -> None:
    bus = Bus()
    first = Process(bus, 5)
    bus.run(3.0)
    first.hear(Wanted(Spec("job", 1, "0" * 64, "toy", "edge-1", "edge-1")))
    head = TensorHead("image", "float32", (1,))
    first.hear(Submitted(1, "job", 1, (head,), 4, 6.0))
    first.hear(Asked("a newer one comes"))
    second = Process(bus, 9)
    bus.run(5.0)
    assert [first.ended, second.ended] == [None, None]
    bus.run(6.0)
    assert [first.ended, second.ended] == [Stop(), None]
    assert second.core.parts.state == "ready"


@pytest.mark.parametrize("state", ["ready", "lost", "offline"])
@pytest.mark.parametrize("retained", [True, False])
def test_a_dead_ones_words_stop_nobody(state: str, retained: bool) -> None:
    bus = Bus()
    node = Process(bus, 5)
    bus.run(3.0)
    effects = node.hear(Heard(State("edge-1", 3, 1, state), retained))
    mine = State("edge-1", 5, 1, "ready")
    assert [e.message for e in effects if isinstance(e, Publish)][-1] == mine
    bus.run(8.0)
    assert node.ended is None


@pytest.mark.parametrize("word", [State("edge-1", 9, 1, "lost"), caps(9)])
def test_a_starting_node_whose_clock_went_back_starts_again_above_its_former_session(
    word: State | Caps,
) -> None:
    bus = Bus()
    node = Process(bus, 5)
    node.hear(Heard(word, True))
    bus.run(5.0)
    assert node.ended == Stop(above=9)


def test_a_node_that_starts_asks_and_contradicts_nobody() -> None:
    bus = Bus()
    node = Process(bus, 5)
    bus.run(0.5)
    assert node.core.parts.state == "init"
    (asked,) = node.hear(Heard(State("edge-1", 3, 1, "ready"), False))
    assert isinstance(asked, Publish)
    assert isinstance(asked.message, Request)
    assert node.hear(Heard(caps(3), False)) == []
    said = node.hear(Heard(Held("job", "edge-1", 3, ()), False)) + node.hear(Tick())
    assert not [e for e in said if isinstance(e, Publish) and isinstance(e.message, Held)]
    bus.run(2.0)
    assert node.core.parts.state == "ready"
    said = node.hear(Heard(Held("job", "edge-1", 3, ()), False)) + node.hear(Tick())
    assert [e for e in said if isinstance(e, Publish) and isinstance(e.message, Held)]


def test_a_node_that_is_at_work_does_not_start_again_because_of_a_number() -> None:
    bus = Bus()
    node = Process(bus, 5)
    bus.run(3.0)
    node.hear(Heard(State("edge-1", 9, 1, "ready"), True))
    bus.run(8.0)
    assert node.ended is None


def test_without_its_own_answer_nobody_is_called_dead() -> None:
    bus = Bus(drops=1.0)
    node = Process(bus, 5)
    node.hear(Heard(State("edge-1", 9, 1, "lost"), True))
    bus.run(20.0)
    assert node.ended is None


def test_words_under_our_name_cost_a_question_a_second_at_most() -> None:
    bus = Bus()
    node = Process(bus, 5)
    bus.run(3.0)
    said = []
    for number in range(1000):
        said += node.hear(Heard(State("edge-1", 3, number, "ready"), False))
        said += node.hear(
            Heard(Load("edge-1", 3, 1, 0, 0, None, False, 0, 0, {}, None, {}, {}), False)
        )
    assert sum(isinstance(e, Publish) and isinstance(e.message, Request) for e in said) == 1
    assert len(said) == 2


@pytest.mark.parametrize("session", ["", "x", "-1", "9" * 5000, "²"])
def test_a_garbled_answer_is_none(session: str) -> None:
    bus = Bus()
    node = Process(bus, 5)
    bus.run(3.0)
    node.hear(Heard(State("edge-1", 9, 1, "ready"), False))
    data = {"session": session, "state": "init"}
    node.hear(Heard(Response("edge-1", "ping", "namesake-5-1", "ok", data), False))
    node.hear(Heard(Response("edge-1", "ping", "namesake-4-1", "ok", {"session": "9"}), False))
    assert node.ended is None


def test_a_namesake_that_only_starts_pushes_no_living_node_out_of_anybodys_table() -> None:
    bus = Bus()
    watch = NodeCore(replace(caps(1), node="cam-1"))
    watch.handle(BrokerUp(1), bus.now_s)
    first = Process(bus, 5)
    table = watch.parts.membership
    bus.run(2.0)
    watch.handle(Heard(first.core.parts.own_state(), False), bus.now_s)
    watch.handle(
        Heard(Load("edge-1", 5, 9, 0, 0, None, False, 0, 0, {}, None, {}, {}), False), bus.now_s
    )
    for word in (
        State("edge-1", 9, 1, "init"),
        caps(9),
        Load("edge-1", 9, 1, 0, 0, None, False, 0, 0, {}, None, {}, {}),
    ):
        watch.handle(Heard(word, False), bus.now_s + 0.1)
        assert table.peers["edge-1"].session == 5
    watch.handle(Heard(State("edge-1", 9, 1, "ready"), False), bus.now_s + 0.2)
    assert table.peers["edge-1"].session == 9
