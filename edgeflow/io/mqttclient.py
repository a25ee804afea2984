"""A client object of paho for one connection, and why a connection failed, in words."""

from __future__ import annotations

import ssl

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgeflow.io.brokerurl import BrokerUrl

CONNECT_S = 3.0
QUEUED_MAX = 1000


def new_client(url: BrokerUrl, name: str, userdata: object = None) -> paho.Client:
    """A client for a broker, not connected yet, that never reconnects by itself."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        userdata=userdata,
        reconnect_on_failure=False,
    )
    if url.user:
        client.username_pw_set(url.user, url.password)
    if url.tls:
        client.tls_set(ca_certs=url.ca_file or None)
    client.connect_timeout = CONNECT_S
    client.suppress_exceptions = True
    client.max_queued_messages_set(QUEUED_MAX)
    return client


def in_words(error: Exception) -> str:
    """What a user can do something about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name its CA with ?ca=FILE"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
