"""A ledger is judged exactly: by hand-written ones whose figures anybody can count."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.errors import UsageError
from edgeflow.ledger import judge as ledger
from edgeflow.ledger.judge import (
    End,
    Expected,
    Figures,
    Gap,
    Head,
    Line,
    Outcome,
    Submit,
    Use,
    judge,
)
from edgeflow.ledger.records import VERSION, AnyRecord

RIGHT, OTHER = "a" * 64, "b" * 64
HEAD = Head("job", "cam-1", 7, 1e9, 100.0, "c" * 64, "net", "3.11", "a machine", 4, 0.0)


def submit(frame: int, at_s: float, input: str = "cat") -> Submit:
    return Submit(frame, input, at_s, 12)


def result(
    frame: int, at_s: float, sha256: str = RIGHT, plan: str = "1.1@e", attempts: int = 1
) -> Outcome:
    return Outcome(frame, at_s, "", "", sha256, 0.01, attempts, plan)


def error(frame: int, at_s: float, code: str = "deadline") -> Outcome:
    return Outcome(frame, at_s, code, "too late", None, 0.01, 3, "")


def lines(*records: Line) -> list[bytes]:
    return [msgspec.json.encode(record) + b"\n" for record in records]


def figures(*records: Line, gap_s: float = 1.0) -> Figures:
    """Through bytes, as from a file."""
    return judge(ledger.parse(lines(HEAD, *records)), gap_s)


def test_a_run_without_trouble_keeps_the_promise() -> None:
    seen = figures(
        submit(1, 100.0), result(1, 100.25), submit(2, 100.5), result(2, 101.0), End(101)
    )
    assert (seen.submitted, seen.answered, seen.good, seen.success_rate) == (2, 2, 2, 1.0)
    assert (seen.lost, seen.open, seen.duplicated, seen.unknown, seen.torn) == (0, 0, 0, 0, 0)
    assert (seen.errors, seen.wrong, seen.judged, seen.retried) == ({}, None, 0, 0)
    assert (seen.latency_ms_p50, seen.latency_ms_max) == (250.0, 500.0)
    assert (seen.span_s, seen.goodput_per_s) == (1.0, 2.0)
    assert seen.kept
    assert seen.ended


def test_without_an_outcome_a_frame_is_lost_where_the_submitter_waited_to_the_end() -> None:
    seen = figures(submit(1, 100.0), submit(2, 100.1), result(2, 100.2), End(130))
    assert (seen.lost, seen.open, seen.answered) == (1, 0, 1)
    assert not seen.kept


def test_without_an_end_that_frame_is_open_and_no_promise_is_broken() -> None:
    seen = figures(submit(1, 100.0), submit(2, 100.1), result(2, 100.2))
    assert (seen.lost, seen.open, seen.success_rate) == (0, 1, 0.5)
    assert seen.kept
    assert not seen.ended


def test_a_second_outcome_is_a_duplicate_and_the_first_by_time_counts() -> None:
    seen = figures(submit(1, 100.0), error(1, 100.9), result(1, 100.2), result(1, 101.0), End(102))
    assert (seen.duplicated, seen.answered, seen.good, seen.errors) == (2, 1, 1, {})
    assert not seen.kept


def test_an_outcome_of_a_frame_that_nobody_submitted_is_unknown() -> None:
    seen = figures(submit(1, 100.0), result(1, 100.2), result(9, 100.3), End(102))
    assert (seen.unknown, seen.answered, seen.span_s) == (1, 1, 0.2)
    assert not seen.kept


def test_an_outcome_before_its_submit_is_unknown() -> None:
    seen = figures(submit(1, 100.0), result(1, 99.9), result(1, 100.5), End(102))
    assert (seen.unknown, seen.duplicated, seen.latency_ms_max) == (1, 0, 500.0)
    assert not seen.kept


def test_an_answer_that_is_not_the_expected_one_is_wrong_and_not_good() -> None:
    seen = figures(
        Expected("cat", RIGHT),
        *(submit(frame, 100.0) for frame in (1, 2, 3)),
        submit(4, 100.0, "dog"),
        result(1, 100.1),
        result(2, 100.2, OTHER),
        error(3, 100.3),
        result(4, 100.4, OTHER),
        End(101),
    )
    assert (seen.judged, seen.wrong, seen.good, seen.inconsistent) == (2, 1, 2, 1)
    assert not seen.kept


def test_right_answers_keep_the_promise_and_so_do_errors() -> None:
    seen = figures(
        Expected("cat", RIGHT),
        *(submit(frame, 100.0) for frame in (1, 2, 3, 4)),
        result(1, 100.1),
        error(2, 100.2),
        error(3, 100.3, "overload"),
        error(4, 100.4),
        End(101),
    )
    assert (seen.wrong, seen.success_rate, seen.retried) == (0, 0.25, 3)
    assert seen.errors == {"deadline": 2, "overload": 1}
    assert seen.kept


def test_two_answers_to_one_input_are_inconsistent_though_nobody_knows_the_right_one() -> None:
    seen = figures(
        submit(1, 100), submit(2, 100), result(1, 100.1), result(2, 100.1, OTHER), End(101)
    )
    assert (seen.inconsistent, seen.wrong, seen.kept) == (1, None, True)


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_torn_last_line_is_counted_and_the_rest_is_judged(cut: int) -> None:
    whole = lines(HEAD, submit(1, 100.0), result(1, 100.2))
    torn = lines(submit(2, 100.3))[0][:-1]
    seen = judge(ledger.parse([*whole, torn[:cut]]))
    assert (seen.torn, seen.submitted, seen.answered, seen.kept) == (1, 1, 1, True)


def test_a_last_line_that_lacks_only_its_newline_is_whole() -> None:
    *whole, last = lines(HEAD, submit(1, 100.0), submit(2, 100.3))
    seen = judge(ledger.parse([*whole, last[:-1]]))
    assert (seen.torn, seen.submitted) == (0, 2)


@pytest.mark.parametrize(
    ("given_lines", "place"),
    [
        ([], "f: it is empty"),
        (lines(submit(1, 100.0)), "f:1: a head is the first line"),
        (lines(HEAD, HEAD), "f:2: a head is the first line"),
        (lines(HEAD, submit(1, 1.0), submit(1, 2.0)), "f:3: frame 1 is submitted again"),
        ([*lines(HEAD), b"{}\n", *lines(End(1))], "f:2"),
        ([*lines(HEAD), b'{"record":"submit","fr\n'], "f:2"),
        ([*lines(HEAD), b'{"record":"submit","fr', *lines(End(1))], "f:3: the line before it"),
        ([*lines(HEAD), b'{"record":"end","at_s":1,"mood":"good"}\n'], "f:2.*mood"),
        ([*lines(HEAD), b'{"record":"end","at_s":1e400}\n'], "f:2"),
        ([*lines(HEAD), b"\n"], "f:2"),
        ([*lines(HEAD), b"\xff\n"], "f:2"),
        (lines(msgspec.structs.replace(HEAD, v=VERSION + 1)), "f:1: schema 2"),
        (lines(HEAD, msgspec.structs.replace(result(1, 1.0), sha256=None)), "f:2: a result has"),
    ],
)
def test_any_other_malformed_line_is_named(given_lines: list[bytes], place: str) -> None:
    with pytest.raises(UsageError, match=place) as caught:
        ledger.parse(given_lines, "f")
    assert "edgeflow infer --ledger" in str(caught.value)


def test_gaps_are_the_times_without_a_good_answer_also_before_the_first_and_after_the_last() -> (
    None
):
    seen = figures(
        *(submit(frame, 100.0) for frame in (1, 2, 3, 4)),
        result(1, 101.5),
        result(2, 102.0),
        error(3, 103.5),
        result(4, 105.0),
        End(107.0),
    )
    assert seen.gap_s_max == 3.0
    assert seen.gaps == (Gap(0.0, 1.5), Gap(2.0, 3.0), Gap(5.0, 2.0))
    assert figures(submit(1, 100), result(1, 101.0), End(101), gap_s=1.0).gaps == ()


def test_quantiles_are_latencies_that_were_seen() -> None:
    seen = figures(
        *(submit(frame, 100.0) for frame in range(1, 101)),
        *(result(frame, 100.0 + frame / 1000) for frame in range(1, 101)),
    )
    found = (seen.latency_ms_p50, seen.latency_ms_p90, seen.latency_ms_p99, seen.latency_ms_max)
    assert found == (50.0, 90.0, 99.0, 100.0)
    hundred = [float(at) for at in range(1, 101)]
    assert [ledger.quantile(hundred, at / 100) for at in range(1, 101)] == hundred
    assert [ledger.quantile(hundred[:7], part) for part in (0.5, 0.9, 1.0)] == [4.0, 7.0, 7.0]
    assert ledger.quantile([], 0.5) is None
    assert ledger.quantile([3.0], 0.01) == 3.0


def test_answers_are_told_by_plan() -> None:
    seen = figures(
        *(submit(frame, 100.0) for frame in (1, 2, 3)),
        result(1, 100.5),
        result(2, 101.0),
        result(3, 102.0, plan="2.1@f"),
    )
    assert seen.plans == {"1.1@e": Use(2, 0.5, 1.0), "2.1@f": Use(1, 2.0, 2.0)}


def test_buckets_show_when_and_empty_ones_are_there() -> None:
    records = ledger.parse(
        lines(
            HEAD,
            submit(1, 100.0),
            result(1, 100.1),
            submit(2, 101.9),
            submit(3, 104.0),
            error(2, 104.5),
            result(3, 104.7),
            End(105.9),
        )
    )
    rows = ledger.buckets(records, 2.0)
    assert [row.after_s for row in rows] == [0.0, 2.0, 4.0]
    assert [(row.submitted, row.good, row.errors) for row in rows] == [
        (2, 1, 0),
        (0, 0, 0),
        (1, 1, 1),
    ]
    assert [row.latency_ms_p50 for row in rows] == [100.0, None, 700.0]
    assert [row.latency_ms_max for row in rows] == [100.0, None, 700.0]
    with pytest.raises(UsageError, match="longer"):
        ledger.buckets(records, 1e-6)


def test_a_ledger_without_frames_has_no_figures_and_no_buckets() -> None:
    seen = figures(End(101))
    assert (seen.submitted, seen.success_rate, seen.goodput_per_s, seen.gap_s_max) == (
        0,
        None,
        None,
        None,
    )
    assert ledger.buckets(ledger.parse(lines(HEAD, End(101))), 1.0) == []


def test_events_come_by_time_and_a_torn_last_one_is_left_out() -> None:
    log = [b'{"at_s":2,"sentence":"b","plan":"x"}\n', b'{"at_s":1,"sentence":"a"}\n', b'{"at']
    assert [event.sentence for event in ledger.parse_events(log)] == ["a", "b"]
    with pytest.raises(UsageError, match="log:1"):
        ledger.parse_events([b'{"at_s":"noon"}\n'], "log")


@st.composite
def ledgers(draw: st.DrawFn) -> list[AnyRecord]:
    """Any submits, outcomes of some of them and of others, some of them twice."""
    frames = st.integers(1, 6)
    times = st.integers(100, 110).map(float)
    records: list[AnyRecord] = [
        submit(frame, draw(times), draw(st.sampled_from(["cat", "dog"])))
        for frame in draw(st.sets(frames))
    ]
    for frame in draw(st.lists(frames, max_size=8)):
        at_s = draw(times)
        sha256 = draw(st.sampled_from([RIGHT, OTHER, None]))
        records.append(result(frame, at_s, sha256) if sha256 else error(frame, at_s))
    records += draw(st.lists(st.just(Expected("cat", RIGHT)), max_size=1))
    return records + draw(st.lists(st.just(End(120.0)), max_size=1))


@given(ledgers(), st.integers(0, 1 << 30))
def test_any_order_of_the_lines_gives_the_same_figures(
    records: Sequence[AnyRecord], seed: int
) -> None:
    mixed = list(records)
    random.Random(seed).shuffle(mixed)
    seen = judge(records)
    assert judge(mixed) == seen
    assert ledger.buckets(mixed, 1.0) == ledger.buckets(records, 1.0)
    assert seen.submitted == seen.answered + seen.lost + seen.open
    assert seen.answered == seen.good + sum(seen.errors.values()) + (seen.wrong or 0)
    outcomes = sum(isinstance(record, Outcome) for record in records)
    assert outcomes == seen.answered + seen.duplicated + seen.unknown
    rows = ledger.buckets(records, 1.0)
    assert sum(row.submitted for row in rows) == seen.submitted
    assert sum(row.good for row in rows) == seen.good
