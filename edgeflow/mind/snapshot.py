"""The cluster as one node sees it now: what `status` prints and `Flow.snapshot` returns."""

from __future__ import annotations

from msgspec import Struct

from edgeflow.cluster.foreign import shares_protocol, spoken
from edgeflow.cluster.membership import Peer
from edgeflow.messages import Fallback, LinkReport, Plan, Rates, SegmentTime, TileMapView
from edgeflow.mind.node import NodeCore
from edgeflow.plans.deployments import View


class NodeView(Struct, frozen=True):
    """One node."""

    name: str
    tier: str
    state: str
    """As it says itself; lost where it is silent, or which other protocol it speaks."""
    session: int
    leads: bool
    board: str
    arch: str
    cores: int
    engines: tuple[str, ...]
    accelerators: tuple[str, ...]
    rates: Rates | None
    emulated: str
    cpu_percent: float
    memory_bytes: int
    temperature_c: float | None
    queued_frames: int
    busy: dict[str, float] = {}
    """For each deployment: share of the last seconds that its segments ran here."""
    wait_ms: float = 0.0
    """What frames waited in its queue lately."""


class LinkView(Struct, frozen=True):
    """One directed link, as its sender measured it."""

    sender: str
    receiver: str
    up: bool
    delay_ms: float
    mbps: float
    """0 where not measured."""
    sent_bytes: int


class DeploymentView(Struct, frozen=True):
    """One deployment."""

    name: str
    model: str
    source: str
    policy: str
    phase: str
    sentence: str
    placement: str
    plan: str
    predicted_ms: float
    lower_bound_ms: float
    nodes: dict[str, str]
    """Node -> what it says of the committed plan: preparing ready active in-flight failed."""
    tiles: tuple[TileMapView, ...] = ()
    """What is tiled over whom."""
    segments: tuple[SegmentTime, ...] = ()
    """Measured seconds of the committed plan's segments, by their place in it."""
    fallbacks: tuple[Fallback, ...] = ()
    """What stands in for each node of the committed plan."""
    standbys: tuple[str, ...] = ()
    """What else is prepared: when it would be better, and the placement line."""
    engines: dict[str, str] = {}
    """Node -> on what it runs its segments of the committed plan: torch, onnx, onnx+torch."""
    by_hand: bool = False
    """The wish says which layers run where."""


class Snapshot(Struct, frozen=True):
    """All of it."""

    observer: str
    leader: str
    """Empty while there is none."""
    term: int
    nodes: tuple[NodeView, ...]
    links: tuple[LinkView, ...]
    deployments: tuple[DeploymentView, ...]


def take(core: NodeCore, now_s: float) -> Snapshot:
    """What this core knows at `now_s` on its own clock."""
    parts = core.parts
    claim = parts.election.follows(now_s)
    leader = claim.node if claim is not None else ""
    peers = [peer for _, peer in sorted(parts.membership.peers.items()) if peer.caps is not None]
    alive = {peer.name for peer in peers if parts.membership.is_alive(peer.name, now_s)}
    return Snapshot(
        observer=parts.me,
        leader=leader,
        term=claim.term if claim is not None else 0,
        nodes=tuple(_node(peer, peer.name in alive, leader) for peer in peers),
        links=tuple(
            _link(peer.name, other, report)
            for peer in peers
            if peer.load is not None and peer.name in alive
            for other, report in sorted(peer.load.links.items())
        ),
        deployments=tuple(
            _deployment(view, peers)
            for _, view in sorted(parts.deployments.views.items())
            if view.spec is not None and not view.spec.removed
        ),
    )


def _node(peer: Peer, is_alive: bool, leader: str) -> NodeView:
    caps, load = peer.caps, peer.load
    assert caps is not None
    return NodeView(
        name=peer.name,
        tier=caps.tier.name,
        state=_state(peer, is_alive),
        session=peer.session,
        leads=peer.name == leader,
        board=caps.board,
        arch=caps.arch,
        cores=caps.cores,
        engines=caps.engines,
        accelerators=caps.accelerators,
        rates=caps.rates,
        emulated=caps.emulated,
        cpu_percent=load.cpu_percent if load else 0.0,
        memory_bytes=load.memory_bytes if load else 0,
        temperature_c=load.temperature_c if load else None,
        queued_frames=load.queued_frames if load else 0,
        busy=dict(load.busy) if load and is_alive else {},
        wait_ms=round(load.wait_s * 1e3, 3) if load and is_alive else 0.0,
    )


def _state(peer: Peer, is_alive: bool) -> str:
    if peer.caps is not None and not shares_protocol(peer.caps):
        return f"speaks {spoken(peer.caps)}"
    return peer.state if is_alive else ("offline" if peer.left else "lost")


def _link(sender: str, receiver: str, report: LinkReport) -> LinkView:
    mbps = report.bytes_per_s * 8 / 1e6 if report.samples else 0.0
    return LinkView(
        sender, receiver, report.up, report.delay_s * 1e3, round(mbps, 3), report.sent_bytes
    )


def _segments(plan: Plan, peers: list[Peer]) -> tuple[SegmentTime, ...]:
    """What its nodes say of its segments, in the plan's order."""
    loads = [peer.load for peer in peers if peer.load is not None and peer.name in plan.sessions]
    found = (
        each
        for load in loads
        for each in load.segments
        if (each.deployment, each.plan) == (plan.deployment, str(plan.id))
    )
    return tuple(sorted(found, key=lambda each: each.segment))


def _engines(plan: Plan, peers: list[Peer]) -> dict[str, str]:
    found = {}
    for peer in peers:
        if peer.load is not None and peer.name in plan.sessions:
            found[peer.name] = "+".join(
                sorted({each.engine for each in _segments(plan, [peer]) if each.engine})
            )
    return {name: engines for name, engines in found.items() if engines}


def _deployment(view: View, peers: list[Peer]) -> DeploymentView:
    assert view.spec is not None
    status, board = view.status, view.board
    plan = board.committed if board is not None else None
    is_told = plan is not None and status is not None and status.plan == str(plan.id)
    nodes = {}
    if plan is not None:
        for node in plan.sessions:
            held = view.helds.get(node)
            found = [each.status for each in held.plans if each.hash == plan.hash] if held else []
            nodes[node] = found[0] if found else "not held"
    predicted_s = plan.predicted_s if plan is not None else 0.0
    if status is not None and is_told:
        predicted_s = status.predicted_s  # as things are now
    return DeploymentView(
        name=view.name,
        model=view.spec.model_name,
        source=view.spec.source,
        policy=view.spec.policy,
        by_hand=bool(view.spec.placement),
        phase=status.phase if status else "waiting",
        sentence=status.sentence if status else "no leader has answered yet",
        placement=plan.variants[0] if plan else "",
        plan=str(plan.id) if plan else "",
        predicted_ms=predicted_s * 1e3,
        lower_bound_ms=plan.lower_bound_s * 1e3 if plan else 0.0,
        nodes=nodes,
        tiles=status.tiles if status is not None and is_told else (),
        fallbacks=status.fallbacks if status is not None and is_told else (),
        standbys=status.standbys if status is not None and is_told else (),
        segments=_segments(plan, peers) if plan is not None else (),
        engines=_engines(plan, peers) if plan is not None else {},
    )
