"""What an engine costs the machine of one node: disk, memory, and the time until it is ready.

    scripts/bench footprint [--engines onnx,torch] [--networks …] [--repeats 3] [--json]

    fresh environment with one extra ─▶ bytes of its packages
        └─▶ node process, one thread ─▶ ready ─▶ memory ─▶ a frame of a network ─▶ memory

Each row of memory is a process of its own, that ran one frame of one network of 224 by 224 pixels.
Memory is what Linux counts as resident, of the node's process and of its worker's: shared libraries
count as far as each touched them. The broker and the source of frames are other processes. It
fetches what it installs: torch in the build that is installed here, and no other.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import edgeflow
from edgeflow.api import Flow
from edgeflow.audit import example_inputs
from edgeflow.demo.fleet import Fleet
from edgeflow.errors import DeployError, UsageError
from edgeflow.mind.snapshot import NodeView
from edgeflow.model.graph import Graph

ROOT = Path(edgeflow.__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "edgeflow", "nodes", "brokers")
NETWORKS = "efficientnet_lite0,resnet18"
NONE = "no-engine"
"""An environment for a node that computes nothing, to tell what the engines add."""
READY_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Row:
    """One start of one node."""

    engine: str
    network: str
    ready_s: float
    """From the start of the process until another node hears that it is ready."""
    ready_bytes: int
    """Resident then, before any model."""
    frame_bytes: int
    """Resident after its first frame."""


def main() -> int:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench footprint", description=__doc__)
    parser.add_argument("--engines", default="onnx,torch", help="extras, one environment each")
    parser.add_argument("--networks", default=NETWORKS, help="of the zoo")
    parser.add_argument("--repeats", type=int, default=3, help="starts of a node, a network")
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeflow-footprint-") as folder:
        homes = {engine: Path(folder) / engine for engine in asked.engines.split(",")}
        disk = {NONE: install("", Path(folder) / NONE)}
        disk |= {engine: install(f"[{engine}]", home) for engine, home in homes.items()}
        graphs = {name: export(name) for name in asked.networks.split(",")}
        rows = [
            start(Path(folder), engine, home, name, graph)
            for _ in range(asked.repeats)
            for name, graph in graphs.items()
            for engine, home in homes.items()
        ]
    sys.stdout.write(as_json(disk, rows) if asked.json else as_text(disk, rows, asked.repeats))
    return 0


def install(extra: str, home: Path) -> int:
    """A fresh environment with edgeflow, `[extra]` or without; bytes on disk of its packages."""
    venv.create(home, with_pip=False, symlinks=True)
    with tempfile.TemporaryDirectory() as folder:
        # Out of a copy: building in place would leave its traces in the checkout.
        source, limits = Path(folder) / "source", Path(folder) / "constraints.txt"
        source.mkdir()
        for name in SOURCES:
            _copy(ROOT / name, source / name)
        limits.write_text(_constraints())
        command = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
        command += ["install", "--quiet", "--quiet", "-c", str(limits), f"{source}{extra}"]
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            raise UsageError(f"pip could not install edgeflow-dnn{extra}, see above")
    (packages,) = home.glob("lib/python*/site-packages")
    return sum(path.stat().st_blocks * 512 for path in packages.rglob("*") if path.is_file())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _constraints() -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("torch==")]
    return "\n".join([*kept, f"torch=={metadata.version('torch')}", ""])


def export(network: str) -> Graph:
    """A network of the zoo, for pictures of 224 by 224."""
    from edgeflow.exporter import export as export_module
    from edgeflow.exporter import zoo

    made = zoo.efficientnet_lite0() if network == "efficientnet_lite0" else zoo.pytorchcv(network)
    return export_module(made, name=network)


def start(folder: Path, engine: str, home: Path, network: str, graph: Graph) -> Row:
    """A fresh node process that answers one frame."""
    model = folder / f"{network}.safetensors"
    edgeflow.save(graph, model)
    with running(folder) as (fleet, flow):
        fleet.python = str(home / "bin" / "python")
        started_s = time.monotonic()
        fleet.start_node("edge-1", "edge", [])
        while not any(node.name == "edge-1" and node.state == "ready" for node in nodes(flow)):
            fleet.check()
            if time.monotonic() > started_s + READY_S:
                raise DeployError(f"the node on {engine} was not ready within {READY_S:.0f} s")
            time.sleep(POLL_S)
        ready_s = time.monotonic() - started_s
        ready_bytes = resident_bytes(fleet.processes["edge-1"].pid)
        line = f"{graph.layers[0].name}..{graph.layers[-1].name} @edge-1"
        flow.deploy(model, name="one", placement=line)
        flow.infer(example_inputs(graph), deployment="one")
        frame_bytes = resident_bytes(fleet.processes["edge-1"].pid)
    shutil.rmtree(folder / "edge-1")
    return Row(engine, network, ready_s, ready_bytes, frame_bytes)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Fleet, Flow]]:
    """A broker, and this process as the node that submits."""
    with Fleet(folder) as fleet:
        fleet.start_broker()
        with edgeflow.connect(fleet.url, name="source", compute="none") as flow:
            yield fleet, flow


def nodes(flow: Flow) -> Sequence[NodeView]:
    """All that are known now."""
    return flow.snapshot().nodes


def resident_bytes(pid: int) -> int:
    """VmRSS of a process and of those that it started, proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)
    if own is None:
        raise UsageError("memory is read from /proc, which only Linux has")
    return own * 1024 + sum(map(resident_bytes, _children(pid)))


def _children(pid: int) -> list[int]:
    """Of any of its threads."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def as_json(disk: dict[str, int], rows: Sequence[Row]) -> str:
    """Everything, row by row."""
    made = {"machine": platform.machine(), "python": platform.python_version()}
    told = {**made, "disk_bytes": disk, "rows": [asdict(row) for row in rows]}
    return json.dumps(told) + "\n"


def as_text(disk: dict[str, int], rows: Sequence[Row], repeats: int) -> str:
    """Medians, with the smallest and the largest."""
    lines = [f"{platform.machine()}, Python {platform.python_version()}, {repeats} starts each"]
    for engine, size in disk.items():
        mine = [row for row in rows if row.engine == engine]
        if not mine:
            lines.append(f"{engine}: {size / 1e6:.0f} MB on disk")
            continue
        lines.append(
            f"{engine}: {size / 1e6:.0f} MB on disk; ready after"
            f" {spread([row.ready_s for row in mine], 1, 's')}, then"
            f" {spread([row.ready_bytes / 1e6 for row in mine], 0, 'MB')} in memory"
        )
        for network in dict.fromkeys(row.network for row in mine):
            sizes = [row.frame_bytes / 1e6 for row in mine if row.network == network]
            lines.append(f"  after a frame of {network}: {spread(sizes, 0, 'MB')}")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], digits: int, unit: str) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
