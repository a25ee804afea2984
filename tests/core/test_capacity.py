"""Several deployments under one leader: who is planned where, who waits, and that nobody swaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as changed
from math import exp

from msgspec.structs import replace

from edgeflow.cluster.membership import Membership
from edgeflow.costmodel.cost import CostModel
from edgeflow.costmodel.sharing import Place
from edgeflow.estimation.busyness import MEAN_S
from edgeflow.events import Publish
from edgeflow.layout.placement import nodes_named, parse_placement
from edgeflow.leader.capacity import BOOKED_S, REASK_S
from edgeflow.leader.lead import Lead
from edgeflow.messages import (
    DEVICE,
    EDGE,
    Caps,
    Claim,
    Held,
    Holding,
    LinkReport,
    Load,
    Notice,
    Plan,
    Rates,
    Spec,
    State,
    Status,
    Tier,
)
from edgeflow.model.graph import Graph
from edgeflow.planning.fit import busy_s
from edgeflow.plans.deployments import View
from edgeflow.policy.survey import survey
from edgeflow.sim.toy import MODEL, TOY

MINE = Claim(3, 1, "edge-9", 1)
SPEC = Spec("another", 1, MODEL, "toy", "cam-1", "cam-1")
STEP_S = 0.5
TOY_S = 0.052
"""Of the whole toy on an edge."""


class Shared:
    """edge-9 leads and computes nothing; the others hold at once what they are told to."""

    def __init__(self, **edges: float) -> None:
        self.members = Membership("edge-9", 1)
        self.members.on_broker(True, 0.0, reconnect=False)
        self.lead = Lead("edge-9", self.members)
        self.views: dict[str, View] = {}
        self.rates: dict[str, float] = {}
        """Frames a second that really come."""
        self.busy: dict[str, dict[str, float]] = {}
        self.free_bytes: dict[str, int] = {}
        """As nodes say; 0: they do not."""
        self.graph: Graph | None = TOY
        """As far as the leader knows it."""
        self.slower = 1.0
        """All nodes take so many times as long as their rates say."""
        self.now_s, self.seq = 100.0, 0
        self.lines: dict[str, list[str]] = {}
        """Every committed placement, one after the other."""
        self.told: list[str] = []
        self.frame_s: dict[str, Mapping[Place, float]] = {}
        """Of a placement, with nobody else there."""
        self.speeds: dict[str, tuple[Tier, float]] = {"cam-1": (DEVICE, 1e9)}
        for name, speed in (edges or {"edge_1": 1e10, "edge_2": 1e10}).items():
            self.join(name.replace("_", "-"), speed)
        self._introduce("cam-1")

    def join(self, name: str, speed: float) -> None:
        self.speeds[name] = (EDGE, speed)
        self._introduce(name)

    def _introduce(self, name: str) -> None:
        tier, speed = self.speeds[name]
        self.busy[name] = {}
        rates = Rates(speed, speed, speed, 1e-6)
        self.members.on_state(State(name, 1, 1, "ready"), retained=False, now_s=self.now_s)
        caps = Caps(name, 1, tier, "", "", 1, 1, (), (), rates, True, True, (), "")
        self.members.on_caps(caps, retained=False)

    def die(self, name: str) -> None:
        """It falls silent."""
        del self.speeds[name], self.busy[name]

    def deploy(self, name: str, fps: float, *, rate_fps: float = 0.0, **wish: object) -> None:
        generation = self.views[name].spec.generation + 1 if name in self.views else 1  # type: ignore[union-attr]
        given = {"tiles": False, "fallbacks": False, "rate_fps": rate_fps, **wish}
        spec = Spec(name, generation, MODEL, "toy", "cam-1", "cam-1", **given)  # type: ignore[arg-type]
        self.views.setdefault(name, View(name)).spec = spec
        self.rates[name] = fps

    def undeploy(self, name: str) -> None:
        view = self.views[name]
        assert view.spec is not None
        view.spec = replace(view.spec, generation=view.spec.generation + 1, removed=True)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def step(self) -> None:
        """Frames run, heartbeats come, the leader thinks, everybody does as told."""
        self.now_s += STEP_S
        self._work()
        self._hear()
        known = [(view, self.graph) for view in self.views.values()]
        for effect in self.lead.tick_all(known, MINE, self.now_s):
            if isinstance(effect, Publish) and isinstance(effect.message, Notice):
                self.told.append(effect.message.sentence)
        for view in self.views.values():
            self._obey(view)

    def _work(self) -> None:
        """Shares of the nodes go 1 - exp(-step / MEAN_S) of the way to what runs now."""
        for node in self.busy:
            running = {name: self._share(name, node) for name in self.views}
            crowd = max(1.0, sum(running.values()))
            for name, share in running.items():
                was = self.busy[node].get(name, 0.0)
                gone = 1 - exp(-STEP_S / MEAN_S)
                self.busy[node][name] = was + (share / crowd - was) * gone

    def _share(self, name: str, node: str) -> float:
        plan = self.plan(name)
        if plan is None:
            return 0.0
        line = plan.variants[0]
        if line not in self.frame_s:
            alone = survey(self.members, "cam-1", MODEL, self.now_s)
            terms = CostModel(TOY, alone).evaluate(parse_placement(TOY, line))
            self.frame_s[line] = busy_s(alone, terms)
        return self.rates[name] * self.frame_s[line].get((node, node), 0.0)

    def _hear(self) -> None:
        self.seq += 1
        for name in self.speeds:
            others = self.speeds.keys() - {name}
            links = {other: LinkReport(True, 0.001, 1e8, 0, 9) for other in others}
            busy = {each: share for each, share in self.busy[name].items() if share > 0.005}
            slower = {MODEL: self.slower}
            load = Load(name, 1, self.seq, 0, 0, None, False, 0, 0, links, None, {}, slower)
            free = self.free_bytes.get(name, 0)
            self.members.on_load(replace(load, busy=busy, memory_free_bytes=free), self.now_s)

    def _obey(self, view: View) -> None:
        board = view.board
        assert board is not None
        plans = [plan for plan in (board.committed, board.preparing) if plan is not None]
        if board.committed is not None:
            seen = self.lines.setdefault(view.name, [])
            if seen[-1:] != [board.committed.variants[0]]:
                seen.append(board.committed.variants[0])
        for node in self.speeds:
            status = {True: "active", False: "ready"}
            holdings = tuple(
                Holding(plan.id, plan.hash, status[plan is board.committed], 1, 1)
                for plan in plans
                if node in plan.sessions
            )
            view.helds[node] = Held(view.name, node, 1, holdings)

    def plan(self, name: str) -> Plan | None:
        board = self.views[name].board
        return board.committed if board is not None else None

    def nodes(self, name: str) -> set[str]:
        """Who computes for it; nobody where it waits."""
        plan = self.plan(name)
        return set(nodes_named(plan.variants[0])) if plan is not None else set()

    def status(self, name: str) -> Status:
        status = self.lead.watches[name].status
        assert status is not None
        return status


def test_two_deployments_are_drawn_apart_onto_two_equal_edges() -> None:
    fleet = Shared()
    fleet.deploy("day", 8.0)
    fleet.deploy("night", 8.0)
    fleet.run(60)
    assert {frozenset(fleet.nodes("day")), frozenset(fleet.nodes("night"))} == {
        frozenset({"edge-1"}),
        frozenset({"edge-2"}),
    }


def test_two_that_crowd_one_node_do_not_both_leave_nor_swap_for_ever() -> None:
    """Both see the same crowd at the same time; the second one sees the first one gone."""
    fleet = Shared()
    fleet.deploy("day", 8.0)
    fleet.deploy("night", 8.0)
    fleet.run(400)
    changes = [len(lines) - 1 for lines in fleet.lines.values()]
    assert sorted(changes) == [0, 1], fleet.lines


def test_three_on_two_edges_come_to_rest() -> None:
    fleet = Shared()
    for name, fps in (("a", 6.0), ("b", 6.0), ("c", 6.0)):
        fleet.deploy(name, fps)
    fleet.run(400)
    changes = sum(len(lines) - 1 for lines in fleet.lines.values())
    assert changes <= 3, fleet.lines
    assert {*fleet.nodes("a"), *fleet.nodes("b"), *fleet.nodes("c")} >= {"edge-1", "edge-2"}


def test_its_own_share_never_counts_against_a_deployment() -> None:
    fleet = Shared(edge_1=1e10, edge_2=9e9)
    fleet.deploy("day", 17.0)
    fleet.run(120)
    assert fleet.lines["day"] == ["stem..head @edge-1"]
    assert fleet.status("day").predicted_s < 1.3 * TOY_S


def test_a_rate_that_was_said_is_kept_free_before_a_frame_came() -> None:
    fleet = Shared()
    fleet.deploy("day", 0.0, rate_fps=12.0)
    fleet.deploy("night", 0.0, rate_fps=12.0)
    fleet.run(20)
    assert fleet.nodes("day") != fleet.nodes("night")
    assert [len(lines) for lines in fleet.lines.values()] == [1, 1], "planned apart at once"
    fleet.run(60)
    fleet.deploy("third", 0.0, rate_fps=12.0)
    fleet.run(10)
    assert fleet.status("third").phase == "impossible"


def test_what_does_not_fit_is_refused_with_the_reason_and_evicts_nobody() -> None:
    fleet = Shared()
    fleet.deploy("day", 12.0, rate_fps=12.0)
    fleet.deploy("night", 12.0, rate_fps=12.0)
    fleet.run(30)
    before = dict(fleet.lines)
    fleet.deploy("third", 12.0, rate_fps=12.0)
    fleet.run(60)
    assert fleet.nodes("third") == set()
    assert fleet.status("third").phase == "impossible"
    sentence = fleet.status("third").sentence
    assert "no plan of toy keeps up with 12 frames/s: edge-" in sentence
    assert "where 0.28 s is left beside " in sentence
    assert fleet.lines == before
    assert fleet.status("day").phase == fleet.status("night").phase == "running"


def test_a_refused_one_runs_once_another_was_removed() -> None:
    fleet = Shared()
    for name in ("day", "night", "third"):
        fleet.deploy(name, 12.0, rate_fps=12.0)
    fleet.run(30)
    assert fleet.status("third").phase == "impossible"
    fleet.undeploy("day")
    fleet.run(5)
    assert fleet.status("third").phase == "running"
    assert fleet.nodes("third").isdisjoint(fleet.nodes("night"))


def test_a_refused_one_runs_once_a_node_joins() -> None:
    fleet = Shared()
    for name in ("day", "night", "third"):
        fleet.deploy(name, 12.0, rate_fps=12.0)
    fleet.run(30)
    fleet.join("edge-3", 1e10)
    fleet.run(5)
    assert fleet.nodes("third") == {"edge-3"}


def test_what_a_best_effort_deployment_takes_now_is_not_free_for_a_promise() -> None:
    fleet = Shared(edge_1=1e10)
    fleet.deploy("best-effort", 14.0)
    fleet.run(30)
    fleet.deploy("day", 8.0, rate_fps=8.0)
    fleet.run(20)
    assert fleet.status("day").phase == "impossible"
    assert "is left beside best-effort" in fleet.status("day").sentence
    fleet.rates["best-effort"] = 4.0
    fleet.run(30)
    assert fleet.status("day").phase == "running"


def test_a_plan_is_booked_until_heartbeats_tell_of_it() -> None:
    fleet = Shared()
    fleet.deploy("day", 10.0)
    fleet.run(40)
    capacity, (old,) = fleet.lead.replan.capacity, fleet.nodes("day")
    assert capacity.use("day", fleet.now_s).busy[old, old] > 0.4
    other = ({"edge-1", "edge-2"} - {old}).pop()
    fleet.deploy("day", 10.0, placement=f"stem..head @{other}")
    fleet.step()
    fleet.step()
    moved = capacity.use("day", fleet.now_s).busy
    assert moved.get((old, old), 0.0) == 0.0, "heartbeats still tell of it there"
    assert moved[other, other] > 0.4
    fleet.run(BOOKED_S + 5)
    assert capacity.use("day", fleet.now_s).busy[other, other] > 0.4


def test_accounts_of_removed_deployments_are_closed() -> None:
    fleet = Shared()
    fleet.deploy("day", 10.0)
    fleet.run(5)
    assert list(fleet.lead.replan.capacity.accounts) == ["day"]
    fleet.undeploy("day")
    fleet.run(5)
    assert fleet.lead.replan.capacity.accounts == {}


def test_when_a_node_dies_the_oldest_keep_and_the_youngest_waits_and_says_for_whom() -> None:
    fleet = Shared()
    fleet.deploy("zebra", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.deploy("ant", 12.0, rate_fps=12.0)
    fleet.run(20)
    (mine,) = fleet.nodes("zebra")
    fleet.die(mine)
    fleet.run(20)
    assert fleet.status("zebra").phase == "running"
    assert fleet.nodes("zebra") == {"edge-1", "edge-2"} - {mine}
    assert fleet.status("ant").phase == "impossible"
    assert fleet.nodes("ant") == set()
    assert "is left beside zebra" in fleet.status("ant").sentence
    fleet.join("edge-3", 1e10)
    fleet.run(10)
    assert fleet.nodes("ant") == {"edge-3"}
    assert [len(set(lines)) for lines in fleet.lines.values()] == [2, 2]


def test_who_has_another_way_makes_room_and_runs_on() -> None:
    """Where the older one fits on one node only, the younger one has to go elsewhere."""
    fleet = Shared(edge_1=1e10, edge_2=1e10, edge_3=5e9)
    fleet.deploy("old", 14.0, rate_fps=14.0)
    fleet.run(20)
    fleet.deploy("young", 6.0, rate_fps=6.0)
    fleet.run(20)
    (mine,) = fleet.nodes("old")
    (other,) = fleet.nodes("young")
    assert {mine, other} == {"edge-1", "edge-2"}
    fleet.die(mine)
    fleet.run(20)
    assert fleet.nodes("old") == {other}
    assert fleet.nodes("young") == {"edge-3"}
    assert fleet.status("young").phase == "running"


def test_the_order_outlives_a_leader() -> None:
    fleet = Shared()
    fleet.deploy("zebra", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.deploy("ant", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.deploy("zebra", 12.0, rate_fps=12.0, deadline_s=20.0)
    fleet.run(5)  # it has a newer plan than the other one
    fleet.lead = Lead("edge-9", fleet.members)
    fleet.run(20)
    capacity = fleet.lead.replan.capacity
    assert capacity.younger("zebra") == ["ant"]
    assert capacity.younger("ant") == []
    fleet.views = {name: fleet.views[name] for name in ("ant", "zebra")}
    fleet.die(*fleet.nodes("zebra"))
    fleet.run(20)
    assert fleet.status("zebra").phase == "running"
    assert fleet.status("ant").phase == "impossible"


def test_a_new_leader_knows_of_all_before_it_plans_one() -> None:
    fleet = Shared()
    for name in ("night", "day"):
        fleet.deploy(name, 12.0, rate_fps=12.0)
        fleet.run(20)
    fleet.views = {name: fleet.views[name] for name in ("day", "night")}
    fleet.die(*fleet.nodes("day"))
    fleet.run(2)  # the dead one is still believed alive
    fleet.lead = Lead("edge-9", fleet.members)
    fleet.run(20)
    assert [len(lines) for lines in fleet.lines.values()] == [1, 1]
    assert fleet.status("day").phase == "impossible"
    assert "is left beside night" in fleet.status("day").sentence


def test_what_others_take_counts_before_their_model_is_here() -> None:
    """As heartbeats tell it."""
    fleet = Shared()
    fleet.deploy("night", 10.0)
    fleet.run(30)
    (mine,) = fleet.nodes("night")
    fleet.lead, fleet.graph = Lead("edge-9", fleet.members), None
    fleet.step()
    (use,) = fleet.lead.replan.capacity.sharing(SPEC, fleet.now_s).others
    assert use.busy[mine, mine] > 0.4
    fleet.graph = TOY
    fleet.step()
    assert fleet.lead.replan.capacity.accounts["night"].frame_s[mine, mine] > 0


def test_both_lost_their_node_and_only_one_fits_the_older_one_gets_it() -> None:
    fleet = Shared(edge_1=2e10, edge_2=1e10)
    fleet.deploy("zebra", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.deploy("ant", 12.0, rate_fps=12.0)
    fleet.run(20)
    assert fleet.nodes("zebra") == fleet.nodes("ant") == {"edge-1"}
    fleet.views = {name: fleet.views[name] for name in ("ant", "zebra")}
    fleet.die("edge-1")
    fleet.run(30)
    assert fleet.nodes("zebra") == {"edge-2"}
    assert fleet.status("ant").phase == "impossible"


def test_best_effort_is_not_stopped_for_a_promise_but_priced() -> None:
    fleet = Shared()
    fleet.deploy("day", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.deploy("best-effort", 12.0)
    fleet.run(20)
    (mine,) = fleet.nodes("day")
    fleet.die(mine)
    fleet.run(40)
    assert fleet.status("day").phase == fleet.status("best-effort").phase == "running"
    assert fleet.nodes("day") == {"edge-1", "edge-2"} - {mine}


def test_a_refusal_is_planned_again_only_as_things_change() -> None:
    fleet = Shared()
    for name in ("day", "night", "third"):
        fleet.deploy(name, 12.0, rate_fps=12.0)
    fleet.run(30)
    asked = set()
    for _ in range(round(3 * REASK_S / STEP_S)):
        fleet.step()
        asked.add(fleet.lead.replan.capacity.refusals["third"].at_s)
    assert 3 <= len(asked) <= 4


def test_a_node_that_has_no_link_yet_makes_a_refusal_looked_at_again() -> None:
    """A laptop that asks for the status of a fleet is such a node."""
    fleet = Shared()
    for name in ("day", "night", "third"):
        fleet.deploy(name, 12.0, rate_fps=12.0)
    fleet.run(30)
    capacity, spec = fleet.lead.replan.capacity, fleet.views["third"].spec
    assert spec is not None
    cluster = capacity.cluster(spec, fleet.now_s)
    assert capacity.refused(spec, cluster, fleet.now_s) is not None
    laptop = changed(cluster.nodes["edge-1"], name="laptop", rates=None)
    joined = changed(cluster, nodes={**cluster.nodes, "laptop": laptop})
    assert capacity.refused(spec, joined, fleet.now_s) is None


WEIGHTS_BYTES = 2 * sum(weight.nbytes for weight in TOY.weights.values())


def test_memory_that_others_took_is_not_planned_with() -> None:
    fleet = Shared(edge_1=1e10, edge_2=5e9)
    fleet.free_bytes = {"edge-1": 2 * WEIGHTS_BYTES, "edge-2": 2 * WEIGHTS_BYTES}
    fleet.deploy("day", 1.0)
    fleet.run(20)
    assert fleet.nodes("day") == {"edge-1"}
    fleet.free_bytes["edge-1"] = WEIGHTS_BYTES // 3
    fleet.deploy("night", 1.0)
    fleet.run(20)
    assert fleet.nodes("night") == {"edge-2"}
    fleet.deploy("night", 1.0, placement="stem @edge-1 | left..head @edge-2")
    fleet.run(20)
    assert "edge-1" in fleet.nodes("night"), "by hand"
    assert fleet.lines["day"] == ["stem..head @edge-1"], "it has built that already"


def test_memory_that_others_are_about_to_take_is_not_free() -> None:
    fleet = Shared(edge_1=1e10, edge_2=5e9)
    fleet.free_bytes = {"edge-1": WEIGHTS_BYTES * 3 // 2, "edge-2": 2 * WEIGHTS_BYTES}
    fleet.deploy("day", 1.0)
    fleet.deploy("night", 1.0)
    fleet.run(6)
    assert [lines[0] for lines in fleet.lines.values()] == [
        "stem..head @edge-1",
        "stem..head @edge-2",
    ]


def test_a_deployment_that_is_alone_is_not_limited() -> None:
    fleet = Shared(edge_1=1e10, edge_2=5e9)
    fleet.free_bytes = {"edge-1": WEIGHTS_BYTES // 3}
    fleet.deploy("day", 1.0)
    fleet.run(10)
    assert fleet.nodes("day") == {"edge-1"}


def test_a_fallback_may_be_too_slow_for_the_rate_that_was_said() -> None:
    """Until the leader has decided who waits, slow is better than not at all."""
    fleet = Shared(edge_1=1e10, edge_2=4e9)
    fleet.deploy("day", 12.0, rate_fps=12.0, fallbacks=True)
    fleet.run(20)
    plan = fleet.plan("day")
    assert plan is not None
    assert plan.variants[:2] == ("stem..head @edge-1", "stem..head @edge-2")


def test_who_runs_runs_on_where_nothing_fits_any_more() -> None:
    fleet = Shared()
    fleet.deploy("day", 12.0, rate_fps=12.0)
    fleet.run(20)
    fleet.slower = 3.0
    for _ in range(80):
        fleet.step()
        assert fleet.status("day").phase == "running"
    assert len(fleet.lines["day"]) == 1
    fleet.deploy("night", 12.0, rate_fps=12.0)
    fleet.run(10)
    assert fleet.status("night").phase == "impossible"
