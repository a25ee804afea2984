"""A list of brokers, walked when one fails and returned from when one before it is back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from edgeflow.config import NodeConfig
from edgeflow.events import BrokerDown, BrokerUp, Heard
from edgeflow.io.mqtt import Mqtt
from edgeflow.io.mqttcheck import answers
from edgeflow.io.scout import STAY_S
from edgeflow.messages import Load, Returning, State

PATIENCE_S = 12.0
LOOK_S = 0.5

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto")


class Pair:
    """Two brokers, and nodes that prefer the first."""

    def __init__(self, spawn: Callable[..., Any], ports: tuple[int, int]) -> None:
        self.spawn, self.ports = spawn, ports
        self.urls = tuple(f"mqtt://127.0.0.1:{port}" for port in ports)
        self.nodes: list[tuple[Mqtt, list[Any]]] = []

    def start(self, at: int) -> subprocess.Popen[bytes]:
        port = self.ports[at]
        options = ("--port", str(port), "--kind", "mosquitto")
        process: subprocess.Popen[bytes] = self.spawn("edgeflow.brokers.run", *options)
        wait(lambda: answers("127.0.0.1", port))
        return process

    def node(self, name: str, return_s: float = LOOK_S, *urls: str) -> tuple[Mqtt, list[Any]]:
        events: list[Any] = []
        config = NodeConfig(name=name, brokers=urls or self.urls, broker_return_s=return_s)
        self.nodes.append((Mqtt(config, 7, events.append), events))
        self.nodes[-1][0].start()
        self.nodes[-1][0].wait_up(PATIENCE_S)
        return self.nodes[-1]


@pytest.fixture
def pair(spawn: Callable[..., Any], free_port: Callable[[], int]) -> Iterator[Pair]:
    made = Pair(spawn, (free_port(), free_port()))
    yield made
    for mqtt, _ in made.nodes:
        mqtt.close()


def tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the launcher and to the broker that it started."""
    for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(True)):
        each.send_signal(number)


def wait(until: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not until():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.01)


def changes(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, BrokerUp | BrokerDown)]


def words(events: list[Any], kind: type) -> list[Any]:
    return [e.message for e in events if isinstance(e, Heard) and isinstance(e.message, kind)]


def load(seq: int) -> Load:
    return Load("a", 7, seq, 0.0, 0, None, False, 0, 0, {}, None, {}, {})


def test_nodes_return_to_the_broker_they_prefer_together_and_without_a_gap(pair: Pair) -> None:
    pair.start(1)
    (a, at_a), (b, at_b) = pair.node("a"), pair.node("b", return_s=600.0)
    watch, at_watch = pair.node("watch", return_s=600.0)
    assert a.broker == b.broker == watch.broker == pair.urls[1]
    _, at_stay = pair.node("stay", 600.0, pair.urls[1])
    pair.start(0)
    seq, end_s = 0, time.monotonic() + PATIENCE_S
    while not a.broker == b.broker == watch.broker == pair.urls[0]:
        assert time.monotonic() < end_s
        seq += 1
        assert a.publish(load(seq)), "it was without a broker"
        time.sleep(0.05)
    for events in (at_a, at_b, at_watch):
        assert [type(event) for event in changes(events)] == [BrokerUp, BrokerUp]
        assert not words(events, State), "a will fired"
    assert not words(at_stay, State), "a will fired at the broker that was left"
    assert [each.broker for each in words(at_b, Returning)] == [pair.urls[0]]
    wait(lambda: a.publish(load(10_000)) and words(at_b, Load)[-1].seq == 10_000)
    own = [each.seq for each in words(at_a, Load) if each.seq < 10_000]
    missed = set(range(1, seq + 1)) - set(own)
    assert len(own) == len(set(own)), "something came twice"
    assert len(missed) <= 2, f"{missed} of {seq}: what was on its way when it moved"


def test_a_broker_that_only_shows_an_open_port_is_not_returned_to(pair: Pair) -> None:
    first, _ = pair.start(0), pair.start(1)
    tell(first, signal.SIGSTOP)
    a, at_a = pair.node("a")
    assert a.broker == pair.urls[1]
    time.sleep(STAY_S + 4 * LOOK_S)
    assert a.broker == pair.urls[1]
    assert not words(at_a, Returning)
    tell(first, signal.SIGCONT)
    wait(lambda: a.broker == pair.urls[0])
    assert [type(event) for event in changes(at_a)] == [BrokerUp, BrokerUp]


def test_a_broker_that_dies_again_is_left_again(pair: Pair) -> None:
    pair.start(1)
    a, at_a = pair.node("a")
    first = pair.start(0)
    wait(lambda: a.broker == pair.urls[0])
    tell(first, signal.SIGKILL)
    wait(lambda: len(changes(at_a)) == 4)
    kinds = [type(event) for event in changes(at_a)]
    assert kinds == [BrokerUp, BrokerUp, BrokerDown, BrokerUp]
    assert a.broker == pair.urls[1]
    numbers = [event.connection for event in changes(at_a) if isinstance(event, BrokerUp)]
    assert numbers == sorted(set(numbers))
