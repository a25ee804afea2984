"""The delay relay between real namespaces: what is asked of it, it does to real frames."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeflow.errors import NetworkError
from edgeflow.lab.desk import VISITORS_MAX
from edgeflow.lab.relay import End, Impairment, RelayConfig, Wire, ask
from edgeflow.lab.tap import TUN, inside

MISSING = [
    what
    for what, is_there in {
        "root": os.geteuid() == 0,
        "iproute2": shutil.which("ip"),
        str(TUN): TUN.exists(),
    }.items()
    if not is_there
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")

A, B = (f"eflr-{os.getpid()}{side}" for side in "ab")
ADDRESS_A, ADDRESS_B = "10.9.0.1", "10.9.0.2"
PORT = 5000
ANSWER_S = 5.0
LOSSY = Impairment(loss_percent=100)

Start = Callable[..., "subprocess.Popen[str]"]


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> Iterator[None]:
    try:
        for name in (A, B):
            ip("netns", "add", name)
            with inside(name):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        yield
    finally:
        for name in (A, B):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "relay.sock"


@pytest.fixture
def start(control: Path, tmp_path: Path) -> Iterator[Start]:
    """Runs a relay of one wire; given more fields of it."""
    running = []

    def run(**fields: Any) -> subprocess.Popen[str]:
        wire = Wire(
            "w", End(A, "p1", "02:00:00:00:00:0a"), End(B, "p2", "02:00:00:00:00:0b"), **fields
        )
        relay = launch(RelayConfig(str(control), (wire,)), tmp_path)
        running.append(relay)
        assert relay.stdout
        assert relay.stdout.readline() == "ready\n"
        for netns, device, address in ((A, "p1", ADDRESS_A), (B, "p2", ADDRESS_B)):
            ip("-n", netns, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", netns, "link", "set", device, "up")
        return relay

    yield run
    for relay in running:
        relay.terminate()
        relay.communicate(timeout=ANSWER_S)


def launch(config: RelayConfig, folder: Path) -> subprocess.Popen[str]:
    path = folder / "relay.json"
    path.write_bytes(msgspec.json.encode(config))
    words = [sys.executable, "-I", "-m", "edgeflow.lab.relay", str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)


def dialler(netns: str, timeout_s: float = ANSWER_S) -> socket.socket:
    with inside(netns):
        made = socket.socket()
    made.settimeout(timeout_s)
    return made


def server(netns: str, address: str) -> socket.socket:
    made = dialler(netns)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, PORT))
    made.listen()
    return made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A UDP socket at each end; to be used once the relay runs."""
    with inside(A):
        a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(B):
        b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with a, b:
        yield a, b


def join(pair: tuple[socket.socket, socket.socket]) -> None:
    """Bind and connect them, and let one message through each way."""
    a, b = pair
    a.bind((ADDRESS_A, PORT))
    b.bind((ADDRESS_B, PORT))
    a.connect((ADDRESS_B, PORT))
    b.connect((ADDRESS_A, PORT))
    for each in pair:
        each.settimeout(ANSWER_S)
    there_and_back(pair)


def there_and_back(pair: tuple[socket.socket, socket.socket]) -> tuple[float, float]:
    """Seconds from a to b, and from b to a."""
    took_s = []
    for source, target in (pair, pair[::-1]):
        before_s = time.monotonic()
        source.send(b"hello")
        assert target.recv(100) == b"hello"
        took_s.append(time.monotonic() - before_s)
    return took_s[0], took_s[1]


Pair = tuple[socket.socket, socket.socket]


def test_each_direction_has_its_own_delay_and_a_change_holds_at_once(
    start: Start, control: Path, pair: Pair
) -> None:
    start(up=Impairment(delay_ms=80))
    join(pair)
    ways_s = [there_and_back(pair) for _ in range(3)]
    assert all(0.08 <= up_s < 1.0 for up_s, _ in ways_s)
    assert min(down_s for _, down_s in ways_s) < 0.08, "the other way has none"
    answer = ask(control, {"wire": "w", "down": {"delay_ms": 60}}, ANSWER_S)
    assert (answer["up"]["delay_ms"], answer["down"]["delay_ms"]) == (80, 60)
    up_s, down_s = there_and_back(pair)
    assert 0.08 <= up_s < 1.0
    assert 0.06 <= down_s < 1.0


def test_what_is_lost_does_not_arrive_until_the_loss_is_taken_back(
    start: Start, control: Path, pair: Pair
) -> None:
    start()
    join(pair)
    a, _ = pair
    ask(control, {"wire": "w", "up": LOSSY}, ANSWER_S)
    for _ in range(20):
        a.send(b"lost")
    until_s = time.monotonic() + ANSWER_S
    while ask(control, {"stats": True}, ANSWER_S)["wires"]["w"]["up"]["dropped_loss"] < 20:
        assert time.monotonic() < until_s
    ask(control, {"wire": "w", "up": {}}, ANSWER_S)
    there_and_back(pair)


def test_order_is_kept_under_jitter(start: Start, pair: Pair) -> None:
    start(up=Impairment(delay_ms=5, jitter_ms=5))
    join(pair)
    a, b = pair
    for number in range(300):
        a.send(b"%d" % number)
        time.sleep(0.0003)
    assert [int(b.recv(100)) for _ in range(300)] == list(range(300))


def test_only_a_opens_connections_and_then_both_may_talk(start: Start, control: Path) -> None:
    start(only_a_dials=True)
    with server(A, ADDRESS_A), dialler(B, 0.3) as dialling, pytest.raises(TimeoutError):
        dialling.connect((ADDRESS_A, PORT))
    assert ask(control, {"stats": True}, ANSWER_S)["wires"]["w"]["down"]["dropped_nat"] >= 1
    with server(B, ADDRESS_B) as listening, dialler(A) as dialling:
        dialling.connect((ADDRESS_B, PORT))
        talking, _ = listening.accept()
        with talking:
            dialling.sendall(b"ping")
            assert talking.recv(100) == b"ping"
            talking.sendall(b"pong")
            assert dialling.recv(100) == b"pong"


@pytest.mark.parametrize(("loss_percent", "is_whole"), [(0.0, True), (1e-9, False)])
def test_super_frames_pass_whole_only_where_nothing_is_lost(
    start: Start, control: Path, loss_percent: float, is_whole: bool
) -> None:
    start(up=Impairment(delay_ms=2, loss_percent=loss_percent))
    sent = os.urandom(300_000)
    with server(B, ADDRESS_B) as listening, dialler(A) as dialling:
        dialling.connect((ADDRESS_B, PORT))
        talking, _ = listening.accept()
        with talking:
            dialling.sendall(sent)
            came = b""
            while len(came) < len(sent):
                came += talking.recv(len(sent))
    assert came == sent
    up = ask(control, {"stats": True}, ANSWER_S)["wires"]["w"]["up"]
    assert up["bytes"] >= len(sent)
    assert (up["frames"] < len(sent) / 1514) == is_whole


def test_a_request_that_makes_no_sense_is_refused_and_the_relay_goes_on(
    start: Start, control: Path, pair: Pair
) -> None:
    start()
    join(pair)
    for nonsense in ({}, {"wire": "x"}, {"wire": "w", "up": {"delay_ms": -1}}, {"speed": 1}):
        assert "error" in ask(control, nonsense, ANSWER_S), nonsense
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(str(control))
        asking.send(b"{")
        assert b"error" in asking.recv(1000)
    there_and_back(pair)
    stats = ask(control, {"stats": True}, ANSWER_S)
    assert stats["cpu_s"] > 0
    assert stats["wires"]["w"]["up"]["frames"] >= 2
    assert control.stat().st_mode & 0o777 == 0o600


def test_visitors_who_say_nothing_keep_nobody_out(start: Start, control: Path) -> None:
    start()
    with ExitStack() as visits:
        for _ in range(2 * VISITORS_MAX):
            silent = visits.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            silent.settimeout(ANSWER_S)
            silent.connect(str(control))
        assert "wires" in ask(control, {"stats": True}, ANSWER_S)


def test_a_device_that_is_taken_away_or_down_ends_no_relay(
    start: Start, control: Path, pair: Pair
) -> None:
    start()
    join(pair)
    ip("-n", B, "link", "set", "p2", "down")
    pair[0].send(b"nowhere")
    until_s = time.monotonic() + ANSWER_S
    while not ask(control, {"stats": True}, ANSWER_S)["wires"]["w"]["up"]["dropped_down"]:
        assert time.monotonic() < until_s
    ip("-n", B, "link", "del", "p2")
    before_s = ask(control, {"stats": True}, ANSWER_S)["cpu_s"]
    time.sleep(0.3)
    assert ask(control, {"stats": True}, ANSWER_S)["cpu_s"] - before_s < 0.1, "it does not spin"


def links(netns: str) -> list[str]:
    return [each["ifname"] for each in msgspec.json.decode(ip("-n", netns, "-j", "link"))]


def test_a_killed_relay_leaves_no_device_and_the_next_one_takes_its_place(
    start: Start, control: Path
) -> None:
    relay = start(mtu=1400)
    (made,) = msgspec.json.decode(ip("-n", A, "-j", "link", "show", "p1"))
    assert (made["mtu"], made["address"]) == (1400, "02:00:00:00:00:0a")
    relay.kill()
    relay.communicate(timeout=ANSWER_S)
    assert (links(A), links(B)) == (["lo"], ["lo"])
    with pytest.raises(NetworkError, match="is it still running"):
        ask(control, {"stats": True}, ANSWER_S)
    relay = start()
    ask(control, {"stats": True}, ANSWER_S)
    relay.send_signal(signal.SIGTERM)
    assert relay.communicate(timeout=ANSWER_S) == ("", "")
    assert relay.returncode == 0
    assert not control.exists()
    assert links(B) == ["lo"]


def test_what_cannot_be_made_is_said_in_one_sentence_with_the_cure(tmp_path: Path) -> None:
    a, b, nowhere = End(A, "p1"), End(B, "p2"), End("eflr-nowhere", "p2")
    for wires, cure in (
        ((Wire("w", a, nowhere),), "ip netns add eflr-nowhere"),
        ((Wire("w", a, End(B, "lo")),), "device lo in namespace"),
        ((), "wires"),
    ):
        relay = launch(RelayConfig(str(tmp_path / "relay.sock"), wires), tmp_path)
        said, complaint = relay.communicate(timeout=ANSWER_S)
        assert (said, relay.returncode) == ("", 1)
        assert complaint.count("\n") == 1
        assert cure in complaint
    relay = launch(RelayConfig("/nowhere/relay.sock", (Wire("w", a, b),)), tmp_path)
    assert "name a path" in relay.communicate(timeout=ANSWER_S)[1]
