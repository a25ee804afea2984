"""How long each layer of each model takes on this node, told where it is news.

Invariant: what is known is told again once in RETELL_S, whoever lost it.
"""

from __future__ import annotations

import math

from edgeflow.estimation.timings import is_news
from edgeflow.events import Effect
from edgeflow.messages import LayerTimes
from edgeflow.mind.parts import Parts, layer_seconds

LOOK_S, RETELL_S = 2.0, 60.0
"""Layer times are looked at this often and told where they are news; all of them once a minute, for
a broker that lost them. 3 kB for a model of 300 layers."""
LAYERS_MAX = 3000
"""Of a model whose layer times still fit into one message of 64 kB."""


class Timesheet:
    """Of one node."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.looked_s = self.retold_s = -math.inf
        self.told_us: dict[str, tuple[float, ...]] = {}
        """By model, as last told."""

    def tick(self, now_s: float) -> list[Effect]:
        """What is to be told now."""
        if now_s - self.looked_s < LOOK_S:
            return []
        parts, self.looked_s = self.parts, now_s
        if now_s - self.retold_s >= RETELL_S:
            self.retold_s = now_s
            self.told_us.clear()
        effects: list[Effect] = []
        for model in parts.timings:
            graph = parts.library.graphs.get(model)
            if graph is None or len(graph.layers) > LAYERS_MAX:
                continue
            seconds = layer_seconds(parts, model, graph)
            layers_us = tuple(round(value * 1e6, 2) for value in seconds.tolist())
            if is_news(self.told_us.get(model, ()), layers_us):
                self.told_us[model] = layers_us
                message = LayerTimes(parts.me, parts.session, model, layers_us)
                effects += parts.publish_own(message, now_s)
        return effects
