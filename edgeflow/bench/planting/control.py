"""Planted bugs of those who decide: claims, leases, members, plans."""

from __future__ import annotations

from edgeflow.bench.planting.plant import Mutant

CONTROL = {
    "the highest claim heard may fall": Mutant(
        "cluster.election:Election.saw",
        "self.highest is not None and claim <= self.highest",
        "claim == self.highest",
        ("E1",),
        0,
    ),
    "a new claim is not above the last": Mutant(
        "cluster.election:Election._claim", "self.term + 1", "self.term", ("E", "F", "D"), 1
    ),
    "a retained claim renews a lease": Mutant(
        "cluster.election:Election.on_leader",
        "if retained or message.beat",
        "if message.beat",
        ("E2",),
        0,
    ),
    "no grace after a reconnect": Mutant(
        "cluster.election:Election.on_broker",
        "RECONNECT_GRACE_S if reconnect else START_S",
        "0.0",
        ("E",),
        1,
        ("broker-loss",),
    ),
    "a duplicate heartbeat is a sign of life": Mutant(
        "cluster.membership:Membership.on_load", "message.seq <= peer.load.seq", "False", ("E2",), 3
    ),
    "the will of an old connection counts": Mutant(
        "cluster.membership:Membership.on_state",
        "peer is None or message.connection < peer.connection",
        "peer is None",
        ("E3",),
        1,
    ),
    "a leader numbers all its plans alike": Mutant(
        "leader.replan:Replan._sealed", "self.seq += 1", "self.seq = 1", ("F", "E", "D"), 1
    ),
    "plans below the fence are applied": Mutant(
        "plans.holding:Holdings._apply", "not plan.id > fence", "False", ("F1",), 23
    ),
    "frames are computed only once COMMIT was heard": Mutant(
        "plans.holding:Holdings.ready",
        'held.step != "ready"',
        'held.step != "ready" or held.plan.id != self.committed.get(held.plan.deployment)',
        ("R1",),
        2,
    ),
    "a plan is retired as soon as a newer one is prepared": Mutant(
        "plans.holding:Holdings._is_over",
        "board.committed is not None and held.plan.id < board.committed.id",
        "named and held.plan.id < max(plan.id for plan in named)",
        ("R1",),
        1,
    ),
    "an older wish replaces a newer one": Mutant(
        "plans.deployments:Deployments.on_spec",
        "(spec.generation, spec.origin) <= (known.generation, known.origin)",
        "spec == known",
        ("E", "D", "F"),
        75,
    ),
}
