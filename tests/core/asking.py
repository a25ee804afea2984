"""One deployment's policy, driven by hand: a fleet, a plan that runs, frames that are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.costmodel.cost import Cluster, LinkCost, NodeCost
from edgeflow.layout.placement import format_placement, nodes_of
from edgeflow.leader.prices import Prices
from edgeflow.messages import CLOUD, DEVICE, EDGE, Claim, Lately, Plan, PlanId, Rates, Spec
from edgeflow.planning import Proposal
from edgeflow.planning.standing import standing
from edgeflow.policy import Choice, Policy, Question
from edgeflow.sim.weather.resnet import RESNET

GRAPH = RESNET.graph
CLAIM = Claim(1, 1, "edge-9", 1)
SPEC = Spec("job", 1, RESNET.model, "resnet", "cam", "cam", tiles=False, fallbacks=False)
CAM, NEAR = Rates(2e10, 1.5e10, 1.5e10, 2e-5), Rates(7e10, 4e10, 2e10, 1e-5)
FAR = Rates(2e11, 2e11, 4e10, 5e-6)


def cluster(
    cam_edge_mbps: float = 50.0,
    cloud_mbps: float = 20.0,
    edge_ratio: float = 1.0,
    deviation: float = 0.0,
    edge: bool = True,
) -> Cluster:
    """A camera, perhaps an edge node, a cloud machine; links the same both ways."""
    nodes = {
        "cam": NodeCost("cam", DEVICE, CAM),
        "edge": NodeCost("edge", EDGE, NEAR, edge_ratio),
        "cloud": NodeCost("cloud", CLOUD, FAR),
    }
    ways = {
        ("cam", "edge"): cam_edge_mbps,
        ("cam", "cloud"): cloud_mbps,
        ("edge", "cloud"): cloud_mbps,
    }
    if not edge:
        del nodes["edge"]
    links = {
        pair: LinkCost(0.002, mbps * 125_000, deviation)
        for (a, b), mbps in ways.items()
        if a in nodes and b in nodes
        for pair in ((a, b), (b, a))
    }
    return Cluster(nodes, links, "cam")


@dataclass
class Asked:
    """A policy, and what became of what it chose."""

    policy: Policy
    cluster: Cluster = field(default_factory=cluster)
    spec: Spec = SPEC
    now_s: float = 1000.0
    plan: Plan | None = None
    since_s: float = 0.0
    seq: int = 0
    lately: dict[str, Lately] = field(default_factory=dict)
    on_trial: dict[str, Lately] = field(default_factory=dict)
    refuses: Callable[[str], bool] = lambda line: False
    """Whether a placement line cannot be prepared."""
    shunned: tuple[str, ...] = ()
    waiting: int = 0
    is_draining: bool = False
    prices: Prices = field(default_factory=Prices)
    tried: list[str] = field(default_factory=list)
    """Placement lines in the order in which they ran."""
    choices: list[Choice] = field(default_factory=list)

    @property
    def line(self) -> str:
        """What runs."""
        assert self.plan is not None
        return self.plan.variants[0]

    def question(self) -> Question:
        """As things are now."""
        asked = Question(
            *(self.spec, GRAPH, self.cluster, self.shunned, self.now_s),
            plan=self.plan,
            since_s=self.since_s,
            measured=self.lately,
            waiting=self.waiting,
            is_draining=self.is_draining,
            keepers=frozenset(self.cluster.nodes),
        )
        if self.plan is None:
            return asked
        now = standing(self.spec, GRAPH, self.cluster, self.line)
        return Question(
            *(self.spec, GRAPH, self.cluster, self.shunned, self.now_s),
            plan=self.plan,
            standing=now,
            told_s=self.prices.as_told(self.plan, now.seconds, self.lately.get(str(self.plan.id))),
            since_s=self.since_s,
            measured=self.lately,
            tried=self.on_trial,
            waiting=self.waiting,
            is_draining=self.is_draining,
            keepers=asked.keepers,
        )

    def first(self) -> str:
        """A plan that is needed."""
        self.plan = None
        self._commit(self.policy.first(self.question()))
        return self.line

    def review(self, seconds: float = 0.25) -> Choice | None:
        """Time passes, and the policy is asked; what it chooses runs, if it can be prepared."""
        self.now_s += seconds
        choice = self.policy.review(self.question())
        if choice is not None:
            self.choices.append(choice)
            self._commit(choice.proposal)
        return choice

    def frame(self, took_s: float) -> None:
        """One more frame was measured under the running plan."""
        assert self.plan is not None
        name = str(self.plan.id)
        known = self.lately.get(name, Lately(name, 0, 0, ()))
        flights_s = (*known.flights_s, took_s)[-16:]
        self.lately[name] = Lately(name, 0, known.frames + 1, flights_s)

    def _commit(self, proposal: Proposal) -> None:
        line = format_placement(GRAPH, proposal.placement)
        if self.refuses(line):
            return
        self.seq += 1
        self.since_s = self.now_s
        self.tried.append(line)
        self.plan = Plan(
            id=PlanId(CLAIM, self.seq),
            deployment="job",
            model=self.spec.model,
            source="cam",
            sessions=dict.fromkeys(sorted({"cam"} | nodes_of(proposal.placement)), 1),
            variants=(line,),
            predicted_s=proposal.predicted_s,
            lower_bound_s=proposal.lower_bound_s,
            algorithm=proposal.algorithm,
            reason=proposal.reason[:2000],
            hash="0" * 64,
        )
