"""When a better plan is worth the switch.

    gain > lost by switching ÷ seconds that things are expected to last + margin
    gain · seconds since the last change > PATIENCE_S      a large gain is followed at once

The margin is what estimates may be off by, or MARGIN, and grows with each small gain that was
followed lately, most of all back to a plan that was left: two plans of nearly equal price change
places once, and then the noise has to be larger than it was. Large gains are no noise, and follow
each other as they come. Only where plans over the same nodes broke down again and again, the next
one has to promise what that cost.

What a plan takes is what frames under it tell, where that is less than its price: a price may be
wrong for long, a plan that is quick is quick. So it is with one that spare frames tried: where they
found it quicker than the running one, that is what counts, not what estimates may be off by, and
the margin does not grow either.

Invariant: a plan that works is given up only for what is measurably better; at most
CHANGES_A_MINUTE times a minute.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

from edgeflow.costmodel.cost import CostModel
from edgeflow.costmodel.uncertainty import difference_deviation_s
from edgeflow.errors import EdgeflowError
from edgeflow.layout.placement import format_placement, nodes_named, nodes_of, parse_placement
from edgeflow.planning import Proposal
from edgeflow.planning.standing import Standing, gain_of
from edgeflow.policy.question import Question
from edgeflow.policy.switching import lost_s

MARGIN = 0.04
"""A better plan must promise so much less of what is wanted, however sure that is. Lower follows
what nobody notices; a running plan may be worse than the best one by this share for ever."""
SIGMAS, SMALL, SMALL_SIGMAS = 2.0, 0.08, 3.0
"""So many standard deviations of the predicted difference a gain must be; a small one, of a share
below that, more: it is looked for every few seconds, and one look of a hundred is 2.6 off. Higher
is calmer, and leaves a better plan unused until more was measured."""
DOUBT_MAX = 0.25
"""What is only guessed counts for no more: a plan that promises more than this is tried."""
PATIENCE_S = 0.25
"""Gain · seconds since the last change: half a frame's time is won after 0.8 s, a tenth after 4 s.
Higher keeps plans longer."""
LASTS_S_MIN, LASTS_S_MAX = 10.0, 600.0
"""Things are expected to last as long as they have since the last change, within these."""
LARGE = 0.25
"""A gain of this share is no noise, whatever was followed lately."""
MEMORY_S = 600.0
"""Changes are remembered for so long."""
CALMER, BACK = 1.5, 3.0
"""The margin's factors: for each small gain that was followed lately, and for a plan that was left
lately. Higher is calmer."""
FRAMES_TELL = 3
"""Where so many frames under both plans say that leaving was a mistake, the way back is open."""
TRIED_TELL, TRIED_GAIN = 5, 0.15
"""Nor does the margin grow where so many frames on trial took less than the running plan's by this
share. Lower takes a quiet second on a noisy link for the truth: 12 % with eight frames did."""
LEAD_S = 9.0
"""Nor does the margin grow against what was better on end: gain beyond the margin · seconds. With a
tenth that is 90 s. Lower takes long waves of noise for the truth."""
PAUSE_S = 3.0
"""Between two looks no more than this counts as on end."""
REACT_S, HURT_MAX, BURNT_MAX, BURNT_S_MIN = 1.5, 3.0, 0.8, 30.0
"""A plan that breaks down hurts for so long before it is left, by so many times what it took at
most: frames behind one that is overdue go another way at once (`edgeflow.mind.refuge`). What that
cost lately on the same nodes, as a share of the time plans ran there (of so many seconds at least),
is what the next one has to promise more, at most so much. Higher stays away from what comes and
goes."""
HURTS = 0.33
"""So much worse than it promised a plan broke down; one that was left for what got better did not.
Lower takes noise for it."""
CHANGES_A_MINUTE = 8
"""Whatever is promised: each change takes a few messages of everybody."""


class Change(NamedTuple):
    """One that was worth it."""

    at_s: float
    left: str
    """The placement line that ran before."""
    plan: str
    """Its plan id in words."""
    gain: float
    ran_s: float
    """How long the one before had run."""
    hurt: float
    """By how much more than it promised, and than the new one, the one before took in the end."""


@dataclass(slots=True)
class Worth:
    """What was followed lately, of one deployment."""

    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=64))
    lead_s: float = 0.0
    """By how much, and for how long, some other plan has been better on end."""
    seen_s: float = -math.inf

    def judge(self, question: Question, proposal: Proposal) -> str:
        """Why to switch, in words; empty where it is not worth it. What is, is remembered."""
        gain, words = self.weigh(question, proposal)
        if words and math.isfinite(gain):
            assert question.plan is not None
            ran_s = min(_since_s(question), MEMORY_S)
            left, name = question.plan.variants[0], str(question.plan.id)
            hurt = min(gain / max(1 - gain, 1e-9), _worse(question))
            self.changes.append(Change(question.now_s, left, name, gain, ran_s, hurt))
            self.rest()
        return words

    def weigh(self, question: Question, proposal: Proposal) -> tuple[float, str]:
        """Which share of what is wanted it saves, infinite where the running plan cannot stay, and
        why to switch, in words; empty where it is not worth it."""
        running, tried = _as_told(question), _as_tried(question, proposal)
        gain, words = gain_of(running, tried)
        if math.isinf(gain):
            return gain, words
        if tried is not proposal:
            took, was = tried.predicted_s * 1e3, running.seconds * 1e3
            words = f"spare frames took {took:.1f} ms instead of {was:.1f} ms as things are now"
        sigmas = SMALL_SIGMAS if gain < SMALL else SIGMAS
        is_sure = gain <= MARGIN or tried is not proposal
        doubt = 0.0 if is_sure else doubt_of(question, proposal, sigmas)
        self._lead(question, gain - max(MARGIN, doubt))
        if gain <= MARGIN or self._lately(question, 60.0) >= CHANGES_A_MINUTE:
            return gain, ""
        since_s = _since_s(question)
        lasts_s = min(max(since_s, LASTS_S_MIN), LASTS_S_MAX)
        needed = lost_s(question, proposal.placement) / lasts_s
        needed += self._margin(question, proposal, gain, doubt) + self._burnt(question, proposal)
        if gain <= needed or (gain - min(doubt, gain / 2)) * since_s < PATIENCE_S:
            return gain, ""
        return gain, words

    def _burnt(self, question: Question, proposal: Proposal) -> float:
        """Which share plans over these nodes lost lately by breaking down; once is chance."""
        nodes = nodes_of(proposal.placement)
        left = [
            each
            for each in self.changes
            if question.now_s - each.at_s <= MEMORY_S and nodes_named(each.left) == nodes
        ]
        burns_s = [REACT_S * min(each.hurt, HURT_MAX) for each in left if each.hurt >= HURTS]
        if len(burns_s) < 2:
            return 0.0
        ran_s = max(BURNT_S_MIN, sum(each.ran_s for each in left))
        chance = (len(burns_s) - 1) / len(burns_s)
        return min(BURNT_MAX, chance * sum(burns_s) / ran_s)

    def rest(self) -> None:
        """Nothing is better than what runs."""
        self.lead_s = 0.0

    def _lead(self, question: Question, more: float) -> None:
        pause_s = min(question.now_s - self.seen_s, PAUSE_S)
        self.lead_s = self.lead_s + more * pause_s if more > 0 else 0.0
        self.seen_s = question.now_s

    def _margin(self, question: Question, proposal: Proposal, gain: float, doubt: float) -> float:
        margin = max(MARGIN, doubt)
        if gain >= LARGE + doubt or self.lead_s >= LEAD_S:
            return margin
        lately = [each for each in self.changes if question.now_s - each.at_s <= MEMORY_S]
        small = [each for each in lately if each.gain < LARGE]
        if math.isfinite(_tried_s(question, proposal)):
            return margin
        line = format_placement(question.graph, proposal.placement)
        left = [each for each in small if each.left == line]
        is_sure = any(_was_quicker(question, each.plan) for each in left)
        factor = CALMER ** len(small) * (BACK if left and not is_sure else 1.0)
        return min(margin * factor, max(margin, LARGE))

    def _lately(self, question: Question, seconds: float) -> int:
        return sum(question.now_s - each.at_s <= seconds for each in self.changes)


def _since_s(question: Question) -> float:
    """How long the running plan has run."""
    return max(0.0, question.now_s - question.since_s)


def _worse(question: Question) -> float:
    """By which share the running plan takes longer than it promised when it was chosen."""
    assert question.plan is not None
    promised_s = question.plan.predicted_s
    return max(0.0, _as_told(question).seconds / promised_s - 1) if promised_s > 0 else math.inf


def _as_told(question: Question) -> Standing:
    """The running plan at its price of now, or as its frames have it where that is less. They tell
    of latency alone."""
    now = question.standing
    if question.told_s >= now.seconds or question.spec.objective != "latency":
        return now
    is_kept = math.isfinite(now.value)
    return Standing(question.told_s, min(now.value, question.told_s) if is_kept else now.value)


def _as_tried(question: Question, proposal: Proposal) -> Proposal:
    """A plan as spare frames found it quicker than the running one, else at its price of now."""
    took_s = _tried_s(question, proposal)
    if math.isinf(took_s) or question.spec.objective != "latency":
        return proposal
    return replace(proposal, predicted_s=took_s, value=took_s)


def _tried_s(question: Question, proposal: Proposal) -> float:
    """What frames on trial took along a plan, where enough of them found it quicker than the
    running one; infinite where not."""
    if not question.tried or math.isinf(question.told_s):
        return math.inf
    known = question.tried.get(format_placement(question.graph, proposal.placement))
    if known is None or len(known.flights_s) < TRIED_TELL:
        return math.inf
    took_s = median(known.flights_s[-TRIED_TELL:])
    return took_s if took_s <= (1 - TRIED_GAIN) * question.told_s else math.inf


def _was_quicker(question: Question, plan: str) -> bool:
    """Whether frames under a plan that was left took less than those under the running one."""
    assert question.plan is not None
    there, here = (question.measured.get(name) for name in (plan, str(question.plan.id)))
    if there is None or here is None:
        return False
    if min(len(there.flights_s), len(here.flights_s)) < FRAMES_TELL:
        return False
    return median(there.flights_s) < (1 - MARGIN) * median(here.flights_s)


def doubt_of(question: Question, proposal: Proposal, sigmas: float = SIGMAS) -> float:
    """Which share of the running plan's price the gain may be off by."""
    assert question.plan is not None
    try:
        costs = CostModel(question.graph, question.cluster)
        running = parse_placement(question.graph, question.plan.variants[0])
        off_s = difference_deviation_s(costs, running, proposal.placement)
    except EdgeflowError:
        return DOUBT_MAX
    return min(DOUBT_MAX, sigmas * off_s / max(question.standing.seconds, 1e-9))
