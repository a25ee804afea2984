"""The broker connection, against real brokers."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgeflow.config import NodeConfig
from edgeflow.errors import BrokerError, UsageError
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.brokerurl import BrokerUrl
from edgeflow.io.mqtt import Mqtt
from edgeflow.io.mqttcheck import answers
from edgeflow.messages import Availability, State

PATIENCE_S = 6.0
KINDS = ("mosquitto", "iotcore")
Spawn = Callable[..., subprocess.Popen[bytes]]
MakeMqtt = Callable[..., tuple[Mqtt, list[Any]]]


def is_here(kind: str) -> bool:
    if kind == "iotcore":
        return importlib.util.find_spec("iotcore") is not None
    return shutil.which("mosquitto") is not None


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if not is_here(request.param):
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def start(spawn: Spawn, kind: str) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts a broker on a port; returns once it lets us in."""

    def run(port: int, *options: str, password: str = "") -> subprocess.Popen[bytes]:
        process = spawn(
            "edgeflow.brokers.run",
            *("--port", str(port), "--kind", kind, *options),
            EDGEFLOW_BROKER_PASSWORD=password,
        )
        user = "bob" if password else ""
        wait(lambda: answers("127.0.0.1", port, user, password))
        return process

    return run


@pytest.fixture
def connect() -> Iterator[MakeMqtt]:
    made: list[Mqtt] = []

    def build(*urls: str, name: str = "edge-1", session: int = 7) -> tuple[Mqtt, list[Any]]:
        events: list[Any] = []
        made.append(Mqtt(NodeConfig(name=name, brokers=urls), session, events.append))
        made[-1].start()
        return made[-1], events

    yield build
    for mqtt in made:
        mqtt.close()


def wait(until: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not until():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.01)


def heard(events: list[Any]) -> list[Any]:
    return [event.message for event in events if isinstance(event, Heard)]


def stranger(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait(client.is_connected)
    return client


# --- with a broker --------------------------------------------------------------------------------


def test_what_one_says_all_hear_also_itself(start: Any, connect: MakeMqtt, free_port: Any) -> None:
    port = free_port()
    start(port)
    url = f"mqtt://127.0.0.1:{port}"
    (a, at_a), (b, at_b) = connect(url, name="a"), connect(url, name="b")
    a.wait_up(PATIENCE_S)
    b.wait_up(PATIENCE_S)
    assert at_a[0] == BrokerUp(1)
    for message in (State("a", 7, 1, "ready"), Availability("a", True)):
        assert a.publish(message)
    wait(lambda: len(heard(at_a)) == len(heard(at_b)) == 2)
    assert not any(event.retained for event in at_b if isinstance(event, Heard))
    late, at_late = connect(url, name="late")
    late.wait_up(PATIENCE_S)
    wait(lambda: len(heard(at_late)) == 2)
    assert all(event.retained for event in at_late if isinstance(event, Heard))


def test_only_its_own_thread_writes_to_the_broker(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port)
    mqtt, events = connect(f"mqtt://127.0.0.1:{port}")
    mqtt.wait_up(PATIENCE_S)
    client: Any = mqtt._client
    send, writers = client._sock_send, set()

    def spy(raw: bytes) -> Any:
        writers.add(threading.current_thread().name)
        return send(raw)

    client._sock_send = spy
    started_s = time.monotonic()
    for number in range(50):
        assert mqtt.publish(State("a", 1, number, "ready"))
        wait(lambda: len(heard(events)) == number + 1)  # noqa: B023 - waited for at once
    assert time.monotonic() - started_s < 5.0  # and is woken to do so
    assert writers == {"edgeflow-mqtt"}


def test_a_node_that_vanishes_is_called_lost_with_its_session_and_connection(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port)
    dying, _ = connect(f"mqtt://127.0.0.1:{port}", name="cam-1", session=5)
    watch, events = connect(f"mqtt://127.0.0.1:{port}")
    dying.wait_up(PATIENCE_S)
    watch.wait_up(PATIENCE_S)
    client: Any = dying._client
    dying._stopping.set()
    client.socket().shutdown(socket.SHUT_RDWR)
    wait(lambda: State("cam-1", 5, 1, "lost") in heard(events))


def test_a_node_that_says_goodbye_leaves_no_will(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port)
    leaving, _ = connect(f"mqtt://127.0.0.1:{port}", name="cam-1")
    watch, events = connect(f"mqtt://127.0.0.1:{port}")
    leaving.wait_up(PATIENCE_S)
    watch.wait_up(PATIENCE_S)
    leaving.publish(State("cam-1", 7, 1, "offline"))
    leaving.close()
    wait(lambda: heard(events))
    time.sleep(0.2)
    assert heard(events) == [State("cam-1", 7, 1, "offline")]


def test_malformed_messages_are_counted_and_harm_nothing(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port)
    mqtt, events = connect(f"mqtt://127.0.0.1:{port}")
    mqtt.wait_up(PATIENCE_S)
    client = stranger(port)
    for topic, payload in (
        ("nodes/a/state", b"{"),
        ("nodes/a/state", b'{"type":"state","node":"b","session":1,"connection":1,"state":"x"}'),
        ("nodes/a/state", bytes(70_000)),
        ("nodes/a/load", b"[" * 50_000),
        ("nodes/a/availability", b"perhaps"),
        ("what/is/this", b"hello"),
    ):
        client.publish(f"edgeflow/home/{topic}", payload)
    client.publish("edgeflow/home/nodes/edge-1/caps", b"", retain=True)
    wait(lambda: mqtt.counters == {"malformed": 5, "unknown": 1})
    wait(lambda: Cleared("nodes/edge-1/caps") in events)
    assert not heard(events)
    assert mqtt.publish(State("a", 1, 1, "ready"))
    wait(lambda: heard(events))
    client.disconnect()
    client.loop_stop()


def test_a_broker_that_returns_is_found_and_the_connection_counted(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    broker = start(port)
    mqtt, events = connect(f"mqtt://127.0.0.1:{port}")
    mqtt.wait_up(PATIENCE_S)
    broker.terminate()
    broker.wait()
    wait(lambda: BrokerDown() in events)
    assert not mqtt.publish(State("a", 1, 1, "ready"))
    with pytest.raises(BrokerError, match="edgeflow broker"):
        mqtt.wait_up(0.1)
    start(port)
    wait(lambda: mqtt.is_up())
    changes = [event for event in events if not isinstance(event, Heard)]  # a dying one tells wills
    assert [type(event) for event in changes] == [BrokerUp, BrokerDown, BrokerUp]
    assert changes[-1].connection > 1


def test_the_next_broker_of_the_list_is_taken(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port)
    mqtt, _ = connect(f"mqtt://127.0.0.1:{free_port()}", f"mqtt://127.0.0.1:{port}")
    mqtt.wait_up(PATIENCE_S)
    assert mqtt.broker == f"mqtt://127.0.0.1:{port}"


def test_a_wrong_password_is_named_and_a_right_one_gets_in(
    start: Any, connect: MakeMqtt, free_port: Any
) -> None:
    port = free_port()
    start(port, "--user", "bob", password="s3/cr@t")
    for wrong in ("", "bob:nope@"):
        mqtt, _ = connect(f"mqtt://{wrong}127.0.0.1:{port}")
        with pytest.raises(BrokerError, match=r"(?i)password") as found:
            mqtt.wait_up(0.5)
        assert "nope" not in str(found.value)
    mqtt, _ = connect(f"mqtt://bob:s3%2Fcr%40t@127.0.0.1:{port}")
    mqtt.wait_up(PATIENCE_S)


# --- without one ----------------------------------------------------------------------------------


def test_no_broker_is_an_error_that_names_the_cure(connect: MakeMqtt, free_port: Any) -> None:
    port = free_port()
    mqtt, events = connect(f"mqtt://127.0.0.1:{port}")
    with pytest.raises(
        BrokerError, match=rf"no broker at mqtt://127.0.0.1:{port}.*edgeflow broker"
    ):
        mqtt.wait_up(0.3)
    assert not events


def test_what_answers_but_is_no_broker_is_told(connect: MakeMqtt) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            client, _ = server.accept()
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        mqtt, _ = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        thread.join(PATIENCE_S)
        wait(lambda: "no broker was tried" not in mqtt.problem)
        with pytest.raises(BrokerError, match="is it a broker"):
            mqtt.wait_up(0.05)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1",
        "http://host",
        "mqtt://",
        "mqtt://host:port",
        "mqtt://host/topic",
        "mqtt://h:99999",
    ],
)
def test_a_url_that_is_none_is_explained(url: str) -> None:
    with pytest.raises(UsageError, match="is no broker URL"):
        BrokerUrl.parse(url)


def test_a_url_keeps_its_password_to_itself() -> None:
    found = BrokerUrl.parse("mqtts://bob:p%40ss@host?ca=/etc/ca.pem")
    assert found == BrokerUrl("host", 8883, True, "bob", "p@ss", "/etc/ca.pem")
    assert "p@ss" not in f"{found} {found!r}"
    with pytest.raises(UsageError) as wrong:
        BrokerUrl.parse("mqttt://bob:secret@host")
    assert "secret" not in str(wrong.value)


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_needs_a_certificate_that_is_trusted(
    connect: MakeMqtt, free_port: Any, tmp_path: Path
) -> None:
    program, openssl = shutil.which("mosquitto"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("needs mosquitto and openssl")
    port, ca, key = free_port(), tmp_path / "ca.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [*request, "-keyout", str(key), "-out", str(ca)], check=True, capture_output=True
    )
    for file in (tmp_path, ca, key):
        file.chmod(0o755)
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
        f"certfile {ca}\nkeyfile {key}\nlog_type error\n"
    )
    with subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL) as broker:
        try:
            trusting, _ = connect(f"mqtts://127.0.0.1:{port}?ca={ca}", name="a")
            trusting.wait_up(PATIENCE_S)
            wary, _ = connect(f"mqtts://127.0.0.1:{port}", name="b")
            with pytest.raises(BrokerError, match=r"not trusted .*\?ca=FILE"):
                wary.wait_up(1.0)
            trusting.close()
            wary.close()
        finally:
            broker.terminate()
