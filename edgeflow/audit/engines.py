"""One engine's answers against another's, undivided.

Engines sum in their own order, so their bits differ; what is let through is rounding, measured
against the largest element of each output as `edgeflow.audit.difference` has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeflow import audit
from edgeflow.audit.difference import Difference, difference
from edgeflow.model.graph import Array, Graph


def compare(
    graph: Graph,
    engine: str,
    other: str,
    *,
    inputs: Mapping[str, Array] | None = None,
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Difference]:
    """How each output of `engine` differs from that of `other`; UsageError where one of them is
    not installed."""
    feed = inputs if inputs is not None else audit.example_inputs(graph, seed)
    made, wanted = (
        audit.run(graph, feed, threads=threads, engine=each) for each in (engine, other)
    )
    return {name: difference(made[name], wanted[name]) for name in graph.outputs}
