"""Whether a broker of the list before ours is back, for good enough to move to it.

    every 30 s, or when another node says so ──▶ connect, subscribe, stay a while ──▶ found
                                                      └▶ tell the others: all go together

A port that is open proves little: a broker that starts, or is frozen, has one too. So the scout is
a client like any other, under a name of its own, and stays for some pings.

Invariant: it never speaks for the node, and leaves without a trace.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from threading import Event as Flag

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edgeflow.io.brokerurl import BrokerUrl
from edgeflow.io.mqttclient import new_client

STAY_S = 3.0
"""A broker must answer for so long: three pings. Lower moves to one that is only coming up."""
PING_S = 1
"""Between pings of a scout; a broker that leaves one without an answer is not back."""


class Scout:
    """Looks at brokers; `answered` is called once one lets us in, before it has stayed."""

    def __init__(self, cluster: str, stopping: Flag, answered: Callable[[BrokerUrl], None]) -> None:
        self._topic = f"edgeflow/{cluster}/leader"
        self._stopping = stopping
        self._answered = answered

    def find(self, urls: Sequence[BrokerUrl]) -> BrokerUrl | None:
        """The first of them that answers for STAY_S; it takes some seconds."""
        return next((url for url in urls if self._stays(url)), None)

    def _stays(self, url: BrokerUrl) -> bool:
        subscribed = Flag()

        def on_connect(client: paho.Client, *_: object) -> None:
            client.subscribe(self._topic, qos=0)

        def on_subscribe(
            client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], *_: object
        ) -> None:
            if not any(code.is_failure for code in codes):
                subscribed.set()

        client = new_client(url, f"edgeflow-scout-{secrets.token_hex(6)}")
        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        try:
            client.connect(url.host, url.port, PING_S)
        except (OSError, ValueError):
            return False
        return self._pings(client, url, subscribed)

    def _pings(self, client: paho.Client, url: BrokerUrl, subscribed: Flag) -> bool:
        end_s, has_told = time.monotonic() + STAY_S, False
        while time.monotonic() < end_s and not self._stopping.is_set():
            if client.loop(timeout=0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
            if subscribed.is_set() and not has_told:
                end_s, has_told = time.monotonic() + STAY_S, True
                self._answered(url)
        client.disconnect()
        client.loop(timeout=0.1)
        return has_told and not self._stopping.is_set()
