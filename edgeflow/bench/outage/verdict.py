"""What a row shows, out of its ledgers and of what was noted beside them.

    fault ──▶ late frames … ──▶ a second of frames in time
      '────── recovery ──────'    to the last outcome of those that were late

A frame is late where it took longer than LATE_MEDIANS times the row's own median, ended in an error
or got nothing. A row in which a fault is not felt recovers in 0 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from edgeflow.ledger.judge import quantile
from edgeflow.ledger.records import AnyRecord, Outcome, Submit

LATE_MEDIANS = 2.0
LATE_S_MIN = 0.2
"""No frame is late below this: a shared machine pauses for tens of milliseconds, and a plan that is
built beside a running one takes a share of a small quota."""
CALM_S = 1.0
"""Only in-time frames for so long, and the fault is over."""
BEAT_GAP_S = 1.0
"""Two beats of a leader are half a second apart; without one for longer, nobody leads."""
SURE = 3.0
"""0 of N means: less than 3/N at 95 % (Hanley and Lippman-Hand, JAMA 249(13), 1983)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; an error or no outcome has taken endlessly long."""

    at_s: float
    seconds: float
    ended_s: float
    """When its outcome came; infinite where none did."""
    ok: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted beside a row's ledgers."""

    moments_s: tuple[float, ...]
    """When each fault began."""
    beats: tuple[tuple[float, str, int], ...]
    """Of leaders: (when, node, term)."""
    deaf: tuple[tuple[float, float], ...]
    """[from, until) in which no beat could be heard: there was no broker."""


def frames_of(records: Iterable[AnyRecord]) -> list[Frame]:
    """In the order in which they were handed in."""
    submits: dict[int, Submit] = {}
    outcomes: dict[int, Outcome] = {}
    for record in records:
        if isinstance(record, Submit):
            submits[record.frame] = record
        elif isinstance(record, Outcome):
            outcomes.setdefault(record.frame, record)
    found = []
    for number, submit in submits.items():
        outcome = outcomes.get(number)
        ended_s = outcome.at_s if outcome else float("inf")
        ok = outcome is not None and not outcome.code
        found.append(Frame(submit.at_s, ended_s - submit.at_s, ended_s, ok))
    return sorted(found, key=lambda each: each.at_s)


def late_s(frames: Sequence[Frame]) -> float:
    """Above this a frame is late."""
    median_s = quantile(sorted(each.seconds for each in frames if each.ok), 0.5)
    return max(LATE_S_MIN, LATE_MEDIANS * median_s) if median_s is not None else LATE_S_MIN


def recoveries(
    frames: Sequence[Frame], moments_s: Sequence[float], limit_s: float
) -> list[float | None]:
    """Seconds from each moment until frames are in time again; None where they are not before the
    next moment, or the end."""
    late = [each for each in frames if not each.ok or each.seconds > limit_s]
    last_s = frames[-1].at_s if frames else 0.0
    ends_s = [*moments_s[1:], last_s + CALM_S][: len(moments_s)]
    return [
        _recovery(late, moment_s, end_s, limit_s)
        for moment_s, end_s in zip(moments_s, ends_s, strict=True)
    ]


def silences(
    frames: Sequence[Frame], moments_s: Sequence[float], recovered_s: Sequence[float | None]
) -> list[float]:
    """Longest time without any good answer, from each moment until all was well for CALM_S."""
    good_s = sorted(each.ended_s for each in frames if each.ok)
    last_s = good_s[-1] if good_s else 0.0
    ends_s = [*moments_s[1:], max([last_s, *moments_s])][: len(moments_s)]
    found = []
    for moment_s, end_s, recovery_s in zip(moments_s, ends_s, recovered_s, strict=True):
        until_s = end_s if recovery_s is None else min(end_s, moment_s + recovery_s + CALM_S)
        marks_s = [moment_s, *(at_s for at_s in good_s if moment_s < at_s < until_s), until_s]
        found.append(max(later - earlier for earlier, later in pairwise(marks_s)))
    return found


def _recovery(late: Sequence[Frame], moment_s: float, end_s: float, limit_s: float) -> float | None:
    """Late frames one after the other, until none was handed in for CALM_S."""
    calm_from_s, over_s = moment_s, moment_s
    for each in late:
        if each.at_s < moment_s - limit_s:
            continue  # it was late before this fault
        if each.at_s >= calm_from_s + CALM_S:
            break
        calm_from_s = max(calm_from_s, each.at_s)
        if each.ended_s != float("inf"):
            over_s = max(over_s, each.ended_s)
    return None if calm_from_s + CALM_S > end_s else over_s - moment_s


def leaderless_s(noted: Noted, from_s: float, until_s: float) -> float:
    """Seconds without a leader's beat, in gaps longer than BEAT_GAP_S, while there was a broker."""
    times_s = [from_s, *(at_s for at_s, _, _ in noted.beats if from_s <= at_s < until_s), until_s]
    total_s = 0.0
    for start_s, end_s in pairwise(times_s):
        if end_s - start_s > BEAT_GAP_S:
            unheard_s = sum(
                max(0.0, min(end_s, stop_s) - max(start_s, deaf_s)) for deaf_s, stop_s in noted.deaf
            )
            total_s += end_s - start_s - unheard_s
    return total_s


def leader_changes(noted: Noted, from_s: float, until_s: float) -> int:
    """How often a beat came that was of a higher term than all before."""
    terms = [term for at_s, _, term in noted.beats if from_s <= at_s < until_s]
    highest = list(accumulate(terms, max))
    return sum(later > earlier for earlier, later in pairwise(highest))


def bound_percent(frames: int) -> float:
    """What 0 of so many frames says about all frames, at 95 %."""
    return 100 * SURE / frames if frames else 100.0
