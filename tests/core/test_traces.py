"""Bandwidth traces: read, refused, asked, and the two that we ship."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from edgeflow.bench.adapting.draw import DRAWN
from edgeflow.errors import UsageError
from edgeflow.traces import Trace, parse, written

SHIPPED = Path(__file__).parents[2] / "configs" / "traces"
TRACE = Trace((0.0, 10.0, 15.0), (50.0, 4.0, 20.0))


def test_a_rate_holds_until_the_next_line_and_the_last_one_for_good() -> None:
    assert [TRACE.at(at_s) for at_s in (0, 9.9, 10, 14.9, 15, 1000)] == [50, 50, 4, 4, 20, 20]


def test_a_repeated_trace_begins_anew_after_its_last_step() -> None:
    assert TRACE.length_s == 20
    assert [TRACE.at(at_s, repeat=True) for at_s in (19.9, 20, 30, 35, 40)] == [20, 50, 4, 20, 50]
    steps = list(islice(TRACE.steps(repeat=True), 5))
    assert steps == [(0, 50), (10, 4), (15, 20), (20, 50), (30, 4)]


def test_steps_name_only_what_changes() -> None:
    assert list(Trace((0, 1, 2, 3), (5, 5, 6, 6)).steps()) == [(0, 5), (2, 6)]
    assert list(Trace((0, 1), (5, 5)).steps(repeat=True)) == [(0, 5)]


def test_what_is_written_can_be_read() -> None:
    assert parse(written(TRACE, ("made by a test",))) == TRACE


def test_comments_and_spaces_are_passed_over() -> None:
    assert parse("# ours\n\n seconds, mbps\n0, 5 # slow\n 1.5,6\n") == Trace((0.0, 1.5), (5.0, 6.0))


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ("", "t.csv", "there is no rate"),
        ("seconds,mbps\n", "t.csv", "write 'seconds,mbps', then lines"),
        ("0,5\n", "t.csv:1", "must be the header 'seconds,mbps'"),
        ("seconds,mbps\n0,5\n1;6\n", "t.csv:3", "no pair of numbers like 12,8.5"),
        ("seconds,mbps\n0,5,6\n", "t.csv:2", "no pair of numbers"),
        ("seconds,mbps\n0,0\n", "t.csv:2", "write 0.01 for a link"),
        ("seconds,mbps\n0,nan\n", "t.csv:2", "a rate is above 0"),
        ("seconds,mbps\nnan,5\n", "t.csv:2", "a rate is above 0"),
        ("seconds,mbps\n1,5\n", "t.csv:2", "let it begin at 0"),
        ("# ours\nseconds,mbps\n0,5\n0,6\n", "t.csv:4", "sort the lines"),
    ],
)
def test_a_wrong_file_is_refused_by_its_line_with_a_cure(text: str, place: str, cure: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "t.csv")
    assert str(caught.value).startswith(f"{place}:")
    assert cure in str(caught.value)


@pytest.mark.parametrize("name", DRAWN)
def test_the_shipped_traces_are_what_their_seed_makes_and_say_so(name: str) -> None:
    text = (SHIPPED / f"{name}.csv").read_text(encoding="utf-8")
    drawn, _ = DRAWN[name]
    assert parse(text, name) == drawn()
    assert "made by us, not measured" in text
    assert drawn().length_s == 600
