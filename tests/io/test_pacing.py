"""Emulated rates: when a message may leave."""

from __future__ import annotations

import pytest

from edgeflow.config import Emulate
from edgeflow.estimation.receipts import Receipts
from edgeflow.io.pacing import Pacing
from edgeflow.messages import Receipt


def test_without_emulation_everything_leaves_at_once() -> None:
    pacing = Pacing(Emulate())
    assert pacing.leaves_s("b", "edge", 10**9, 5.0, waits=True) == 5.0


def test_a_tensor_takes_its_bytes_over_the_rate_and_waits_behind_the_last() -> None:
    pacing = Pacing(Emulate(mbps=8.0, delay_ms=100))
    assert pacing.leaves_s("b", "edge", 600_000, 0.0, waits=True) == pytest.approx(0.7)
    assert pacing.leaves_s("c", "edge", 600_000, 0.0, waits=True) == pytest.approx(1.3)
    assert pacing.leaves_s("b", "edge", 0, 9.0, waits=True) == pytest.approx(9.1)


def test_a_signal_overtakes_tensors_but_pays_for_its_bytes() -> None:
    pacing = Pacing(Emulate(mbps=8.0))
    pacing.leaves_s("b", "edge", 600_000, 0.0, waits=True)
    assert pacing.leaves_s("b", "edge", 1000, 0.0, waits=False) == pytest.approx(0.001)
    assert pacing.leaves_s("b", "edge", 0, 0.0, waits=True) == pytest.approx(0.601)


def test_the_slowest_of_node_peer_and_tier_wins() -> None:
    pacing = Pacing(Emulate(mbps=80.0, peers_mbps={"cloud": 8.0, "cloud-1": 4.0}))
    assert pacing.leaves_s("edge-1", "edge", 10_000, 0.0, waits=True) == pytest.approx(0.001)
    assert pacing.leaves_s("cloud-2", "cloud", 10_000, 9.0, waits=True) == pytest.approx(9.01)
    assert pacing.leaves_s("cloud-1", "cloud", 10_000, 19.0, waits=True) == pytest.approx(19.02)


def test_a_forgotten_peer_does_not_wait_for_what_was_dropped() -> None:
    pacing = Pacing(Emulate(peers_mbps={"b": 8.0}))
    pacing.leaves_s("b", "edge", 10**6, 0.0, waits=True)
    pacing.forget("b")
    assert pacing.leaves_s("b", "edge", 1000, 0.0, waits=True) == pytest.approx(0.001)


def test_the_way_of_the_receipt_is_not_the_messages() -> None:
    receipts = Receipts(is_shared=False)
    took = []
    # 30 ms each way, and 10 ms for each 10 kB; the machine was busy when the second small one came.
    for serial, (nbytes, seconds) in enumerate(
        [(1000, 0.061), (1000, 0.090), (10_000, 0.070), (50_000, 0.110)], start=1
    ):
        receipts.sent("b", serial, nbytes, serial)
        found = receipts.came("b", Receipt(serial, nbytes), serial + seconds)
        assert found is not None
        took.append(found.seconds)
    assert took == pytest.approx([0.0305, 0.0595, 0.0395, 0.0795])
    receipts.sent("b", 9, 10_000, 9.0)
    quick = receipts.came("b", Receipt(9, 10_000), 9.02)
    assert quick is not None
    assert quick.seconds == pytest.approx(0.01)


def test_a_receipt_that_lies_or_comes_twice_tells_nothing() -> None:
    receipts = Receipts(is_shared=False)
    receipts.sent("b", 1, 100, 0.0)
    assert receipts.came("b", Receipt(1, 99), 0.1) is None
    receipts.sent("b", 2, 100, 1.0)
    assert receipts.came("b", Receipt(2, 100), 1.1)
    assert receipts.came("b", Receipt(2, 100), 1.2) is None


def test_messages_without_a_receipt_are_forgotten_in_time() -> None:
    receipts = Receipts(is_shared=False)
    receipts.sent("b", 1, 100, 0.0)
    receipts.sent("b", 2, 100, 61.0)
    assert receipts.came("b", Receipt(2, 100), 61.1)
