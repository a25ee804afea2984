"""Nodes of another version, and noise: what they put on MQTT, and what ours read of it.

    older   lacks the fields that came later: they are read as their defaults
    newer   says another version number: refused by everybody
    noise   bytes that are no message: refused, whatever they are

Invariant: only CodecError comes out of reading, never another error.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from edgeflow import codec
from edgeflow.messages import PROTOCOL, ControlMessage

CAME_LATER = {
    "load": ("segments",),
    "caps": ("emulated", "protocols"),
    "held": ("keeps_model",),
    "spec": ("objective", "latency_s_max", "private", "tiles"),
    "status": ("tiles",),
}
"""By kind of message: fields that the first version did not have."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one node speaks."""

    version: int
    """0: the first one, before `CAME_LATER`."""

    def spoken(self, cluster: str, topic: str, message: ControlMessage) -> ControlMessage:
        """The message as nodes of our version read it; CodecError where they cannot."""
        payload = codec.encode_control(message)
        if payload[:1] == b"{":
            fields = msgspec.json.decode(payload)
            if self.version > PROTOCOL:
                fields = {**fields, "v": self.version, "unheard_of": [1, 2]}
            else:
                for name in CAME_LATER.get(fields["type"], ()):
                    fields.pop(name, None)
            payload = msgspec.json.encode(fields)
        return codec.decode_control(cluster, topic, payload)


FIRST, NEXT = Dialect(0), Dialect(PROTOCOL + 1)


def noise(chance: random.Random, cluster: str, said: Iterable[ControlMessage]) -> int:
    """Read every message again with its bytes damaged; how many of them were refused."""
    refused = 0
    for message in said:
        payload = bytearray(codec.encode_control(message))
        for _ in range(chance.randint(1, 4)):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        if chance.random() < 0.5:
            del payload[chance.randrange(len(payload)) :]
        try:
            codec.decode_control(cluster, codec.topic_of(cluster, message), bytes(payload))
        except codec.CodecError:
            refused += 1
    return refused
