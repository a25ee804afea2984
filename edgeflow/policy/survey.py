"""What the leader knows of the fleet, in the planner's terms.

    peers, heartbeats ─▶ survey ─▶ Cluster ─▶ ask ─▶ Proposal

Invariant: pure; the same table at the same time gives the same cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgeflow.cluster.membership import Membership, Peer
from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.costmodel.sharing import ALONE, Sharing
from edgeflow.layout.placement import nodes_named, parse_placement
from edgeflow.messages import Plan, Spec
from edgeflow.model.graph import Graph
from edgeflow.planning import ALGORITHMS, Goal, Proposal, propose
from edgeflow.planning.fit import Fitting, scaled
from edgeflow.planning.standing import goal_of

GUESSED = 0.3
"""How far the seconds of a node that ran nothing of a model may be off, as a share, and of a link
that was not measured. More asks a larger gain of plans that rest on guesses."""
LINK_PRIOR = LinkCost(delay_s=0.002, bytes_per_s=50e6 / 8, deviation=GUESSED)
"""A link that is up but not measured yet: 50 Mbit/s."""
SAMPLES_MIN = 2
"""A link counts as measured with so many samples: two sizes tell delay from rate."""
SAMPLES_SETTLED = 4
"""A first plan waits for so many: all probes of a new link."""


def survey(
    membership: Membership, source: str, model: str, now_s: float, sharing: Sharing = ALONE
) -> Cluster:
    """The nodes and links that a plan may use, with what was learned of each, at the prices that
    the other deployments leave."""
    peers = {peer.name: peer for peer in membership.alive(now_s) if peer.state == "ready"}
    timed = {name: membership.layers_s(name, model) for name in peers}
    # Beside layer times a ratio tells of load and heat, which are a node's own.
    known = sorted(
        peer.load.compute_ratio[model]
        for name, peer in peers.items()
        if peer.load and model in peer.load.compute_ratio and not timed[name]
    )
    guess = known[len(known) // 2] if known else 1.0
    nodes = {name: _node_cost(peer, model, guess, timed[name]) for name, peer in peers.items()}
    links = {
        (name, other): _link_cost(peer, other)
        for name, peer in peers.items()
        if peer.load
        for other, report in peer.load.links.items()
        if report.up and other in peers
    }
    factors = {
        place: sharing.slowdown(place) for place in [*((name, name) for name in nodes), *links]
    }
    return replace(scaled(Cluster(nodes, links, source), factors), sharing=sharing)


def ask(
    spec: Spec,
    graph: Graph,
    cluster: Cluster,
    shunned: Iterable[str],
    memory_bytes: Mapping[str, int] | None = None,
) -> Proposal:
    """The best plan for what is wanted, or the one that the user fixed. `memory_bytes` limits what
    weights may take on a node.

    PlanningError or PlacementError says what is in the way; UnfitError, one of the former, that
    others leave too little for the rate that it has to keep up with.
    """
    goal, pinned = goal_of(spec), None
    if spec.placement:
        pinned = parse_placement(graph, spec.placement)
    elif memory_bytes:
        goal = replace(goal, memory_bytes=memory_bytes)
    allowed = frozenset(cluster.nodes) - frozenset(() if pinned else shunned)
    algorithm = spec.policy if spec.policy in ALGORITHMS else "mincut"

    def plan(cluster: Cluster, goal: Goal, allowed: frozenset[str], tiles: bool) -> Proposal:
        if pinned:
            return propose(graph, cluster, "mincut", pinned=pinned, goal=goal)
        return propose(
            graph, cluster, algorithm, allowed=allowed, goal=goal, tiles=tiles and spec.tiles
        )

    fitting = Fitting(graph, cluster, goal, allowed, plan)
    return fitting.check(plan(cluster, goal, allowed, True)) if pinned else fitting.best()


def is_dear(spec: Spec, cluster: Cluster) -> bool:
    """Whether `ask` looks for tiles as well: that takes 0.03 to 0.14 s of a desktop's core for deep
    networks, several times as much of a board's, and ten times what it takes without."""
    ranks = [node.tier.rank for node in cluster.nodes.values() if node.rates is not None]
    return spec.tiles and spec.objective == "latency" and len(ranks) > len(set(ranks))


def in_use(plan: Plan) -> frozenset[str]:
    """The source and the nodes of variant 0: those whose loss makes a new plan necessary."""
    return frozenset({plan.source}) | nodes_named(plan.variants[0])


def free_bytes(membership: Membership) -> dict[str, int]:
    """Memory that each node says is free; those that do not say are left out."""
    return {
        name: peer.load.memory_free_bytes
        for name, peer in membership.peers.items()
        if peer.load is not None and peer.load.memory_free_bytes
    }


def what_broke(membership: Membership, plan: Plan, needed: frozenset[str], now_s: float) -> str:
    """Which of the needed nodes cannot be used any more, in words; empty where all can."""
    for node, session in plan.sessions.items():
        if node not in needed:
            continue
        if membership.is_usable(node, session, now_s):
            continue
        peer = membership.peers.get(node)
        if peer is None or not membership.is_alive(node, now_s):
            return f"{node} is lost"
        if peer.session != session:
            return f"{node} was restarted"
        return f"{node} is {peer.state or 'unknown yet'}"
    return ""


def is_settled(membership: Membership, source: str, now_s: float) -> bool:
    """Whether every link that a first plan may use was measured."""
    peers = {peer.name: peer for peer in membership.alive(now_s)}
    if source not in peers or any(peer.state == "init" for peer in peers.values()):
        return False
    computing = [peer for peer in peers.values() if peer.caps and peer.caps.rates]
    return bool(computing) and all(
        a.name == b.name or _samples(a, b.name) >= SAMPLES_SETTLED
        for a in [*computing, peers[source]]
        for b in [*computing, peers[source]]
        if _may_link(a, b)
    )


def _samples(peer: Peer, other: str) -> int:
    report = peer.load.links.get(other) if peer.load else None
    return report.samples if report is not None and report.up else 0


def _may_link(a: Peer, b: Peer) -> bool:
    assert a.caps is not None
    assert b.caps is not None
    return a.caps.reachable or b.caps.reachable


def _node_cost(peer: Peer, model: str, guess: float, layers_s: tuple[float, ...]) -> NodeCost:
    assert peer.caps is not None
    ratio, deviation = guess, GUESSED
    if peer.load is not None:
        ratio = peer.load.compute_ratio.get(model, guess) * peer.load.slower_soon
        deviation = peer.load.compute_deviation.get(model, GUESSED)
    return NodeCost(
        *(peer.name, peer.caps.tier, peer.caps.rates, ratio),
        layers_s=layers_s,
        deviation=deviation,
    )


def _link_cost(peer: Peer, other: str) -> LinkCost:
    assert peer.load is not None
    report = peer.load.links[other]
    if report.samples < SAMPLES_MIN or report.bytes_per_s <= 0:
        return LINK_PRIOR
    typical_s = report.delay_s + report.typical_bytes / report.bytes_per_s
    deviation = report.deviation_s / typical_s if typical_s > 0 else 0.0
    return LinkCost(report.delay_s, report.bytes_per_s, min(deviation, 1.0))
