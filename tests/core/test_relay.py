"""Frames for a deployment whose source is another node."""

from __future__ import annotations

import pytest

from edgeflow.events import Deliver, Effect, Release, SendSignal, SendTensors, Submitted
from edgeflow.frames.bundles import Bundles
from edgeflow.frames.relay import ERRANDS_MAX, Relay
from edgeflow.messages import Outcome, Submit, TensorHead, Withdraw

HEAD = (TensorHead("head", "float32", (1,)),)
LINKED = frozenset({"cam-1"})


class Client:
    def __init__(self) -> None:
        self.bundles = Bundles()
        self.relay = Relay(self.bundles)

    def submit(self, token: int, linked: frozenset[str] = LINKED) -> list[Effect]:
        self.bundles.hold(token)
        event = Submitted(token, "job", token, HEAD, 4, None)
        effects = self.relay.submit(event, "cam-1", 5.0, linked, 10.0)
        return effects + self.bundles.drop(token)


def delivered(effects: list[Effect]) -> list[tuple[int, str]]:
    return [(each.token, each.code) for each in effects if isinstance(each, Deliver)]


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_frame_leaves_once_as_soon_as_there_is_a_link(client: Client) -> None:
    assert client.submit(1, frozenset()) == []
    (sent,) = client.relay.tick(LINKED, 11.0)
    assert isinstance(sent, SendTensors)
    assert isinstance(sent.message, Submit)
    assert sent.message.budget_s == 4.0
    assert client.relay.tick(LINKED, 11.1) == []


def test_the_first_outcome_decides(client: Client) -> None:
    client.submit(1)
    effects = client.relay.on_outcome(Outcome("job", 1, "", "", HEAD, 2, "1.1@edge-1"), 99, 10.5)
    (said, release) = effects
    assert isinstance(said, Deliver)
    assert (said.bundles, said.names, said.attempts) == ((99,), ("head",), 2)
    assert release == Release(1)
    assert client.relay.on_outcome(Outcome("job", 1, "", "", HEAD), 100, 10.6) == []


def test_an_error_of_the_source_is_an_outcome(client: Client) -> None:
    client.submit(1)
    effects = client.relay.on_outcome(Outcome("job", 1, "overload", "too many", ()), 99, 10.5)
    assert delivered(effects) == [(1, "overload")]


def test_silence_ends_at_the_deadline(client: Client) -> None:
    client.submit(1)
    assert client.relay.tick(LINKED, 14.9) == []
    assert delivered(client.relay.tick(LINKED, 15.0)) == [(1, "deadline")]
    assert client.bundles.holders == {}


def test_a_lost_source_ends_what_was_sent_and_only_that(client: Client) -> None:
    client.submit(1)
    client.submit(2, frozenset())
    assert client.relay.on_link_down("edge-1", 10.1) == []
    assert delivered(client.relay.on_link_down("cam-1", 10.1)) == [(1, "source-lost")]
    assert list(client.relay.errands) == [2]


def test_a_withdrawn_frame_ends_here_and_its_source_is_told(client: Client) -> None:
    client.submit(1)
    effects = client.relay.withdraw(1, 10.1)
    assert delivered(effects) == [(1, "cancelled")]
    assert SendSignal("cam-1", Withdraw("job", 1)) in effects
    assert client.bundles.holders == {}
    assert client.relay.withdraw(1, 10.2) == []
    assert client.relay.on_outcome(Outcome("job", 1, "", "", HEAD), 99, 10.3) == []


def test_a_withdrawn_frame_that_never_left_is_not_the_sources_business(client: Client) -> None:
    client.submit(1, frozenset())
    effects = client.relay.withdraw(1, 10.1)
    assert delivered(effects) == [(1, "cancelled")]
    assert not any(isinstance(each, SendSignal) for each in effects)


def test_who_stood_still_looks_at_its_inbox_before_a_deadline_ends_anything(
    client: Client,
) -> None:
    client.submit(1)
    client.submit(2, frozenset())
    client.relay.waking.wake()
    assert client.relay.tick(LINKED, 30.0) == []
    client.relay.on_outcome(Outcome("job", 1, "", "", HEAD), 99, 30.0)
    client.relay.waking.wake()
    assert delivered(client.relay.tick(LINKED, 30.1)) == [(2, "deadline")]


def test_errands_are_bounded(client: Client) -> None:
    for token in range(ERRANDS_MAX):
        client.submit(token)
    assert delivered(client.submit(999)) == [(999, "overload")]
    assert 999 not in client.bundles.holders
