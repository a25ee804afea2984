"""Who leads.

                 no fresh leader for time-out, own heartbeat comes back
      follower ------------------------------------------------------> leader (term + 1)
         ^  ^------------- a higher claim is heard --------------------- |
         |---------------- deaf for long, or hands over to an edge node -'

A claim is a `Leader` message; it lives while its beat rises. The better a node's rank, the shorter
its time-out, so that as a rule one candidate claims alone; if two do, the lower claim yields.
Correctness never rests on there being one leader: plans are fenced by their ids. A node whose own
loop lags hears every beat late: it waits longer by as much (`stretch_s`, see
`edgeflow.estimation.lag`).

Invariants: the highest claim seen never falls (E1). A retained, replayed or duplicated message
never renews a lease (E2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeflow.cluster.membership import HEARTBEAT_S, RECONNECT_GRACE_S
from edgeflow.messages import Claim, Leader

BEAT_S = 0.5
"""Time between two beats of a leader. Shorter lets the lease be shorter, at a message each."""
LEASE_S = 2.0
"""A leader unheard for so long is gone: 4 beats. Lower replaces it sooner, more often wrongly."""
STAGGER_S = 0.4
"""Each better-ranked living candidate lengthens the time-out by this: > a beat's way both ways."""
START_S = 1.5
"""So long a node that just joined listens before its first time-out: 1 heartbeat and some."""
DEAF_S = 2.5 * HEARTBEAT_S
"""Without its own heartbeat for so long a node cannot know whether a leader lives."""
BLIND_S = 5 * LEASE_S
"""A leader that does not hear its own heartbeat for so long resigns: it plans by what it knew. A
broker that stands still for less costs no leader, and one that takes longer to answer than this is
left by then: two keepalives of 5 s."""
HAND_OVER_S = 3 * LEASE_S
"""An edge node alive for so long takes over from a leader of another tier."""

TERM_LEAP_MAX = 1 << 20
"""A claim so far above all that was heard is nobody's: terms rise by one, and a year of an election
a minute is half of this. Heeded, it would leave no number for the next claim to be above."""
BEATS_KEPT = 16
"""Claims whose last beat is remembered, against replays; more than ever stand at once."""


@dataclass(frozen=True, slots=True)
class Election:
    """This node's view of who leads; `step`s return the next view and the messages to publish."""

    node: str
    session: int
    rank: int
    can_lead: bool = False
    term: int = 0
    highest: Claim | None = None
    highest_since_s: float = 0.0
    leader: Claim | None = None
    """The claim that this node follows, or followed last; fresh until `expires_s`."""
    beats: tuple[tuple[Claim, int], ...] = ()
    """The highest beat heard of each of the last claims, newest first: a lower one is a replay."""
    expires_s: float = float("inf")
    """The leader's lease, or the end of listening; infinite while cut from the broker."""
    mine: Claim | None = None
    my_beat: int = 0
    beat_due_s: float = 0.0
    echo_s: float = float("-inf")
    """When our own heartbeat last came back."""
    connected_s: float = float("-inf")
    """When the broker was last reached: before that no heartbeat could come back."""
    stretch_s: float = 0.0
    """How far our own loop lags: every wait for a leader is longer by this."""

    def follows(self, now_s: float) -> Claim | None:
        """The claim whose lease runs; ours where this node leads."""
        if self.mine is not None:
            return self.mine
        return self.leader if now_s < self.expires_s + self.stretch_s else None

    @property
    def leads(self) -> bool:
        """This node leads, and knows of no claim above its own: it may plan."""
        return self.mine is not None and self.mine == self.highest

    def on_broker(self, up: bool, now_s: float, reconnect: bool) -> Election:
        """Leases stand still while we are cut off; after a return everybody gets time to return."""
        if not up:
            return replace(self, expires_s=float("inf"))
        wait_s = RECONNECT_GRACE_S if reconnect else START_S
        return replace(self, expires_s=now_s + wait_s, beat_due_s=now_s, connected_s=now_s)

    def on_pause(self, paused_s: float) -> Election:
        """Our own loop stood still: so did the lease, or a slow machine deposes good leaders."""
        return replace(self, expires_s=self.expires_s + paused_s)

    def on_lag(self, lag_s: float) -> Election:
        """So far our own loop lags now."""
        return self if lag_s == self.stretch_s else replace(self, stretch_s=lag_s)

    def on_echo(self, now_s: float) -> Election:
        """Our own heartbeat came back; after a silence our leader's beat may be right behind it."""
        was_deaf = now_s - max(self.echo_s, self.connected_s) > DEAF_S
        expires_s = max(self.expires_s, now_s + LEASE_S) if was_deaf else self.expires_s
        return replace(self, echo_s=now_s, expires_s=expires_s)

    def saw(self, claim: Claim, now_s: float) -> Election:
        """Somebody mentioned this claim; nothing is proved about its leader."""
        if self.highest is not None and claim <= self.highest:
            return self
        if self._is_absurd(claim):
            return self
        term = max(self.term, claim.term)
        return replace(self, highest=claim, highest_since_s=now_s, term=term)

    def _is_absurd(self, claim: Claim) -> bool:
        return claim.term > self.term + TERM_LEAP_MAX

    def on_leader(
        self, message: Leader, retained: bool, now_s: float
    ) -> tuple[Election, tuple[Leader, ...]]:
        """A claim on the `leader` topic, fresh or not."""
        claim = message.claim
        if self._is_absurd(claim):
            return self, ()
        state = self.saw(claim, now_s)
        if (claim.node, claim.session) == (self.node, self.session):
            return state, ()
        if state.mine is not None and claim < state.mine:
            # A stale or lower claim stands where readers look for ours.
            return state._beat(now_s) if now_s + BEAT_S / 2 > state.beat_due_s else (state, ())
        if retained or message.beat <= dict(state.beats).get(claim, -1):
            return state, ()
        state = state._remember(message)
        is_lower = state.leader is not None and claim < state.leader
        if is_lower and now_s < state.expires_s + state.stretch_s:
            return state, ()
        return state._follow(message, now_s), ()

    def tick(
        self, better: int, edge_alive_s: float, now_s: float
    ) -> tuple[Election, tuple[Leader, ...]]:
        """Time passed. `better`: living candidates of better rank; `edge_alive_s`: how long the
        longest-living edge candidate has been here (0 where this node is one itself)."""
        if self.mine is None:
            return self._claim(now_s) if self._may_claim(better, now_s) else (self, ())
        deaf_s = now_s - max(self.echo_s, self.connected_s)
        if edge_alive_s > HAND_OVER_S or deaf_s > BLIND_S:
            return self.resign(now_s)
        if self.highest is not None and self.highest > self.mine:
            # Gossip of a higher claim whose leader never spoke: claim again above it.
            if now_s - self.highest_since_s > LEASE_S:
                return self._claim(now_s)
            return self, ()
        return self._beat(now_s) if now_s >= self.beat_due_s else (self, ())

    def resign(self, now_s: float) -> tuple[Election, tuple[Leader, ...]]:
        """Stop leading and say so, so that nobody waits for the lease to run out."""
        if self.mine is None:
            return self, ()
        farewell = Leader(self.mine, LEASE_S, self.my_beat + 1, resigned=True)
        expires_s = now_s + HAND_OVER_S
        state = replace(self, leader=None, mine=None, my_beat=farewell.beat, expires_s=expires_s)
        return state, (farewell,)

    def _may_claim(self, better: int, now_s: float) -> bool:
        # Cut off since its last beat, we would not have heard the next ones either.
        is_cut_off = self.echo_s <= self.expires_s - LEASE_S + BEAT_S
        is_deaf = is_cut_off or now_s - self.echo_s > DEAF_S
        due_s = self.expires_s + self.stretch_s + better * STAGGER_S
        return self.can_lead and not is_deaf and now_s >= due_s

    def _claim(self, now_s: float) -> tuple[Election, tuple[Leader, ...]]:
        claim = Claim(self.term + 1, self.rank, self.node, self.session)
        return replace(
            self, term=claim.term, highest=claim, highest_since_s=now_s, leader=claim, mine=claim
        )._beat(now_s)

    def _beat(self, now_s: float) -> tuple[Election, tuple[Leader, ...]]:
        assert self.mine is not None
        message = Leader(self.mine, LEASE_S, self.my_beat + 1)
        return replace(self, my_beat=message.beat, beat_due_s=now_s + BEAT_S), (message,)

    def _follow(self, message: Leader, now_s: float) -> Election:
        expires_s = now_s if message.resigned else now_s + LEASE_S
        return replace(self, leader=message.claim, mine=None, expires_s=expires_s)

    def _remember(self, message: Leader) -> Election:
        others = tuple(pair for pair in self.beats if pair[0] != message.claim)
        return replace(self, beats=((message.claim, message.beat), *others)[:BEATS_KEPT])
