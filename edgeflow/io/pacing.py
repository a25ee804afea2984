"""When a message may leave, on links that pretend to be slow.

    asked ──▶ waits for the sender's bucket, then the peer's ──▶ + delay ──▶ may leave

A message of n bytes keeps a bucket busy for n / rate. Tensors wait for one another as on a real
up-link; signals pay their own bytes / rate and the delay but overtake queued tensors, as packets of
another connection would.

Invariant: for one peer and lane, messages may leave in the order in which they were asked for.
"""

from __future__ import annotations

from edgeflow.config import Emulate


class Pacing:
    """Emulated rates and delays of one node's sending side."""

    def __init__(self, emulate: Emulate) -> None:
        self._emulate = emulate
        self._busy_until_s: dict[str, float] = {}
        self._last_s: dict[tuple[str, bool], float] = {}
        self.is_shared = emulate.mbps > 0
        """All peers share one rate: a message is alone only when no peer is being sent to."""

    def leaves_s(
        self, peer: str, tier: str, size_bytes: int, now_s: float, *, waits: bool
    ) -> float:
        """When `size_bytes` to this peer have left; `waits`: behind earlier messages."""
        left_s = now_s
        for bucket, mbps in self._buckets(peer, tier):
            took_s = size_bytes * 8e-6 / mbps
            free_s = max(now_s, self._busy_until_s.get(bucket, 0.0)) + took_s
            self._busy_until_s[bucket] = free_s
            left_s = max(left_s, free_s if waits else now_s + took_s)
        left_s += self._emulate.delay_ms / 1000
        left_s = max(left_s, self._last_s.get((peer, waits), 0.0))
        if left_s > now_s:
            self._last_s[peer, waits] = left_s
        return left_s

    def forget(self, peer: str) -> None:
        """The link is gone, and what waited for it with it."""
        self._busy_until_s.pop(peer, None)
        self._last_s.pop((peer, True), None)
        self._last_s.pop((peer, False), None)

    def _buckets(self, peer: str, tier: str) -> list[tuple[str, float]]:
        rates = self._emulate.peers_mbps
        found = [rates[name] for name in (peer, tier) if name in rates]
        buckets = [(peer, min(found))] if found else []
        if self._emulate.mbps > 0:
            buckets.append(("", self._emulate.mbps))
        return buckets
