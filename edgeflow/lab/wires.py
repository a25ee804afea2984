"""The words of the delay relay: its settings, and the requests that change them while it runs.

    a ══▶ up ══▶ b        up: what a sends; down: what b sends
    a ◀══ down ══◀ b

An `Impairment` is one direction's: a new one replaces the old one whole.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Percent = Annotated[float, Meta(ge=0, le=100)]
Milliseconds = Annotated[float, Meta(ge=0, le=10_000)]
Namespace = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@:-]{1,255}\Z")]
Device = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,15}\Z")]
"""The kernel's limit of 15 bytes, and nothing that needs quoting in a shell."""
UnicastMac = Annotated[str, Meta(pattern=r"^([0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5})?\Z")]


class Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all of them have in common: unknown fields are mistakes."""


class Impairment(Word, frozen=True):
    """What one direction of a wire does to frames."""

    delay_ms: Milliseconds = 0.0
    jitter_ms: Milliseconds = 0.0
    """The delay is uniform in delay ± jitter, never below zero."""
    loss_percent: Percent = 0.0
    """Of frames, each by itself."""


class End(Word, frozen=True):
    """One end of a wire: a TAP device in a namespace."""

    netns: Namespace
    device: Device
    mac: UnicastMac = ""
    """Empty: the kernel takes a random one."""


class Wire(Word, frozen=True):
    """Two ends, and what happens between them."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    a: End
    b: End
    mtu: Annotated[int, Meta(ge=68, le=9216)] = 1500
    up: Impairment = Impairment()
    down: Impairment = Impairment()
    only_a_dials: bool = False
    """As behind NAT: b cannot open a TCP connection to a's side."""


class RelayConfig(Word, frozen=True):
    """All that a relay has to know."""

    control: Annotated[str, Meta(min_length=1, max_length=107)]
    """Path of the control socket; the kernel's limit is 107 bytes."""
    wires: Annotated[tuple[Wire, ...], Meta(min_length=1, max_length=256)]
    seed: int = 1

    def __post_init__(self) -> None:
        """ValueError where two wires or two devices have one name."""
        names = [wire.name for wire in self.wires]
        ends = [(end.netns, end.device) for wire in self.wires for end in (wire.a, wire.b)]
        for found, what in ((names, "wires"), (ends, "devices")):
            if len(set(found)) < len(found):
                raise ValueError(f"two {what} have one name; give each its own")


class Request(Word, frozen=True):
    """What a control message asks: new impairments of one wire, or `stats`."""

    wire: str = ""
    up: Impairment | None = None
    down: Impairment | None = None
    stats: bool = False

    def __post_init__(self) -> None:
        """ValueError unless it asks for exactly one thing."""
        if self.stats == bool(self.wire) or (self.stats and (self.up or self.down)):
            raise ValueError('ask either {"stats": true} or {"wire": NAME, "up": {…}, "down": {…}}')
