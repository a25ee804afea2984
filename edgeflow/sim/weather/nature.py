"""What is true at every moment: how fast each node computes, what each link carries, who is here.

    true rates   = those of the host · chance (a machine is not its data sheet)
    announced    = true rates · chance, class by class: what calibration gets wrong
    layer        = `edgeflow.costmodel.workload` at true rates · chance, by layer and by node · load
    message      = delay + bytes over a rate that changes while they cross

No core sees any of it; cores hear what their shells measure.

Invariant: follows from the Weather alone; the past of a run changes nothing.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeflow.costmodel.cost import NodeCost
from edgeflow.costmodel.workload import Seconds, Workload
from edgeflow.messages import Caps, Endpoint, Rates, Rect
from edgeflow.model.graph import Graph
from edgeflow.sim.weather.script import ANY, Weather
from edgeflow.traces import Trace

HOST_SHARE, CLASS_SHARE = 0.25, 0.4
"""How far a host is from its kind, and calibration from the host."""
LAYER_SHARE, OWN_SHARE = 0.2, 0.1
"""How far a layer is from its prior on all nodes alike, and on each more: ±30 % together."""
EVERY_S = 1.0
"""Traces and noise move a rate so often."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A value over time."""

    at_s: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Steps:
        """Out of (seconds, value), in the order of time; of two at once the later counts."""
        found = dict(pairs)
        return cls(tuple(found), tuple(found.values()))

    def at(self, now_s: float) -> float:
        """What holds then."""
        return self.values[self.place(now_s)]

    def place(self, now_s: float) -> int:
        """Of the step that holds then."""
        return max(0, bisect_right(self.at_s, now_s) - 1)


class Nature:
    """The truth of one Weather."""

    def __init__(self, weather: Weather, graph: Graph) -> None:
        self.weather, self.graph = weather, graph
        self.links = weather.cluster.links
        self._places = {layer.name: at for at, layer in enumerate(graph.layers)}
        chance = random.Random(f"nature {weather.seed}")
        self.costs = {
            node.name: replace(node, rates=_alike(node.rates, chance)) for node in weather.fleet
        }
        self.announced = {name: _apart(cost.rates, chance) for name, cost in self.costs.items()}
        count, work = len(graph.layers), Workload.of(graph)
        self.prior_s = {name: work.prior(cost) for name, cost in self.costs.items()}
        common = _around(LAYER_SHARE, count, chance)
        self.layers_s = {
            name: cost.ratio * self.prior_s[name] * common * _around(OWN_SHARE, count, chance)
            for name, cost in self.costs.items()
        }
        self.here = {name: Steps.of(weather.here(name)) for name in self.costs}
        self.loads = {name: self._loads(name) for name in self.costs}
        self.bytes_per_s = {
            (a, b): self._link(a, b, link.bytes_per_s)
            for (a, b), link in self.links.items()
            if a in self.costs and b in self.costs
        }

    def seconds(
        self, node: str, layers: Sequence[str], tile: Rect | None, now_s: float
    ) -> tuple[float, ...]:
        """Of each of these layers in a run that begins then, without noise."""
        places = [self._places[name] for name in layers]
        found = self.layers_s[node][places] * self.slowdown(node, now_s)
        if tile is not None:
            part = Workload.of(self.graph).of_tile(layers, tile).prior(self.costs[node])
            found = found * part[places] / self.prior_s[node][places]
        return tuple(found.tolist())

    def slowdown(self, node: str, now_s: float) -> float:
        """So many times as long as on a machine without other work."""
        return 1 / (1 - self.loads[node].at(now_s))

    def cost(self, node: str, now_s: float) -> NodeCost:
        """The node as the planner would see it, if it knew all."""
        layers_s = tuple(self.layers_s[node].tolist())
        return replace(self.costs[node], ratio=self.slowdown(node, now_s), layers_s=layers_s)

    def delay_s(self, a: str, b: str) -> float:
        """Of every message between two nodes."""
        return self.links[a, b].delay_s

    def left_s(self, a: str, b: str, size_bytes: float, start_s: float) -> float:
        """When the last byte has left, on a link that is free from `start_s` on."""
        steps, now_s = self.bytes_per_s[a, b], start_s
        at = steps.place(now_s)
        for next_s in steps.at_s[at + 1 :]:
            fits_bytes = (next_s - now_s) * steps.values[at]
            if fits_bytes >= size_bytes:
                break
            size_bytes, now_s, at = size_bytes - fits_bytes, next_s, at + 1
        return now_s + size_bytes / steps.values[at]

    def caps(self) -> dict[str, Caps]:
        """What nodes announce of themselves."""
        return {name: _caps(cost, self.announced[name]) for name, cost in self.costs.items()}

    def _loads(self, name: str) -> Steps:
        mine = [each for each in self.weather.happenings if each.kind == "load"]
        told = ((each.at_s, each.value) for each in mine if each.nodes[0] in (name, ANY))
        return Steps.of([(0.0, 0.0), *told])

    def _link(self, a: str, b: str, bytes_per_s: float) -> Steps:
        """Bytes per second from one node to another, whatever moves them put together."""
        mine = [each for each in self.weather.happenings if _is_about(each.nodes, a, b)]
        told = [(each.at_s, each.value * 1e6 / 8) for each in mine if each.kind == "link"]
        noise = Steps.of([(0.0, 0.0), *((e.at_s, e.value) for e in mine if e.kind == "noise")])
        traces = self.weather.traces
        trace = next((found for names, found in traces if _is_about(names.split(), a, b)), None)
        trace_ends_s = min((at_s for at_s, _ in told), default=np.inf)
        rates = Steps.of([(0.0, bytes_per_s), *told])
        moves = trace is not None or any(noise.values)
        times = {*rates.at_s, *noise.at_s, *(_every(self.weather.ends_s) if moves else ())}
        # Both directions share the air.
        chance = random.Random(f"link {self.weather.seed} {min(a, b)} {max(a, b)}")
        found = []
        for at_s in sorted(times):
            is_traced = trace is not None and at_s < trace_ends_s
            rate = _of(trace, at_s) * 1e6 / 8 if is_traced else rates.at(at_s)
            share = noise.at(at_s) * (2 * chance.random() - 1)
            found.append((at_s, rate * (1 + share)))
        return Steps.of(found)


def _of(trace: Trace | None, at_s: float) -> float:
    assert trace is not None
    return trace.at(at_s, repeat=True)


def _every(ends_s: float) -> Iterable[float]:
    return (at * EVERY_S for at in range(int(ends_s / EVERY_S) + 1))


def _is_about(nodes: Sequence[str], a: str, b: str) -> bool:
    """Whether two names, or signs for any, stand for this pair."""
    if len(nodes) != 2:
        return False
    ways = ((a, b), (b, a))
    return any(nodes[0] in (x, ANY) and nodes[1] in (y, ANY) for x, y in ways)


def _around(share: float, count: int, chance: random.Random) -> Seconds:
    """(count,) factors around 1."""
    return np.array([1 + share * (2 * chance.random() - 1) for _ in range(count)])


def _alike(rates: Rates | None, chance: random.Random) -> Rates | None:
    """A machine that is faster or slower in all."""
    if rates is None:
        return None
    by = 1 + HOST_SHARE * (2 * chance.random() - 1)
    return Rates(
        rates.conv_flops_per_s * by,
        rates.matmul_flops_per_s * by,
        rates.memory_bytes_per_s * by,
        rates.op_overhead_s / by,
        rates.depthwise_flops_per_s * by,
    )


def _apart(rates: Rates | None, chance: random.Random) -> Rates | None:
    """The same, each wrong by itself."""
    if rates is None:
        return None
    conv, matmul, memory, overhead, depthwise = _around(CLASS_SHARE, 5, chance).tolist()
    return Rates(
        rates.conv_flops_per_s * conv,
        rates.matmul_flops_per_s * matmul,
        rates.memory_bytes_per_s * memory,
        rates.op_overhead_s * overhead,
        rates.depthwise_flops_per_s * depthwise,
    )


def _caps(cost: NodeCost, rates: Rates | None) -> Caps:
    return Caps(
        node=cost.name,
        session=0,
        tier=cost.tier,
        board="simulated",
        arch="none",
        cores=4,
        memory_bytes=8 << 30,
        accelerators=(),
        engines=("symbolic",) if rates else (),
        rates=rates,
        can_lead=rates is not None,
        reachable=True,
        endpoints=(Endpoint("127.0.0.1", 1, 2),),
        public_key="",
    )
