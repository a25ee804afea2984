"""A graph as arrays: what cuts are built from. Made once, used for every row of nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeflow.model.graph import Graph

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Layers count from 0; tensor t < inputs is a graph input, inputs + l is made by layer l.

    A *wire* leads from a tensor to one layer that reads it; a tensor's wires are neighbours.
    """

    layers: int
    inputs: int
    nbytes: Floats
    """(tensors,)"""
    tensor: Indices
    """(wires,) the tensor that is read, ascending."""
    reader: Indices
    """(wires,) the layer that reads it."""
    outputs: Indices
    """Layers that make outputs of the model."""
    ends: Indices
    """Layers whose tensor no layer reads."""
    waists: Indices
    """Positions p, ascending from 0, where one tensor alone crosses from the layers before p, all
    of which lead to it, to those from p on: whatever stands between two waists comes after all that
    stands before the first and before all that stands behind the second."""

    @classmethod
    def of(cls, graph: Graph) -> Wiring:
        """The wiring of a graph, kept with the graph."""
        kept = graph.__dict__.get("_wiring")
        if not isinstance(kept, cls):
            kept = graph.__dict__["_wiring"] = _wire(graph)
        return kept

    def made_by(self, layers: Indices) -> Indices:
        """The tensors that layers make."""
        return layers + self.inputs

    def block(self, start: int, stop: int) -> Wiring:
        """The layers between two waists alone, with the one before them as the first: it stands for
        the tensor that crosses the first waist. From 0 on: with the graph's inputs."""
        lead = min(start, 1)
        first, inputs = start - lead, 0 if start else self.inputs
        inner = (self.reader >= start) & (self.reader < stop)
        shift = first + self.inputs - inputs
        made = self.nbytes[self.inputs + first : self.inputs + stop]
        return Wiring(
            layers=stop - first,
            inputs=inputs,
            nbytes=np.concatenate([self.nbytes[:inputs], made]),
            tensor=self.tensor[inner] - np.where(self.maker[inner] < 0, 0, shift),
            reader=self.reader[inner] - first,
            outputs=_within(self.outputs, start, stop) - first,
            ends=np.append(_within(self.ends, start, stop - 1), stop - 1) - first,
            waists=np.zeros(0, dtype=np.intp),
        )

    def merge(self, starts: Indices) -> Wiring:
        """Layers merged into runs that begin where `starts` (layers,) is True. Of a run, only the
        last layer's tensor may be read outside."""
        group = np.cumsum(starts) - 1
        runs = int(group[-1]) + 1
        last = np.searchsorted(group, np.arange(runs), side="right") - 1
        maker = self.maker
        to = group[self.reader]
        tensor = np.where(maker < 0, self.tensor, group[np.maximum(maker, 0)] + self.inputs)
        kept = np.unique((tensor * runs + to)[tensor - self.inputs != to])
        return Wiring(
            layers=runs,
            inputs=self.inputs,
            nbytes=np.concatenate([self.nbytes[: self.inputs], self.nbytes[self.inputs + last]]),
            tensor=kept // runs,
            reader=kept % runs,
            outputs=np.unique(group[self.outputs]),
            ends=np.unique(group[self.ends]),
            waists=np.zeros(0, dtype=np.intp),
        )

    @property
    def maker(self) -> Indices:
        """(wires,) the layer that makes the tensor; negative for a graph input."""
        return self.tensor - self.inputs


def _within(layers: Indices, start: int, stop: int) -> Indices:
    return layers[(layers >= start) & (layers < stop)]


def _wire(graph: Graph) -> Wiring:
    names = [contract.name for contract in graph.inputs] + [at.output for at in graph.layers]
    index = {name: at for at, name in enumerate(names)}
    pairs = sorted(
        (index[name], at) for at, layer in enumerate(graph.layers) for name in layer.inputs
    )
    wires = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    tensor, reader = wires[:, 0].copy(), wires[:, 1].copy()
    inputs, layers = len(graph.inputs), len(graph.layers)
    made = [index[name] - inputs for name in dict.fromkeys(graph.outputs) if index[name] >= inputs]
    read = np.zeros(len(names), dtype=bool)
    read[tensor] = True
    ends = np.flatnonzero(~read[inputs:])
    return Wiring(
        layers=layers,
        inputs=inputs,
        nbytes=np.array([graph.tensors[name].nbytes for name in names], dtype=np.float64),
        tensor=tensor,
        reader=reader,
        outputs=np.array(made, dtype=np.intp),
        ends=ends,
        waists=_waists(layers, inputs, tensor, reader, ends),
    )


def _waists(layers: int, inputs: int, tensor: Indices, reader: Indices, ends: Indices) -> Indices:
    """Where one tensor crosses, made just before, with no dead end and no unread input behind."""
    change = np.zeros(layers + 1, dtype=np.int64)
    last = np.full(layers + inputs, -1, dtype=np.intp)
    np.maximum.at(last, tensor, reader)
    read = np.flatnonzero(last >= 0)
    np.add.at(change, np.maximum(read - inputs + 1, 0), 1)
    np.add.at(change, last[read] + 1, -1)
    crossing = np.cumsum(change)[:layers]
    found: Indices = np.flatnonzero(crossing == 1)
    return found[found <= int(ends.min(initial=layers))]
