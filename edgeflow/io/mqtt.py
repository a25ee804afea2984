"""The control plane's wire: one thread that keeps this node connected to a broker.

    walk the list ──connect──▶ connected, subscribed ──lost──▶ pause 0.5–2 s ──▶ walk again
                   BrokerUp ◀──┘     │ Heard, Cleared         └──▶ BrokerDown
                         └───────────┴─▶ one before it in the list is back: connected there first,
                                         then gone from here with a goodbye, so that no will fires

All nodes return within a second of each other: the first whose scout (`edgeflow.io.scout`) is let
in says so. Each connection has a client object of its own: a number of its own in its will, nothing
queued from before, and no state of the last one. Callbacks only decode and give; they cannot raise.

Invariant: what this thread gives is an event of the core, checked; what it cannot check is counted
and dropped. It holds nothing back: what is published while there is no broker is gone.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edgeflow.codec import CodecError, decode_control, encode_control, topic_of
from edgeflow.config import NodeConfig
from edgeflow.errors import BrokerError
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.brokerurl import BrokerUrl
from edgeflow.io.mqttclient import CONNECT_S, in_words, new_client
from edgeflow.io.scout import Scout
from edgeflow.messages import ControlMessage, Returning, State

KEEPALIVE_S = 5
"""The broker tells our will 1.5 times as long after we froze. Lower accuses slow radios more."""
PAUSE_S = (0.5, 2.0)
"""Before the list is walked again: uniform in between, so that a fleet does not return as one."""
WATCH_S, LOOK_S = 1.0, 0.2
"""So long the thread waits for the broker before it looks around: less, away from the first one."""
LEAVE_S = 1.0
"""What is still to be sent to the broker that we leave has so long."""
_REFUSED = {"Bad user name or password", "Not authorized"}

_FINE = MQTTErrorCode.MQTT_ERR_SUCCESS

Give = Callable[[BrokerUp | BrokerDown | Heard | Cleared], object]
_log = logging.getLogger("edgeflow.mqtt")


class Mqtt:
    """The connection of one node session. `give` is called in this thread and must not block.

    UsageError where a URL in `config.brokers` is none.
    """

    def __init__(self, config: NodeConfig, session: int, give: Give) -> None:
        self.counters: Counter[str] = Counter()
        """What was refused or dropped, by reason."""
        self.problem = "no broker was tried yet"
        """Why there is no connection; empty while there is one."""
        self.broker = ""
        """The URL of the broker that we are connected to."""
        self._urls = [BrokerUrl.parse(text) for text in config.brokers]
        self._cluster = config.cluster
        self._node = config.name
        self._session = session
        self._give = give
        self._said: dict[BrokerUrl, str] = {}
        """The last complaint about each broker: it is not repeated at every try."""
        self._connection = 0
        self._client: paho.Client | None = None
        self._at = 0
        """The place of our broker in the list."""
        self._up = Flag()
        self._refused = Flag()
        self._stopping = Flag()
        self._return_s = config.broker_return_s
        self._look = Flag()
        self._better: BrokerUrl | None = None
        """One before ours that the scout found."""
        self._thread = Thread(target=self._run, name="edgeflow-mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect, and go on doing so until `close`."""
        self._thread.start()
        if len(self._urls) > 1:
            Thread(target=self._look_back, name="edgeflow-scout", daemon=True).start()

    def is_up(self) -> bool:
        """Connected and subscribed."""
        return self._up.is_set()

    def wait_up(self, timeout_s: float) -> None:
        """Return once connected; BrokerError, with the cure, where no broker lets us in in time."""
        end_s = time.monotonic() + timeout_s
        while not self._up.wait(0.05):
            no_way_in = self._refused.is_set() and len(self._urls) == 1
            if no_way_in or time.monotonic() > end_s:
                raise BrokerError(self.problem)

    def publish(self, message: ControlMessage) -> bool:
        """Whether it was handed over; what cannot be encoded is counted and dropped."""
        client = self._client
        if client is None or not self._up.is_set():
            return False
        try:
            topic, payload = topic_of(self._cluster, message), encode_control(message)
        except CodecError as error:
            self._count("unsendable", f"{type(message).__name__} cannot be told: {error}")
            return False
        info = client.publish(topic, payload, qos=0, retain=message.retain)
        return info.rc == _FINE

    def close(self, timeout_s: float = 2.0) -> None:
        """Say goodbye (the broker keeps the will to itself) and end the thread."""
        self._stopping.set()
        self._look.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            for url in self._urls:
                try:
                    was_up = self._serve(url)
                except Exception as error:  # whatever it is, the thread must live
                    self._fail(url, f"{type(error).__name__}: {error}")
                    was_up = False
                if was_up or self._stopping.is_set():
                    break
            self._stopping.wait(random.uniform(*PAUSE_S))

    def _serve(self, url: BrokerUrl) -> bool:
        """One connection from its beginning to its end; whether it ever was up."""
        try:
            client = self._open(url)
        except (OSError, ValueError) as error:
            self._fail(url, in_words(error))
            return False
        if self._stopping.is_set():
            return False
        self._client = client
        # Not loop_forever: only loop makes the pipe by which `publish` wakes this thread.
        while client.loop(timeout=LOOK_S if self._at else WATCH_S) == _FINE:
            better, self._better = self._better, None
            if better is not None and not self._stopping.is_set():
                client, url = self._move(client, url, better)
        self._client = None
        was_up = self._up.is_set()
        self._up.clear()
        if self._stopping.is_set():
            return was_up
        if was_up:
            self._fail(url, "the connection was lost")
            self._give(BrokerDown())
        elif not self._refused.is_set():
            self._fail(
                url,
                "it hung up without an answer (is it a broker, and are user and password right?)",
            )
        return was_up

    def _open(self, url: BrokerUrl) -> paho.Client:
        """A client of this node on its way in; OSError or ValueError where there is no way."""
        self._connection += 1
        name = f"edgeflow-{self._cluster}-{self._node}-{self._session:x}"
        client = new_client(url, name, (url, self._connection))
        will = State(self._node, self._session, self._connection, "lost")
        client.will_set(topic_of(self._cluster, will), encode_control(will), retain=True)
        # Given this, paho leaves writing to our thread; else `publish` would write in the caller's,
        # beside ours, and two half-sent messages could mix.
        client.on_socket_register_write = _leave_it
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._refused.clear()
        client.connect(url.host, url.port, KEEPALIVE_S)
        return client

    # --- back to a broker that is preferred -------------------------------------------------------

    def _look_back(self) -> None:
        """The scout's thread: while we are not with the first broker, look for those before."""
        scout = Scout(self._cluster, self._stopping, self._tell_others)
        while not self._stopping.is_set():
            self._look.wait(self._return_s)
            if self._up.is_set() and self._at and not self._stopping.is_set():
                self._better = scout.find(self._urls[: self._at])
            self._look.clear()

    def _tell_others(self, url: BrokerUrl) -> None:
        """All look now, and move together, unless another node said so first."""
        if not self._look.is_set():
            self.publish(Returning(self._node, self._session, str(url)))

    def _move(
        self, old: paho.Client, here: BrokerUrl, there: BrokerUrl
    ) -> tuple[paho.Client, BrokerUrl]:
        """Connect there, then leave here; or stay. The client that serves us now, and where."""
        try:
            new = self._open(there)
        except (OSError, ValueError):
            return old, here
        end_s = time.monotonic() + CONNECT_S
        while self._client is old and time.monotonic() < end_s:
            if new.loop(timeout=0.02) != _FINE:
                break
            old.loop(timeout=0.001)
        leaving, kept = (new, old) if self._client is old else (old, new)
        leaving.disconnect()
        end_s = time.monotonic() + LEAVE_S
        while leaving.loop(timeout=0.05) == _FINE and time.monotonic() < end_s:
            pass
        self.problem = ""
        if kept is old:
            return old, here
        _log.info("back from the broker at %s to %s", here, there)
        return new, there

    def _fail(self, url: BrokerUrl, why: str) -> None:
        said = f"no broker at {url}: {why}"
        cure = "start one with `edgeflow broker`, or name another with --broker mqtt://host:port"
        sentence = why if why.startswith("the broker") else f"{said}; {cure}"
        if self._said.get(url) != sentence:
            _log.warning("%s", sentence)
        self.problem = self._said[url] = sentence

    # --- callbacks: in the same thread, and never raising -----------------------------------------

    def _on_connect(
        self, client: paho.Client, of: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        url, _ = of
        if not code.is_failure:
            client.subscribe(f"edgeflow/{self._cluster}/#", qos=0)
            return
        self._refused.set()
        if code.getName() in _REFUSED:
            who = f"user {url.user!r}" if url.user else "a client without a user"
            cure = "check mqtt://USER:PASSWORD@host in --broker"
            self._fail(url, f"the broker at {url} refused {who} ({code.getName()}): {cure}")
        else:
            self._fail(url, f"the broker at {url} refused the connection: {code.getName()}")
        client.disconnect()

    def _on_subscribe(
        self, client: paho.Client, of: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        url, connection = of
        if any(code.is_failure for code in codes):
            self._refused.set()
            may = f"it needs to read and write edgeflow/{self._cluster}/#"
            self._fail(url, f"the broker at {url} does not let this user subscribe: {may}")
            client.disconnect()
            return
        self.problem, self.broker = "", str(url)
        self._said.clear()
        self._client, self._at = client, self._urls.index(url)
        self._up.set()
        self._give(BrokerUp(connection))

    def _on_message(self, client: paho.Client, _of: Any, message: paho.MQTTMessage) -> None:
        if client is not self._client:
            return  # of the broker that we are about to leave
        try:
            topic = message.topic
            if not message.payload:
                self._give(Cleared(topic.removeprefix(f"edgeflow/{self._cluster}/")))
                return
            heard = decode_control(self._cluster, topic, bytes(message.payload))
            self._give(Heard(heard, retained=bool(message.retain)))
            if isinstance(heard, Returning):
                self._look.set()
        except CodecError as error:
            self._count(error.kind, f"no message of ours on MQTT: {error}")
        except UnicodeDecodeError as error:
            self._count("malformed", f"no message of ours on MQTT: {error}")

    def _count(self, reason: str, sentence: str) -> None:
        """And say so the 1st, 10th, 100th … time."""
        self.counters[reason] += 1
        if str(self.counters[reason]).strip("0") == "1":
            _log.warning("%s (%d so far)", sentence, self.counters[reason])


def _leave_it(_client: paho.Client, _url: Any, _socket: Any) -> None:
    """Our thread looks for what is to be written by itself."""
