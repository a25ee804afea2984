"""A change of plan in a sentence, and what came of it in another one; for `events` and screens.

Invariant: a number that is not known is left out; 0 is no measurement.
"""

from __future__ import annotations

from edgeflow.leader.covering import COVERED
from edgeflow.messages import Plan, PlanChange

AS_PREDICTED = 0.1
"""A plan that is off by this share at most took what was predicted: frames scatter that far."""


def ms(seconds: float) -> str:
    """As 83.1 ms; from ten seconds on as 12.3 s."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


def size(count: int) -> str:
    """Bytes as 44.6 MB or 12 kB."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.0f} kB"


def committed(deployment: str, plan: Plan, change: PlanChange | None) -> str:
    """That a plan runs, and why; `change`: None where its placement ran already."""
    line, (why, _, rest) = plan.variants[0], plan.reason.partition("; ")
    if change is not None:
        facts = [f"{deployment} runs as {line}: {why}", *_costs(change), rest]
        return "; ".join(fact for fact in facts if fact)[:2000]
    if COVERED not in plan.reason:
        return f"{deployment} runs as {line}: {plan.reason}"[:2000]
    count, lost = len(plan.variants) - 1, plan.reason.rpartition(COVERED)[2]
    beside = {0: "no plan is", 1: "1 plan is"}.get(count, f"{count} plans are")
    return f"{deployment} as {line}: {beside} prepared beside it, for the loss of {lost}"[:2000]


def judged(deployment: str, change: PlanChange) -> str:
    """What came of a change."""
    before = f"; before {ms(change.measured_before_s)}" if change.measured_before_s else ""
    return f"{deployment} as {change.after}: {outcome(change)}{before}"[-2000:]


def outcome(change: PlanChange) -> str:
    """What was promised, beside what the first frames took."""
    promised = f"predicted {ms(change.predicted_after_s)}"
    if not change.frames_after:
        return f"{promised}, no frame measured yet"
    frames = "1 frame" if change.frames_after == 1 else f"{change.frames_after} frames"
    return f"{promised}, measured {ms(change.measured_after_s)} over {frames}"


def _costs(change: PlanChange) -> list[str]:
    """What it was to bring and what it cost, as far as the reason does not say so."""
    facts = []
    if "predicted" not in change.why:
        before = change.predicted_before_s
        instead = f" instead of {ms(before)}" if before else ""
        facts.append(f"predicted {ms(change.predicted_after_s)}{instead}")
    if change.measured_before_s:
        facts.append(f"measured {ms(change.measured_before_s)} before")
    return [*facts, switch(change)]


def switch(change: PlanChange) -> str:
    """What the switch cost."""
    fetched = f" with {size(change.fetched_bytes)} fetched" if change.fetched_bytes else ""
    return f"switched in {change.switch_s:.1f} s{fetched}"


def verdict(change: PlanChange) -> str:
    """What came of a change, against what was before and what was promised; empty before a frame
    was measured."""
    if not change.measured_after_s:
        return ""
    after_s, told = change.measured_after_s, []
    if change.measured_before_s:
        share = after_s / change.measured_before_s
        told.append(_off(share, "less than before", "more than before", "what it was before"))
    if change.predicted_after_s:
        share = after_s / change.predicted_after_s
        is_kept = abs(share - 1) <= AS_PREDICTED
        off = _off(share, "below its prediction", "above its prediction", "its prediction")
        told.append("as predicted" if is_kept else off)
    return ", ".join(told)


def _off(share: float, less: str, more: str, times: str) -> str:
    """A ratio in words."""
    if share >= 2:
        return f"{share:.1f} times {times}"
    return f"{abs(1 - share) * 100:.0f} % {less if share <= 1 else more}"
