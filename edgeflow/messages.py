"""Every message that crosses a wire, with its topic.

Two wires carry them:

    MQTT (JSON)      State Caps Load Leader Spec Board Held Status Metrics History Notice Request
                     Response Availability LayerTimes Returning
    ZeroMQ (msgpack) signals: Hello Welcome Receipt Refusal Failure Cancel Withdraw BlobRequest
                     BlobMissing
                     with bytes behind them: Frame Result Submit Outcome BlobChunk ProbeData

Invariant: a message is data. It is checked field by field where bytes become a message
(`edgeflow.codec`), once, and trusted afterwards. Everything retained is a *state*: hearing it
twice, late or never changes nothing that the next period does not mend.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

PROTOCOL = 1
"""Version of the words in this file. Nodes announce the range they speak."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}\Z")]
"""A node, cluster or deployment: safe as an MQTT topic level and as a file name."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A sha256 in hexadecimal: it names a model (of its manifest) or a blob (of its bytes)."""

Sentence = Annotated[str, Meta(max_length=2000)]
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""Any integer that both wires carry: msgpack ends at 64 bits, and what one node could read no other
could be told."""
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Seconds = Annotated[float, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]


# --- who leads, and what it decided: one comparison orders all of these -------------------------


class Claim(Struct, frozen=True, order=True):
    """The right to lead. The higher term wins, then the better rank, then the names."""

    term: Annotated[int, Meta(ge=0, le=1 << 53)]
    """Rises by one with each claim; who counts beyond this did not count."""
    rank: Whole
    node: Name
    session: Whole


class PlanId(Struct, frozen=True, order=True):
    """Names one plan. Of two plans the one with the higher id is the newer."""

    claim: Claim
    seq: Count

    def __str__(self) -> str:
        return f"{self.claim.term}.{self.seq}@{self.claim.node}"


class Plan(Struct, frozen=True):
    """One immutable answer for one deployment.

    Segments, crossing tensors and their contracts follow from (model, variants) alone: the model is
    named by the sha256 of its manifest, so every node that derives them derives the same.
    """

    id: PlanId
    deployment: Name
    model: Digest
    source: Name
    sessions: dict[Name, Whole]
    """Session of every node that takes part, the source included."""
    variants: tuple[str, ...]
    """Placement lines (`edgeflow.layout.placement`): 0 is used, the others are fallbacks."""
    predicted_s: Seconds
    """What variant 0 should take from submit to result."""
    lower_bound_s: Seconds
    """No placement is faster under the same estimates; equal to `predicted_s` where optimal."""
    algorithm: str
    reason: Sentence
    hash: Digest
    """sha256 of all the fields above, see `edgeflow.codec.plan_hash`."""


class Rect(Struct, frozen=True, order=True):
    """A rectangle of a map (N, C, rows, columns): rows [top, bottom), columns [left, right)."""

    top: Count
    bottom: Count
    left: Count
    right: Count

    def __str__(self) -> str:
        return f"{self.top}:{self.bottom},{self.left}:{self.right}"


# --- MQTT ---------------------------------------------------------------------------------------


class Tier(Struct, frozen=True, order=True):
    """Where a node stands. Data moves from lower to higher ranks only."""

    rank: Count
    name: Name


DEVICE, EDGE, CLOUD = Tier(0, "device"), Tier(1, "edge"), Tier(2, "cloud")


class State(Struct, frozen=True, tag="state"):
    """What a node says of itself, and as its will what the broker says once it is gone."""

    topic: ClassVar[str] = "nodes/{node}/state"
    retain: ClassVar[bool] = True
    node: Name
    session: Whole
    connection: Count
    """Counts the MQTT connections of this session: an older one's will is stale."""
    state: str
    """init ready draining offline lost"""
    v: int = PROTOCOL


class Availability(Struct, frozen=True, tag="availability"):
    """The same in the plain words that Home Assistant expects; payload is not JSON."""

    topic: ClassVar[str] = "nodes/{node}/availability"
    retain: ClassVar[bool] = True
    node: Name
    online: bool


class Rates(Struct, frozen=True):
    """What a node measured of itself in about a second at its start."""

    conv_flops_per_s: Rate
    matmul_flops_per_s: Rate
    memory_bytes_per_s: Rate
    op_overhead_s: Seconds
    """Time of one op on next to no data."""
    depthwise_flops_per_s: Amount = 0.0
    """Depthwise convolutions run at a rate of their own; 0 where not measured."""


class Endpoint(Struct, frozen=True):
    """An address where a node accepts links: host (IPv4, IPv6 or name) and the two fixed ports."""

    host: str
    tensors_port: Whole
    signals_port: Whole


class Caps(Struct, frozen=True, tag="caps"):
    """What a node is: announced at its start, republished each period."""

    topic: ClassVar[str] = "nodes/{node}/caps"
    retain: ClassVar[bool] = True
    node: Name
    session: Whole
    tier: Tier
    board: str
    arch: str
    cores: Whole
    memory_bytes: Count
    accelerators: tuple[str, ...]
    engines: tuple[str, ...]
    """Of torch, onnx; empty where compute = none."""
    rates: Rates | None
    """None where compute = none."""
    can_lead: bool
    reachable: bool
    """Accepts links. False: behind NAT, it only dials."""
    endpoints: tuple[Endpoint, ...]
    public_key: str
    """CURVE key (Z85) of the data plane; empty without a cluster key."""
    emulated: str = ""
    """In words, what of this node is emulated; empty on a real one."""
    protocols: tuple[Whole, Whole] = (PROTOCOL, PROTOCOL)
    v: int = PROTOCOL


class LinkReport(Struct, frozen=True):
    """One directed link as its sender sees it: seconds = delay_s + bytes / bytes_per_s."""

    up: bool
    delay_s: Seconds
    bytes_per_s: Amount
    """0 where not measured yet."""
    sent_bytes: Count
    samples: Count
    deviation_s: Seconds = 0.0
    """Standard error of the seconds that delay and rate say of a message of `typical_bytes`."""
    loss: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of lately receipted messages whose receipt never came."""
    typical_bytes: Count = 0
    """Of the messages that take most of its time lately, the median one."""


class SegmentTime(Struct, frozen=True):
    """How long a node takes for one of its segments."""

    deployment: Name
    plan: str
    """Its id in words."""
    segment: Count
    """Its place in the plan."""
    seconds: Seconds
    """Of the last few frames, the newest counting most."""
    runs: Count
    """0: it is built, and no frame has come yet."""
    engine: str = ""
    """On what it runs: torch, onnx."""


class Load(Struct, frozen=True, tag="load"):
    """The heartbeat."""

    topic: ClassVar[str] = "nodes/{node}/load"
    retain: ClassVar[bool] = False
    node: Name
    session: Whole
    seq: Count
    cpu_percent: float
    memory_bytes: Count
    temperature_c: float | None
    throttled: bool
    queued_frames: Count
    queued_bytes: Count
    links: dict[Name, LinkReport]
    claim: Claim | None
    """Highest claim seen."""
    fences: dict[Name, PlanId]
    """Highest plan id applied, for each deployment."""
    compute_ratio: dict[Digest, Amount]
    """For each model that ran here: seconds now over LayerTimes, or else over predicted ones."""
    segments: tuple[SegmentTime, ...] = ()
    """Of plans that frames ran under."""
    memory_free_bytes: Count = 0
    """Of the whole machine; 0: unknown."""
    compute_deviation: dict[Digest, Amount] = {}
    """For each model: standard error of `compute_ratio`, as a share of it."""
    busy: dict[Name, Amount] = {}
    """For each deployment: share of the last seconds that its segments ran here."""
    wait_s: Seconds = 0.0
    """What a frame waited in this node's queue lately, before it was computed."""
    slower_soon: Annotated[float, Meta(ge=1, le=100)] = 1.0
    """Forecast out of heat: seconds of compute in a minute over those of now."""
    v: int = PROTOCOL


class LayerTimes(Struct, frozen=True, tag="layer-times"):
    """How long each layer of a model took on a node; others learn from it about themselves."""

    topic: ClassVar[str] = "nodes/{node}/layers/{model}"
    retain: ClassVar[bool] = True
    node: Name
    session: Whole
    model: Digest
    layers_us: tuple[Amount, ...]
    """Microseconds in the order of the graph's layers; 0 where it never ran here."""
    v: int = PROTOCOL


class Returning(Struct, frozen=True, tag="returning"):
    """A broker that its list prefers is back, and it goes there soon: all look for themselves."""

    topic: ClassVar[str] = "nodes/{node}/returning"
    retain: ClassVar[bool] = False
    node: Name
    session: int
    broker: Annotated[str, Meta(max_length=300)]
    v: int = PROTOCOL


class Leader(Struct, frozen=True, tag="leader"):
    """A claim, alive while `beat` rises."""

    topic: ClassVar[str] = "leader"
    retain: ClassVar[bool] = True
    claim: Claim
    lease_s: Seconds
    beat: Count
    resigned: bool = False
    v: int = PROTOCOL


class Spec(Struct, frozen=True, tag="spec"):
    """What the user wants. Of two specs for one name the higher generation counts."""

    topic: ClassVar[str] = "deployments/{name}/spec"
    retain: ClassVar[bool] = True
    name: Name
    generation: Whole
    model: Digest
    model_name: str
    source: Name
    origin: Name
    """The node that brought the model in: it holds the manifest and all weights."""
    policy: str = "mincut"
    """How the plan is made and follows what changes, see `edgeflow.policy`."""
    placement: str = ""
    """A placement line fixes the plan by hand; empty: the algorithm chooses."""
    window_frames: Annotated[int, Meta(ge=1, le=1024)] = 4
    window_bytes: Annotated[int, Meta(ge=1, le=1 << 62)] = 64 << 20
    """Inputs of frames in flight, at most; one frame may always fly."""
    deadline_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    objective: Annotated[str, Meta(pattern=r"^(latency|throughput|traffic)\Z")] = "latency"
    """What the plan is to be good at."""
    latency_s_max: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """A plan is to take no longer, as predicted; 0: no limit. A frame's own is `deadline_s`."""
    private: Annotated[str, Meta(max_length=300)] = ""
    """`[LAYER@]TIER`: inputs, or all that is made before a layer's output, stay on such tiers."""
    tiles: bool = True
    """May layers be tiled over several nodes of a tier?"""
    fallbacks: bool = True
    """Are variants prepared for the loss of each node, and likely next plans? They take memory."""
    rate_fps: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Frames a second that it has to keep up with; 0: not said, then the measured rate counts."""
    explore_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    """Of all latency, what frames along ways of vague cost may add (`edgeflow.frames.explore`)."""
    removed: bool = False
    """A tombstone: an older spec heard later must not bring the deployment back."""
    v: int = PROTOCOL


class Board(Struct, frozen=True, tag="board"):
    """The leader's whole truth about the plans of one deployment; the topic is `plan`."""

    topic: ClassVar[str] = "deployments/{deployment}/plan"
    retain: ClassVar[bool] = True
    deployment: Name
    claim: Claim
    """Of the leader that wrote this."""
    generation: Whole
    """Of the spec that it answers."""
    preparing: Plan | None
    committed: Plan | None
    draining: tuple[Plan, ...] = ()
    """Once committed, not yet drained by the source."""
    retired: PlanId | None = None
    """Plans up to this id are over, unless they are named above."""
    admitted: PlanId | None = None
    """Of the first plan that it ran under: the order in which deployments came to run."""
    v: int = PROTOCOL


class Holding(Struct, frozen=True):
    """One plan at one node."""

    id: PlanId
    hash: Digest
    status: str
    """preparing building ready failed; at the source also active (for new frames) and in-flight."""
    have_bytes: Count
    want_bytes: Count
    why: Sentence = ""


class Held(Struct, frozen=True, tag="held"):
    """Which plans of a deployment a node holds; the topic is `ready`, one writer each."""

    topic: ClassVar[str] = "deployments/{deployment}/ready/{node}"
    retain: ClassVar[bool] = True
    deployment: Name
    node: Name
    session: Whole
    plans: tuple[Holding, ...]
    keeps_model: bool = False
    """Holds every weight of the model, so that it can serve them to others."""
    v: int = PROTOCOL


class TileView(Struct, frozen=True):
    """One tile, for people: who computes it and out of what."""

    node: Name
    segment: Count
    """Its place in the plan."""
    makes: Rect
    """Of the map that leaves the tiled layers."""
    reads: Rect
    """Of the first map that enters them, halo included."""
    predicted_s: Seconds
    """To compute it."""
    recomputed_flops: float
    """More than its area's share of the layers' FLOPs."""
    in_bytes: Count
    """What other nodes send for it."""


class TileMapView(Struct, frozen=True):
    """A fused run of layers and its tiles, for people."""

    layers: str
    """first..last"""
    makes: Rect
    """The whole map that leaves them."""
    reads: Rect
    """The whole of the first map that enters them."""
    flops: float
    """Of the layers, untiled."""
    tiles: tuple[TileView, ...]


class Fallback(Struct, frozen=True):
    """What the loss of one node of a running plan means, for people."""

    lost: Name
    placement: str
    """The variant that the source takes at once; empty: frames wait for a new plan."""
    why: Sentence = ""
    """Why nothing is prepared."""


class Status(Struct, frozen=True, tag="status"):
    """The leader's summary of a deployment, for people."""

    topic: ClassVar[str] = "deployments/{deployment}/status"
    retain: ClassVar[bool] = True
    deployment: Name
    model_name: str
    source: Name
    phase: str
    """waiting preparing running impossible removed"""
    sentence: Sentence
    placement: str
    predicted_s: Seconds
    lower_bound_s: Seconds
    plan: str
    leader: Name
    tiles: tuple[TileMapView, ...] = ()
    """In the layers' order; none where nothing is tiled."""
    fallbacks: tuple[Fallback, ...] = ()
    """One for each node of the committed plan but its source."""
    standbys: tuple[Sentence, ...] = ()
    """What else is prepared: when it would be better, and the placement line."""
    v: int = PROTOCOL


class Lately(Struct, frozen=True):
    """What frames under one plan took, as their source measured it."""

    plan: str
    """Its id in words."""
    variant: Count
    frames: Count
    """Answered under it so far."""
    flights_s: tuple[Seconds, ...]
    """Of the last few, from sent to all outputs back, the newest last."""


class Metrics(Struct, frozen=True, tag="metrics"):
    """What the source measured since its last message."""

    topic: ClassVar[str] = "deployments/{deployment}/metrics"
    retain: ClassVar[bool] = False
    deployment: Name
    source: Name
    frames: Count
    results: Count
    errors: Count
    in_flight: Count
    parked: Count
    fps: float
    latency_p50_s: float
    latency_p99_s: float
    lately: tuple[Lately, ...] = ()
    """Of the plans in use, the newest last."""
    v: int = PROTOCOL


class PlanChange(Struct, frozen=True):
    """One change of a deployment's plan: why, what it cost, what came of it."""

    unix_s: float
    """When it was decided, by the leader's clock."""
    plan: str
    """Id in words of the plan that it made."""
    kind: str
    """first broken wished better explored"""
    why: Sentence
    before: Sentence
    """Placement line; empty where there was none."""
    after: Sentence
    predicted_before_s: Seconds = 0.0
    """What the old plan should take as things were; 0: not known, or it could not run."""
    predicted_after_s: Seconds = 0.0
    measured_before_s: Seconds = 0.0
    """Median of the last frames under the old plan; 0: none."""
    measured_after_s: Seconds = 0.0
    """Median of the first frames under the new plan; 0: none yet."""
    frames_after: Count = 0
    switch_s: Seconds = 0.0
    """From decided to committed; 0: not committed."""
    fetched_bytes: Count = 0
    """Weights that nodes had to fetch for it."""


class History(Struct, frozen=True, tag="history"):
    """The last changes of a deployment's plan, the newest last; the leader tells them on."""

    topic: ClassVar[str] = "deployments/{deployment}/history"
    retain: ClassVar[bool] = True
    deployment: Name
    leader: Name
    changes: tuple[PlanChange, ...]
    v: int = PROTOCOL


class Notice(Struct, frozen=True, tag="notice"):
    """One sentence a human can read; the topic is `events`."""

    topic: ClassVar[str] = "deployments/{deployment}/events"
    retain: ClassVar[bool] = False
    deployment: Name
    node: Name
    kind: str
    sentence: Sentence
    v: int = PROTOCOL


class Request(Struct, frozen=True, tag="request"):
    """Asks one node to do something: verbs are drain, ping."""

    topic: ClassVar[str] = "nodes/{node}/request/{verb}"
    retain: ClassVar[bool] = False
    node: Name
    verb: Name
    id: Annotated[str, Meta(max_length=200)]
    args: dict[str, str] = {}
    v: int = PROTOCOL


class Response(Struct, frozen=True, tag="response"):
    """Answers a request of the same id."""

    topic: ClassVar[str] = "nodes/{node}/response/{verb}"
    retain: ClassVar[bool] = False
    node: Name
    verb: Name
    id: str
    status: str
    """ok refused"""
    data: dict[str, str] = {}
    error: Sentence = ""
    v: int = PROTOCOL


ControlMessage = (
    State
    | Availability
    | Caps
    | Load
    | LayerTimes
    | Returning
    | Leader
    | Spec
    | Board
    | Held
    | Status
    | Metrics
    | History
    | Notice
    | Request
    | Response
)


# --- ZeroMQ, lane `signals`: small, never behind a tensor ---------------------------------------


class Hello(Struct, frozen=True, tag="hello"):
    """First on every link and lane, by the dialling side."""

    node: Name
    session: Whole


class Welcome(Struct, frozen=True, tag="welcome"):
    """The answer to Hello. A link is up once both lanes have carried Hello and Welcome."""

    node: Name
    session: Whole


class Receipt(Struct, frozen=True, tag="receipt"):
    """Sent on arrival of a tensor message, before any queue: the sender learns the link's rate."""

    serial: Count
    """Of the message, per link."""
    received_bytes: Count


class Refusal(Struct, frozen=True, tag="refusal"):
    """A frame was not taken; its source decides what to do."""

    deployment: Name
    frame: Count
    attempt: Count
    code: str
    """not-held full spent draining malformed"""
    plan: PlanId
    text: Sentence = ""


class Failure(Struct, frozen=True, tag="failure"):
    """A segment was started and failed."""

    deployment: Name
    frame: Count
    attempt: Count
    code: str
    """failed malformed peer-lost worker-died"""
    text: Sentence
    lost: Name | None = None
    """peer-lost: the node that its sender has no link to"""


class Cancel(Struct, frozen=True, tag="cancel"):
    """From a frame's source to the nodes of an attempt: start nothing more of it. It may overtake
    the tensors that it is about."""

    deployment: Name
    source: Name
    source_session: Whole
    frame: Count
    attempt: Count
    """This one and all before it."""
    is_over: bool = True
    """The frame has its outcome. False: another attempt goes on, and a result that is being
    computed now is still welcome."""


class Withdraw(Struct, frozen=True, tag="withdraw"):
    """From a remote submitter to the source: nobody waits for this frame any more."""

    deployment: Name
    frame: Count
    """As in Submit."""


class BlobRequest(Struct, frozen=True, tag="blob-request"):
    """Asks for length_bytes of a blob from offset_bytes on."""

    sha256: Digest
    offset_bytes: Count
    length_bytes: Annotated[int, Meta(gt=0, le=1 << 20)]


class BlobMissing(Struct, frozen=True, tag="blob-missing"):
    """This node does not hold it: ask another."""

    sha256: Digest


SignalMessage = (
    Hello | Welcome | Receipt | Refusal | Failure | Cancel | Withdraw | BlobRequest | BlobMissing
)


# --- ZeroMQ, lane `tensors`: a header, then raw buffers -----------------------------------------


class TensorHead(Struct, frozen=True):
    """Describes one raw buffer behind the header, C order, little endian."""

    name: str
    dtype: str
    shape: tuple[Count, ...]
    rect: Rect | None = None
    """Which rectangle of the tensor's map the buffer holds; None: all of the tensor."""


class Frame(Struct, frozen=True, tag="frame"):
    """Input tensors of one segment, or rectangles of them, for one attempt at one frame."""

    deployment: Name
    plan: PlanId
    variant: Count
    hash: Digest
    source: Name
    source_session: Whole
    frame: Count
    attempt: Count
    budget_s: float
    """What is left of the deadline when this was sent."""
    tensors: tuple[TensorHead, ...]
    segment: Count = 0
    """For which segment of the plan, by its place in `edgeflow.layout.split.Split.segments`."""


class Result(Struct, frozen=True, tag="result"):
    """Output tensors of the model, to the source."""

    deployment: Name
    plan: PlanId
    variant: Count
    hash: Digest
    frame: Count
    attempt: Count
    compute_s: Seconds
    tensors: tuple[TensorHead, ...]


class Submit(Struct, frozen=True, tag="submit"):
    """A frame from a node that is not the deployment's source, to the source."""

    deployment: Name
    frame: Count
    budget_s: float
    tensors: tuple[TensorHead, ...]


class Outcome(Struct, frozen=True, tag="outcome"):
    """The source's answer to Submit: tensors, or a code and a sentence."""

    deployment: Name
    frame: Count
    code: str
    """empty for a result"""
    text: Sentence
    tensors: tuple[TensorHead, ...]
    attempts: Count = 1
    plan: str = ""


class BlobChunk(Struct, frozen=True, tag="blob-chunk"):
    """A piece of a blob; one raw buffer follows."""

    sha256: Digest
    offset_bytes: Count
    total_bytes: Count


class ProbeData(Struct, frozen=True, tag="probe"):
    """Bytes that mean nothing, sent on an idle link to learn its rate; one raw buffer follows."""

    size_bytes: Count


TensorMessage = Frame | Result | Submit | Outcome | BlobChunk | ProbeData
