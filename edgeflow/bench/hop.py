"""What edgeflow adds to a tensor's way: one relay node and back, against a bare relay process.

    scripts/bench hop [--mb 1] [--pairs 300] [--json]

edgeflow: this process is the source, a node process runs one `identity` op, the result comes back;
plan, budget and contract checks, receipts and a worker thread included. Bare: a process with a
ROUTER socket that sends every message back to its DEALER. Both ways are timed in turn, pair by
pair, so that a machine that drifts drifts for both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

import edgeflow
from edgeflow.api import Flow
from edgeflow.demo.fleet import Fleet
from edgeflow.model.graph import Array, Contract, Graph, Op
from edgeflow.model.ops import opset_of

RATIO_MAX = 1.5
"""What a relay node may cost of the bare way."""
WARM = 20
"""Pairs that are not counted."""
READY_S = 30.0


def main() -> int:
    """Run, print, and fail where the relay node costs more than 1.5 times the bare way."""
    parser = argparse.ArgumentParser(prog="scripts/bench hop", description=__doc__)
    parser.add_argument("--mb", type=float, default=1.0, help="size of the tensor")
    parser.add_argument("--pairs", type=int, default=300, help="timed pairs")
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    parser.add_argument("--relay", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.relay:
        relay(options.relay)
        return 0
    tensor = np.random.default_rng(1).random((1, 512, int(512 * options.mb)), np.float32)
    pairs = measure(tensor, options.pairs)
    report = summary(pairs, tensor.nbytes)
    sys.stdout.write((json.dumps(report) if options.json else text(report)) + "\n")
    return int(statistics.median(ours / bare for ours, bare in pairs) > RATIO_MAX)


def measure(tensor: Array, count: int) -> list[tuple[float, float]]:
    """(edgeflow, bare) seconds of each pair."""
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder)) as fleet:
        fleet.start_broker()
        fleet.start_node("relay", "edge", [])
        with (
            edgeflow.connect(fleet.url, name="source", compute="none", threads=1) as flow,
            bare_relay() as bare,
        ):
            name = deploy(flow, tensor)
            pairs = []
            for at in range(WARM + count):
                pair = (through_edgeflow(flow, name, tensor), through_bare(bare, tensor))
                if at >= WARM:
                    pairs.append(pair)
            return pairs


def deploy(flow: Flow, tensor: Array) -> str:
    """One identity op on the relay node."""
    until_s = time.monotonic() + READY_S
    while not any(node.name == "relay" and node.state == "ready" for node in flow.snapshot().nodes):
        if time.monotonic() > until_s:
            raise edgeflow.errors.DeployError("the relay node did not get ready")
        time.sleep(0.05)
    return flow.deploy(relay_graph(tensor), placement="out @relay", window_frames=1)


def relay_graph(tensor: Array) -> Graph:
    """A model that gives back what it gets."""
    output = Contract("out", "float32", tensor.shape)
    op = Op("out", "identity", ("x",), {}, {}, output)
    given = Contract("x", "float32", tensor.shape)
    return Graph("hop", opset_of([op]), (given,), ("out",), (op,), {})


def through_edgeflow(flow: Flow, name: str, tensor: Array) -> float:
    """Seconds from submit to result."""
    start_s = time.perf_counter()
    flow.infer({"x": tensor}, deployment=name)
    return time.perf_counter() - start_s


def through_bare(socket: zmq.Socket[bytes], tensor: Array) -> float:
    """Seconds from send to the echo."""
    start_s = time.perf_counter()
    socket.send_multipart([b"header", tensor.data.cast("B")], copy=False)
    socket.recv_multipart(copy=False)
    return time.perf_counter() - start_s


def relay(port: int) -> None:
    """The bare process: every message back to its sender, until it is killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"tcp://127.0.0.1:{port}")
    while True:
        router.send_multipart(router.recv_multipart(copy=False), copy=False)


@contextmanager
def bare_relay() -> Iterator[zmq.Socket[bytes]]:
    """A DEALER connected to a bare relay process."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    port = dealer.bind_to_random_port("tcp://127.0.0.1")
    dealer.unbind(f"tcp://127.0.0.1:{port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeflow.bench.hop", "--relay", str(port)], stdin=subprocess.DEVNULL
    )
    dealer.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield dealer
    finally:
        process.kill()
        process.wait()
        context.destroy(linger=0)


def summary(pairs: list[tuple[float, float]], size_bytes: int) -> dict[str, Any]:
    """Medians, and the ratio pair by pair with its quartiles."""
    ours, bare = zip(*pairs, strict=True)
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    return {
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
        "bytes": size_bytes,
        "pairs": len(pairs),
        "edgeflow_ms_median": statistics.median(ours) * 1e3,
        "bare_ms_median": statistics.median(bare) * 1e3,
        "ratio_median": middle,
        "ratio_quartile_low": low,
        "ratio_quartile_high": high,
    }


def text(report: dict[str, Any]) -> str:
    """For people."""
    return (
        "{bytes} bytes to a relay node and back, {pairs} pairs, {machine}\n"
        "edgeflow {edgeflow_ms_median:.2f} ms, bare relay {bare_ms_median:.2f} ms (median)\n"
        "ratio, pair by pair: {ratio_median:.2f} "
        "({ratio_quartile_low:.2f} to {ratio_quartile_high:.2f}: quartiles)"
    ).format(**report)


if __name__ == "__main__":
    sys.exit(main())
