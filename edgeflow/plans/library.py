"""Models this node knows: their graphs, and whether it keeps all their weights.

    asked --LoadManifest--> loading --missing--> fetched from a holder --LoadManifest--> known
                               '--------------------- here already ----------------------^

The source of a deployment keeps the whole model, so that a later plan needs nobody else to hand out
weights; every other node holds what its segments need.

Invariant: a graph is in here only after its manifest matched the digest that names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgeflow.events import BlobsChecked, CheckBlobs, Effect, LoadManifest, ManifestFailed
from edgeflow.model.graph import Graph
from edgeflow.plans.fetch import Fetch

KEEP = "keep"
"""Purpose of the CheckBlobs that asks for a whole model."""
RETRY_S = 5.0
"""A manifest that could not be read is tried again after this long."""


@dataclass(slots=True)
class Library:
    """Graphs by the digest of their manifest."""

    fetch: Fetch
    graphs: dict[str, Graph] = field(default_factory=dict)
    loading: set[str] = field(default_factory=set)
    """LoadManifest is under way."""
    failed: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Model -> why its manifest does not load, and when it is tried again."""
    keeping: set[str] = field(default_factory=set)
    """Models whose every weight is here."""
    checking: set[str] = field(default_factory=set)

    def want(self, model: str, holders: tuple[str, ...], now_s: float) -> list[Effect]:
        """Bring the manifest in, if it is not here or on its way."""
        if model in self.graphs or model in self.loading:
            return []
        if model in self.fetch.wanted:
            self.fetch.want(model, 0, holders)
            return []
        if self.problem(model, now_s):
            return []
        self.loading.add(model)
        return [LoadManifest(model)]

    def problem(self, model: str, now_s: float) -> str:
        """Why a manifest does not load; empty where it does, or where it is time to try again."""
        why, until_s = self.failed.get(model, ("", 0.0))
        return why if now_s < until_s else ""

    def on_loaded(self, model: str, graph: Graph) -> None:
        """The manifest passed every check."""
        self.loading.discard(model)
        self.failed.pop(model, None)
        self.graphs[model] = graph

    def on_failed(self, event: ManifestFailed, holders: tuple[str, ...], now_s: float) -> None:
        """Not here: fetch it. Not sound: remember why."""
        self.loading.discard(event.model)
        if event.missing:
            self.fetch.want(event.model, 0, holders)
        else:
            self.failed[event.model] = (event.text, now_s + RETRY_S)

    def keep(self, model: str) -> list[Effect]:
        """See to it that every weight of a known model comes here."""
        graph = self.graphs.get(model)
        if graph is None or model in self.keeping or model in self.checking:
            return []
        blobs = blobs_of(graph, graph.weights)
        if any(sha256 in self.fetch.wanted for sha256, _ in blobs):
            return []
        self.checking.add(model)
        return [CheckBlobs(model, KEEP, blobs)]

    def on_checked(self, event: BlobsChecked, holders: tuple[str, ...]) -> None:
        """The store said what it lacks of a whole model."""
        self.checking.discard(event.model)
        for sha256, size_bytes in event.missing:
            self.fetch.want(sha256, size_bytes, holders)
        if not event.missing:
            self.keeping.add(event.model)


def blobs_of(graph: Graph, weights: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """(sha256, bytes) of these weights, each blob once, whatever the order inside the graph."""
    names = sorted(weights)
    found = {graph.weights[name].sha256: graph.weights[name].nbytes for name in names}
    return tuple(found.items())
