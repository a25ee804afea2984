"""The broker connection: paho in a thread of its own, whose callbacks only enqueue.

    connecting ──accepted──▶ up: subscribe, BrokerUp ──lost──▶ BrokerDown ─▶ connecting (next URL)

Everything is published at QoS 0: each message is a state that is said again each period, both
brokers drop bursts of QoS 1 as well, and nothing is queued for a broker that is not there. The will
is renewed before every connection, so that each connection's will can be told from the next one's.

Invariant: no callback raises, waits or thinks.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgeflow import codec
from edgeflow.config import NodeConfig
from edgeflow.errors import UsageError
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Heard
from edgeflow.io.inbox import Inbox
from edgeflow.messages import ControlMessage, State

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 5
"""A broker tells a frozen node's will after 1.5 times this; each ping is 2 bytes."""
RECONNECT_S = (0.5, 2.0)
"""First and longest pause before a reconnect: membership waits longer than the longest."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
GOODBYE_S = 1.0
"""How long `close` waits for what was published last to leave."""


@dataclass(frozen=True, slots=True)
class Address:
    """One broker URL, taken apart."""

    host: str
    port: int
    is_tls: bool
    user: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> Address:
        """UsageError where it is not of the form mqtt://[user:password@]host[:port]."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in PORTS or not parts.hostname or port == -1:
            raise UsageError(
                f"{url!r} is no broker URL; write mqtt://host:1883, or"
                " mqtts://user:password@host:8883 with encryption"
            )
        return cls(
            parts.hostname,
            port or PORTS[parts.scheme],
            parts.scheme == "mqtts",
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
        )

    def __str__(self) -> str:
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{self.host}:{self.port}"


class Mqtt:
    """One logical broker, by one or several URLs in order of preference."""

    def __init__(self, config: NodeConfig, session: int, inbox: Inbox) -> None:
        self.config, self.session, self.inbox = config, session, inbox
        self.addresses = [Address.of(url) for url in config.brokers]
        self.is_up = False
        self.problem = ""
        """Why there is no connection, with the cure; empty while there is one."""
        self.malformed = 0
        self.connections = 0
        self._at = 0
        self._gone = Flag()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{config.name}-{session:x}",
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=True,
        )
        client = self._client
        client.suppress_exceptions = True
        client.reconnect_delay_set(*RECONNECT_S)  # type: ignore[arg-type] # floats work as well
        client.max_queued_messages_set(1000)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message

    def start(self) -> None:
        """Connect, and go on trying for ever."""
        if any(address.is_tls for address in self.addresses):
            self._client.tls_set(cert_reqs=ssl.CERT_REQUIRED)
        self._aim()
        self._client.loop_start()

    def publish(self, message: ControlMessage) -> None:
        """Say it now, or not at all."""
        if not self.is_up:
            return
        payload = codec.encode_control(message)
        topic = codec.topic_of(self.config.cluster, message)
        self._client.publish(topic, payload, qos=0, retain=type(message).retain)

    def close(self) -> None:
        """Leave without a will."""
        if self.is_up:
            self._client.disconnect()
            self._gone.wait(GOODBYE_S)
        self._client.loop_stop()

    def _aim(self) -> None:
        address = self.addresses[self._at % len(self.addresses)]
        self._client.username_pw_set(address.user, address.password)
        self._client.connect_async(address.host, address.port, keepalive=KEEP_ALIVE_S)

    # --- callbacks: paho's thread ------------------------------------------------------------------

    def _on_pre_connect(self, client: paho.Client, userdata: Any) -> None:
        self.connections += 1
        will = State(self.config.name, self.session, self.connections, "lost")
        topic = codec.topic_of(self.config.cluster, will)
        client.will_set(topic, codec.encode_control(will), qos=0, retain=True)

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        address = self.addresses[self._at % len(self.addresses)]
        if reason.is_failure:
            self.problem = (
                f"the broker at {address} refused us ({reason}): check user and password in the URL"
            )
            return
        client.subscribe(f"edgeflow/{self.config.cluster}/#", qos=0)
        self.is_up, self.problem = True, ""
        self.inbox.put(BrokerUp(self.connections))

    def _on_connect_fail(self, client: paho.Client, userdata: Any) -> None:
        address = self.addresses[self._at % len(self.addresses)]
        self.problem = (
            f"no broker answers at {address}; start one with `edgeflow broker`,"
            " or name another with --broker"
        )
        self._next()

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        was_up, self.is_up = self.is_up, False
        self._gone.set()
        if was_up:
            self.problem = f"the connection to the broker was lost ({reason})"
            self.inbox.put(BrokerDown())
        self._next()

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if not message.payload:
            self.inbox.offer(Cleared(message.topic))
            return
        try:
            found = codec.decode_control(self.config.cluster, message.topic, message.payload)
        except codec.CodecError as error:
            self.malformed += 1
            log.warning("refused a message on %s: %s", message.topic, error)
            return
        self.inbox.offer(Heard(found, bool(message.retain)))

    def _next(self) -> None:
        """Aim at the next broker of the list, if there are several."""
        if len(self.addresses) > 1:
            self._at += 1
            self._aim()
