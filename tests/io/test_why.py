"""The story of a deployment's plans: as text, as one object, as a page."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from edgeflow.cli import why
from edgeflow.leader import wording
from edgeflow.messages import Fallback, History, PlanChange
from edgeflow.mind.snapshot import DeploymentView
from edgeflow.views import whypage
from edgeflow.views.whystory import now, story, watched, when

THEN_S = 1_700_000_000.0
DAY = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(THEN_S))
CHANGE = PlanChange(
    THEN_S, "3.2@edge-9", "better", "predicted 83.0 ms instead of 412.0 ms as things are now",
    "stem..head @cam-1", "stem..head @edge-1", 0.412, 0.083, 0.408, 0.085, 20, 0.93, 44_600_000,
)  # fmt: skip
FIRST = replace(
    CHANGE, plan="3.1@edge-9", kind="first", why="first plan", before="", after="stem..head @cam-1",
    predicted_before_s=0.0, measured_before_s=0.0, measured_after_s=0.0, frames_after=0,
    switch_s=0.0, fetched_bytes=0,
)  # fmt: skip
VIEW = DeploymentView(
    "job", "toy", "cam-1", "mincut", "running", "first plan; all on edge-1 is fastest",
    "stem..head @edge-1", "3.2@edge-9",
    100.0, 80.0, {}, fallbacks=(Fallback("edge-1", "stem..head @cam-1"), Fallback("edge-2", "")),
    standbys=("if cam-1 → edge-1 falls below 9 Mbit/s: stem..head @cam-1",),
)  # fmt: skip


def test_a_change_is_a_paragraph() -> None:
    assert "\n".join(story(CHANGE)) == (
        f"{DAY}  better: predicted 83.0 ms instead of 412.0 ms as things are now\n"
        "  before  predicted  412.0 ms  measured 408.0 ms             stem..head @cam-1\n"
        "  after   predicted   83.0 ms  measured 85.0 ms (20 frames)  stem..head @edge-1\n"
        "  switched in 0.9 s with 44.6 MB fetched; 79 % less than before, as predicted"
    )


def test_a_plan_under_preparation_has_no_cost_and_no_frames_yet() -> None:
    assert "\n".join(story(FIRST)) == (
        f"{DAY}  first: first plan\n"
        "  after   predicted   83.0 ms  no frame yet  stem..head @cam-1\n"
        "  is being prepared"
    )


def test_a_plan_that_could_not_run_has_no_prediction_and_a_clock_may_be_unknown() -> None:
    lines = list(story(replace(CHANGE, predicted_before_s=0.0, unix_s=0.0, measured_after_s=0.0)))
    assert lines[0].startswith("at an unknown time  better")
    assert when(replace(CHANGE, unix_s=1e300)) == when(replace(CHANGE, unix_s=-1.0))
    assert "predicted   unknown" in lines[1]
    assert lines[-1] == "  switched in 0.9 s with 44.6 MB fetched"


@pytest.mark.parametrize(
    ("before", "promised", "after", "told"),
    [
        (0.0, 0.1, 0.105, "as predicted"),
        (0.2, 0.1, 0.12, "40 % less than before, 20 % above its prediction"),
        (0.1, 0.5, 0.15, "50 % more than before, 70 % below its prediction"),
        (0.1, 0.1, 0.25, "2.5 times what it was before, 2.5 times its prediction"),
        (0.1, 0.1, 0.0, ""),
    ],
)
def test_the_verdict_is_against_before_and_against_the_promise(
    before: float, promised: float, after: float, told: str
) -> None:
    change = replace(
        CHANGE, measured_before_s=before, predicted_after_s=promised, measured_after_s=after
    )
    assert wording.verdict(change) == told


def test_what_runs_now_is_told_with_what_would_end_it() -> None:
    first, second, third, *rest = now(VIEW)
    assert first == "now  running: stem..head @edge-1"
    assert second == "  plan 3.2@edge-9, predicted 100.0 ms as things are now, bound 80.0"
    assert third == "  when it was made: all on edge-1 is fastest"
    assert [line.strip() for line in rest] == watched(VIEW)
    assert watched(VIEW)[0].startswith("mincut: left for a plan that promises less than 96.0 ms")
    assert watched(VIEW)[1:] == [
        "without edge-1: stem..head @cam-1",
        "if cam-1 → edge-1 falls below 9 Mbit/s: stem..head @cam-1",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"policy": "static"}, "static: it stays until it breaks or the wish changes"),
        ({"policy": "partnner"}, "partnner: it stays until what frames take is another"),
        ({"by_hand": True}, "placed by hand: it stays until it breaks or the wish changes"),
    ],
)
def test_other_policies_watch_other_things(change: dict[str, object], told: str) -> None:
    assert watched(replace(VIEW, **change))[0] == told


def test_without_a_plan_its_phase_is_all_there_is() -> None:
    view = replace(VIEW, plan="", phase="waiting", sentence="the source cam-1 is not here")
    assert list(now(view)) == ["now  waiting: the source cam-1 is not here"]
    assert why.as_data(view, ())["watched"] == []


def test_the_object_has_every_figure_and_the_verdict() -> None:
    data = why.as_data(VIEW, (FIRST, CHANGE))
    assert [each["kind"] for each in data["changes"]] == ["first", "better"]
    assert data["changes"][1]["verdict"] == "79 % less than before, as predicted"
    assert data["changes"][1]["measured_before_s"] == 0.408
    assert data["now"]["placement"] == "stem..head @edge-1"


class Balanced(HTMLParser):
    """Tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name in ("src", "href") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_the_page_is_whole_and_fetches_nothing(count: int) -> None:
    evil = replace(CHANGE, why="<script>alert(1)</script>")
    page = whypage.page(VIEW, (FIRST, *[evil] * (count - 1))[:count], THEN_S)
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert "<script" not in page
    assert page.count("<rect") == 2 * max(0, count - 1)
    assert page.count('class="predicted"') == max(0, 2 * count - 1)
    assert ("<svg" in page) == (count > 0)


def test_bars_are_as_high_as_what_was_measured() -> None:
    heights = [float(each) for each in re.findall(r'height="([\d.]+)"', whypage.draw((CHANGE,)))]
    assert heights[0] / heights[1] == pytest.approx(408 / 85, rel=1e-3)


def test_who_follows_hears_of_each_change_when_it_is_used_and_once_its_outcome_is_known() -> None:
    told: set[why.Stage] = set()
    young = replace(CHANGE, frames_after=7)
    heard = (
        (FIRST,),
        (replace(FIRST, switch_s=1.0), replace(CHANGE, switch_s=0.0)),
        (replace(FIRST, switch_s=1.0), young),
        (replace(FIRST, switch_s=1.0), replace(young, frames_after=12)),
        (replace(FIRST, switch_s=1.0), CHANGE),
        (CHANGE,),
    )
    seen = [[c.plan for c in why.news(History("job", "edge-9", each), told)] for each in heard]
    assert seen == [[], ["3.1@edge-9"], ["3.2@edge-9"], [], ["3.2@edge-9"], []]
