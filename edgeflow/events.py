"""What the thinking part hears (events) and what it asks for (effects).

    bytes ─▶ shell ─▶ Event ─▶ NodeCore.handle(event, now_s) ─▶ Effect, … ─▶ shell does them

Both are data: events can be written to a file and replayed. Tensors are never in here; a `Bundle`
(an integer) names tensors which the shell holds until the core says `Release`.

Invariant: the core never touches a socket, a clock, a thread or a random source.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from edgeflow.messages import (
    BlobChunk,
    ControlMessage,
    Digest,
    Endpoint,
    Frame,
    Name,
    Outcome,
    ProbeData,
    Rates,
    Rect,
    Result,
    SignalMessage,
    Spec,
    Submit,
    TensorHead,
)

Bundle = int
"""Handle of named tensors held by the shell."""


class SegmentKey(Struct, frozen=True, order=True):
    """Names one runnable segment at one node."""

    hash: Digest
    """Of the plan."""
    variant: int
    segment: int
    """Its place in the plan, see `edgeflow.layout.split`."""


# --- events: the world ----------------------------------------------------------------------------


class Tick(Struct, frozen=True, tag=True):
    """Time passed; ten a second."""


class Sampled(Struct, frozen=True, tag=True):
    """The machine's own state, once a heartbeat."""

    cpu_percent: float
    memory_bytes: int
    temperature_c: float | None
    throttled: bool
    memory_free_bytes: int = 0
    """Of the whole machine; 0: unknown."""
    unix_s: float = 0.0
    """The wall clock, for people only; 0: unknown."""
    headroom_c: float | None = None
    """Degrees below the nearest temperature at which the machine slows itself down; None: unknown.
    """
    clock_share: float | None = None
    """Of the fastest core's full clock; None: unknown."""


class Calibrated(Struct, frozen=True, tag=True):
    """Own rates are known; None where this node does not compute."""

    rates: Rates | None


class BrokerUp(Struct, frozen=True, tag=True):
    """Connected and subscribed; `connection` counts from 1 in this session."""

    connection: int


class BrokerDown(Struct, frozen=True, tag=True):
    """The connection to the broker is gone."""


class Heard(Struct, frozen=True, tag=True):
    """A control message; `retained` where the broker had stored it, so that it may be old."""

    message: ControlMessage
    retained: bool


class Cleared(Struct, frozen=True, tag=True):
    """A retained topic of ours was emptied by somebody."""

    topic: str


class LinkUp(Struct, frozen=True, tag=True):
    """Both lanes to this session of a peer have carried Hello and Welcome."""

    peer: Name
    session: int


class LinkDown(Struct, frozen=True, tag=True):
    """A link that was up is not: closed, reset, or silent past the ZeroMQ heartbeat."""

    peer: Name
    session: int


class Signal(Struct, frozen=True, tag=True):
    """A message of the signals lane (Hello, Welcome and Receipt stay in the link layer)."""

    peer: Name
    session: int
    message: SignalMessage


class Tensors(Struct, frozen=True, tag=True):
    """A message of the tensors lane, checked against its header; its tensors are in `bundle`."""

    peer: Name
    session: int
    message: Frame | Result | Submit | Outcome
    bundle: Bundle
    size_bytes: int


class ChunkStored(Struct, frozen=True, tag=True):
    """A BlobChunk was appended to the partial blob at the store."""

    peer: Name
    message: BlobChunk
    stored_bytes: int
    """Of this blob so far."""
    complete: bool
    verified: bool
    """Only with `complete`: the sha256 is right; False: the partial blob was dropped."""


class Transferred(Struct, frozen=True, tag=True):
    """A receipt came back: one tensor message crossed a link; in so long, had it been alone."""

    peer: Name
    size_bytes: int
    seconds: float
    loss: float = 0.0
    """Share of the last messages to this peer whose receipt never came."""
    handed_s: float = 0.0
    """When it was handed over."""


# --- events: slow work that ended -----------------------------------------------------------------


class ManifestLoaded(Struct, frozen=True, tag=True):
    """The manifest is at hand and passed every check; `graph` is `edgeflow.model.graph.Graph`."""

    model: Digest
    graph: Any


class ManifestFailed(Struct, frozen=True, tag=True):
    """No such blob here (`missing`), or it does not pass the checks."""

    model: Digest
    missing: bool
    text: str


class BlobsChecked(Struct, frozen=True, tag=True):
    """Answer to CheckBlobs: which of them the store lacks."""

    model: Digest
    purpose: str
    missing: tuple[tuple[Digest, int], ...]
    """(sha256, bytes) of each."""


class SegmentBuilt(Struct, frozen=True, tag=True):
    """Weights loaded, executor warm, on the engine of that name."""

    key: SegmentKey
    engine: str
    layers_s: tuple[float, ...] = ()
    """Seconds of each of its layers in one run; empty where they were not timed."""
    note: str = ""
    """Which other engine refused it, and why."""


class SegmentUnbuildable(Struct, frozen=True, tag=True):
    """BuildSegment failed."""

    key: SegmentKey
    text: str


class SegmentDone(Struct, frozen=True, tag=True):
    """RunSegment ended well; outputs are in `bundle`."""

    job: int
    bundle: Bundle
    size_bytes: int
    seconds: float
    layers_s: tuple[float, ...] = ()
    """Of each layer, in a run that was timed."""


class SegmentFailed(Struct, frozen=True, tag=True):
    """RunSegment raised."""

    job: int
    text: str
    code: str = "failed"
    """or malformed, where no node could answer this input; worker-died, where its process did"""


# --- events: the user -----------------------------------------------------------------------------


class Submitted(Struct, frozen=True, tag=True):
    """A frame of this process. The core answers with Deliver(token) exactly once."""

    token: int
    deployment: Name
    bundle: Bundle
    tensors: tuple[TensorHead, ...]
    size_bytes: int
    deadline_s: float | None
    """None: the deployment's default."""


class Withdrawn(Struct, frozen=True, tag=True):
    """The user cancelled a frame of this process: where it has no outcome yet, it gets one now."""

    token: int


class Wanted(Struct, frozen=True, tag=True):
    """Deploy, change or remove a deployment."""

    spec: Spec


class Asked(Struct, frozen=True, tag=True):
    """Drain: finish what was accepted, take no more, then stop."""

    why: str


Event = (
    Tick
    | Sampled
    | Calibrated
    | BrokerUp
    | BrokerDown
    | Heard
    | Cleared
    | LinkUp
    | LinkDown
    | Signal
    | Tensors
    | ChunkStored
    | Transferred
    | ManifestLoaded
    | ManifestFailed
    | BlobsChecked
    | SegmentBuilt
    | SegmentUnbuildable
    | SegmentDone
    | SegmentFailed
    | Submitted
    | Withdrawn
    | Wanted
    | Asked
)


# --- effects --------------------------------------------------------------------------------------


class Publish(Struct, frozen=True, tag=True):
    """Publish on the message's topic; dropped while there is no broker (truth is republished)."""

    message: ControlMessage


class OpenLink(Struct, frozen=True, tag=True):
    """Dial (`endpoints` not empty), or accept, a session of a peer; another one is replaced."""

    peer: Name
    session: int
    endpoints: tuple[Endpoint, ...]
    public_key: str
    tier: str = ""
    """Its name, for emulated rates."""


class CloseLink(Struct, frozen=True, tag=True):
    """Forget a peer."""

    peer: Name


class SendSignal(Struct, frozen=True, tag=True):
    """On the signals lane; dropped silently where the link is down."""

    peer: Name
    message: SignalMessage


class SendTensors(Struct, frozen=True, tag=True):
    """The tensors that the header names, or rectangles of them, cut and stitched out of these
    bundles. The shell may keep what it needs of the bundles until they have left, also after
    Release."""

    peer: Name
    message: Frame | Result | Submit | Outcome
    bundles: tuple[Bundle, ...]


class SendProbe(Struct, frozen=True, tag=True):
    """So many meaningless bytes, to learn the link's rate; comes back as Transferred."""

    peer: Name
    message: ProbeData


class SendChunk(Struct, frozen=True, tag=True):
    """Read a piece of a blob from the store and send it; BlobMissing where the store lacks it."""

    peer: Name
    sha256: Digest
    offset_bytes: int
    length_bytes: int


class LoadManifest(Struct, frozen=True, tag=True):
    """Read and check a model's manifest; comes back as ManifestLoaded or ManifestFailed."""

    model: Digest


class CheckBlobs(Struct, frozen=True, tag=True):
    """Which of these does the store lack? Comes back as BlobsChecked with the same purpose."""

    model: Digest
    purpose: str
    blobs: tuple[tuple[Digest, int], ...]


class BuildSegment(Struct, frozen=True, tag=True):
    """Make these layers of a model runnable and warm them up."""

    key: SegmentKey
    model: Digest
    layers: tuple[str, ...]
    tile: Rect | None = None
    """Only this rectangle of the one tensor that leaves them."""


class DropSegment(Struct, frozen=True, tag=True):
    """Free a built segment."""

    key: SegmentKey


class RunSegment(Struct, frozen=True, tag=True):
    """Run a built segment on the tensors of these bundles; comes back as SegmentDone or Failed."""

    job: int
    key: SegmentKey
    bundles: tuple[Bundle, ...]


class Release(Struct, frozen=True, tag=True):
    """The core will not name this bundle again."""

    bundle: Bundle


class Deliver(Struct, frozen=True, tag=True):
    """The one outcome of Submitted(token); `code` empty: a result, the tensors `names`, each whole
    or in rectangles in some of `bundles`."""

    token: int
    code: str
    text: str
    bundles: tuple[Bundle, ...]
    names: tuple[str, ...]
    seconds: float
    attempts: int
    plan: str


class Quarantine(Struct, frozen=True, tag=True):
    """Keep the input of a frame that killed its workers, for its owner to look at."""

    bundle: Bundle
    name: str
    """Safe as a file name."""


class Tell(Struct, frozen=True, tag=True):
    """A sentence for the node's own log."""

    sentence: str


class Stop(Struct, frozen=True, tag=True):
    """The process may end: it drained, or must."""

    text: str = ""
    """Why it must: another node has its name."""
    above: int = 0
    """Not 0: start again, in a session above this."""


Effect = (
    Publish
    | OpenLink
    | CloseLink
    | SendSignal
    | SendTensors
    | SendProbe
    | SendChunk
    | LoadManifest
    | CheckBlobs
    | BuildSegment
    | DropSegment
    | RunSegment
    | Release
    | Deliver
    | Quarantine
    | Tell
    | Stop
)
