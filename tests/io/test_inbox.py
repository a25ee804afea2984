"""The loop's inbox: what is put in wakes it once, and an empty one lets it sleep."""

from __future__ import annotations

import select
from collections.abc import Iterator
from threading import Thread

import pytest

from edgeflow.events import Event, Tick
from edgeflow.io.inbox import Inbox


def is_ringing(inbox: Inbox) -> bool:
    return bool(select.select([inbox], [], [], 0)[0])


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def test_an_item_rings_and_taking_it_stops_the_bell(inbox: Inbox) -> None:
    inbox.put(Tick())
    inbox.put(Tick())
    assert is_ringing(inbox)
    assert inbox.take() == [Tick(), Tick()]
    assert not is_ringing(inbox)


def test_an_item_that_is_taken_while_its_bell_rings_does_not_ring_on(inbox: Inbox) -> None:
    """Else the loop would spin until the next item."""
    bell = inbox._bell
    taken: list[Event] = []

    class Slow:
        def send(self, data: bytes) -> None:
            taker.start()
            taker.join(0.2)  # it may have to wait for us
            bell.send(data)

        def close(self) -> None:
            bell.close()

    taker = Thread(target=lambda: taken.extend(inbox.take()))  # type: ignore[arg-type]
    inbox._bell = Slow()  # type: ignore[assignment]
    inbox.put(Tick())
    taker.join()
    assert taken == [Tick()]
    assert not is_ringing(inbox)


def test_its_owner_needs_no_bell(inbox: Inbox) -> None:
    inbox.own()
    inbox.put(Tick())
    assert not is_ringing(inbox)
    assert inbox.take() == [Tick()]
