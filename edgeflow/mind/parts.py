"""Everything one node's mind is made of: `node` routes events here, `duties` ticks it.

Invariant: no part knows another except through what it was given at its making.
"""

from __future__ import annotations

import numpy as np

from edgeflow.cluster.election import Election
from edgeflow.cluster.membership import Membership
from edgeflow.costmodel.workload import NodeCost, Seconds, Workload
from edgeflow.estimation.heat import Heat
from edgeflow.estimation.neighbours import Neighbours
from edgeflow.estimation.ratio import RatioEstimate
from edgeflow.estimation.timings import Timings
from edgeflow.events import Effect, Publish, Sampled
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.inflight import Inflight
from edgeflow.frames.relay import Relay
from edgeflow.frames.stage import Stage
from edgeflow.leader.lead import Lead
from edgeflow.messages import Caps, LayerTimes, Load, State
from edgeflow.model.graph import Graph
from edgeflow.plans.deployments import Deployments, View
from edgeflow.plans.fetch import Fetch
from edgeflow.plans.holding import Holdings
from edgeflow.plans.library import Library


class Parts:
    """The state of one node."""

    def __init__(self, caps: Caps) -> None:
        self.me, self.session, self.caps = caps.node, caps.session, caps
        self.state = "init"
        """As in `messages.State`."""
        self.connection = 0
        self.sample = Sampled(0.0, 0, None, False)
        self.bundles = Bundles()
        self.membership = Membership(self.me, self.session)
        self.election = Election(self.me, self.session, rank=0)
        self.deployments = Deployments()
        self.fetch = Fetch()
        self.library = Library(self.fetch)
        self.holdings = Holdings(self.me, self.session, self.library)
        self.neighbours = Neighbours(self.me)
        self.inflight = Inflight(self.me, self.session, self.bundles)
        self.stage = Stage(self.me, self.bundles)
        self.relay = Relay(self.bundles)
        self.lead = Lead(self.me, self.membership)
        self.strangers = 0
        """Messages about frames by who has no part in them."""
        self.heat = Heat()
        self.ratios: dict[str, RatioEstimate] = {}
        """Measured over predicted seconds, by model."""
        self.timings: dict[str, Timings] = {}
        """Of each layer, by model."""

    def graph_of(self, view: View | None) -> Graph | None:
        """The model that a deployment wants, once it is known here."""
        spec = view.spec if view is not None else None
        return self.library.graphs.get(spec.model) if spec is not None else None

    def holders(self, view: View) -> tuple[str, ...]:
        """Whom to ask for this deployment's model: those that have all of it, the fastest first."""
        spec = view.spec
        if spec is None:
            return tuple(sorted(self.neighbours.linked()))
        first = {*self.deployments.keepers(spec.model), spec.origin, spec.source}
        nearest = sorted(first, key=lambda name: (-self._rate_from(name), name))
        order = dict.fromkeys([*nearest, *sorted(self.neighbours.linked())])
        order.pop(self.me, None)
        return tuple(order)

    def _rate_from(self, name: str) -> float:
        """How fast that node says it sends to this one, in bytes per second."""
        peer = self.membership.peers.get(name)
        report = peer.load.links.get(self.me) if peer is not None and peer.load else None
        return report.bytes_per_s if report is not None else 0.0

    def publish_own(self, message: State | Caps | Load | LayerTimes, now_s: float) -> list[Effect]:
        """Say it to others, and believe it at once."""
        if isinstance(message, State):
            self.membership.on_state(message, retained=False, now_s=now_s)
        elif isinstance(message, Caps):
            self.membership.on_caps(message, retained=False)
        elif isinstance(message, LayerTimes):
            self.membership.on_layer_times(message)
        else:
            self.membership.on_load(message, now_s)
        return [Publish(message)]

    def own_state(self) -> State:
        """What this node says of itself now."""
        return State(self.me, self.session, self.connection, self.state)


def layer_seconds(parts: Parts, model: str, graph: Graph) -> Seconds:
    """(layers,) seconds by this node's own timings; 0 where a layer never ran here."""
    found = np.zeros(len(graph.layers))
    timings = parts.timings.get(model)
    if timings is None:
        return found
    prior_s = Workload.of(graph).seconds(NodeCost(parts.me, parts.caps.tier, parts.caps.rates))
    names = [layer.name for layer in graph.layers]
    blended = timings.blended(dict(zip(names, prior_s.tolist(), strict=True)))
    for at, name in enumerate(names):
        found[at] = blended.get(name, 0.0)
    return found
