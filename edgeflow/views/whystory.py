"""A change of plan as a few lines, and what runs now; for `edgeflow why` and its page.

20:31:40  better: predicted 83.0 ms instead of 412.0 ms as things are now
  before  predicted  412.0 ms  measured 408.0 ms              stem..head @cam-1
  after   predicted   83.0 ms  measured 85.0 ms (20 frames)   stem..head @edge-1
  switched in 0.9 s with 44.6 MB fetched; 79 % less than before, as predicted
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from edgeflow.leader import wording
from edgeflow.messages import PlanChange
from edgeflow.mind.snapshot import DeploymentView
from edgeflow.policy.worth import MARGIN

UNIX_S_MAX = 1e11
"""The year 5138: what is later is no time."""


def story(change: PlanChange) -> Iterator[str]:
    """One change."""
    yield f"{when(change)}  {change.kind}: {change.why}"
    rows = [("after", change.predicted_after_s, measured(change), change.after)]
    if change.before:
        before = wording.ms(change.measured_before_s) if change.measured_before_s else ""
        rows.insert(0, ("before", change.predicted_before_s, before, change.before))
    wide = max(len(row[2]) for row in rows)
    for title, predicted_s, took, line in rows:
        promised = wording.ms(predicted_s) if predicted_s else "unknown"
        took = f"measured {took or 'no frame':{wide}}" if wide else "no frame yet"
        yield f"  {title:6}  predicted {promised:>9}  {took}  {line}"
    told = wording.verdict(change)
    cost = wording.switch(change) if change.switch_s else "is being prepared"
    yield f"  {cost}{'; ' if told else ''}{told}"


def when(change: PlanChange) -> str:
    """By the clock here; the day where that is not today."""
    if not 0 < change.unix_s < UNIX_S_MAX:
        return "at an unknown time"
    then = time.localtime(change.unix_s)
    is_today = time.strftime("%Y%m%d", then) == time.strftime("%Y%m%d")
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", then)


def measured(change: PlanChange) -> str:
    """Of the new plan."""
    if not change.frames_after:
        return ""
    frames = "1 frame" if change.frames_after == 1 else f"{change.frames_after} frames"
    return f"{wording.ms(change.measured_after_s)} ({frames})"


def now(view: DeploymentView) -> Iterator[str]:
    """What runs, at the prices of now, and what may end it."""
    if not view.plan:
        yield f"now  {view.phase}: {view.sentence}"
        return
    is_proven = view.lower_bound_ms >= view.predicted_ms * 0.999
    bound = "optimal" if is_proven else f"bound {view.lower_bound_ms:.1f}"
    yield f"now  {view.phase}: {view.placement}"
    yield f"  plan {view.plan}, predicted {view.predicted_ms:.1f} ms as things are now, {bound}"
    if chosen := view.sentence.partition("; ")[2]:
        yield f"  when it was made: {chosen}"
    yield from (f"  {line}" for line in watched(view))


def watched(view: DeploymentView) -> list[str]:
    """What would end the running plan, in words."""
    if not view.plan:
        return []
    lost = [f"without {each.lost}: {each.placement}" for each in view.fallbacks if each.placement]
    return [margin(view), *lost, *view.standbys]


def margin(view: DeploymentView) -> str:
    """How much better another plan has to be."""
    if view.by_hand:
        return "placed by hand: it stays until it breaks or the wish changes"
    if view.policy == "static":
        return "static: it stays until it breaks or the wish changes"
    if view.policy in ("partnner", "profile-first"):
        return f"{view.policy}: it stays until what frames take is another"
    below_ms = view.predicted_ms * (1 - MARGIN)
    return (
        f"{view.policy}: left for a plan that promises less than {below_ms:.1f} ms, surely enough"
        " and for long enough to be worth the switch"
    )
