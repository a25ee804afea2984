"""A small network without torch, and the engine of a node without its node."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import psutil

from edgeflow import modelfile
from edgeflow.config import Emulate, NodeConfig
from edgeflow.events import (
    BuildSegment,
    Event,
    LoadManifest,
    ManifestLoaded,
    RunSegment,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
)
from edgeflow.io.compute.process import ComputeProcess
from edgeflow.io.engine import Engine
from edgeflow.io.store import Store
from edgeflow.layout.parcel import Parcel, parcel
from edgeflow.messages import DEVICE, Rect
from edgeflow.model.graph import Array, Attribute, Contract, Graph, Op, Weight
from edgeflow.model.ops import opset_of

KEY = SegmentKey("0" * 64, 0, 0)
SIDE, CHANNELS = 48, 64
"""Of what the network makes: 590 kB."""
PATIENCE_S = 30.0
T = TypeVar("T", bound=Event)


def net() -> Graph:
    """A convolution and a relu: (1, 3, 48, 48) to (1, 64, 48, 48)."""
    random = np.random.default_rng(7)
    arrays = {
        "conv.w": random.standard_normal((CHANNELS, 3, 3, 3)).astype(np.float32),
        "conv.b": random.standard_normal(CHANNELS).astype(np.float32),
    }
    weights = {
        name: Weight(name, "float32", array.shape, sha256(array.tobytes()).hexdigest())
        for name, array in arrays.items()
    }
    shape = (1, CHANNELS, SIDE, SIDE)
    attrs: dict[str, Attribute] = {
        "stride": (1, 1),
        "padding": (1, 1, 1, 1),
        "dilation": (1, 1),
        "groups": 1,
    }
    conv = Op(
        "conv",
        "conv2d",
        ("image",),
        {"weight": "conv.w", "bias": "conv.b"},
        attrs,
        Contract("conv", "float32", shape),
    )
    relu = Op("relu", "relu", ("conv",), {}, {}, Contract("relu", "float32", shape))
    given = Contract("image", "float32", (1, 3, SIDE, SIDE))
    return Graph(
        "net", opset_of((conv, relu)), (given,), ("relu",), (conv, relu), weights, arrays=arrays
    )


def image(seed: int) -> dict[str, Array]:
    """An input."""
    random = np.random.default_rng(seed)
    return {"image": random.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)}


class Bench:
    """Use it in a `with`."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: str = "process",
        engine: str = "onnx",
        factor: float = 1.0,
        state: str = "state",
        device: str = "cpu",
    ) -> None:
        self.graph, self.folder = net(), folder
        self.store = Store(folder / state, 1 << 28)
        path = folder / "net.safetensors"
        if not path.exists():
            modelfile.save(self.graph, path)
        self.model = self.store.add_model(path)
        self.told: SimpleQueue[Event] = SimpleQueue()
        emulate = Emulate(compute_factor=factor)
        config = NodeConfig(name="a", tier=DEVICE, engine=engine, worker=worker, emulate=emulate)
        self.engine = Engine(config, self.store, self.told.put, 1, device, (engine,))
        self.kept: dict[int, Parcel] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.engine.stop()
        self.store.close()

    @property
    def process(self) -> ComputeProcess:
        compute = self.engine.compute
        assert isinstance(compute, ComputeProcess)
        return compute

    def hear(self, kind: type[T]) -> T:
        """The next event, which must be of this kind."""
        event = self.told.get(timeout=PATIENCE_S)
        assert isinstance(event, kind), event
        return event

    def load(self) -> None:
        """Have the manifest at hand."""
        self.engine.load(LoadManifest(self.model))
        self.hear(ManifestLoaded)

    def order(self, key: SegmentKey = KEY, tile: Rect | None = None) -> None:
        """Ask for the whole network, or a tile of it."""
        layers = tuple(layer.name for layer in self.graph.layers)
        self.engine.build(BuildSegment(key, self.model, layers, tile))

    def build(self, key: SegmentKey = KEY, tile: Rect | None = None) -> SegmentBuilt:
        """The same, and wait for it."""
        self.load()
        self.order(key, tile)
        return self.hear(SegmentBuilt)

    def start(self, job: int, key: SegmentKey = KEY) -> None:
        """Run `image(job)`."""
        self.give(job, parcel(image(job)), key=key)

    def give(self, job: int, *inputs: Parcel, key: SegmentKey = KEY) -> None:
        """Run it on what lies in these parcels."""

        def keep(made: Parcel) -> int:
            self.kept[job] = made
            return job

        self.engine.run(RunSegment(job, key, ()), inputs, keep)

    def answer(self, job: int, key: SegmentKey = KEY) -> Array:
        """What the network makes of `image(job)`, which nothing must hinder."""
        self.start(job, key)
        assert self.hear(SegmentDone).job == job
        return self.made(job)

    def made(self, job: int) -> Array:
        return self.kept[job]["relu"].array

    def died(self, job: int) -> str:
        """How the worker died of this job."""
        failed = self.hear(SegmentFailed)
        assert (failed.job, failed.code) == (job, "worker-died"), failed
        return failed.text

    def pid(self) -> int:
        """Of the worker, once there is one."""
        until(lambda: self.process.pids)
        (pid,) = self.process.pids
        return pid

    def is_up(self) -> bool:
        """Has the worker said that it is there?"""
        return self.process._is_up

    def step(self, key: SegmentKey = KEY) -> str:
        """How far the worker is with a segment."""
        wanted = self.process._orders._wanted.get(key)
        return wanted.step if wanted is not None else ""

    def wait_for_another(self, pid: int) -> None:
        """Until there is a worker that is not this one."""
        until(lambda: self.process.pids and pid not in self.process.pids)

    def wait_for_run(self) -> None:
        """Until a job is with the worker."""
        until(lambda: self.process._orders.running is not None)


def until(holds: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    """Wait for it."""
    end_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end_s, "not in time"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Does it run, and not only wait for its parent to notice?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
