"""The composition of one node out of its parts: the only place where they are all known.

    NodeConfig ─▶ Store, Links, Mqtt, Engine ─▶ Loop around a NodeCore

`run_node` is the whole of a node program: start, run until drained or told to stop, clean up.
"""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
from collections import OrderedDict, deque
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from types import FrameType

from edgeflow.config import NodeConfig
from edgeflow.errors import UsageError
from edgeflow.events import BrokerDown, BrokerUp, Cleared, Event, Heard
from edgeflow.executors import chosen, engines, version_of
from edgeflow.io.compute.child import Child
from edgeflow.io.engine import Engine
from edgeflow.io.eventlog import EventLog
from edgeflow.io.inbox import Inbox
from edgeflow.io.keys import load_keys
from edgeflow.io.links import Links
from edgeflow.io.loop import Loop
from edgeflow.io.mqtt import Mqtt
from edgeflow.io.probe import describe, may_have_gpu, sample, usable_cores
from edgeflow.io.store import Store, next_session
from edgeflow.messages import Caps, Notice, Response
from edgeflow.mind.node import NodeCore
from edgeflow.model.graph import Graph
from edgeflow.model.manifest import decode

log = logging.getLogger("edgeflow")

SAMPLE_S = 1.0
"""The machine's own state is read this often: once a heartbeat."""
NOTICES_KEPT = 200
"""Sentences about deployments that are kept for screens."""
NO_CUDA = "compute = cuda, but torch sees no CUDA device; use cpu or auto"
RESPONSES_KEPT = 100
"""Answers to requests that are kept until somebody asks for them."""


class Service:
    """One node: made, then run by `loop.run()`, then cleaned up."""

    def __init__(self, config: NodeConfig, above: int = 0, child: Child | None = None) -> None:
        """`above`: its session number is to be higher than this. `child`: a worker process that was
        started ahead, and ends with this node."""
        self.config = config
        self.threads = config.threads or usable_cores()
        self._temporary = not config.state_dir
        folder = config.state_dir or tempfile.mkdtemp(prefix="edgeflow-")
        self.state_dir = Path(folder).expanduser()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.notices: deque[str] = deque(maxlen=NOTICES_KEPT)
        self.responses: OrderedDict[str, Response] = OrderedDict()
        self.inbox = Inbox()
        self.store: Store | None = None
        self.event_log: EventLog | None = None
        self.engine: Engine
        self._stopped = Flag()
        try:
            self._compose(config, next_session(self.state_dir, above), child)
        except BaseException:
            self.clean_up()
            if child is not None:
                child.end()
            raise

    def _compose(self, config: NodeConfig, session: int, child: Child | None) -> None:
        self.store = Store(self.state_dir, config.store_bytes_max)
        device = _device(config)
        # First of all that follows: a worker process loads its engines beside it.
        engines = _engines(config, device)
        self.engine = Engine(
            config, self.store, self.inbox.put, self.threads, device, engines, child
        )
        keys = load_keys(Path(config.key_file).expanduser()) if config.key_file else None
        self.links = Links(node=config.name, session=session, config=config, identity=keys)
        self.device, self.engines = self.engine.device, self.engine.engines
        if config.compute == "cuda" and self.device != "cuda":
            raise UsageError(NO_CUDA)
        self.core = NodeCore(self._caps(session))
        self.mqtt = Mqtt(config, session, self._give)
        self.loop = Loop(self.core, self.inbox, self.links, self.mqtt, self.engine, self.store)
        self.loop.on_event = self._watch
        if config.event_log:
            self.event_log = self.loop.event_log = EventLog(
                Path(config.event_log).expanduser(),
                self.core.parts.caps,
                config.event_log_bytes_max,
            )
        self.mqtt.start()
        self.engine.calibrate()
        Thread(target=self._sample, name="edgeflow-probe", daemon=True).start()

    def _give(self, event: BrokerUp | BrokerDown | Heard | Cleared) -> None:
        """What the broker's thread has: its coming and going must arrive, messages may be lost."""
        if isinstance(event, BrokerUp | BrokerDown):
            self.inbox.put(event)
        else:
            self.inbox.offer(event)

    def add_model(self, path: Path) -> tuple[str, Graph]:
        """Serve a model file's manifest and weights from here on; its digest and graph."""
        assert self.store is not None
        digest = self.store.add_model(path)
        return digest, decode(bytes(self.store.read(digest)))

    def clean_up(self) -> None:
        """Stop what still runs; remove a temporary state."""
        self._stopped.set()
        if hasattr(self, "engine"):
            self.engine.stop()
        if self.event_log is not None:
            self.event_log.close()
        if self.store is not None:
            self.store.close()
            self.store = None
        if self._temporary:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def _caps(self, session: int) -> Caps:
        config = self.config
        machine = describe()
        return Caps(
            node=config.name,
            session=session,
            tier=config.tier,
            board=machine.board,
            arch=machine.arch,
            cores=machine.cores,
            memory_bytes=machine.memory_bytes,
            accelerators=machine.accelerators if self.device == "cuda" else (),
            engines=self.engines if config.engine == "auto" else self.engines[:1],
            rates=None,
            can_lead=config.can_lead if config.can_lead is not None else self.device != "none",
            reachable=config.reachable,
            endpoints=self.links.endpoints,
            public_key=self.links.public_key,
            emulated=emulation(config),
        )

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self.inbox.offer(sample(self.engine.pids))

    def _watch(self, event: Event) -> None:
        """Keep what screens and waiting callers want to see."""
        if not isinstance(event, Heard):
            return
        if isinstance(event.message, Notice):
            self.notices.append(f"{event.message.deployment}: {event.message.sentence}")
        elif isinstance(event.message, Response):
            self.responses[event.message.id] = event.message
            while len(self.responses) > RESPONSES_KEPT:
                self.responses.popitem(last=False)


def run_node(config: NodeConfig, child: Child | None = None) -> int:
    """A node program: until SIGTERM or SIGINT has drained it; its exit code. `child` as for
    Service.

    NameTakenError where another node of the cluster has its name.
    """
    log.info(
        "%s (%s) serves cluster %s through %s",
        config.name,
        config.tier.name,
        config.cluster,
        ", ".join(config.brokers),
    )
    above = _run_session(config, 0, child)
    while above:
        above = _run_session(config, above)
    return 0


def _run_session(config: NodeConfig, above: int, child: Child | None = None) -> int:
    """Until it ends; above which number it is to begin another one, 0 if it is over."""
    service = Service(config, above, child)

    def leave(number: int, frame: FrameType | None) -> None:
        service.loop.drain(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        service.loop.run()
    finally:
        service.clean_up()
    return service.loop.last.above


def emulation(config: NodeConfig) -> str:
    """In words, what of a node is emulated; empty on a real one."""
    emulate = config.emulate
    said = []
    if emulate.compute_factor > 1:
        said.append(f"compute {emulate.compute_factor:g} times slower")
    if emulate.mbps:
        said.append(f"sends {emulate.mbps:g} Mbit/s")
    said += [f"to {peer} {mbps:g} Mbit/s" for peer, mbps in sorted(emulate.peers_mbps.items())]
    if emulate.delay_ms:
        said.append(f"{emulate.delay_ms:g} ms delay")
    return ", ".join(said)


def _engines(config: NodeConfig, device: str) -> tuple[str, ...]:
    """Engines that segments are tried on, in their order; of a wished one the others are only there
    for what it refuses."""
    if device == "none":
        return ()
    return tuple(sorted(engines(), key=lambda engine: engine != config.engine))


def _device(config: NodeConfig) -> str:
    """cpu, none, or auto where the engine must be asked; UsageError where what was asked for cannot
    be there."""
    compute = config.compute
    if compute == "none" or (compute == "auto" and not engines()):
        return "none"
    engine = chosen(config.engine)
    if compute == "cpu" or (compute == "auto" and engine == "onnx"):
        return "cpu"
    if engine == "torch" and may_have_gpu() and not version_of("torch").endswith("+cpu"):
        return "auto"
    if compute == "cuda":
        raise UsageError(
            NO_CUDA
            if engine == "torch"
            else "compute = cuda is for torch: pip install 'edgeflow-dnn[torch]', engine = torch"
        )
    return "cpu"
