"""Whether what a plan was made of has changed so much that it is worth a look at once.

    review ──▶ note: each node's ratio, each link's seconds for one input
    heartbeats ──▶ compare with what was noted ──▶ off by SHIFT, gone or new: news

A look costs a price and a cut, so that news are rationed: a few at once, then few a minute. What is
no news is still looked at by the leader's slow round.

Invariant: comparing is cheap, and done only after something was heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeflow.cluster.membership import Membership, Peer
from edgeflow.messages import LayerTimes
from edgeflow.policy.ration import Ration
from edgeflow.policy.survey import LINK_PRIOR, SAMPLES_SETTLED

SHIFT = 0.1
"""Share by which a node's seconds must differ, or a link's by that share of a whole frame's. Lower
looks at noise; higher leaves more to the slow round."""
LOOKS, LOOK_S = 6.0, 6.0
"""So many looks at once, then one in so many seconds: at 30 ms each 0.5 % of a core."""

_Key = tuple[str, str]


@dataclass(slots=True)
class News:
    """Of one deployment."""

    seen: dict[_Key, float] = field(default_factory=dict)
    timed: dict[str, LayerTimes | None] = field(default_factory=dict)
    scale_s: float = 0.0
    """What a frame took when that was noted."""
    words: int = -1
    """How much had been heard when it was last compared."""
    looks: Ration = field(default_factory=lambda: Ration(LOOKS, LOOK_S))

    def note(
        self, membership: Membership, model: str, nbytes: int, seconds: float, now_s: float
    ) -> None:
        """Plans are compared now; a frame of so many bytes takes so long."""
        self.words = membership.words
        self.seen = dict(_values(membership, model, nbytes))
        self.timed = {name: membership.layer_times.get((name, model)) for name, _ in self.seen}
        if math.isfinite(seconds):
            self.scale_s = seconds

    def is_due(self, membership: Membership, model: str, nbytes: int, now_s: float) -> bool:
        """Whether something notable was heard since, and a look is left; takes it."""
        if self.words == membership.words:
            return False
        self.words = membership.words
        if not self._is_notable(membership, model, nbytes):
            return False
        has_look = self.looks.take(now_s)
        if not has_look:
            self.words = -1  # Not forgotten: asked again until there is a look.
        return has_look

    def _is_notable(self, membership: Membership, model: str, nbytes: int) -> bool:
        known = 0
        for key, value in _values(membership, model, nbytes):
            was = self.seen.get(key)
            if was is None or self._is_off(key, was, value):
                return True
            known += 1
        if known != len(self.seen):
            return True
        return any(
            membership.layer_times.get((name, model)) is not told
            for name, told in self.timed.items()
        )

    def _is_off(self, key: _Key, was: float, value: float) -> bool:
        if math.isinf(was) or math.isinf(value):
            return was != value
        scale = self.scale_s if key[1] else 0.0
        return abs(value - was) > SHIFT * max(was, scale)


def _values(membership: Membership, model: str, nbytes: int) -> Iterator[tuple[_Key, float]]:
    """By node its ratio, by directed link the seconds of so many bytes. Who joins is no news before
    links of it are measured: a look would find guesses."""
    for name, peer in membership.peers.items():
        load = peer.load
        if load is None or peer.state != "ready":
            continue
        settled = [
            other
            for other, report in load.links.items()
            if not report.up or report.samples >= SAMPLES_SETTLED
        ]
        if settled:
            yield (name, ""), load.compute_ratio.get(model, 0.0)
        for other in settled:
            yield (name, other), _link_s(peer, other, nbytes)


def _link_s(peer: Peer, other: str, nbytes: int) -> float:
    assert peer.load is not None
    report = peer.load.links[other]
    if not report.up:
        return math.inf
    if report.bytes_per_s <= 0:
        return LINK_PRIOR.delay_s + nbytes / LINK_PRIOR.bytes_per_s
    return report.delay_s + nbytes / report.bytes_per_s
