"""Links between real sockets on loopback: proof of name and session, tensors, loss, restart."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from msgspec.structs import replace

from edgeflow.codec import encode_signal, encode_tensors, head_of
from edgeflow.config import Emulate, NodeConfig
from edgeflow.errors import NetworkError
from edgeflow.events import LinkDown, LinkUp, Signal, Transferred
from edgeflow.io.arrivals import Arrived, Chunk
from edgeflow.io.keys import Keys
from edgeflow.io.lanes import HEARTBEAT_MS, Lane, RoutingId
from edgeflow.io.links import Links
from edgeflow.messages import (
    BlobChunk,
    BlobMissing,
    Claim,
    Endpoint,
    Frame,
    Hello,
    PlanId,
    ProbeData,
    Submit,
    Welcome,
)

PATIENCE_S = 6.0
NOTE = BlobMissing("a" * 64)
Make = Callable[..., Links]
Events = list[tuple[str, Any]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes nodes on free ports of loopback, and closes them after the test."""
    made: list[Links] = []

    def build(name: str, session: int = 1, key: Keys | None = None, **settings: Any) -> Links:
        config = NodeConfig(**{"name": name, "tensors_port": 0, "signals_port": 0, **settings})
        made.append(Links(node=name, session=session, config=config, identity=key))
        return made[-1]

    yield build
    for links in made:
        links.close()


def drive(
    nodes: Sequence[Links], until: Callable[[Events], bool], patience_s: float = PATIENCE_S
) -> Events:
    """Run the nodes' links until the events (node, event) of all of them are enough."""
    poller = zmq.Poller()
    for links in nodes:
        links.register(poller)
    seen: Events = []
    end_s = time.monotonic() + patience_s
    while not until(seen) and time.monotonic() < end_s:
        now_s = time.monotonic()
        due_s = min([now_s + 0.05, *(links.due_s(now_s) for links in nodes)])
        poller.poll(int(max(0.0, due_s - now_s) * 1000))
        for links in nodes:
            arrivals = links.receive(time.monotonic())
            seen += [(links.node, arrival) for arrival in arrivals]
    for links in nodes:
        links.register(zmq.Poller())
    return seen


def idle(nodes: Sequence[Links], seconds: float) -> Events:
    return drive(nodes, lambda _: False, seconds)


def count(kind: type[Any], at_least: int = 1) -> Callable[[Events], bool]:
    return lambda seen: sum(isinstance(event, kind) for _, event in seen) >= at_least


def of(seen: Events, kind: type[Any], node: str = "") -> list[Any]:
    return [event for name, event in seen if isinstance(event, kind) and node in ("", name)]


def join(dialler: Links, acceptor: Links) -> None:
    """Bring the link between two nodes up."""
    acceptor.open(dialler.node, dialler.session, (), dialler.public_key)
    dialler.open(acceptor.node, acceptor.session, acceptor.endpoints, acceptor.public_key)
    drive([dialler, acceptor], count(LinkUp, 2))
    assert dialler.is_up(acceptor.node)
    assert acceptor.is_up(dialler.node)


def submit(x: Any, frame: int = 1) -> Submit:
    return Submit("cats", frame, 1.0, (head_of("x", x),))


# --- coming up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("knocks_first", [True, False])
def test_a_link_comes_up_whoever_hears_of_the_other_first(make: Make, knocks_first: bool) -> None:
    a, b = make("a", 11), make("b", 22)
    if knocks_first:
        a.open("b", 22, b.endpoints, "")
        assert not idle([a, b], 0.3)
        b.open("a", 11, (), "")
    else:
        b.open("a", 11, (), "")
        assert not idle([a, b], 0.1)
        a.open("b", 22, b.endpoints, "")
    seen = drive([a, b], count(LinkUp, 2))
    assert of(seen, LinkUp, "a") == [LinkUp("b", 22)]
    assert of(seen, LinkUp, "b") == [LinkUp("a", 11)]


def test_a_link_at_rest_wakes_nobody(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    assert a.due_s(0.0) == b.due_s(0.0) == float("inf")


def test_a_node_that_accepts_nothing_dials_and_is_answered(make: Make) -> None:
    camera, cloud = make("camera", reachable=False), make("cloud")
    assert camera.endpoints == ()
    join(camera, cloud)
    x = np.ones(3, np.float32)
    assert cloud.send_tensors("camera", submit(x), {"x": x})
    assert of(drive([camera, cloud], count(Arrived)), Arrived, "camera")


def test_a_dead_endpoint_is_passed_over(make: Make, free_port: Callable[[], int]) -> None:
    a, b = make("a"), make("b")
    dead = Endpoint("127.0.0.1", free_port(), free_port())
    b.open("a", 1, (), "")
    a.open("b", 1, (dead, *b.endpoints), "")
    assert of(drive([a, b], count(LinkUp, 2)), LinkUp, "a")


def test_an_endpoint_that_is_none_is_counted_and_passed_over(make: Make) -> None:
    a, b = make("a", insecure=True, bind="127.0.0.1"), make("b")
    bad = [Endpoint("127.0.0.1", 99_999, -1), Endpoint("", 1, 2), Endpoint("a b;c", 80, 80)]
    b.open("a", 1, (), "")
    a.open("b", 1, (*bad, *b.endpoints), "")
    assert of(drive([a, b], count(LinkUp, 2)), LinkUp, "a")
    assert a.counters["bad endpoint"] >= 2


def test_a_peer_that_was_not_opened_does_not_get_in(make: Make) -> None:
    a, b = make("a"), make("b")
    a.open("b", 1, b.endpoints, "")
    assert not idle([a, b], 0.5)
    assert not b.send_signal("a", NOTE)


def test_a_link_to_a_name_or_session_that_lives_elsewhere_stays_down(make: Make) -> None:
    a, b, c = make("a"), make("b", 2), make("c")
    b.open("a", 1, (), "")
    b.open("c", 1, (), "")
    a.open("b", 3, b.endpoints, "")  # an older b lives there
    c.open("d", 2, b.endpoints, "")  # b lives there, not d
    assert not of(idle([a, b, c], 0.6), LinkUp)
    assert b.counters["stranger"]


# --- messages -------------------------------------------------------------------------------------


def test_tensors_of_every_size_cross_both_ways_bit_for_bit(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    for size in (0, 1, 1000, 70_000, 300_000):
        x = np.random.default_rng(size).random(size, np.float32)
        y = np.array(size)
        message = replace(submit(x), tensors=(head_of("x", x), head_of("y", y)))
        for one, other in ((a, b), (b, a)):
            assert one.send_tensors(other.node, message, {"x": x, "y": y})
            (arrived,) = of(drive([a, b], count(Arrived)), Arrived, other.node)
            assert (arrived.peer, arrived.session, arrived.message) == (one.node, 1, message)
            assert arrived.arrays["x"].tobytes() == x.tobytes()
            assert arrived.arrays["y"] == y
            assert not arrived.arrays["x"].flags.writeable


def test_signals_chunks_and_probes_cross(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    assert b.send_signal("a", NOTE)
    assert of(drive([a, b], count(Signal)), Signal) == [Signal("b", 1, NOTE)]
    assert a.send_raw("b", BlobChunk("a" * 64, 0, 7), b"weights")
    seen = drive([a, b], lambda seen: count(Chunk)(seen) and count(Transferred)(seen))
    assert of(seen, Chunk, "b")[0].raw == b"weights"
    assert a.send_raw("b", ProbeData(1000), bytes(1000))
    seen = drive([a, b], count(Transferred))
    assert of(seen, Transferred, "a")[0].size_bytes > 1000
    assert not of(seen, Arrived)


def test_of_quick_messages_only_those_that_had_the_link_alone_tell_of_its_rate(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    x = np.zeros(100_000, np.uint8)
    for frame in range(3):
        a.send_tensors("b", submit(x, frame), {"x": x})
    seen = drive([a, b], count(Arrived, 3)) + idle([a, b], 0.1)
    assert len(of(seen, Transferred)) == 1
    a.send_tensors("b", submit(x), {"x": x})
    (told,) = of(drive([a, b], count(Transferred)), Transferred)
    assert told.peer == "b"
    assert told.seconds > 0
    assert a.report()["b"].sent_bytes > 4000
    assert a.report()["b"].samples == 2


def test_an_emulated_rate_delays_the_message_and_its_receipt_shows_it(make: Make) -> None:
    a, b = make("a", emulate=Emulate(peers_mbps={"edge": 8.0}, delay_ms=50)), make("b")
    b.open("a", 1, (), "")
    a.open("b", 1, b.endpoints, "", tier="edge")
    drive([a, b], count(LinkUp, 2))
    x = np.zeros(100_000, np.uint8)
    a.send_tensors("b", submit(x), {"x": x})
    (told,) = of(drive([a, b], count(Transferred)), Transferred)
    assert 0.15 <= told.seconds < 0.4  # 100 kB at 1 MB/s, and 50 ms


def test_a_flood_of_one_peer_does_not_starve_another(make: Make) -> None:
    a, b, c = make("a"), make("b"), make("c")
    join(a, c)
    join(b, c)
    x = np.zeros(10, np.uint8)
    for frame in range(300):
        a.send_tensors("c", submit(x, frame), {"x": x})
    b.send_tensors("c", submit(x), {"x": x})
    seen = drive([a, b, c], lambda seen: any(e.peer == "b" for e in of(seen, Arrived)))
    assert len(of(seen, Arrived)) < 100


def test_more_than_the_outbox_holds_is_refused(make: Make, monkeypatch: Any) -> None:
    monkeypatch.setattr("edgeflow.io.link.OUTBOX_BYTES", 250_000)
    a, b = make("a", emulate=Emulate(mbps=1.0)), make("b")
    join(a, b)
    x = np.zeros(100_000, np.uint8)
    taken = [a.send_tensors("b", submit(x), {"x": x}) for _ in range(4)]
    assert taken == [True, True, False, False]
    assert a.counters["outbox full"] == 2


# --- what must not get in -------------------------------------------------------------------------


def test_random_bytes_on_either_port_change_nothing(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    end = b.endpoints[0]
    for seed in range(20):
        for port in (end.tensors_port, end.signals_port):
            with socket.create_connection((end.host, port)) as stranger:
                stranger.sendall(np.random.default_rng(seed).bytes(2000))
    assert not idle([a, b], 0.3)
    a.send_signal("b", NOTE)
    assert of(drive([a, b], count(Signal)), Signal)


def dealer(name: bytes, port: int, *parts: bytes) -> zmq.Socket[bytes]:
    raw: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    raw.linger = 0
    raw.setsockopt(zmq.ROUTING_ID, name)
    raw.setsockopt(zmq.RECONNECT_IVL, -1)
    raw.connect(f"tcp://127.0.0.1:{port}")
    raw.send_multipart(parts)
    return raw


def test_a_hello_in_the_name_of_another_is_refused_and_cut_off(make: Make) -> None:
    b = make("b")
    b.open("a", 1, (), "")
    right = bytes(RoutingId("a", 1, "b", 1, 1))
    port = b.endpoints[0].signals_port
    for name, said in (
        (right, encode_signal(Hello("mallory", 1))),
        (right, encode_signal(Hello("a", 2))),
        (right, b"\1garbage"),
        (right, encode_signal(NOTE)),
        (bytes(RoutingId("a", 1, "c", 1, 1)), encode_signal(Hello("a", 1))),
        (b"who", encode_signal(Hello("a", 1))),
    ):
        before, raw = b.counters["stranger"], dealer(name, port, said)
        assert not idle([b], 0.2)
        assert b.counters["stranger"] == before + 1
        raw.close()
        idle([b], 0.2)  # or the next one of this name comes before the last is gone


def test_a_proven_peer_that_sends_nonsense_is_counted_and_stays(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    link: Any = a._exchange.links["b"]
    x = np.zeros(3, np.uint8)
    plan = PlanId(Claim(1, 0, "a", 1), 1)
    heads = (head_of("x", x),)
    other_session = Frame("cats", plan, 0, "f" * 64, "a", 99, 1, 1, 1.0, heads)
    for lane, parts in (
        (0, [b"12345678", b"\1rubbish", b"raw"]),
        (0, [b"1234567", b"\1"]),
        (0, [b"12345678", *[b""] * 400]),
        (0, [encode_signal(NOTE)]),
        (0, [b"12345678", *encode_tensors(other_session, {"x": x})]),
        (1, [b"\1rubbish"]),
        (1, [b"\1", b"\1"]),
        (1, [encode_signal(Hello("c", 1))]),
    ):
        before = b.counters["malformed"]
        link.transmit(lane, parts)
        assert not idle([a, b], 0.05)
        assert b.counters["malformed"] == before + 1, parts
    a.send_tensors("b", submit(x), {"x": x})
    assert of(drive([a, b], count(Arrived)), Arrived)


def zmtp_dealer(node: Links, name: bytes, lane: Lane = Lane.TENSORS) -> socket.socket:
    """A DEALER by hand (ZMTP 3.0, RFC 23): a real one would queue on its own side."""
    end = node.endpoints[0]
    port = end.tensors_port if lane is Lane.TENSORS else end.signals_port
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(b"\xff" + bytes(8) + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\5READY"
    for key, word in ((b"Socket-Type", b"DEALER"), (b"Identity", name)):
        ready += bytes([len(key)]) + key + len(word).to_bytes(4, "big") + word
    raw.sendall(b"\4" + bytes([len(ready)]) + ready)
    idle([node], 0.1)
    assert b"READY" in raw.recv(1000)
    return raw


@pytest.mark.parametrize("who", ["a stranger", "one who said Hello and was not opened"])
def test_a_message_that_never_ends_is_cut_off_before_it_fills_memory(make: Make, who: str) -> None:
    b = make("b")
    name = RoutingId("a", 1, "b", 1, 1)
    raw = zmtp_dealer(b, bytes(name))
    hello = encode_signal(Hello("a", 1))
    if who != "a stranger":
        raw.sendall(b"\0" + bytes([len(hello)]) + hello)
    idle([b], 0.1)
    raw.setblocking(False)
    part = b"\3" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)  # 1 MB, and more to come
    before, most, sent = psutil.Process().memory_info().rss, 0, 0
    end_s = time.monotonic() + 3.0
    while not b.counters["cut off"] and time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            for _ in range(8):
                sent += raw.send(part[sent % len(part) :])
        b.receive(time.monotonic())
        most = max(most, psutil.Process().memory_info().rss - before)
    assert b.counters["cut off"] == 1, b.counters
    assert most < 100 << 20
    raw.close()


def test_a_peer_known_by_name_may_not_hold_back_more_than_one_message(
    make: Make, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "edgeflow.io.gate.HELD_BYTES", {Lane.TENSORS: 2 << 20, Lane.SIGNALS: 1 << 16}
    )
    b = make("b")
    b.open("a", 1, (), "")
    name, hello = bytes(RoutingId("a", 1, "b", 1, 1)), encode_signal(Hello("a", 1))
    raws = [zmtp_dealer(b, name, lane) for lane in Lane]
    for raw in raws:
        raw.sendall(b"\0" + bytes([len(hello)]) + hello)
    assert of(drive([b], count(LinkUp)), LinkUp)
    part = (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
    for _ in range(5):  # five whole messages may pass,
        raws[Lane.TENSORS].sendall(b"\2" + part)
        idle([b], 0.05)
    assert b.is_up("a")
    assert b.counters["malformed"] == 5
    for _ in range(8):  # of one without an end only so much
        with contextlib.suppress(OSError):
            raws[Lane.TENSORS].sendall(b"\3" + part)
        idle([b], 0.05)
    idle([b], 0.5)
    assert not b.is_up("a")
    assert b.counters["cut off"] == 1
    for raw in raws:
        raw.close()


def test_who_answers_in_another_name_is_not_believed(make: Make) -> None:
    a = make("a")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    routers = [context.socket(zmq.ROUTER) for _ in Lane]
    ports = [router.bind_to_random_port("tcp://127.0.0.1") for router in routers]
    a.open("b", 1, (Endpoint("127.0.0.1", *ports),), "")
    for welcome in (Welcome("mallory", 1), Welcome("b", 2), NOTE):
        before = a.counters["wrong peer"]
        for router in routers:
            while not router.poll(0):
                idle([a], 0.05)
            router.send_multipart([router.recv_multipart()[0], encode_signal(welcome)])
        assert not of(idle([a], 0.1), LinkUp)
        assert a.counters["wrong peer"] > before
    context.destroy(linger=0)


# --- keys -----------------------------------------------------------------------------------------


def new_keys() -> Keys:
    public, secret = zmq.curve_keypair()
    return Keys(public.decode(), secret.decode())


def test_nodes_of_one_key_link_and_their_bytes_are_encrypted(make: Make) -> None:
    key = new_keys()
    a, b = make("a", key=key, bind="127.0.0.1"), make("b", key=key, bind="127.0.0.1")
    join(a, b)
    x = np.arange(100_000, dtype=np.float32)
    a.send_tensors("b", submit(x), {"x": x})
    (arrived,) = of(drive([a, b], count(Arrived)), Arrived)
    assert arrived.arrays["x"].tobytes() == x.tobytes()


@pytest.mark.parametrize("other", ["another key", "no key"])
def test_a_peer_without_the_cluster_key_does_not_get_in(make: Make, other: str) -> None:
    mine = new_keys()
    theirs = new_keys() if other == "another key" else None
    a, b = make("a", key=theirs), make("b", key=mine, bind="127.0.0.1")
    b.open("a", 1, (), b.public_key)
    # Even if a claims in its announcement to have b's key, and b believes it:
    a.open("b", 1, b.endpoints, a.public_key)
    seen = idle([a, b], 1.0)
    assert not of(seen, LinkUp)
    assert b.counters["wrong key"] or b.counters["handshake failed"]


def test_a_stranger_who_knows_only_the_public_key_does_not_get_in(make: Make) -> None:
    mine = new_keys()
    b = make("b", key=mine, bind="127.0.0.1")
    b.open("a", 1, (), b.public_key)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    public, secret = zmq.curve_keypair()
    raws = []
    for port in (b.endpoints[0].tensors_port, b.endpoints[0].signals_port):
        raw = context.socket(zmq.DEALER)
        raw.setsockopt(zmq.ROUTING_ID, bytes(RoutingId("a", 1, "b", 1, 1)))
        raw.curve_publickey, raw.curve_secretkey = public, secret
        raw.curve_serverkey = mine.public.encode()
        raw.connect(f"tcp://127.0.0.1:{port}")
        raw.send(encode_signal(Hello("a", 1)))
        raws.append(raw)
    assert not idle([b], 0.5)
    assert b.counters["wrong key"]
    context.destroy(linger=0)


def test_an_announced_foreign_key_is_named_and_not_dialled(make: Make) -> None:
    a, b = make("a"), make("b")
    a.open("b", 1, b.endpoints, "k" * 40)
    assert a.counters["foreign key"] == 1
    assert not idle([a, b], 0.2)


def test_without_a_key_only_loopback_is_bound_or_dialled(make: Make) -> None:
    with pytest.raises(NetworkError, match=r"edgeflow key new.*--insecure"):
        make("a", bind="0.0.0.0")
    a = make("b")
    assert [end.host for end in a.endpoints] == ["127.0.0.1"]
    a.open("c", 1, (Endpoint("192.0.2.1", 1, 2),), "")
    assert a.counters["off this machine"] == 1
    assert a.due_s(0.0) == float("inf")


def test_a_taken_port_is_named_with_the_cure(make: Make) -> None:
    taken = make("a").endpoints[0].signals_port
    with pytest.raises(NetworkError, match=rf"port {taken} is taken.*--signals-port"):
        make("b", signals_port=taken)


# --- loss and restart -----------------------------------------------------------------------------


def test_a_closed_peer_is_down_at_both_kinds_of_side(make: Make) -> None:
    a, b, c = make("a"), make("b"), make("c")
    join(a, b)
    join(b, c)
    b.close()
    seen = drive([a, c], count(LinkDown, 2), 2.0)
    assert of(seen, LinkDown, "a") == [LinkDown("b", 1)]
    assert of(seen, LinkDown, "c") == [LinkDown("b", 1)]
    assert not a.send_signal("b", NOTE)


def test_a_link_that_was_cut_comes_back_by_itself(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    for links, peer in ((b, "a"), (a, "b")):
        links._exchange.drop(links._exchange.links[peer])
        seen = drive([a, b], count(LinkUp, 2))
        assert [type(e) for e in of(seen, object, "a")] == [LinkDown, LinkUp]
        assert [type(e) for e in of(seen, object, "b")] == [LinkDown, LinkUp]


@pytest.mark.parametrize("dials", ["the one that restarts", "the other"])
def test_nothing_for_an_old_session_reaches_its_successor(
    make: Make, free_port: Callable[[], int], dials: str
) -> None:
    ports = {"tensors_port": free_port(), "signals_port": free_port()}
    a, old = make("a"), make("b", 1, **ports)
    if dials == "the other":
        join(a, old)
    else:
        join(old, a)
    old.close()
    x = np.zeros(10, np.uint8)
    for _ in range(50):  # before anybody noticed
        a.send_tensors("b", submit(x), {"x": x})
    new = make("b", 2, **ports)
    new.open("a", 1, () if dials == "the other" else a.endpoints, "")
    seen = idle([a, new], 0.8)
    assert not of(seen, Arrived)
    assert not of(seen, LinkUp)
    a.open("b", 2, new.endpoints if dials == "the other" else (), "")
    seen = drive([a, new], count(LinkUp, 2))
    assert of(seen, LinkUp, "a") == [LinkUp("b", 2)]
    a.send_tensors("b", submit(x), {"x": x})
    assert len(of(drive([a, new], count(Arrived)), Arrived, "b")) == 1


def test_opening_another_session_replaces_the_link(make: Make) -> None:
    a, b = make("a"), make("b")
    join(a, b)
    a.open("b", 9, b.endpoints, "")
    seen = drive([a, b], count(LinkDown, 2))
    assert of(seen, LinkDown, "a") == [LinkDown("b", 1)]
    assert of(seen, LinkDown, "b") == [LinkDown("a", 1)]
    assert not a.is_up("b")


@pytest.fixture
def peer() -> Iterator[Callable[..., tuple[subprocess.Popen[str], Endpoint]]]:
    """Starts a node in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*ports: int) -> tuple[subprocess.Popen[str], Endpoint]:
        program = Path(__file__).with_name("peer_program.py")
        command = [sys.executable, str(program), *map(str, ports)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        tensors, signals = process.stdout.readline().split()
        return process, Endpoint("127.0.0.1", int(tensors), int(signals))

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("dials", ["peer", "me"])
@pytest.mark.parametrize(
    ("how", "within_s"), [(signal.SIGKILL, 0.5), (signal.SIGSTOP, 3.0)], ids=["killed", "frozen"]
)
def test_a_dead_or_frozen_peer_is_down_soon(
    make: Make, peer: Any, how: signal.Signals, within_s: float, dials: str
) -> None:
    me = make("me")
    ends = me.endpoints[0]
    ports = (ends.tensors_port, ends.signals_port) if dials == "peer" else ()
    process, end = peer(*ports)
    me.open("peer", 1, () if dials == "peer" else (end,), "")
    assert of(drive([me], count(LinkUp)), LinkUp)
    idle([me], 1.2 * HEARTBEAT_MS[0] / 1000)
    os.kill(process.pid, how)
    started_s = time.monotonic()
    assert of(drive([me], count(LinkDown)), LinkDown) == [LinkDown("peer", 1)]
    assert time.monotonic() - started_s < within_s


def test_closing_leaves_no_descriptor_behind(make: Make) -> None:
    make("warm").close()
    before = psutil.Process().num_fds()
    for _ in range(3):
        a, b = make("a"), make("b")
        join(a, b)
        a.close()
        b.close()
    assert psutil.Process().num_fds() <= before
