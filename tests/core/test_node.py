"""A whole core: what it says when it is spoken to, and what it lets go of."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest
from msgspec.structs import replace

from edgeflow.cluster.membership import DEAD_S
from edgeflow.codec import plan_hash
from edgeflow.estimation.link import WINDOW
from edgeflow.events import (
    Asked,
    BlobsChecked,
    BrokerDown,
    BrokerUp,
    Calibrated,
    Deliver,
    Effect,
    Event,
    Heard,
    LinkDown,
    LinkUp,
    ManifestLoaded,
    OpenLink,
    Publish,
    Release,
    RunSegment,
    Sampled,
    SegmentBuilt,
    SegmentDone,
    SegmentKey,
    SendSignal,
    SendTensors,
    Signal,
    Stop,
    Submitted,
    Tensors,
    Tick,
    Transferred,
    Wanted,
)
from edgeflow.frames.explore import Explorer
from edgeflow.messages import (
    CLOUD,
    DEVICE,
    EDGE,
    Board,
    Caps,
    Claim,
    Failure,
    Frame,
    Held,
    LayerTimes,
    Leader,
    LinkReport,
    Load,
    Outcome,
    Plan,
    PlanId,
    Rates,
    Refusal,
    Request,
    Response,
    Result,
    Spec,
    State,
    Submit,
    TensorHead,
    Tier,
)
from edgeflow.mind.beliefs import listen, priced
from edgeflow.mind.duties import DRAIN_S, REPUBLISH_S
from edgeflow.mind.node import NodeCore
from edgeflow.mind.timesheet import RETELL_S
from edgeflow.sim.toy import MODEL, TOY

RATES = Rates(1e9, 1e9, 1e9, 1e-6)
TIERS = {"cam-1": DEVICE, "edge-1": EDGE, "edge-2": EDGE, "cloud-1": CLOUD}
SPEC = Spec("job", 1, MODEL, "toy", "cam-1", "cam-1")
LEADER = Claim(1, 9, "edge-9", 1)
SPLIT = "stem @cam-1 | left..join @edge-1 | squeeze..head @cloud-1"
IMAGE = (TensorHead("image", "float32", (1, 3, 112, 112)),)


def caps(name: str, tier: Tier, session: int = 1) -> Caps:
    return Caps(name, session, tier, "", "", 1, 1, (), (), RATES, True, True, (), "")


def load(name: str, seq: int, session: int = 1, claim: Claim | None = None) -> Load:
    return Load(name, session, seq, 0, 0, None, False, 0, 0, {}, claim, {}, {})


def plan(seq: int = 1, line: str = SPLIT, *fallbacks: str) -> Plan:
    lines = (line, *fallbacks)
    nodes = {name: 1 for name in TIERS if name == "cam-1" or f"@{name}" in " ".join(lines)}
    name = PlanId(LEADER, seq)
    made = Plan(name, "job", MODEL, "cam-1", nodes, lines, 0.01, 0.01, "x", "y", "0" * 64)
    return replace(made, hash=plan_hash(made))


class Node:
    """One core among peers that are all there and linked."""

    def __init__(self, name: str) -> None:
        self.core = NodeCore(caps(name, TIERS[name]))
        self.name, self.now_s, self.seq, self.bundle = name, 10.0, 0, 0
        self.others = [other for other in TIERS if other != name]
        self.hear(BrokerUp(1))
        self.hear(Calibrated(RATES))
        for other in self.others:
            self.say(State(other, 1, 1, "ready"))
            self.say(caps(other, TIERS[other]))
        self.beat()
        self.tick()
        for other in self.others:
            self.hear(LinkUp(other, 1))

    def hear(self, event: Event) -> list[Effect]:
        return self.core.handle(event, self.now_s)

    def say(self, message: object, retained: bool = False) -> list[Effect]:
        return self.hear(Heard(message, retained))  # type: ignore[arg-type]

    def beat(self, *silent: str) -> None:
        """A heartbeat of everybody, this node's own included, and of a leader."""
        self.seq += 1
        for name in {*TIERS} - {*silent}:
            self.say(load(name, self.seq))
        self.say(Leader(LEADER, 2.0, self.seq))

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        """So much time passes, in ticks."""
        effects = self.hear(Tick()) if not seconds else []
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            effects += self.hear(Tick())
        return effects

    def board(self, **words: object) -> list[Effect]:
        words = {"preparing": None, "committed": None, **words}
        return self.say(Board("job", LEADER, 1, **words))  # type: ignore[arg-type]

    def hold(self, wanted: Plan, committed: bool = True) -> None:
        """Bring a plan to READY here, and commit it."""
        self.hear(ManifestLoaded(MODEL, TOY))
        self.board(**{"committed" if committed else "preparing": wanted})
        self.hear(BlobsChecked(MODEL, wanted.hash, ()))
        self.hear(SegmentBuilt(SegmentKey(wanted.hash, 0, 1), "torch"))
        assert self.core.parts.holdings.ready(wanted.hash, wanted.id) is not None

    def submit(self, token: int) -> list[Effect]:
        self.bundle += 1
        return self.hear(Submitted(token, "job", self.bundle, IMAGE, 150528, 5.0))


def said(effects: list[Effect], kind: type[Any]) -> list[Any]:
    return [e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, kind)]


def sent(effects: list[Effect]) -> list[SendTensors]:
    return [effect for effect in effects if isinstance(effect, SendTensors)]


@pytest.fixture
def cam() -> Node:
    cam = Node("cam-1")
    cam.hear(Wanted(SPEC))
    return cam


@pytest.fixture
def edge() -> Node:
    return Node("edge-1")


# --- control ----------------------------------------------------------------------------------


def test_a_new_connection_says_state_and_caps_again(edge: Node) -> None:
    edge.hear(BrokerDown())
    effects = edge.hear(BrokerUp(2))
    assert said(effects, State) == [State("edge-1", 1, 2, "ready")]
    assert len(said(effects, Caps)) == 1


def test_an_emptied_broker_is_filled_again_each_period(cam: Node) -> None:
    effects = cam.tick(REPUBLISH_S + 0.1)
    assert said(effects, State)
    assert said(effects, Caps)
    assert said(effects, Spec) == [SPEC]


def test_a_will_of_its_own_dead_connection_is_corrected(edge: Node) -> None:
    effects = edge.say(State("edge-1", 1, 1, "lost"), retained=True)
    assert said(effects, State) == [State("edge-1", 1, 1, "ready")]
    assert edge.say(State("edge-1", 1, 1, "ready")) == []


def test_an_older_word_about_what_it_holds_is_corrected(edge: Node) -> None:
    edge.hold(plan())
    (truth,) = [message for message in said(edge.tick(3.0), Held)[-1:] if isinstance(message, Held)]
    assert [each.status for each in truth.plans] == ["ready"]
    stale = Held("job", "edge-1", 1, ())
    assert said(edge.say(stale, retained=True) + edge.tick(), Held) == [truth]
    assert said(edge.say(truth) + edge.tick(), Held) == []


def test_what_a_former_session_held_is_corrected_by_one_that_holds_nothing() -> None:
    edge = Node("edge-1")
    stale = Held("job", "edge-1", 0, ())
    effects = edge.say(stale, retained=True) + edge.tick()
    assert said(effects, Held) == [Held("job", "edge-1", 1, ())]


def test_a_retained_heartbeat_is_none(edge: Node) -> None:
    edge.tick(4.0)
    edge.say(load("cloud-1", 99), retained=True)
    assert not edge.core.parts.membership.is_alive("cloud-1", edge.now_s)


def test_the_highest_claim_is_told_on_by_gossip(edge: Node) -> None:
    higher = Claim(7, 1, "edge-3", 1)
    edge.say(load("cloud-1", 50, claim=higher))
    beat = said(edge.tick(1.1), Load)[-1]
    assert isinstance(beat, Load)
    assert beat.claim == higher


def test_a_heartbeat_says_with_what_the_node_is_busy(edge: Node) -> None:
    edge.core.parts.stage.busyness.on_start("job", 0.25, edge.now_s)
    beat = said(edge.tick(2.0), Load)[-1]
    assert isinstance(beat, Load)
    assert beat.busy["job"] > 0.2
    assert beat.wait_s == pytest.approx(0.25)


def test_a_refusal_tells_of_a_higher_claim_too(cam: Node) -> None:
    higher = PlanId(Claim(8, 1, "edge-3", 1), 1)
    cam.hear(Signal("edge-1", 1, Refusal("job", 1, 1, "not-held", higher)))
    assert cam.core.parts.election.highest == higher.claim


def test_a_leaders_own_board_that_comes_back_late_changes_nothing(cam: Node) -> None:
    parts, claim = cam.core.parts, Claim(5, 0, "cam-1", 1)
    parts.election = changed(parts.election, mine=claim, highest=claim)
    decided = Board("job", claim, 1, None, plan(2))
    parts.deployments.view("job").board = decided
    cam.say(replace(decided, committed=None, preparing=plan(2)))
    assert parts.deployments.view("job").board == decided


def test_requests_are_answered_and_unknown_ones_refused(edge: Node) -> None:
    (pong,) = said(edge.say(Request("edge-1", "ping", "7")), Response)
    assert isinstance(pong, Response)
    assert (pong.id, pong.status) == ("7", "ok")
    (no,) = said(edge.say(Request("edge-1", "dance", "8")), Response)
    assert isinstance(no, Response)
    assert "knows drain and ping" in no.error
    assert edge.say(Request("edge-1", "ping", "7"), retained=True) == []


# --- frames -----------------------------------------------------------------------------------


def test_a_worker_takes_runs_sends_on_and_releases(edge: Node) -> None:
    wanted = plan()
    edge.hold(wanted, committed=False)
    stem = (TensorHead("stem", "float32", (1, 32, 112, 112)),)
    frame = Frame("job", wanted.id, 0, wanted.hash, "cam-1", 1, 1, 1, 5.0, stem, 1)
    effects = edge.hear(Tensors("cam-1", 1, frame, 1, 1605632))
    assert effects == [RunSegment(1, SegmentKey(wanted.hash, 0, 1), (1,))]
    effects = edge.hear(SegmentDone(1, 2, 1605632, 0.01))
    assert [(each.peer, each.bundles) for each in sent(effects)] == [("cloud-1", (2,))]
    assert [each.bundle for each in effects if isinstance(each, Release)] == [1, 2]
    assert edge.core.parts.bundles.holders == {}


def test_a_node_tells_how_long_its_layers_take_when_that_is_news(edge: Node) -> None:
    wanted = plan()
    edge.hold(wanted, committed=False)
    key = SegmentKey(wanted.hash, 0, 1)
    mine = [layer.name for layer in TOY.layers if layer.name in plan_layers(edge, wanted)]
    edge.hear(SegmentBuilt(key, "torch", tuple(0.001 for _ in mine)))
    (told,) = said(edge.tick(3.0), LayerTimes)
    assert isinstance(told, LayerTimes)
    assert len(told.layers_us) == len(TOY.layers)
    assert sum(value > 0 for value in told.layers_us) == len(mine)
    assert edge.core.parts.membership.layers_s("edge-1", MODEL)
    assert said(edge.tick(5.0), LayerTimes) == []
    assert len(said(edge.tick(RETELL_S), LayerTimes)) == 1


def test_a_node_with_many_tiles_learns_its_speed_from_whole_frames(edge: Node) -> None:
    line = "stem @edge-1[0:56] edge-2[56:112] | left..join @edge-2[0:99] edge-1[99:112] | "
    wanted = plan(line=line + "squeeze..head @cloud-1")
    edge.hear(ManifestLoaded(MODEL, TOY))
    edge.board(preparing=wanted)
    parts = edge.core.parts
    (way,) = parts.holdings.plans[wanted.hash].ways
    long, short = way.segments
    way.predicted |= {long.at: (0.9, 1.0), short.at: (0.1, 1.0)}
    for _ in range(WINDOW):
        edge.core.upkeep.learn(way, long, TOY, 0.9)
        edge.core.upkeep.learn(way, short, TOY, 0.3)
    assert parts.ratios[MODEL].ratio == pytest.approx(1.2)
    assert parts.ratios[MODEL].samples == WINDOW


def plan_layers(node: Node, wanted: Plan) -> tuple[str, ...]:
    """The layers of a plan that a node computes."""
    ((_, segment),) = node.core.parts.holdings.plans[wanted.hash].segments
    return segment.layers


def test_a_frame_of_another_variant_is_refused(edge: Node) -> None:
    wanted = plan()
    edge.hold(wanted)
    frame = Frame("job", wanted.id, 1, wanted.hash, "cam-1", 1, 1, 1, 5.0, ())
    (refusal, release) = edge.hear(Tensors("cam-1", 1, frame, 1, 10))
    assert isinstance(refusal, SendSignal)
    assert isinstance(refusal.message, Refusal)
    assert refusal.message.code == "not-held"
    assert release == Release(1)


def test_a_source_that_computes_is_a_worker_like_any_other(cam: Node) -> None:
    wanted = plan(line="stem..head @cam-1")
    cam.hold(wanted)
    (run,) = cam.submit(1)
    assert isinstance(run, RunSegment)
    effects = cam.hear(SegmentDone(run.job, 77, 100, 0.01))
    delivered = [effect for effect in effects if isinstance(effect, Deliver)]
    assert [(each.token, each.code, each.bundles) for each in delivered] == [(1, "", (77,))]
    assert {each.bundle for each in effects if isinstance(each, Release)} == {1, 77}
    assert cam.core.parts.bundles.holders == {}


def test_parked_frames_leave_when_the_plan_becomes_active(cam: Node) -> None:
    wanted = plan(line="stem..head @edge-1")
    assert sent(cam.submit(1)) == []
    cam.hear(ManifestLoaded(MODEL, TOY))
    cam.board(preparing=wanted)
    assert sent(cam.tick()) == []
    (frame,) = sent(cam.board(committed=wanted))
    assert frame.peer == "edge-1"


def test_a_lost_node_in_the_middle_parks_the_frames_until_it_is_known_dead(cam: Node) -> None:
    cam.hold(plan(line="stem..join @edge-1 | squeeze..head @cloud-1"))
    assert len(sent(cam.submit(1))) == 1
    assert sent(cam.hear(LinkDown("cloud-1", 1))) == []
    assert sent(cam.tick(1.0)) == []
    frame = cam.core.parts.inflight.frames[1]
    assert (frame.flying, frame.spent) == (False, 1)
    assert len(sent(cam.hear(LinkUp("cloud-1", 1)))) == 1


def test_a_node_that_another_lost_is_in_no_fallback_that_is_taken(cam: Node) -> None:
    """Its death is not known here yet: the link to it, or the broker's word, takes longer."""
    ending = "squeeze..head @edge-2"
    last = "stem..head @cloud-1"
    cam.hold(plan(1, f"stem..join @edge-1 | {ending}", f"stem..join @cloud-1 | {ending}", last))
    (first,) = sent(cam.submit(1))
    assert isinstance(first.message, Frame)
    lost = Failure("job", 1, 1, "peer-lost", "edge-1 has no link to edge-2", "edge-2")
    (again,) = sent(cam.hear(Signal("edge-1", 1, lost)))
    assert isinstance(again.message, Frame)
    assert (again.peer, again.message.variant) == ("cloud-1", 2)
    cam.hear(LinkUp("edge-2", 1))
    (other,) = sent(cam.submit(2))
    assert isinstance(other.message, Frame)
    assert other.message.variant == 0, "its link is back"


def test_only_nodes_of_its_ways_ease_an_explorer(cam: Node) -> None:
    """Who hands frames in is a peer too, and gets idle whenever it likes."""
    cam.hold(plan(1, "stem..head @edge-1"))
    held = cam.core.parts.holdings.active_plan("job")
    assert held is not None
    explorer = Explorer(0.02)
    for seq, percent in enumerate((90, 0), 9):
        for name in ("edge-1", "cloud-1"):
            cam.say(replace(load(name, seq), cpu_percent=percent))
        listen(explorer, cam.core.parts, held, cam.now_s)
    assert explorer.eased == {"edge-1"}
    explorer.on_load({}, cam.now_s)
    assert explorer.eased == set()


def test_a_way_without_load_is_as_quick_as_its_nodes_ever_were(cam: Node) -> None:
    """Timed while they were cold, they are quicker than that: at four times that when busy."""
    cam.hold(plan(1, "stem..head @edge-1", "stem..head @cloud-1"))
    up = LinkReport(True, 0.001, 1e6, 0, 9)
    cam.tick(1.0)
    cam.say(replace(load("edge-1", 9), links={"cam-1": up}))
    cam.say(replace(load("cloud-1", 9), links={"cam-1": up}, compute_ratio={MODEL: 4.0}))
    parts, held = cam.core.parts, cam.core.parts.holdings.active_plan("job")
    assert held is not None

    def seconds(calm: dict[tuple[str, int], float]) -> tuple[float, float]:
        now, idle = priced(parts, held, TOY, calm, cam.now_s)
        return now["stem..head @cloud-1"], idle["stem..head @cloud-1"]

    now_s, timed_s = seconds({})
    assert now_s > timed_s
    assert seconds({("cloud-1", 1): 0.5})[0] == now_s
    assert seconds({("cloud-1", 1): 0.5})[1] < timed_s
    assert seconds({("cloud-1", 2): 0.5}) == (now_s, timed_s), "that was another session"


def test_a_silent_node_in_the_middle_parks_the_frames_too(cam: Node) -> None:
    cam.hold(plan(line="stem..join @edge-1 | squeeze..head @cloud-1"))
    cam.submit(1)
    frame = cam.core.parts.inflight.frames[1]
    frame.expires_s = 1e9
    for _ in range(4):
        cam.tick(1.0)
        cam.beat("cloud-1")
    assert not frame.flying
    assert frame.spent == 1


def test_frames_of_a_removed_deployment_end(cam: Node) -> None:
    cam.submit(1)
    effects = cam.say(replace(SPEC, generation=2, removed=True))
    assert [each.code for each in effects if isinstance(each, Deliver)] == ["removed"]


def test_frames_end_where_a_deployment_gets_another_source(cam: Node) -> None:
    cam.submit(1)
    effects = cam.say(replace(SPEC, generation=2, source="edge-1"))
    assert [each.code for each in effects if isinstance(each, Deliver)] == ["removed"]


def test_a_frame_for_an_unknown_deployment_is_an_error_at_once(edge: Node) -> None:
    effects = edge.submit(1)
    assert [each.code for each in effects if isinstance(each, Deliver)] == ["unknown-deployment"]
    assert Release(1) in effects


def submit_from_edge(cam: Node, budget_s: float = 5.0, deployment: str = "job") -> list[Outcome]:
    message = Submit(deployment, 3, budget_s, IMAGE)
    effects = cam.hear(Tensors("edge-1", 1, message, 90, 150528))
    return [each.message for each in sent(effects) if isinstance(each.message, Outcome)]


def test_a_stranger_submits_and_gets_the_outcome(cam: Node) -> None:
    wanted = plan(line="stem..head @edge-1")
    cam.hear(ManifestLoaded(MODEL, TOY))
    cam.board(committed=wanted)
    assert submit_from_edge(cam) == []
    head = (TensorHead("head", "float32", (1, 8, 28, 28)),)
    result = Result("job", wanted.id, 0, wanted.hash, 1, 1, 0.01, head)
    (answer,) = sent(cam.hear(Tensors("edge-1", 1, result, 91, 100)))
    assert isinstance(answer.message, Outcome)
    assert (answer.peer, answer.message.frame, answer.message.code) == ("edge-1", 3, "")


@pytest.mark.parametrize(
    ("budget_s", "deployment", "code"),
    [
        (5.0, "other", "unknown-deployment"),
        (float("nan"), "job", "deadline"),
        (0, "job", "deadline"),
    ],
)
def test_a_stranger_is_told_at_once_what_cannot_be(
    cam: Node, budget_s: float, deployment: str, code: str
) -> None:
    assert [each.code for each in submit_from_edge(cam, budget_s, deployment)] == [code]
    assert cam.core.parts.bundles.holders == {}


def test_a_strangers_next_session_gets_no_outcome_of_the_last(cam: Node) -> None:
    submit_from_edge(cam)
    cam.hear(LinkDown("edge-1", 1))
    assert cam.core.parts.inflight.frames == {}


# --- draining ---------------------------------------------------------------------------------


def test_a_drained_worker_stays_until_its_plans_are_retired(edge: Node) -> None:
    edge.hold(plan())
    edge.hear(Asked("a test"))
    assert Stop() not in edge.tick(1.0)
    edge.board(retired=PlanId(LEADER, 1))
    assert Stop() in edge.tick(0.1)


def test_a_drain_has_an_end(edge: Node) -> None:
    edge.hold(plan())
    edge.hear(Asked("a test"))
    assert Stop() in edge.tick(DRAIN_S + 0.2)


def test_a_drained_source_takes_no_more_frames(cam: Node) -> None:
    cam.submit(1)
    cam.hear(Asked("a test"))
    effects = cam.submit(2)
    assert [each.code for each in effects if isinstance(each, Deliver)] == ["draining"]
    assert [each.code for each in submit_from_edge(cam)] == ["draining"]
    assert Stop() not in cam.tick(1.0)
    assert Stop() in cam.tick(5.0)


# --- time -------------------------------------------------------------------------------------


def test_who_stood_still_declares_nobody_dead(edge: Node) -> None:
    edge.beat()
    edge.tick()
    edge.now_s += 30.0
    edge.hear(Tick())
    assert edge.core.parts.membership.is_alive("cloud-1", edge.now_s)
    assert edge.core.parts.election.mine is None


def test_a_loop_that_is_always_late_waits_longer(edge: Node) -> None:
    edge.beat()
    heard_s = edge.now_s
    while edge.now_s < heard_s + DEAD_S:
        edge.now_s += 0.5
        edge.hear(Tick())
    table = edge.core.parts.membership
    assert table.stretch_s == pytest.approx(0.4)
    assert table.is_alive("cam-1", heard_s + DEAD_S + 0.39)
    while edge.now_s < heard_s + 2 * DEAD_S:  # not for ever, though each tick is a small pause
        edge.now_s += 0.5
        edge.say(load("edge-1", edge.core.duties.seq))
        edge.hear(Tick())
    assert not table.is_alive("cam-1", edge.now_s)


def test_our_own_heartbeat_that_comes_back_late_stretches_too(edge: Node) -> None:
    edge.tick(1.1)
    while not (beats := said(edge.tick(0.1), Load)):
        pass
    edge.tick(1.6)
    edge.say(beats[0])
    assert edge.core.parts.election.stretch_s == pytest.approx(1.5, abs=0.15)
    assert edge.core.parts.election.echo_s == edge.now_s


def test_a_link_that_slows_down_is_told_within_a_tick(edge: Node) -> None:
    for _ in range(40):
        edge.now_s += 0.1
        edge.hear(Transferred("cloud-1", 150_000, 0.03))
    while not said(edge.tick(0.1), Load):
        pass
    beats = []
    for _ in range(3):
        edge.now_s += 0.06
        edge.hear(Transferred("cloud-1", 150_000, 0.3))
        beats += said(edge.tick(0.1), Load)
    report = beats[-1].links["cloud-1"]
    assert report.delay_s + 150_000 / report.bytes_per_s == pytest.approx(0.3, rel=0.1)
    assert report.typical_bytes == 150_000
    assert report.deviation_s > 0


def test_a_heartbeat_says_how_much_of_a_link_is_lost_and_what_heat_will_do(edge: Node) -> None:
    edge.hear(Transferred("cloud-1", 150_000, 0.03, loss=0.125))
    for at in range(60):
        edge.hear(Sampled(90.0, 0, 40.0 + at / 2, False, headroom_c=30.0 - at / 2))
        beats = said(edge.tick(1.0), Load)
    assert beats[-1].links["cloud-1"].loss == 0.125
    assert beats[-1].slower_soon > 1.5


def test_the_same_events_give_the_same_effects() -> None:
    def play() -> list[Effect]:
        node = Node("edge-1")
        node.hold(plan())
        return node.tick(6.0)

    assert play() == play()


def test_a_restarted_peer_is_linked_in_its_new_session(edge: Node) -> None:
    edge.say(State("cloud-1", 2, 1, "ready"))
    edge.say(caps("cloud-1", CLOUD, session=2))
    edge.say(load("cloud-1", 1, session=2))
    opened = [each for each in edge.tick() if isinstance(each, OpenLink)]
    assert [(each.peer, each.session) for each in opened] == [("cloud-1", 2)]
