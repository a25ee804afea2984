"""What both acts need before their first frame: a network, its answers undivided, nodes, weights.

export, or a model file ─▶ whole network here ─▶ nodes, wave by wave ─▶ weights on every edge node

Invariant: with a model file at hand nothing here asks for torch.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeflow.api import Flow
from edgeflow.demo.fleet import Fleet
from edgeflow.demo.pictures import Photograph, read_all
from edgeflow.demo.show import HAND_OUT, Show
from edgeflow.errors import DeployError, ModelError
from edgeflow.executors import build, engines
from edgeflow.io.allocator import keep_freed_memory
from edgeflow.model.graph import Array, Graph
from edgeflow.modelfile import load, save
from edgeflow.picture import recipe_of

DEPLOY_S = 90.0
"""A deployment is ready within this; weights go over the emulated radio."""
NODES_S = 40.0
"""All nodes are there and one leads within this, or the demo says who is missing."""

Wholes = Mapping[str, Mapping[str, Array]]
"""By photograph: the outputs of the undivided network."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A network on disk, and what it answers undivided."""

    folder: Path
    model: Path
    graph: Graph
    photographs: Sequence[Photograph]
    wholes: Wholes
    whole_s: float
    """A picture, in this process on one thread."""
    engine: str
    """On which it was quickest."""

    def describe(self, emulated: str) -> str:
        """For the screen's first lines."""
        return (
            f"{len(self.graph.layers)} layers; undivided in this process: "
            f"{self.whole_s * 1e3:.0f} ms a picture on {self.engine}, one thread\n{emulated}"
        )


@contextmanager
def prepared(given: Path | None, size: int, show: Show) -> Iterator[Setting]:
    """The setting with the model file `given`, or with EfficientNet-Lite0 exported for pictures of
    `size` pixels a side; its folder goes with it. ModelError where the file does not fit."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="edgeflow-demo-") as folder:
        if given is None:
            show.phase("Exporting EfficientNet-Lite0 with its ImageNet weights …")
            model = Path(folder) / "efficientnet-lite0.safetensors"
            save(export_model(size), model)
        else:
            show.phase(f"Reading {given} …")
            model = given
        graph = load(model)
        check_classifies(graph)
        photographs = read_all(graph)
        yield Setting(Path(folder), model, graph, photographs, *answer_whole(graph, photographs))


def export_model(size: int) -> Graph:
    """EfficientNet-Lite0 for pictures of `size` pixels a side, with labels."""
    from edgeflow.exporter import export
    from edgeflow.exporter.zoo import efficientnet_lite0

    return export(efficientnet_lite0(size=size), name="efficientnet-lite0")


def check_classifies(graph: Graph) -> None:
    """ModelError where the network does not make one row of classes out of one picture."""
    recipe_of(graph)
    if len(graph.inputs) != 1:
        names = ", ".join(contract.name for contract in graph.inputs)
        raise ModelError(f"{graph.name} takes {names}; the demo has one picture a frame to give")
    shapes = [graph.tensors[output].shape for output in graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != 1:
        told = ", ".join(str(shape) for shape in shapes)
        raise ModelError(
            f"{graph.name} answers {told}; the demo shows networks that classify one picture, which"
            " answer (1, classes)"
        )


def answer_whole(graph: Graph, photographs: Sequence[Photograph]) -> tuple[Wholes, float, str]:
    """(outputs of the undivided network by photograph, its median seconds a picture, the engine),
    of the engine here that is quickest."""
    found = [(*_answer_on(engine, graph, photographs), engine) for engine in engines()]
    return min(found, key=lambda each: each[1])


def _answer_on(
    engine: str, graph: Graph, photographs: Sequence[Photograph]
) -> tuple[Wholes, float]:
    answers, seconds = {}, []
    layers = [layer.name for layer in graph.layers]
    segment = build(graph, layers, graph.arrays, threads=1, outputs=graph.outputs, engine=engine)
    segment.run(photographs[0].inputs)
    for photograph in photographs:
        start_s = time.perf_counter()
        answers[photograph.name] = segment.run(photograph.inputs)
        seconds.append(time.perf_counter() - start_s)
    return answers, statistics.median(seconds)


def start_nodes(
    flow: Flow,
    fleet: Fleet,
    waves: Sequence[Sequence[str]],
    start: Callable[[str], None],
    show: Show,
) -> None:
    """Every node is ready and one leads; the next wave starts once the last is ready. DeployError
    says who is missing."""
    wanted = {flow.name}
    wait_for_nodes(flow, fleet, wanted, leader=False)
    for wave in waves:
        for name in wave:
            start(name)
        wanted |= set(wave)
        wait_for_nodes(flow, fleet, wanted, leader=True)
        show.phase(f"ready: {', '.join(sorted(wanted))}; {flow.snapshot().leader} leads")


def wait_for_nodes(flow: Flow, fleet: Fleet, wanted: set[str], *, leader: bool) -> None:
    """Until these are ready, and with `leader` somebody leads; DeployError says who is missing."""
    until_s = time.monotonic() + NODES_S
    while time.monotonic() < until_s:
        fleet.check()
        snapshot = flow.snapshot()
        ready = {node.name for node in snapshot.nodes if node.state == "ready"}
        if wanted <= ready and (snapshot.leader or not leader):
            return
        time.sleep(0.1)
    missing = ", ".join(sorted(wanted - ready)) or "a leader"
    raise DeployError(f"not there within {NODES_S:.0f} s: {missing}")


def hand_out(
    flow: Flow,
    model: Path,
    graph: Graph,
    edges: Sequence[str],
    show: Show,
    then: Callable[[list[str]], None] | None = None,
) -> None:
    """Every edge node fetches the weights once and keeps them on its disk; `then` may use the
    deployments, one an edge node, while they are there.

    Later plans find them there; without it a thin radio is what one waits for after a death.
    """
    start_s = time.monotonic()
    whole = f"{graph.layers[0].name}..{graph.layers[-1].name}"
    names = [f"{HAND_OUT}-{edge}" for edge in edges]
    for name, edge in zip(names, edges, strict=True):
        flow.deploy(model, name=name, placement=f"{whole} @{edge}", wait_s=None)
    for name in names:
        flow.wait(name, DEPLOY_S)
    size_mb = sum(weight.nbytes for weight in graph.weights.values()) / 1e6
    seconds = time.monotonic() - start_s
    show.phase(f"{size_mb:.1f} MB of weights are on every edge node, after {seconds:.0f} s")
    if then is not None:
        then(names)
    for name in names:
        flow.undeploy(name)
