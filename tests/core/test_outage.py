"""What a row of `scripts/bench faults` says: counted by hand on small ledgers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeflow.bench.outage import report, verdict
from edgeflow.bench.outage.rows import FIRST_S, ROWS, SWITCH, Row
from edgeflow.bench.outage.verdict import Noted
from edgeflow.lab import changes
from edgeflow.ledger.records import AnyRecord, End, Head, Outcome, Submit

NAMES = {
    "leader": "edge-1",
    "worker": "edge-2",
    "half": "edge-2,edge-3",
    "peers": "edge-2,edge-3,cam-1",
    "others": "edge-1,edge-3,cam-1",
    "ahead": "-3600",
    "all": "edge-3",
}
RATE = 10.0


def ledger(slow: dict[float, float | str], seconds: float = 20.0) -> list[AnyRecord]:
    """Ten frames a second of 20 ms, but those that were handed in at `slow`: seconds or a code."""
    found: list[AnyRecord] = [
        Head("faults", "cam-1", 7, 1e9, 0.0, "c" * 64, "net", "3.11", "a machine", 0, RATE)
    ]
    for number in range(int(seconds * RATE)):
        at_s = round(100 + number / RATE, 3)
        found.append(Submit(number, "cat", at_s, 12))
        took = slow.get(round(at_s - 100, 3), 0.02)
        code, took_s = ("", took) if isinstance(took, float) else (took, 0.001)
        sha256 = None if code else "a" * 64
        if took_s < 60:
            found.append(Outcome(number, at_s + took_s, code, "", sha256, took_s, 1, "1.1@e"))
    return [*found, End(100 + seconds + 1)]


def recovered(slow: dict[float, float | str], *moments_s: float) -> list[float | None]:
    """Seconds for each moment, counted from the first frame."""
    frames = verdict.frames_of(ledger(slow))
    found = verdict.recoveries(frames, [100 + at for at in moments_s], verdict.late_s(frames))
    return [None if each is None else round(each, 3) for each in found]


def test_a_fault_that_nobody_feels_is_over_at_once() -> None:
    assert recovered({}, 5.0, 10.0) == [0.0, 0.0]


def test_recovery_lasts_until_the_last_late_frame_is_answered() -> None:
    assert recovered({5.1: 2.0, 5.2: 1.9, 5.3: 0.5}, 5.05) == [2.05]
    assert recovered({5.0: 3.0}, 5.01) == [2.99]  # it was on its way when the fault came


def test_a_second_without_late_frames_ends_an_outage_and_less_does_not() -> None:
    assert recovered({5.1: 0.5, 5.9: 0.5}, 5.0) == [1.4]
    assert recovered({5.1: 0.5, 6.2: 0.5}, 5.0) == [0.6]


def test_errors_and_frames_without_an_outcome_are_late() -> None:
    assert recovered({5.1: "deadline", 5.5: "full"}, 5.0) == [0.501]
    assert recovered({round(5 + at / 10, 1): 99.0 for at in range(20)}, 5.0) == [0.0]


def test_an_outage_that_the_next_fault_finds_is_not_recovered_from() -> None:
    late: dict[float, float | str] = {round(5 + at / 10, 1): 0.5 for at in range(45)}
    assert recovered(late, 5.0, 9.0) == [None, 0.9]
    soon: dict[float, float | str] = {8.4: 0.5}
    soon |= {5.0 + at: 0.5 for at in (0.0, 0.9, 1.8, 2.7)}
    assert recovered(soon, 5.0, 9.0) == [None, 0.0]
    assert recovered({3.0: 9.0}, 5.0) == [0.0]  # it was late before the fault


def test_silence_is_the_longest_time_without_a_good_answer() -> None:
    slow: dict[float, float | str] = {round(5 + at / 10, 1): 1.5 - at / 10 for at in range(12)}
    frames = verdict.frames_of(ledger(slow))
    moments_s = [104.97, 110.0]
    back = verdict.recoveries(frames, moments_s, verdict.late_s(frames))
    assert verdict.silences(frames, moments_s, back) == pytest.approx([1.25, 0.1])


def test_frames_are_late_by_the_rows_own_median_but_not_below_the_least() -> None:
    quick = verdict.frames_of(ledger({}))
    assert verdict.late_s(quick) == verdict.LATE_S_MIN
    slow = verdict.frames_of(ledger({round(at / 10, 1): 1.0 for at in range(150)}))
    assert verdict.late_s(slow) == pytest.approx(2.0)


def beats(*times_s: float, term: int = 1) -> tuple[tuple[float, str, int], ...]:
    return tuple((at_s, f"edge-{term}", term) for at_s in times_s)


def test_time_without_a_leader_is_counted_while_there_is_a_broker() -> None:
    heard = beats(1, 1.5, 2) + beats(5, 5.5, term=2)
    assert verdict.leaderless_s(Noted((), heard, ()), 1, 6) == pytest.approx(3.0)
    assert verdict.leaderless_s(Noted((), heard, ((3.0, 4.5),)), 1, 6) == pytest.approx(1.5)


def test_a_leader_changes_where_a_higher_term_is_heard() -> None:
    heard = beats(1, 2) + beats(3, term=2) + beats(3.5) + beats(4, term=2) + beats(5, term=4)
    assert verdict.leader_changes(Noted((), heard, ()), 0, 9) == 2


def test_none_of_two_thousand_means_less_than_015_percent() -> None:
    assert verdict.bound_percent(2000) == pytest.approx(0.15)
    assert verdict.bound_percent(0) == 100.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_act_of_every_row_is_a_change_of_a_lab(row: Row) -> None:
    for _, act in row.acts:
        if act != SWITCH:
            changes.parse(act.format(**NAMES).split())
    if row.before:
        changes.parse(row.before.split())
    assert row.acts or row.overload or row.name == "calm"


def test_occurrences_follow_each_other_and_leave_time_to_recover() -> None:
    row = Row("some", "", ((0.0, "kill {worker}"), (4.0, "restart {worker}")), 20.0, 8.0)
    assert row.begins_s(57.0) == (FIRST_S, FIRST_S + 20, FIRST_S + 40)
    assert row.begins_s(8.0) == (2.0,)
    found = list(row.due(40.0))
    assert [(at_s, number, begins) for at_s, number, begins, _ in found] == [
        (5.0, 0, True),
        (9.0, 0, False),
        (25.0, 1, True),
        (29.0, 1, False),
    ]


def left_behind(folder: Path, slow: dict[float, float | str], **more: Any) -> None:
    """What the process of a row leaves on disk."""
    lines = [msgspec.json.encode(each) + b"\n" for each in ledger(slow)]
    (folder / "steady.ledger").write_bytes(b"".join(lines))
    notes = {
        "from_s": 100.0,
        "until_s": 120.0,
        "moments_s": [105.0],
        "acts": [[105.0, "kill host=edge-1"]],
        "beats": beats(*(100 + at / 2 for at in range(41))),
        "deaf": [],
        "placement": "a..b @edge-1",
        "placement_after": "a..b @edge-2",
    }
    (folder / "notes.json").write_text(json.dumps(notes | more))


def test_a_row_is_told_with_its_bound_and_its_errors(tmp_path: Path) -> None:
    left_behind(tmp_path, {5.1: "deadline", 5.2: 1.0})
    found = report.row(Row("node-killed", "", ((0.0, "kill {worker}"),)), tmp_path, "")
    assert (found["frames"], found["lost"], found["errors"]) == (200, 0, {"deadline": 1})
    assert found["bound_percent"] == 1.5
    assert found["recovery_s_p50"] == pytest.approx(1.2, abs=0.01)
    assert "| 1.20 / 1.20 | 0.0 | 0 |" in report.table([found])
    assert (found["leaderless_s"], found["leader_changes"]) == (0.0, 0)
    assert not found["broken"]
    assert "| node-killed | 200 | 0 | 0 | 0 | 1.50 % | 99.50% | deadline 1 | 1 |" in (
        report.table([found])
    )


def test_a_lost_frame_breaks_a_row_and_an_error_breaks_a_promise_of_none(tmp_path: Path) -> None:
    left_behind(tmp_path, {5.1: 99.0})
    lost = report.row(Row("node-killed", ""), tmp_path, "")
    assert (lost["lost"], lost["broken"], lost["promise_kept"]) == (1, True, False)
    left_behind(tmp_path, {5.1: "overload"})
    costly = report.row(Row("broker-empty", "", costs_nothing=True), tmp_path, "")
    assert (costly["broken"], costly["promise_kept"]) == (False, False)


def test_a_row_whose_process_failed_is_broken(tmp_path: Path) -> None:
    found = report.row(Row("calm", ""), tmp_path, "it failed")
    assert found["broken"]
    assert "it failed" in report.table([found])


def test_under_overload_goodput_stands_beside_the_capacity(tmp_path: Path) -> None:
    more = {"capacity_fps": 20.0, "over_fps": 40.0, "over_from_s": 105.0, "over_until_s": 115.0}
    left_behind(tmp_path, {14.9: 1.5, 15.1: 1.0}, **more)
    (tmp_path / "extra.ledger").write_bytes((tmp_path / "steady.ledger").read_bytes())
    found = report.row(Row("overload-2x", "", overload=2.0), tmp_path, "")
    assert found["goodput_fps"] == pytest.approx(19.8)
    assert found["goodput_share"] == pytest.approx(0.99)
    assert found["recovery_s_p50"] == pytest.approx(1.4)
    assert "answered 19.8 (99% of the capacity)" in report.sentence(found)
