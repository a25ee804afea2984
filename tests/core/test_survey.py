"""What the leader makes of heartbeats: prices, and how far they may be off."""

from __future__ import annotations

import pytest

from edgeflow.cluster.membership import Membership
from edgeflow.costmodel.cost import Cluster
from edgeflow.messages import DEVICE, EDGE, Caps, LinkReport, Load, Rates, State, Tier
from edgeflow.policy.survey import GUESSED, LINK_PRIOR, survey

MODEL = "a" * 64
RATES = Rates(1e9, 1e9, 1e9, 1e-6)


def load(node: str, **words: object) -> Load:
    """A heartbeat."""
    fixed = (node, 1, 1, 0.0, 0, None, False, 0, 0)
    return Load(*fixed, **{"links": {}, "claim": None, "fences": {}, "compute_ratio": {}} | words)  # type: ignore[arg-type]


def seen(*loads: Load) -> Cluster:
    """By a leader who heard these."""
    members = Membership("edge-9", 1)
    members.on_broker(True, 0.0, reconnect=False)
    for each in loads:
        tier: Tier = DEVICE if each.node == "cam" else EDGE
        members.on_state(State(each.node, 1, 1, "ready"), retained=False, now_s=1.0)
        described = (each.node, 1, tier, "", "", 1, 1, (), (), RATES, True, True, (), "")
        members.on_caps(Caps(*described), retained=False)
        members.on_load(each, 1.0)
    return survey(members, "cam", MODEL, 1.1)


def test_a_measured_node_is_as_sure_as_it_says_and_another_one_is_guessed() -> None:
    known = load("cam", compute_ratio={MODEL: 1.5}, compute_deviation={MODEL: 0.04})
    cluster = seen(known, load("edge"))
    assert (cluster.nodes["cam"].ratio, cluster.nodes["cam"].deviation) == (1.5, 0.04)
    assert cluster.nodes["edge"].deviation == GUESSED


def test_what_heat_will_slow_down_is_dearer_now() -> None:
    cluster = seen(load("cam", compute_ratio={MODEL: 1.5}, slower_soon=2.0))
    assert cluster.nodes["cam"].ratio == 3.0


def test_a_link_is_off_by_a_share_of_what_its_usual_messages_take() -> None:
    report = LinkReport(True, 0.01, 1e6, 0, 9, deviation_s=0.011, typical_bytes=100_000)
    cluster = seen(load("cam", links={"edge": report}), load("edge"))
    link = cluster.links["cam", "edge"]
    assert (link.delay_s, link.bytes_per_s) == (0.01, 1e6)
    assert link.deviation == pytest.approx(0.1)


def test_a_link_that_was_not_measured_is_a_guess_and_an_older_node_says_nothing() -> None:
    fresh, older = LinkReport(True, 0.0, 0.0, 0, 0), LinkReport(True, 0.01, 1e6, 0, 9)
    cluster = seen(load("cam", links={"edge": fresh}), load("edge", links={"cam": older}))
    assert cluster.links["cam", "edge"] == LINK_PRIOR
    assert cluster.links["edge", "cam"].deviation == 0.0
