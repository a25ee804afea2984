"""The simulator's own parts: what goes wrong there goes wrong as it does outside."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from edgeflow import codec
from edgeflow.events import Deliver
from edgeflow.messages import Availability, ControlMessage, Held, Load, State
from edgeflow.sim.broker import CLUSTER, Broker, Session
from edgeflow.sim.clockwork import Clockwork
from edgeflow.sim.dialect import FIRST, NEXT, noise
from edgeflow.sim.judge import Violation
from edgeflow.sim.network import QUEUE_BYTES, Network
from edgeflow.sim.timepiece import Timepiece
from tests.sim.test_scenarios import Scene


@dataclass
class Room:
    """A broker with two clients: what b hears, and whether it is connected."""

    clockwork: Clockwork = field(default_factory=lambda: Clockwork(random.Random(1)))
    heard: list[ControlMessage] = field(default_factory=list)
    is_up: bool = False

    def __post_init__(self) -> None:
        self.broker = Broker(self.clockwork)
        for client in ("a", "b"):
            self.join(client)

    def join(self, client: str) -> None:
        def down() -> None:
            self.is_up = False

        def deliver(message: ControlMessage, retained: bool) -> None:
            if client == "b":
                self.heard.append(message)

        self.is_up = self.broker.takes_calls
        will = State(client, 1, 1, "lost")
        self.broker.connect(Session(client, deliver, lambda: None, down, will))

    def say(self, count: int) -> None:
        for at in range(count):
            self.broker.publish("a", Availability(f"node-{at}", True))

    def wait(self, seconds: float) -> None:
        self.clockwork.run(self.clockwork.now_s + seconds)


def test_a_frozen_broker_passes_on_later_what_it_got_while_nobody_lost_patience() -> None:
    room = Room()
    room.broker.freeze()
    room.say(3)
    room.wait(4.0)
    assert (room.heard, room.is_up) == ([], True)
    room.broker.thaw()
    room.wait(1.0)
    assert len(room.heard) == 3


def test_wills_of_those_who_gave_a_frozen_broker_up_come_once_it_goes_on() -> None:
    room = Room()
    room.broker.freeze()
    room.wait(8.0)
    assert not room.is_up
    room.join("b")
    assert not room.broker.sessions
    room.broker.thaw()
    room.join("b")
    room.wait(5.0)
    assert State("a", 1, 1, "lost") in room.heard


def test_a_burst_beyond_a_clients_queue_is_dropped_silently() -> None:
    room = Room()
    room.broker.queue_max = 5
    room.say(20)
    room.wait(1.0)
    assert 5 <= len(room.heard) < 20
    assert room.broker.dropped >= 20 - len(room.heard)
    room.say(5)
    room.wait(1.0)
    assert room.is_up


def load() -> Load:
    return Load("a", 1, 1, 0.0, 0, None, False, 0, 0, {}, None, {}, {})


def test_an_older_node_is_read_without_the_fields_that_came_later() -> None:
    topic = codec.topic_of(CLUSTER, load())
    assert FIRST.spoken(CLUSTER, topic, load()) == load()
    held = Held("job", "a", 1, (), keeps_model=True)
    read = FIRST.spoken(CLUSTER, codec.topic_of(CLUSTER, held), held)
    assert read == Held("job", "a", 1, (), keeps_model=False)


def test_a_newer_node_is_read_by_nobody_and_counted() -> None:
    room = Room()
    room.broker.dialects["a"] = NEXT
    room.broker.publish("a", load())
    room.wait(1.0)
    assert (room.heard, room.broker.refused) == ([], 1)


def test_noise_is_refused_and_never_more_than_that() -> None:
    chance = random.Random(3)
    assert noise(chance, CLUSTER, [load(), State("a", 1, 1, "ready")] * 200) > 300


@dataclass
class Wire:
    """Two nodes, linked."""

    clockwork: Clockwork = field(default_factory=lambda: Clockwork(random.Random(1)))
    told: list[tuple[str, bool]] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network = Network(
            self.clockwork, lambda _: 1, lambda node, _, __, up: self.told.append((node, up))
        )
        self.network.wish("a", 1, "b", 1)
        self.network.wish("b", 1, "a", 1)
        self.wait(1.0)
        assert self.told == [("a", True), ("b", True)]
        self.told.clear()

    def send(self, size_bytes: int, number: int = 0, sender: str = "a") -> bool:
        receiver = "b" if sender == "a" else "a"
        return self.network.send(
            sender, receiver, "tensors", size_bytes, 0.01, lambda: self.arrived.append(number)
        )

    def wait(self, seconds: float) -> None:
        self.clockwork.run(self.clockwork.now_s + seconds)


def test_a_slow_link_takes_its_time_and_drops_what_its_queue_cannot_hold() -> None:
    wire = Wire()
    wire.network.rates["a", "b"] = 1e6
    third = QUEUE_BYTES // 3
    assert [wire.send(third, at) for at in range(5)] == [True, True, True, False, False]
    wire.wait(third / 1e6 + 0.1)
    assert wire.arrived == [0]
    wire.wait(2.1 * third / 1e6)
    assert wire.arrived == [0, 1, 2]
    assert wire.told == []
    assert wire.send(third)


def test_a_one_way_cut_swallows_then_ends_the_link_for_both() -> None:
    wire = Wire()
    wire.network.cut_one_way("a", "b")
    assert wire.send(100, 1)
    assert wire.send(100, 2, sender="b")
    wire.wait(1.0)
    assert (wire.arrived, wire.told) == ([2], [])
    wire.wait(2.0)
    assert sorted(wire.told) == [("a", False), ("b", False)]
    wire.wait(5.0)
    assert len(wire.told) == 2
    wire.network.mend("a", "b")
    wire.wait(1.0)
    assert sorted(wire.told[2:]) == [("a", True), ("b", True)]


def test_a_peer_that_stands_still_is_noticed_by_the_heartbeat_and_comes_back() -> None:
    wire = Wire()
    wire.network.sleep("b")
    wire.wait(1.0)
    assert wire.told == []
    wire.wait(2.0)
    assert ("a", False) in wire.told
    wire.wait(5.0)
    assert ("a", True) not in wire.told
    wire.network.wake("b")
    wire.wait(1.0)
    assert ("a", True) in wire.told


def test_a_clock_runs_at_its_rate_stops_jumps_and_never_goes_back() -> None:
    clockwork = Clockwork(random.Random(1))
    clock = Timepiece(clockwork)
    clock.run_at(2.0)
    before_s = clock.now_s()
    clockwork.run(3.0)
    assert clock.now_s() == pytest.approx(before_s + 6.0)
    clock.run_at(0.0)
    clockwork.run(9.0)
    assert clock.now_s() == pytest.approx(before_s + 6.0)
    clock.jump(5.0)
    clock.run_at(1.0)
    clockwork.run(10.0)
    assert clock.now_s() == pytest.approx(before_s + 12.0)


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.run(12.0)
    return scene


def test_a_worker_that_dies_costs_one_attempt_and_its_node_lives(scene: Scene) -> None:
    scene.world.submit("job-0", "cam-1")
    while scene.worker.core.parts.stage.running is None:
        scene.run(0.005)
    scene.worker.kill_worker()
    scene.stream(3.0)
    assert scene.worker.is_alive
    scene.check(least=29)


def test_a_poisonous_frame_ends_with_its_own_error_and_the_others_with_results(
    scene: Scene,
) -> None:
    scene.stream(1.0)
    token = scene.world.submit("job-0", "cam-1")
    assert token is not None
    scene.world.poison.add(scene.world.machines["cam-1"].submitted[token][1])
    scene.stream(4.0, every_s=0.5)
    scene.run(6.0)
    assert scene.world.judge.frames.ended[token][1] == "poison"
    assert scene.world.judge.errors == {"poison": 1}
    assert max(map(len, scene.world.judge.frames.deaths.values())) == 2


def test_a_withdrawn_frame_ends_as_cancelled_and_no_other(scene: Scene) -> None:
    token = scene.world.submit("job-0", "cam-1")
    assert token is not None
    scene.world.machines["cam-1"].withdraw(token)
    scene.stream(1.0)
    scene.run(6.0)
    assert scene.world.judge.errors == {"cancelled": 1}


def test_a_full_disk_stores_nothing_until_there_is_room(scene: Scene) -> None:
    disk = scene.world.disks["cloud-1"]
    disk.blobs.clear()
    disk.is_full = True
    scene.world.crash("cloud-1")
    scene.world.boot("cloud-1")
    scene.wish(3, placement="stem..head @cloud-1")
    scene.run(6.0)
    assert not disk.blobs
    disk.is_full = False
    scene.run(12.0)
    assert scene.plan == "stem..head @cloud-1"


def test_two_control_planes_are_one_again_once_all_reach_the_same_broker(scene: Scene) -> None:
    machines = scene.world.machines
    for name in ("edge-1", "edge-2"):
        machines[name].go_astray(True)
    scene.stream(10.0)
    assert len([each for each in machines.values() if each.core.parts.election.mine]) == 2
    for machine in machines.values():
        machine.go_astray(False)
    scene.stream(10.0)
    assert scene.leader
    scene.check(least=190)


def test_the_judge_hears_of_a_second_outcome_and_of_a_late_one(scene: Scene) -> None:
    token = scene.world.submit("job-0", "cam-1")
    scene.run(2.0)
    machine, judge = scene.world.machines["cam-1"], scene.world.judge
    assert token is not None
    machine.submitted[token] = (machine.clock_s() - 1.0, 0)
    late = Deliver(token, "failed", "", (), (), 0.0, 1, "")
    with pytest.raises(Violation, match="D2"):
        judge.on_outcome(machine, late, {})
    machine.outcomes[token] = 2
    with pytest.raises(Violation, match="D1"):
        judge.on_outcome(machine, late, {})
