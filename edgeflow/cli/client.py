"""A command as a node of the cluster, for as long as it runs.

connect ─▶ wait for a heartbeat of everybody ─▶ look or change ─▶ leave
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from edgeflow.api import Flow, connect
from edgeflow.cli.options import visitor
from edgeflow.errors import DeployError, UsageError
from edgeflow.events import LoadManifest
from edgeflow.mind.node import NodeCore
from edgeflow.mind.snapshot import DeploymentView, NodeView, Snapshot
from edgeflow.model.graph import Graph

SETTLE_S = 4.0
"""Heartbeats come each second, leases are a few: whoever is silent for so long is not here."""
MANIFEST_S = 15.0
"""A model's manifest is fetched from a node that holds it within this."""
POLL_S = 0.1


@contextmanager
def joined(broker: str, cluster: str, key: str, insecure: bool) -> Iterator[Flow]:
    """This command's node, connected; BrokerError where there is no broker."""
    config = visitor(broker, cluster, key, insecure)
    with connect(broker, name=config.name, config=config) as flow:
        yield flow


def settled(flow: Flow, needed: str = "") -> Snapshot:
    """The cluster once everybody that calls itself here was heard, and `needed` above all."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        snapshot = flow.snapshot()
        others = others_of(snapshot)
        silent = [node.name for node in others if node.state == "lost"]
        is_complete = others and not silent and snapshot.leader
        found = not needed or any(node.name == needed for node in others)
        if (is_complete and found) or time.monotonic() > until_s:
            return snapshot
        time.sleep(POLL_S)


def others_of(snapshot: Snapshot) -> list[NodeView]:
    """Every node but the visitors of the command line."""
    visitors = snapshot.observer.rpartition("-")[0] + "-"
    return [
        node
        for node in snapshot.nodes
        if node.name != snapshot.observer
        and not (node.name.startswith((visitors, "cli-")) and node.rates is None)
    ]


def deployment_named(
    flow: Flow, name: str, cure: str = "choose with --deployment"
) -> DeploymentView:
    """The deployment, or the only one there is; waits a moment for it to be heard of. `cure`: how
    to say which, where there are several."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        found = flow.snapshot().deployments
        chosen = [each for each in found if not name or each.name == name]
        if len(chosen) == 1:
            return chosen[0]
        if time.monotonic() > until_s:
            break
        time.sleep(POLL_S)
    there = ", ".join(each.name for each in found) or "none; edgeflow deploy MODEL makes one"
    if name or not found:
        raise DeployError(f"there is no deployment {name}".strip() + f"; there is {there}")
    raise UsageError(f"there are several deployments, {cure}: {there}")


def model_of(flow: Flow, deployment: str) -> Graph:
    """The manifest of a deployment's model, without weights, from whoever holds it."""

    def seek(core: NodeCore) -> Graph | None:
        parts = core.parts
        view = parts.deployments.views[deployment]
        graph = parts.graph_of(view)
        if graph is None and view.spec is not None:
            for effect in parts.library.want(
                view.spec.model, parts.holders(view), time.monotonic()
            ):
                if isinstance(effect, LoadManifest):
                    flow.service.engine.load(effect)
        return graph

    until_s = time.monotonic() + MANIFEST_S
    while time.monotonic() < until_s:
        graph: Graph | None = flow.ask(seek)
        if graph is not None:
            return graph
        time.sleep(POLL_S)
    raise DeployError(
        f"no node hands out the model of {deployment} within {MANIFEST_S:.0f} s; is its source"
        " reachable from here? With the model file at hand, give it by --model"
    )
