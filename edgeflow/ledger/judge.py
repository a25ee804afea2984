"""What became of every frame: the judge of every figure we quote.

    records of a ledger ─▶ judge ─▶ Figures      was the promise kept, how fast, when not
                       └─▶ buckets ─▶ so many seconds a row: a thin link or a death can be seen

Invariant: the figures depend on the records, not on the order of their lines.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from edgeflow.errors import UsageError
from edgeflow.ledger.records import (
    AnyRecord,
    End,
    Event,
    Expected,
    Head,
    Line,
    Outcome,
    Submit,
    Torn,
    parse,
    parse_events,
)
from edgeflow.ledger.sheet import Gap, Sheet, Use

__all__ = [
    "Bucket",
    "End",
    "Event",
    "Expected",
    "Figures",
    "Gap",
    "Head",
    "Line",
    "Outcome",
    "Submit",
    "Torn",
    "Use",
    "buckets",
    "judge",
    "parse",
    "parse_events",
    "quantile",
]

BUCKETS_MAX = 100_000
"""More rows than this nobody looks at; a wrong time stamp would ask for billions."""


class Figures(Struct, frozen=True, kw_only=True):
    """What a ledger proves. None stands where nothing was measured."""

    submitted: int
    answered: int
    """Frames with an outcome: a result or an error."""
    good: int
    """Frames with a result that is not wrong."""
    success_rate: float | None
    """good / submitted."""
    errors: dict[str, int]
    """Frames by the code of their error."""
    lost: int
    """Frames without an outcome although the submitter waited to the end."""
    open: int
    """Frames without an outcome when the submitter died: the promise ended with it."""
    duplicated: int
    """Second and further outcomes of a frame."""
    unknown: int
    """Outcomes of frames that nobody had submitted by then."""
    judged: int
    """Results to an input whose right answer is known."""
    wrong: int | None
    """Those that are another; None where no right answer is known."""
    inconsistent: int
    """Inputs that got more than one answer, whether right or not."""
    retried: int
    """Frames that took more than one attempt."""
    torn: int
    """1 where the last line is not whole."""
    ended: bool
    latency_ms_p50: float | None
    """Of good answers, submit to outcome by the ledger's clock; the smallest latency seen that so
    many of them do not exceed (nearest rank)."""
    latency_ms_p90: float | None
    latency_ms_p99: float | None
    latency_ms_max: float | None
    span_s: float
    """First submit to last outcome."""
    goodput_per_s: float | None
    """good / span_s."""
    gap_s_max: float | None
    """Longest time without a good answer, between the first submit and the last record."""
    gaps: tuple[Gap, ...]
    """Those longer than the threshold, in order."""
    plans: dict[str, Use]
    """Results by plan, in the order of first use."""

    @property
    def kept(self) -> bool:
        """The promise held: one outcome a frame, and no wrong one. An error is an outcome."""
        return not (self.lost or self.duplicated or self.unknown or self.wrong)


class Bucket(Struct, frozen=True):
    """Some seconds of a ledger: submits by their time, the rest by the time of the outcome."""

    after_s: float
    submitted: int
    good: int
    errors: int
    latency_ms_p50: float | None
    latency_ms_max: float | None


def judge(records: Iterable[AnyRecord], gap_s: float = 1.0) -> Figures:
    """Every figure; gaps longer than `gap_s` are listed."""
    sheet = Sheet.of(records)
    good = [pair for pair in sheet.results if not sheet.is_wrong(*pair)]
    submitted, answered = len(sheet.submits), len(sheet.outcomes)
    latencies_ms = sorted(_latency_ms(*pair) for pair in good)
    span_s = round(sheet.answered_s - sheet.first_s, 6)
    gaps = sheet.gaps([outcome.at_s for _, outcome in good])
    judged = [pair for pair in sheet.results if pair[0].input in sheet.expected]
    return Figures(
        submitted=submitted,
        answered=answered,
        good=len(good),
        success_rate=len(good) / submitted if submitted else None,
        errors=dict(sorted(Counter(o.code for o in sheet.outcomes.values() if o.code).items())),
        lost=submitted - answered if sheet.ended else 0,
        open=0 if sheet.ended else submitted - answered,
        duplicated=sheet.duplicated,
        unknown=sheet.unknown,
        judged=len(judged),
        wrong=sum(sheet.is_wrong(*pair) for pair in judged) if sheet.expected else None,
        inconsistent=sheet.inconsistent(),
        retried=sum(outcome.attempts > 1 for outcome in sheet.outcomes.values()),
        torn=sheet.torn,
        ended=sheet.ended,
        latency_ms_p50=quantile(latencies_ms, 0.5),
        latency_ms_p90=quantile(latencies_ms, 0.9),
        latency_ms_p99=quantile(latencies_ms, 0.99),
        latency_ms_max=quantile(latencies_ms, 1.0),
        span_s=span_s,
        goodput_per_s=round(len(good) / span_s, 3) if span_s > 0 else None,
        gap_s_max=max((gap.long_s for gap in gaps), default=None),
        gaps=tuple(gap for gap in gaps if gap.long_s > gap_s),
        plans=sheet.plans(),
    )


def buckets(records: Iterable[AnyRecord], per_s: float) -> list[Bucket]:
    """Every `per_s` seconds from the first submit to the last record, empty ones too.

    UsageError where they would be too many.
    """
    sheet = Sheet.of(records)
    if not sheet.submits:
        return []
    rows = int((sheet.last_s - sheet.first_s) / per_s) + 1
    if rows > BUCKETS_MAX:
        raise UsageError(f"{rows} buckets of {per_s:g} s, at most {BUCKETS_MAX}; take longer ones")
    submitted: Counter[int] = Counter()
    errors: Counter[int] = Counter()
    latencies_ms: defaultdict[int, list[float]] = defaultdict(list)
    for submit in sheet.submits.values():
        submitted[int((submit.at_s - sheet.first_s) / per_s)] += 1
    for frame, outcome in sheet.outcomes.items():
        row = int((outcome.at_s - sheet.first_s) / per_s)
        if outcome.code:
            errors[row] += 1
        elif not sheet.is_wrong(sheet.submits[frame], outcome):
            latencies_ms[row].append(_latency_ms(sheet.submits[frame], outcome))
    return [
        Bucket(
            after_s=round(row * per_s, 6),
            submitted=submitted[row],
            good=len(latencies_ms[row]),
            errors=errors[row],
            latency_ms_p50=quantile(sorted(latencies_ms[row]), 0.5),
            latency_ms_max=quantile(sorted(latencies_ms[row]), 1.0),
        )
        for row in range(rows)
    ]


def quantile(ascending: Sequence[float], part: float) -> float | None:
    """The smallest value that `part` of all do not exceed (nearest rank); None where none is."""
    # 0.07 * 100 is a little more than 7.
    rank = math.ceil(part * len(ascending) - 1e-9)
    return ascending[max(0, rank - 1)] if ascending else None


def _latency_ms(submit: Submit, outcome: Outcome) -> float:
    return round((outcome.at_s - submit.at_s) * 1e3, 3)
