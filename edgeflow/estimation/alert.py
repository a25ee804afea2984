"""Whether what was learned since the last heartbeat is worth another one at once.

    heartbeat ─▶ what it told of each link and each model
    tick ─▶ any of it off by SHIFT, and by more than it is unsure of ─▶ a heartbeat now

A step that is recognised here is worth nothing before the leader knows it, and a second is two
frames.

Invariant: pure; at most one heartbeat in REST_S; none where nothing was learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeflow.estimation.link import LinkEstimate
from edgeflow.estimation.neighbour import Neighbour
from edgeflow.estimation.ratio import RatioEstimate

SHIFT = 0.2
"""Share by which something must differ from what was told. Lower tells noise, higher leaves more to
the next regular heartbeat."""
REST_S = 0.2
"""Between two heartbeats: a tenth of what all others send, were everything news all the time."""
MEASURED = 4
"""Samples of a link that was not known yet: its first probes."""


@dataclass(slots=True)
class Alert:
    """Of one node."""

    links: Mapping[str, Neighbour]
    """The node's own, as they are now."""
    ratios: Mapping[str, RatioEstimate]
    """By model, as they are now."""
    told_links: dict[str, tuple[bool, LinkEstimate]] = field(default_factory=dict)
    """Whether each was up, and how quick."""
    told_ratios: dict[str, RatioEstimate] = field(default_factory=dict)
    told_slower: float = 1.0
    told_s: float = -math.inf

    def on_told(self, slower_soon: float, now_s: float) -> None:
        """A heartbeat leaves, with this forecast."""
        self.told_links = {name: (link.is_up, link.estimate) for name, link in self.links.items()}
        self.told_ratios = dict(self.ratios)
        self.told_slower, self.told_s = slower_soon, now_s

    def is_due(self, slower_soon: float, now_s: float) -> bool:
        """Whether to tell at once what is known now."""
        if now_s - self.told_s < REST_S:
            return False
        return (
            abs(slower_soon - self.told_slower) > SHIFT * self.told_slower
            or any(self._is_link_news(name, link) for name, link in self.links.items())
            or any(self._is_ratio_news(model, now) for model, now in self.ratios.items())
        )

    def _is_link_news(self, name: str, link: Neighbour) -> bool:
        was_up, told = self.told_links.get(name, (False, LinkEstimate()))
        if link.is_up != was_up:
            return True
        now = link.estimate
        if now is told or now.bytes_per_s <= 0:
            return False
        if told.samples < MEASURED:
            return now.samples >= MEASURED
        typical = now.typical_bytes
        return _is_off(told.seconds(typical), now.seconds(typical), now.deviation_s)

    def _is_ratio_news(self, model: str, now: RatioEstimate) -> bool:
        told = self.told_ratios.get(model, RatioEstimate())
        return now is not told and _is_off(told.ratio, now.ratio, now.deviation * now.ratio)


def _is_off(told: float, now: float, unsure: float) -> bool:
    """Whether a time differs from the one that was told by more than noise makes it."""
    return abs(now - told) > max(SHIFT * min(told, now), unsure)
