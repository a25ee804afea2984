"""The best split over one row of nodes as an integer programme: exact for any prices, but slow.

    x_k(l) ∈ {0, 1}     layer l stands at node k or behind, k = 1..K-1; u_k = x_k - x_{k+1}: at k
    y_ij(t) ∈ [0, 1]    tensor t goes from node i to node j > i
    o_ij ∈ [0, 1]       a message goes from i to j (inputs of the graph have their own, from 0)
    b_j ∈ [0, 1]        node j sends outputs back

    y_ij(t) >= u_i(maker) + u_j(reader) - 1          it goes where it is read
    Σ y_i'j'(t), i' < k <= j'  >=  x_k(reader) - x_k(maker)      implied; keeps the relaxation tight

Solved by HiGHS (Huangfu and Hall, Math. Prog. Comp. 10, 2018) through scipy. It stops at a number
of branches, never at a time, so that the same question has the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from edgeflow.planning.cut import Labelling, Prices
from edgeflow.planning.flow import Floats, Indices
from edgeflow.planning.wiring import Wiring

CELLS_MAX = 400
"""Layers times nodes it is asked about: about 0.1 s at the limit. Higher proves more, later."""
BRANCHES_MAX = 2000
INFEASIBLE = 2
"""What scipy calls it."""
SCALE = 1e4
"""The highest price in the programme. HiGHS stops within 1e-6 of the optimum, in these units."""


@dataclass
class Programme:
    """Rows `Σ coefficient · variable >= floor`, and the price of each variable."""

    price: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def variable(self, price: float, *, whole: bool = False) -> int:
        """A new variable in [0, 1]; an infinite price keeps it at 0."""
        barred = not math.isfinite(price)
        self.price.append(0.0 if barred else price)
        self.upper.append(0.0 if barred else 1.0)
        self.whole.append(int(whole))
        return len(self.price) - 1

    def demand(self, terms: list[tuple[int, float]], floor: float) -> None:
        """One row."""
        self.entries += [(len(self.floors), variable, value) for variable, value in terms]
        self.floors.append(floor)

    def solve(self, branches: int) -> tuple[Floats | None, float]:
        """Values, None where none were found, and a proven bound; infinite where none can be."""
        row, column, value = (np.array(part) for part in zip(*self.entries, strict=True))
        shape = (len(self.floors), len(self.price))
        matrix = csr_array((value, (row.astype(int), column.astype(int))), shape=shape)
        price = np.array(self.price)
        scale = (float(np.abs(price).max()) or 1.0) / SCALE
        found = milp(
            price / scale,
            integrality=np.array(self.whole),
            bounds=Bounds(0, np.array(self.upper)),
            constraints=LinearConstraint(matrix, lb=np.array(self.floors)),
            options={"node_limit": branches, "mip_rel_gap": 0.0},
        )
        if found.x is None:
            return None, math.inf if found.status == INFEASIBLE else -math.inf
        return np.asarray(found.x, dtype=np.float64), float(found.mip_dual_bound) * scale


class RowProgramme:
    """The programme of one row of nodes."""

    def __init__(self, wiring: Wiring, prices: Prices) -> None:
        self.wiring, self.prices = wiring, prices
        self.count, self.programme = len(prices.seconds), Programme()
        self.fixed_s = 0.0
        self.x = [self._layer(at) for at in range(wiring.layers)]
        self.entry = self._messages(first_only=True)
        self.sent = self._messages(first_only=False)
        for tensor in range(len(wiring.nbytes)):
            readers = wiring.reader[wiring.tensor == tensor].tolist()
            if readers:
                self._add_tensor(tensor, readers)
        self._add_way_back()

    def at(self, layer: int, node: int) -> tuple[list[tuple[int, float]], float]:
        """u_node(layer) as terms and a constant; a negative layer is the source."""
        up, constant = self.behind(layer, node)
        down, less = self.behind(layer, node + 1)
        return up + [(variable, -value) for variable, value in down], constant - less

    def behind(self, layer: int, node: int) -> tuple[list[tuple[int, float]], float]:
        """x_node(layer) as terms and a constant."""
        if node == 0:
            return [], 1.0
        if layer < 0 or node == self.count:
            return [], 0.0
        return [(self.x[layer][node - 1], 1.0)], 0.0

    def labels(self, values: Floats) -> Indices:
        """(layers,) the node of each."""
        found = [sum(round(values[v]) for v in self.x[at]) for at in range(self.wiring.layers)]
        return np.array(found, dtype=np.intp)

    def priced(self, prices: Prices) -> tuple[Floats, float]:
        """What other prices of this row without delays make of the same variables: the price of
        each, and a constant. Variables are counted as they were made."""
        usable = np.where(np.isfinite(prices.seconds), prices.seconds, 0.0)
        byte_s = np.where(np.isfinite(prices.byte_s), prices.byte_s, 0.0)
        read = np.unique(self.wiring.tensor)
        inputs, made = np.split(read, [np.searchsorted(read, self.wiring.inputs)])
        parts = [np.diff(usable, axis=0).T.ravel(), np.zeros(len(self.entry) + len(self.sent))]
        for tensors, opened in ((inputs, self.entry), (made, self.sent)):
            each = np.array([byte_s[i, j] for i, j in opened])
            parts.append(np.outer(self.wiring.nbytes[tensors], each).ravel())
        found = np.zeros(len(self.programme.price))
        found[: sum(map(len, parts))] = np.concatenate(parts)
        return found, float(usable[0].sum())

    def _layer(self, layer: int) -> list[int]:
        """x_1..x_{K-1}, priced by differences of seconds; nodes that cannot run it are barred."""
        seconds = self.prices.seconds[:, layer]
        open_ = np.isfinite(seconds)
        usable = np.where(open_, seconds, 0.0)
        self.fixed_s += float(usable[0])
        x = [self.programme.variable(0.0, whole=True) for _ in range(self.count - 1)]
        for k, variable in enumerate(x):
            self.programme.price[variable] = float(usable[k + 1] - usable[k])
        for low, high in pairwise(x):
            self.programme.demand([(low, 1.0), (high, -1.0)], 0.0)
        for node in np.flatnonzero(~open_):
            self._bar(x, int(node))
        return x

    def _bar(self, x: list[int], node: int) -> None:
        """No layer of these binaries at that node: u <= 0."""
        terms = [(x[node], 1.0)] if node < self.count - 1 else []
        terms += [(x[node - 1], -1.0)] if node else []
        self.programme.demand(terms, 0.0 if node else 1.0)

    def _messages(self, *, first_only: bool) -> dict[tuple[int, int], int]:
        delay_s = self.prices.delay_s
        return {
            (i, j): self.programme.variable(float(delay_s[i, j]))
            for i in range(1 if first_only else self.count - 1)
            for j in range(i + 1, self.count)
        }

    def _add_tensor(self, tensor: int, readers: list[int]) -> None:
        """The ways a tensor may go, and that it goes to all its readers."""
        maker = tensor - self.wiring.inputs
        opened = self.entry if maker < 0 else self.sent
        ways = {}
        for i, j in opened:
            byte_s = float(self.prices.byte_s[i, j])
            price = byte_s * float(self.wiring.nbytes[tensor]) if math.isfinite(byte_s) else byte_s
            ways[i, j] = self.programme.variable(price)
            self.programme.demand([(opened[i, j], 1.0), (ways[i, j], -1.0)], 0.0)
        for reader in readers:
            self._rises(maker, reader)
            for (i, j), way in ways.items():
                here, one = self.at(maker, i)
                there, other = self.at(reader, j)
                terms = [(way, 1.0)] + [(v, -c) for v, c in here + there]
                self.programme.demand(terms, one + other - 1.0)
            for k in range(1, self.count):
                crossing = [(way, 1.0) for (i, j), way in ways.items() if i < k <= j]
                self._demand_crossing(crossing, maker, reader, k)

    def _demand_crossing(
        self, crossing: list[tuple[int, float]], maker: int, reader: int, k: int
    ) -> None:
        here, one = self.behind(maker, k)
        there, other = self.behind(reader, k)
        self.programme.demand(crossing + here + [(v, -c) for v, c in there], other - one)

    def _rises(self, maker: int, reader: int) -> None:
        if maker >= 0:
            for low, high in zip(self.x[maker], self.x[reader], strict=True):
                self.programme.demand([(high, 1.0), (low, -1.0)], 0.0)

    def _add_way_back(self) -> None:
        """Each node that makes outputs sends one message."""
        for node in range(self.count):
            if self.prices.back_s[node] > 0 and len(self.wiring.outputs):
                back = self.programme.variable(float(self.prices.back_s[node]))
                for layer in self.wiring.outputs:
                    terms, constant = self.at(int(layer), node)
                    less = [(variable, -value) for variable, value in terms]
                    self.programme.demand([(back, 1.0), *less], constant)


def best_by_milp(wiring: Wiring, prices: Prices) -> Labelling | None:
    """The best labelling of a row, whatever tensors pass over nodes; None where there is none."""
    row = RowProgramme(wiring, prices)
    values, bound = row.programme.solve(BRANCHES_MAX)
    return None if values is None else Labelling(row.labels(values), row.fixed_s + bound)
