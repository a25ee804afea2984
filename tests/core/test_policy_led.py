"""Policies at the leader: asked at once after news, else seldom; trials as plans of the board."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeflow.cli.deploy import check_policy, read_wishes
from edgeflow.cluster.membership import Membership
from edgeflow.errors import UsageError
from edgeflow.leader.lead import Lead
from edgeflow.leader.news import LOOKS
from edgeflow.leader.replan import NEWS_S, REVIEW_S
from edgeflow.messages import (
    CLOUD,
    DEVICE,
    EDGE,
    Board,
    Caps,
    Claim,
    Held,
    Holding,
    Lately,
    LinkReport,
    Load,
    Metrics,
    Plan,
    Rates,
    State,
)
from edgeflow.plans.deployments import View
from edgeflow.policy import POLICIES, policy_of
from tests.core.asking import CAM, FAR, GRAPH, NEAR, SPEC

MINE = Claim(3, 1, "edge-9", 1)
FLEET = {"cam": (DEVICE, CAM), "edge": (EDGE, NEAR), "cloud": (CLOUD, FAR)}


class Led:
    """edge-9 leads; whatever is prepared is ready at once, and frames are measured."""

    def __init__(self, policy: str = "mincut") -> None:
        self.members = Membership("edge-9", 1)
        self.members.on_broker(True, 0.0, reconnect=False)
        self.lead, self.now_s, self.seq = Lead("edge-9", self.members), 100.0, 0
        self.view = View("job", replace(SPEC, policy=policy))
        self.mbps = dict.fromkeys(FLEET, 50.0)
        self.ratio = dict.fromkeys(FLEET, 1.0)
        self.looks = 0
        self.lately: dict[str, Lately] = {}
        self.ran: list[str] = []
        for name, (tier, rates) in FLEET.items():
            self.introduce(name, rates)
            assert tier in (DEVICE, EDGE, CLOUD)

    def introduce(self, name: str, rates: Rates) -> None:
        tier = FLEET[name][0]
        self.members.on_state(State(name, 1, 1, "ready"), retained=False, now_s=0.0)
        caps = Caps(name, 1, tier, "", "", 1, 1, (), (), rates, True, True, (), "")
        self.members.on_caps(caps, retained=False)

    def beat(self, *names: str) -> None:
        """Heartbeats."""
        self.seq += 1
        for name in names or FLEET:
            links = {
                other: LinkReport(
                    True, 0.002, min(self.mbps[name], self.mbps[other]) * 125_000, 0, 9
                )
                for other in FLEET
                if other != name
            }
            ratio = {SPEC.model: self.ratio[name]}
            load = Load(name, 1, self.seq, 0, 0, None, False, 0, 0, links, None, {}, ratio)
            self.members.on_load(replace(load, compute_deviation={SPEC.model: 0.01}), self.now_s)

    def tick(self, seconds: float = 0.1) -> None:
        """Time passes; everybody holds what the board names."""
        self.now_s += seconds
        before = self.reviewed_s
        self.lead.tick(self.view, GRAPH, MINE, self.now_s)
        self.looks += self.reviewed_s != before
        board = self.view.board
        assert board is not None
        plans = [plan for plan in (*board.draining, board.committed, board.preparing) if plan]
        for node in FLEET:
            mine = [
                Holding(plan.id, plan.hash, self._status(plan, board, node), 1, 1)
                for plan in plans
                if node in plan.sessions
            ]
            self.view.helds[node] = Held("job", node, 1, tuple(mine), keeps_model=True)
        if board.committed is not None and board.committed.variants[0] not in self.ran[-1:]:
            self.ran.append(board.committed.variants[0])

    def _status(self, plan: Plan, board: Board, node: str) -> str:
        return "active" if plan == board.committed and node == plan.source else "ready"

    @property
    def reviewed_s(self) -> float:
        watch = self.lead.watches.get("job")
        return watch.reviewed_s if watch is not None else 0.0

    def run(self, seconds: float) -> None:
        """Ticks ten times a second, heartbeats once."""
        for at in range(round(seconds * 10)):
            if at % 10 == 0:
                self.beat()
            self.tick()

    def frame(self, took_s: float) -> None:
        """One more was measured at the source."""
        assert self.view.board is not None
        assert self.view.board.committed is not None
        name = str(self.view.board.committed.id)
        known = self.lately.pop(name, Lately(name, 0, 0, ()))
        flights_s = (*known.flights_s, took_s)[-16:]
        self.lately[name] = Lately(name, 0, known.frames + 1, flights_s)
        lately = tuple(self.lately.values())[-4:]
        self.view.metrics = Metrics("job", "cam", 1, 1, 0, 0, 0, 1.0, 0.1, 0.1, lately)


def test_a_step_is_followed_within_the_look_after_the_news() -> None:
    led = Led()
    led.run(10.0)
    assert led.ran == ["cast..fc @cloud"]
    led.run(REVIEW_S * 0.3)
    led.mbps["cloud"] = 4.0
    led.beat()
    led.now_s += NEWS_S
    led.tick()
    led.tick()
    assert len(led.ran) == 2, "not even half of REVIEW_S has passed"


def test_noise_is_no_news_and_news_are_rationed() -> None:
    led = Led()
    led.run(10.0)
    led.looks = 0
    for at in range(20):
        led.mbps["cloud"] = (48.0, 52.0)[at % 2]
        led.run(1.0)
    assert led.looks <= 20 / REVIEW_S + 1
    led.looks = 0
    for at in range(120):
        led.mbps["edge"] = (20.0, 60.0)[at % 2]
        led.run(0.5)
    assert 60 / REVIEW_S < led.looks <= 60 / REVIEW_S + LOOKS + 60 / 6 + 5


def test_what_happens_far_away_is_no_news() -> None:
    """A link that takes a few hundredths of a frame for its input may take half of that."""
    led = Led()
    led.mbps = {"cam": 50.0, "edge": 1e4, "cloud": 1e4}
    led.run(10.0)
    led.looks = 0
    for at in range(20):
        led.mbps["edge"] = (1e4, 500.0)[at % 2]
        led.run(1.0)
    assert led.looks <= 20 / REVIEW_S + 1


def test_a_loaded_node_is_left_within_the_look_after_its_heartbeat() -> None:
    led = Led()
    led.run(10.0)
    led.ratio["cloud"] = 8.0
    led.beat("cloud")
    led.now_s += NEWS_S
    led.tick()
    led.tick()
    assert led.ran[-1] != "cast..fc @cloud"


@pytest.mark.parametrize("policy", ["partnner", "profile-first"])
def test_a_search_runs_through_the_board_and_settles(policy: str) -> None:
    led = Led(policy)
    led.run(5.0)
    for _ in range(60):
        assert led.view.board is not None
        assert led.view.board.committed is not None
        line = led.view.board.committed.variants[0]
        led.frame(0.05 if line == "cast..mean @cam | fc @cloud" else 0.2)
        led.run(0.5)
    assert led.ran[-1] == "cast..mean @cam | fc @cloud"
    count = len(set(led.ran))
    assert count == 14 if policy == "profile-first" else count < 10


def test_an_unknown_policy_that_comes_by_wire_is_impossible_and_the_names_are_told() -> None:
    led = Led("guesswork")
    led.run(2.0)
    status = led.lead.watches["job"].status
    assert status is not None
    assert status.phase == "impossible"
    assert "no policy 'guesswork': choose of mincut, hpa, partnner" in status.sentence


def test_another_policy_is_taken_up_where_it_is_wished_for() -> None:
    led = Led("static")
    led.run(10.0)
    led.mbps["cloud"] = 2.0
    led.run(20.0)
    assert led.ran == ["cast..fc @cloud"]
    assert led.view.spec is not None
    led.view.spec = replace(led.view.spec, policy="mincut", generation=2)
    led.run(5.0)
    assert led.ran[-1] != "cast..fc @cloud"


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "brute"])
def test_every_policy_has_a_first_plan(name: str) -> None:
    led = Led(name)
    led.run(3.0)
    assert led.ran
    assert policy_of(replace(SPEC, policy=name)).is_searching(0.0) is False


def test_deploying_refuses_a_policy_that_nobody_knows(tmp_path: Path) -> None:
    assert check_policy("hpa") == "hpa"
    with pytest.raises(UsageError, match="no policy 'x': choose of mincut, hpa"):
        check_policy("x")
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "m.safetensors"\npolicy = "x"\n')
    with pytest.raises(UsageError, match=r"wishes\.toml: deployment 1: no policy 'x'"):
        read_wishes(path)
