"""A graph as HPA walks it: layers of vertices by longest distance, and who decides together.

    depth 0       a            a vertex's depth is its longest way from the inputs
                / | \\
    depth 1    b  c  d         b, c, d read the same tensor: siblings, one family
                \\ | /
    depth 2       e            families stand in the order of their depth

Invariant: whatever a family reads was made by families before it. Vertices are the graph's layers
by number; tensor t < inputs is a graph input, inputs + l is made by vertex l.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.model.graph import Graph

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Families:
    """The walk of a graph; made once, kept with it."""

    inputs: int
    nbytes: Numbers
    """By tensor."""
    reads: tuple[Numbers, ...]
    """Tensors that each vertex reads, each once."""
    readers: tuple[Numbers, ...]
    """Vertices that read each tensor."""
    is_output: tuple[bool, ...]
    """By vertex."""
    members: tuple[Numbers, ...]
    """Vertices of each family, families by depth."""
    family: Numbers
    """By vertex."""
    shared: tuple[Numbers, ...]
    """Tensors that each family reads, each once."""

    @classmethod
    def of(cls, graph: Graph) -> Families:
        """The walk of a graph."""
        kept = graph.__dict__.get("_families")
        if not isinstance(kept, cls):
            kept = graph.__dict__["_families"] = _walk(graph)
        return kept


def _walk(graph: Graph) -> Families:
    names = [contract.name for contract in graph.inputs] + [at.output for at in graph.layers]
    index = {name: at for at, name in enumerate(names)}
    inputs = len(graph.inputs)
    reads = tuple(tuple(index[name] for name in layer.inputs) for layer in graph.layers)
    readers: list[list[int]] = [[] for _ in names]
    for vertex, tensors in enumerate(reads):
        for tensor in tensors:
            readers[tensor].append(vertex)
    members = _families(reads, readers, inputs)
    family = [0] * len(reads)
    for at, vertices in enumerate(members):
        for vertex in vertices:
            family[vertex] = at
    outputs = set(graph.outputs)
    return Families(
        inputs=inputs,
        nbytes=tuple(graph.tensors[name].nbytes for name in names),
        reads=reads,
        readers=tuple(tuple(vertices) for vertices in readers),
        is_output=tuple(layer.output in outputs for layer in graph.layers),
        members=tuple(members),
        family=tuple(family),
        shared=tuple(
            tuple(dict.fromkeys(tensor for vertex in vertices for tensor in reads[vertex]))
            for vertices in members
        ),
    )


def depths(reads: tuple[Numbers, ...], inputs: int) -> list[int]:
    """Longest distance of every vertex from the graph's inputs."""
    found: list[int] = []
    for tensors in reads:
        makers = [tensor - inputs for tensor in tensors if tensor >= inputs]
        found.append(max((found[maker] + 1 for maker in makers), default=0))
    return found


def _families(reads: tuple[Numbers, ...], readers: list[list[int]], inputs: int) -> list[Numbers]:
    """Vertices of one depth that share inputs, also through one another; by depth."""
    depth = depths(reads, inputs)
    found: list[Numbers] = []
    seen = [False] * len(reads)
    for first in sorted(range(len(reads)), key=lambda vertex: (depth[vertex], vertex)):
        if seen[first]:
            continue
        seen[first] = True
        group, at = [first], 0
        while at < len(group):
            for tensor in reads[group[at]]:
                for other in readers[tensor]:
                    if not seen[other] and depth[other] == depth[first]:
                        seen[other] = True
                        group.append(other)
            at += 1
        found.append(tuple(sorted(group)))
    return found
