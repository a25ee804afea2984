"""What receipts tell, also of messages that overlap, and what of those that never come."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from edgeflow.estimation.link import LinkEstimate
from edgeflow.estimation.receipts import EXPIRES_S, FATES, LOSS_PEERS, WAITING_MAX, Receipts
from edgeflow.events import Transferred
from edgeflow.messages import Receipt

FRAME = 150_000
DELAY_S = 0.004


@dataclass
class Way:
    """A link that carries one message after the other, and whoever sends over it."""

    receipts: Receipts = field(default_factory=lambda: Receipts(is_shared=False))
    bytes_per_s: float = 6.25e6
    delay_s: float = DELAY_S
    free_s: float = 0.0
    serial: int = 0
    due: list[tuple[float, str, Receipt]] = field(default_factory=list)

    def send(self, nbytes: int, now_s: float, peer: str = "b", asked: bool = True) -> None:
        self.free_s = max(self.free_s, now_s) + nbytes / self.bytes_per_s
        if not asked:
            self.receipts.unasked(peer, nbytes)
            return
        self.serial += 1
        self.receipts.sent(peer, self.serial, nbytes, now_s)
        back_s = self.free_s + 2 * self.delay_s
        self.due.append((back_s, peer, Receipt(self.serial, nbytes)))

    def until(self, now_s: float) -> list[Transferred]:
        """The receipts that came by then."""
        found = []
        while self.due and self.due[0][0] <= now_s:
            at_s, peer, receipt = self.due.pop(0)
            if told := self.receipts.came(peer, receipt, at_s):
                found.append(told)
        return found


@pytest.fixture
def way() -> Way:
    """One small message was sent, so that the receipt's own way is known."""
    way = Way()
    way.send(0, 0.0)
    (told,) = way.until(1.0)
    assert told.seconds == pytest.approx(DELAY_S)
    return way


def test_messages_that_overlap_each_tell_what_they_alone_would_take(way: Way) -> None:
    for at in range(5):
        way.send(FRAME, 1.0 + 0.001 * at)
    told = way.until(9.0)
    assert [each.size_bytes for each in told] == [FRAME] * 5
    alone_s = DELAY_S + FRAME / 6.25e6
    assert [each.seconds for each in told] == pytest.approx([alone_s] * 5)


def test_a_message_that_overlaps_only_another_s_receipt_had_the_link_alone(way: Way) -> None:
    way.send(FRAME, 1.0)
    way.send(FRAME, 1.0 + FRAME / 6.25e6 + DELAY_S)
    told = way.until(9.0)
    assert told[1].seconds == pytest.approx(DELAY_S + FRAME / 6.25e6)


def test_what_asked_for_no_receipt_and_went_between_counts(way: Way) -> None:
    way.send(FRAME, 1.0)
    way.send(FRAME, 1.001, asked=False)
    way.send(FRAME, 1.002)
    told = way.until(9.0)
    assert [each.size_bytes for each in told] == [FRAME, 2 * FRAME]
    assert told[1].seconds == pytest.approx(DELAY_S + 2 * FRAME / 6.25e6)


def test_what_is_quick_tells_nothing_while_it_overlaps(way: Way) -> None:
    way.bytes_per_s = 1e9
    for _ in range(3):
        way.send(FRAME, 1.0)
    assert len(way.until(9.0)) == 1


def test_a_link_that_slows_down_under_many_frames_is_known_within_five() -> None:
    """20 frames a second over 50 Mbit/s, then over 4: they pile up, and still tell."""
    late = []
    for seed in range(50):
        chance, way, found = random.Random(seed), Way(), LinkEstimate()
        now_s, frames = 0.0, 0
        for size in (0, 1 << 10, 64 << 10, 1 << 10, 256 << 10, *[FRAME] * 30):
            now_s += 0.05
            way.bytes_per_s = 6.25e6 / chance.uniform(0.8, 1.2)
            way.send(size, now_s)
            for told in way.until(now_s):
                found = found.add(told.size_bytes, told.seconds)
        while found.seconds(FRAME) < 0.2:
            now_s += 0.05
            way.bytes_per_s = 0.5e6 / chance.uniform(0.8, 1.2)
            way.send(FRAME, now_s)
            told_now = way.until(now_s)
            frames += len(told_now)
            for told in told_now:
                found = found.add(told.size_bytes, told.seconds)
        late.append(frames)
    assert max(late) <= 5


@pytest.mark.parametrize("is_shared", [False, True])
def test_where_peers_share_an_up_link_they_wait_for_each_other(is_shared: bool) -> None:
    way = Way(Receipts(is_shared=is_shared))
    for peer in ("b", "c"):
        way.send(0, 0.0, peer)
        way.until(0.5)
    way.send(FRAME, 1.0, "b")
    way.send(FRAME, 1.0, "c")
    _, told = way.until(9.0)
    waits = 1 if is_shared else 2
    assert told.seconds == pytest.approx(DELAY_S + waits * FRAME / 6.25e6)


def test_a_message_without_a_receipt_is_lost_once_a_later_one_has_its_own(way: Way) -> None:
    way.send(FRAME, 1.0)
    way.due.clear()
    way.send(FRAME, 1.001)
    assert way.until(5.0) == []  # It followed a message of which nothing is known.
    way.send(FRAME, 6.0)
    (told,) = way.until(9.0)
    assert told.loss == pytest.approx(1 / 4)
    assert told.seconds == pytest.approx(DELAY_S + FRAME / 6.25e6)


def test_what_was_on_its_way_as_a_link_broke_is_lost_and_remembered(way: Way) -> None:
    way.send(FRAME, 1.0)
    way.send(FRAME, 1.0)
    way.receipts.forget("b")
    way.due.clear()
    way.send(FRAME, 2.0)
    (told,) = way.until(9.0)
    assert told.loss == pytest.approx(2 / 4)


def test_a_loss_is_forgotten_after_enough_that_came(way: Way) -> None:
    way.send(FRAME, 1.0)
    way.due.clear()
    losses = []
    for at in range(FATES + 1):
        way.send(FRAME, 2.0 + at)
        losses += [each.loss for each in way.until(2.9 + at)]
    assert losses[1] > 0
    assert losses[-1] == 0


def test_nothing_grows_without_end() -> None:
    receipts = Receipts(is_shared=False)
    for serial in range(3 * WAITING_MAX):
        receipts.sent("b", serial + 1, FRAME, serial * 0.001)
    assert len(receipts._waiting["b"]) == WAITING_MAX
    receipts.sent("b", 10_000, FRAME, 2 * EXPIRES_S)
    assert len(receipts._waiting["b"]) == 1
    for at in range(2 * LOSS_PEERS):
        receipts.sent(f"p{at}", 20_000 + at, FRAME, 0.0)
        receipts.forget(f"p{at}")
    assert len(receipts._fates) == LOSS_PEERS
    assert receipts._waiting.keys() == receipts._known.keys() == {"b"}
