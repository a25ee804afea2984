"""Nodes that speak another protocol than this one: heard of, told of once, and not planned with.

    caps ─▶ shares a version with us? ──no──▶ a sentence in the node's log, once a session
                                              and in the events of each deployment, by the leader

Their caps are read whatever their version, as far as our fields are in them; nothing else of theirs
is. Fields that we do not know are passed over, so a version may add some without a new number.

Invariant: a node of another protocol changes nothing but what is said about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.events import Effect, Publish, Tell
from edgeflow.messages import PROTOCOL, Caps, Notice

KEPT_MAX = 256
"""Nodes that were told of; more of them are an attack, or a cluster that should be two."""


def shares_protocol(caps: Caps) -> bool:
    """Whether that node and this one have a version of the words in common."""
    first, last = caps.protocols
    return caps.v == PROTOCOL and first <= PROTOCOL <= last


def spoken(caps: Caps) -> str:
    """In words, such as `protocol 2` or `protocol 2 to 4`."""
    first, last = caps.protocols
    if caps.v != PROTOCOL and not first <= caps.v <= last:
        first = last = caps.v
    return f"protocol {first}" if first == last else f"protocol {first} to {last}"


@dataclass(slots=True)
class Foreigners:
    """Those that this node heard of."""

    me: str
    heard: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Name -> session and sentence."""
    noticed: set[tuple[str, str, int]] = field(default_factory=set)
    """(deployment, name, session) that the leader spoke of."""

    def on_caps(self, caps: Caps) -> list[Effect]:
        """A sentence where these are new and not ours to understand."""
        if shares_protocol(caps):
            self.heard.pop(caps.node, None)
            return []
        known = self.heard.get(caps.node)
        if (known is not None and known[0] >= caps.session) or len(self.heard) >= KEPT_MAX:
            return []
        text = (
            f"{caps.node} speaks {spoken(caps)} and {self.me} protocol {PROTOCOL}: nothing is"
            " planned with it; give both the same version of edgeflow"
        )
        self.heard[caps.node] = (caps.session, text)
        return [Tell(text)]

    def notices(self, deployments: Iterable[str]) -> list[Effect]:
        """What the leader says in each deployment's events, once."""
        effects: list[Effect] = []
        for deployment in deployments if self.heard else ():
            for name, (session, text) in self.heard.items():
                key = (deployment, name, session)
                if key not in self.noticed and len(self.noticed) < KEPT_MAX**2:
                    self.noticed.add(key)
                    effects.append(Publish(Notice(deployment, self.me, "protocol", text)))
        return effects
