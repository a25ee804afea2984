"""A camera beside one edge node, all of it in an environment without torch; prints what it saw.

    python -I torchless_program.py MODEL FOLDER

Broker and node are processes of the same environment; the picture is split between both nodes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import edgeflow
from edgeflow.api import Flow
from edgeflow.demo.fleet import Fleet
from edgeflow.executors import engines

PATIENCE_S = 25.0


def main(model: Path, folder: Path) -> None:
    """One picture through a split deployment, against the whole network in this process."""
    graph = edgeflow.load(model)
    names = [layer.name for layer in graph.layers]
    half = len(names) // 2
    image = np.random.default_rng(3).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    with Fleet(folder) as fleet:
        fleet.start_broker()
        fleet.start_node("edge-1", "edge", [])
        with edgeflow.connect(fleet.url, name="cam-1", threads=1, can_lead=False) as flow:
            until(lambda: is_ready(flow), fleet)
            line = f"{names[0]}..{names[half - 1]} @cam-1 | {names[half]}..{names[-1]} @edge-1"
            flow.deploy(model, name="split", placement=line)
            made = flow.infer(image, deployment="split").output
            until(lambda: len(running(flow)) == 2, fleet)
            ran = running(flow)
    whole = edgeflow.run(graph, image)[graph.outputs[0]]
    seen = {
        "torch": find_spec("torch") is not None,
        "engines": engines(),
        "ran": ran,
        "equal": made.tobytes() == whole.tobytes(),
    }
    sys.stdout.write(json.dumps(seen) + "\n")


def is_ready(flow: Flow) -> bool:
    """Both nodes are there, and one leads."""
    seen = flow.snapshot()
    ready = {node.name for node in seen.nodes if node.state == "ready"}
    return ready == {"cam-1", "edge-1"} and bool(seen.leader)


def running(flow: Flow) -> dict[str, str]:
    """Node -> the engines that its segments of the deployment run on, as it says itself."""
    return {name: on for each in flow.snapshot().deployments for name, on in each.engines.items()}


def until(holds: Callable[[], bool], fleet: Fleet) -> None:
    """Wait for it; an error where a process ends or it takes too long."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        fleet.check()
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {PATIENCE_S:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
