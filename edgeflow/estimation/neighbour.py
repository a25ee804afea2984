"""One link to another node, as this node sees it, and when it has to be probed.

    up ─▶ probes of two sizes, first often ─▶ measured ─▶ receipts of frames keep it
    a receipt that is far off ─▶ a look at once; what nothing told of for long ─▶ a probe

Invariant: probes take a small share of a link's time, however often messages are far off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from edgeflow.cluster.membership import EASED
from edgeflow.estimation.link import FASTER, LinkEstimate
from edgeflow.messages import Endpoint, LinkReport

PROBES_BYTES = (1 << 10, 64 << 10, 1 << 10, 256 << 10)
"""Sent one by one over a new link: sizes apart tell delay from rate, and the largest is long beside
what a busy machine adds; 256 kB at 8 Mbit/s take 0.26 s."""
AGAIN_BYTES, AGAIN_S = (1 << 10, 256 << 10, 1 << 10, 256 << 10, 1 << 10, 256 << 10), 0.5
"""Sent as well where the largest took less than that: a busy node's hiccup looks like a slow link,
and tiles are planned by who is how well linked. Slower links are spared a megabyte."""
PROBE_IDLE_S, PROBE_FIRST_S = 60.0, 1.0
"""A link is probed once in so long while this node has nothing to do, 90 MB a day at most; a new
one the sooner, after 1, 2, 4 … s: nodes that have just started are too busy to tell much."""
PROBE_SMALL_BYTES, PROBE_SMALL_S = 1 << 10, 5.0
"""Of the probe that tells what a message takes beside its bytes, there and back. One goes before
each larger probe, and so often over every link while frames pass through this node: all frames are
of one size, and what that takes could be delay or rate. Rarer trusts for longer what was measured
while both were busy."""
PROBE_LIVE_S = 2.0
"""While frames pass through this node, a link that nothing told the rate of for so long: the plan
may lead past it because it was slow, and nobody would see that it is quick again. Links to lower
tiers carry results alone, which tell of themselves."""
PROBE_USED_S = 10.0
"""The same of a quick link that carries small messages: they show if it gets slow, and then a probe
that is as large as a quick link takes it would be in their way."""
PROBE_SLOWED_S, SLOWED_S = 0.5, 10.0
"""So often a link that has just got slow, for so long: who crowded it may be gone, and frames that
left it do not tell."""
PROBE_TAKES_S = 0.04
"""Such a probe is as large as takes so long, 64 kB at most: 2 % of a slow link's time, 33 kB/s of a
quick one's bytes. Less than `link.TELLING_S` would tell nothing."""
PROBE_BYTES_MIN, PROBE_BYTES_MAX = 8 << 10, 64 << 10
DOUBT, DOUBTED_MAX = math.log(1.5), 3
"""So far off as a logarithm, a message asks for probes at once, so many in a row: a step is then
known one frame after it."""
EASED_ROUNDS, EASED_REST_S = 3, 4.0
"""So many rounds of probes make a step known, once an end is less busy or the way back quicker: at
most once in so long, and not where frames told so lately."""
LOOKS_MAX, LOOKS_S = 2, 2.0
"""So many such probes in so long: a busy machine's hiccups ask for them as well."""
PRESUMED_S = 1.5
"""A link is presumed to share another one's step for so long at most: its own probes have told by
then, or are in the step themselves."""
AGREES = 0.5
"""One message that takes so much of what is presumed is enough for it."""
LEAP = 5.0
"""A message that takes so many times what it should needs one more of its kind to be believed, of
any size. Lower takes two hiccups for a step."""
SAMPLE_S = 0.05
"""Of a busy link one receipt in so long is a sample: a fit costs as much as a small frame."""


@dataclass(slots=True)
class Neighbour:
    """One link, as this node sees it."""

    session: int
    endpoints: tuple[Endpoint, ...] = ()
    """Where it is dialled; empty where it dials."""
    is_up: bool = False
    estimate: LinkEstimate = field(default_factory=LinkEstimate)
    probes: list[int] = field(default_factory=list)
    asked_s: float = 0.0
    sampled_s: float = 0.0
    rated_s: float = 0.0
    """When a message last told the rate."""
    tripped_s: float = 0.0
    """When a small probe was last sent."""
    presumed: tuple[float, float] = (math.inf, -math.inf)
    """(bytes per second that it has at most, until when), as it may share another link's step."""
    is_way: bool = False
    """Frames may take it: they passed lately, and it leads to no lower tier."""
    rounds: int = 0
    """Probes sent since it is up, beside the first ones."""
    handed_s: float = -math.inf
    """When the last message that is known to have crossed it was handed over; they keep order."""
    told_s: float = -math.inf
    """When the last message that told the rate was handed over."""
    suspect: tuple[int, float] = (0, 0.0)
    """Bytes and seconds of the last message, where it took so long that the next one decides."""
    slowed_s: float = -math.inf
    """When a step to a lower rate was last known."""
    used_s: float = -math.inf
    """When a message that was no probe last crossed it."""
    doubted: int = 0
    """Messages in a row that were far off."""
    looks: int = 0
    """Probes that they asked for since `looks_s`."""
    looks_s: float = -math.inf
    peak: float = 0.0
    """The most other load of one end since it eased, as a share of its time."""
    back_s: float = 0.0
    """The longest that a large probe should have taken on the way back since then."""
    eased_s: float = -math.inf
    sent_bytes: int = 0
    loss: float = 0.0
    """Share of the last messages with a receipt wanted that had none."""

    @property
    def probe_bytes(self) -> int:
        """Of a probe that tells whether the rate is what it was, or what it seems to be now: one
        that is too large for that would be in the way of frames that are slow already."""
        rate = min(self.estimate.bytes_per_s, self.presumed[0], _rate(self.suspect))
        size = int(PROBE_TAKES_S * rate)
        return min(max(size, PROBE_BYTES_MIN), PROBE_BYTES_MAX)

    def is_doubted(self, nbytes: int, seconds: float) -> bool:
        """Whether a message took so much longer or shorter that the link may be another one."""
        expected_s = self.estimate.seconds(nbytes)
        if self.estimate.samples < len(PROBES_BYTES) or seconds <= 0 or expected_s <= 0:
            return False
        return abs(math.log(seconds / expected_s)) > DOUBT

    def rest_s(self, now_s: float) -> float:
        """How long after the last message that told the rate a probe is sent."""
        if not self.is_way:
            return min(PROBE_IDLE_S, PROBE_FIRST_S * 2.0 ** min(self.rounds, 30))
        if now_s - self.slowed_s < SLOWED_S:
            return PROBE_SLOWED_S
        is_used = now_s - self.used_s < PROBE_LIVE_S
        return PROBE_USED_S if is_used and self.probe_bytes >= PROBE_BYTES_MAX else PROBE_LIVE_S

    def needs_look(self, now_s: float) -> bool:
        """Whether to send a probe at once."""
        if not 0 < self.doubted < DOUBTED_MAX:
            return False
        if now_s - self.looks_s >= LOOKS_S:
            self.looks, self.looks_s = 0, now_s
        self.looks += 1
        return self.looks <= LOOKS_MAX

    def on_told(self, load: float, back: LinkReport | None, now_s: float) -> bool:
        """What the busier end does beside deployments now, where messages wait to be written and
        read, and how quick the way back is. Whether probes are due, as either became better."""
        back_s = 0.0
        if back is not None and back.up and back.bytes_per_s > 0:
            back_s = back.delay_s + PROBE_BYTES_MAX / back.bytes_per_s
        self.peak, self.back_s = max(load, self.peak), max(back_s, self.back_s)
        if now_s - self.used_s < EASED_REST_S:
            self.peak, self.back_s = load, back_s
        is_better = self.peak - load >= EASED or 0 < back_s <= self.back_s / FASTER
        if not is_better or self.probes or now_s - self.eased_s < EASED_REST_S:
            return False
        self.peak, self.back_s, self.eased_s = load, back_s, now_s
        self.probes = [PROBE_SMALL_BYTES, self.probe_bytes] * EASED_ROUNDS
        return True

    def on_up(self, now_s: float) -> None:
        """Both lanes answered: whatever it was before, it is measured anew."""
        self.is_up, self.probes, self.doubted, self.rounds = True, list(PROBES_BYTES), 0, 0
        self.sampled_s = self.rated_s = self.tripped_s = now_s
        self.presumed, self.suspect = (math.inf, -math.inf), (0, 0.0)

    def presume(self, like: LinkEstimate, now_s: float) -> None:
        """As slow as a link that it may share something with, where that is slower."""
        nbytes = max(1, like.typical_bytes)
        self.presumed = nbytes / max(like.seconds(nbytes), 1e-9), now_s + PRESUMED_S

    def is_presumed(self, nbytes: int, seconds: float, now_s: float) -> bool:
        """Whether a message shows that the link shares the step, as was presumed, or that the one
        before it was no hiccup."""
        most, until_s = self.presumed
        most = min(most if now_s < until_s else math.inf, _rate(self.suspect))
        return seconds >= AGREES * nbytes / most > self.estimate.seconds(nbytes)

    def learn(self, nbytes: int, seconds: float, now_s: float) -> LinkEstimate | None:
        """One message's receipt; what was believed before, where it makes a step known."""
        if not self.probes and now_s - self.sampled_s < SAMPLE_S:
            return None
        is_doubted, before = self.is_doubted(nbytes, seconds), self.estimate
        if nbytes >= PROBE_BYTES_MIN and self.is_presumed(nbytes, seconds, now_s):
            # The small one may have waited for what went to others.
            told = [each for each in ((nbytes, seconds), self.suspect) if each[0]]
            is_doubted, self.estimate = False, before.restarted(*max(told, key=_rate))
        else:
            self.estimate = before.add(nbytes, seconds)
        has_stepped = self.estimate.steps > before.steps
        if not self.probes:
            self.used_s = now_s
        self.sampled_s = now_s
        if nbytes >= PROBE_BYTES_MIN:
            is_suspect = is_doubted and not has_stepped and seconds > LEAP * before.seconds(nbytes)
            self.presumed = (math.inf, -math.inf)
            self.suspect = (nbytes, seconds) if is_suspect else (0, 0.0)
        if has_stepped or self.estimate.is_telling(nbytes):
            self.rated_s, self.told_s = now_s, self.handed_s
            self.doubted = self.doubted + 1 if is_doubted else 0
        self._answered(seconds)
        if has_stepped:
            self._on_step(before, now_s)
        if not self.probes and self.needs_look(now_s):
            self.probes = [self.probe_bytes]
        return before if has_stepped else None

    def _on_step(self, before: LinkEstimate, now_s: float) -> None:
        """Another link: the first messages of a quicker one may have waited behind those that made
        it slow, so it is probed until they agree."""
        if self.estimate.bytes_per_s <= before.bytes_per_s:
            self.slowed_s = now_s
            return
        self.slowed_s, self.doubted, self.looks = -math.inf, 0, 0
        self.probes = self.probes or [self.probe_bytes]

    def _answered(self, seconds: float) -> None:
        """The probe that is under way, if one is."""
        if not self.probes or not self.asked_s:
            return
        self.probes.pop(0)
        is_first = self.estimate.samples == len(PROBES_BYTES)
        if is_first and not self.probes and seconds < AGAIN_S:
            self.probes = list(AGAIN_BYTES)

    def report(self, now_s: float) -> LinkReport:
        """For the heartbeat."""
        known, (most, until_s) = self.estimate, self.presumed
        return LinkReport(
            self.is_up,
            known.delay_s,
            min(known.bytes_per_s, most) if now_s < until_s else known.bytes_per_s,
            self.sent_bytes,
            known.samples,
            deviation_s=known.deviation_s,
            loss=self.loss,
            typical_bytes=known.typical_bytes,
        )


def _rate(message: tuple[int, float]) -> float:
    """Bytes per second of one that was sent; infinite of none."""
    nbytes, seconds = message
    return nbytes / seconds if seconds > 0 else math.inf
