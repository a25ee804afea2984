"""The file that a node's events go to: its limit, its gaps, and disks that fail."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgeflow.errors import UsageError
from edgeflow.events import Heard, Tick
from edgeflow.io import eventlog
from edgeflow.io.eventlog import EventLog, view
from edgeflow.messages import EDGE, Caps, Claim, Leader
from edgeflow.mind.eventlog import End, Found, Gap, Head, Step, read

CAPS = Caps("edge-1", 1, EDGE, "", "", 1, 1, (), (), None, True, True, (), "")
LIMIT = 1 << 20


def records(path: Path) -> list[Found]:
    return list(read(view(path)))


def test_what_is_noted_stands_in_the_file_and_the_last_runs_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "edge-1.events"
    for count in (3, 5):
        log = EventLog(path, CAPS, LIMIT)
        for at in range(count):
            log.note(float(at), Tick(), [])
        log.close()
        found = records(path)
        assert isinstance(found[0], Head)
        assert found[0].caps == CAPS
        assert [record.at_s for record in found if isinstance(record, Step)] == list(range(count))
        assert found[-1] == End("the node stopped")
    assert len(records(path.with_name("edge-1.events.1"))) == 5


def test_at_its_limit_it_ends_and_says_which_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "edge-1.events"
    with caplog.at_level(logging.WARNING, "edgeflow"):
        log = EventLog(path, CAPS, 2000)
        for at in range(1000):
            log.note(float(at), Tick(), [])
        log.close()
    last = records(path)[-1]
    assert isinstance(last, End)
    assert "event_log_bytes_max" in last.why
    assert path.stat().st_size < 2400
    assert "event_log_bytes_max" in caplog.text


def test_events_that_come_too_fast_are_counted_in_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "QUEUED_MAX", 10)
    path = tmp_path / "edge-1.events"
    log = EventLog(path, CAPS, LIMIT)
    for at in range(500):
        log.note(float(at), Tick(), [])
    log.close()
    found = records(path)
    gaps = [record.dropped for record in found if isinstance(record, Gap)]
    steps = [record for record in found if isinstance(record, Step)]
    assert gaps
    assert sum(gaps) + len(steps) == 500
    assert not log.dropped


def test_an_event_that_cannot_be_written_down_is_a_gap_of_one(tmp_path: Path) -> None:
    path = tmp_path / "edge-1.events"
    log = EventLog(path, CAPS, LIMIT)
    log.note(1.0, Heard(Leader(Claim(1 << 80, 0, "a", 1), 1.0, 1), False), [])
    log.note(2.0, Tick(), [])
    log.close()
    assert [type(record) for record in records(path)] == [Head, Gap, Step, End]


def test_a_full_disk_ends_the_log_and_not_the_node(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("no /dev/full here")
    with caplog.at_level(logging.WARNING, "edgeflow"):
        log = EventLog(full, CAPS, LIMIT)
        log.note(1.0, Tick(), [])
        log.close()
        log.note(2.0, Tick(), [])
    assert "cannot be written any more" in caplog.text
    assert full.is_char_device()


def test_a_file_that_cannot_be_made_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"event_log: .* name another"):
        EventLog(tmp_path / "file" / "edge-1.events", CAPS, LIMIT)
