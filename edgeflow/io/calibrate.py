"""How fast this machine's engines are, in about a second, without any model of the user's.

Small graphs of our own ops run on the very engine that will run segments, with as many threads:

    conv 3x3 and 1x1 · depthwise 3x3 · matmul · elementwise on much data · one op on next to none

What one op costs at all is taken off before a rate is formed, since the cost model adds it again.

Under a CPU quota a short run ends before the group is held back, and says nothing of the next: the
quickest run would be the machine's, not ours. A run then takes its CPU time over the quota, which
is what the wall clock shows in the long run, and which a short look already tells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from edgeflow.executors import Build, build
from edgeflow.io.quota import cpu_quota_cores
from edgeflow.messages import Rates
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight
from edgeflow.model.ops import OPSET, op_bytes, op_flops

RUN_S = 0.12
"""Spent on each measurement after one run to warm up; more is steadier and starts later."""
HELD_BACK_S = 0.5
"""The same under a quota smaller than the threads: 5 to 50 of its usual periods of 100 to 10 ms,
since caches are cold after each. At a tenth of a core the whole takes 4 s."""
RUNS_MIN = 3
OPS = 4
"""Ops in a row in each graph, so that entering and leaving the engine counts little."""

Make = Callable[[str], Op]


def calibrate(threads: int, device: str, engines: Sequence[str] = ("auto",)) -> Rates:
    """Rates of these engines, of each kind of work the quickest one's; UsageError where one of them
    is not installed."""
    return _best(
        [
            _rates(partial(build, threads=threads, device=device, engine=engine), threads, device)
            for engine in engines
        ]
    )


def _best(rates: Sequence[Rates]) -> Rates:
    """As a node has them that runs each segment on its quickest engine."""
    return Rates(
        conv_flops_per_s=max(each.conv_flops_per_s for each in rates),
        matmul_flops_per_s=max(each.matmul_flops_per_s for each in rates),
        memory_bytes_per_s=max(each.memory_bytes_per_s for each in rates),
        op_overhead_s=min(each.op_overhead_s for each in rates),
        depthwise_flops_per_s=max(each.depthwise_flops_per_s for each in rates),
    )


def _rates(build: Build, threads: int, device: str) -> Rates:
    """Of one engine."""
    measured = partial(_op_s, build, threads=threads, device=device)
    overhead_s = measured(_graph(lambda name: _relu(name, (1, 1, 1, 1))))

    def rate(make: Make, *, in_bytes: bool = False) -> float:
        graph = _graph(make)
        op = graph.ops[0]
        work = op_bytes(op, graph) if in_bytes else op_flops(op, graph)
        return work / max(measured(graph) - overhead_s, 1e-7)

    wide = rate(lambda name: _conv(name, 64, 56, 3))
    narrow = rate(lambda name: _conv(name, 256, 14, 1))
    return Rates(
        conv_flops_per_s=2 / (1 / wide + 1 / narrow),
        matmul_flops_per_s=rate(lambda name: _linear(name, 64, 768)),
        memory_bytes_per_s=rate(lambda name: _relu(name, (1, 64, 224, 224)), in_bytes=True),
        op_overhead_s=overhead_s,
        depthwise_flops_per_s=rate(lambda name: _conv(name, 144, 56, 3, groups=144)),
    )


def _op_s(build: Build, graph: Graph, threads: int, device: str) -> float:
    """Seconds of one op of a graph."""
    layers = [layer.name for layer in graph.layers]
    segment = build(graph, layers, graph.arrays)
    contract = graph.inputs[0]
    shape = tuple(dim for dim in contract.shape if isinstance(dim, int))
    given = {contract.name: np.full(shape, 0.5, np.float32)}
    segment.run(given)
    quota_cores = cpu_quota_cores() if device == "cpu" else None
    return _run_s(lambda: segment.run(given), threads, quota_cores or math.inf) / len(graph.ops)


def _run_s(run: Callable[[], object], threads: int, quota_cores: float) -> float:
    """Seconds of one run: the quickest, as the others shared the machine, or what a quota allows
    on average."""
    seconds: list[float] = []
    start_cpu_s = time.process_time()
    end_s = time.perf_counter() + (RUN_S if quota_cores >= threads else HELD_BACK_S)
    while len(seconds) < RUNS_MIN or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start_s)
    cpu_s = (time.process_time() - start_cpu_s) / len(seconds)
    return max(min(seconds), cpu_s / quota_cores)


def _graph(make: Make) -> Graph:
    """OPS equal ops in a row."""
    first = make("x")
    ops: list[Op] = []
    arrays: dict[str, Array] = {}
    weights: dict[str, Weight] = {}
    read = "x"
    for at in range(OPS):
        op = make(f"op{at}")
        op = Op(op.name, op.kind, (read,), op.weights, op.attrs, op.output)
        for role, name in op.weights.items():
            shape = _weight_shape(op, role)
            weights[name] = Weight(name, "float32", shape, "0" * 64)
            arrays[name] = np.full(shape, 1e-3, np.float32)
        ops.append(op)
        read = op.name
    given = Contract("x", "float32", first.output.shape)
    return Graph("calibration", OPSET, (given,), (read,), tuple(ops), weights, arrays=arrays)


def _weight_shape(op: Op, role: str) -> tuple[int, ...]:
    channels = op.output.shape[1]
    assert isinstance(channels, int)
    if role == "bias":
        return (channels,)
    if op.kind == "linear":
        return (channels, channels)
    groups, size = op.attrs["groups"], op.attrs["padding"]
    assert isinstance(groups, int)
    assert isinstance(size, tuple)
    side = 2 * int(size[0]) + 1
    return (channels, channels // groups, side, side)


def _conv(name: str, channels: int, side: int, kernel: int, groups: int = 1) -> Op:
    pad = kernel // 2
    attrs: dict[str, Attribute] = {
        "stride": (1, 1),
        "padding": (pad, pad, pad, pad),
        "dilation": (1, 1),
        "groups": groups,
    }
    weights = {"weight": f"{name}.w", "bias": f"{name}.b"}
    output = Contract(name, "float32", (1, channels, side, side))
    return Op(name, "conv2d", (), weights, attrs, output)


def _linear(name: str, rows: int, features: int) -> Op:
    weights = {"weight": f"{name}.w", "bias": f"{name}.b"}
    return Op(name, "linear", (), weights, {}, Contract(name, "float32", (rows, features)))


def _relu(name: str, shape: tuple[int, ...]) -> Op:
    return Op(name, "relu", (), {}, {}, Contract(name, "float32", shape))
