"""Links between nodes: up once both sides want each other's session, in order until they break.

    wished by both, nobody asleep, no cut ──▶ up ──cut, death, sleep──▶ broken, each side is told
         ^───────────────────────────── both were told ──────────────────────────'

What is on its way when a link breaks is lost, and the sender does not hear of it. A one-way cut and
a frozen peer swallow until the heartbeat's time-out; a slow link has a queue, and what does not fit
into it is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.sim.clockwork import Clockwork

Pair = tuple[str, str]
TIME_OUT_S = (1.5, 2.2)
"""Silence after which the links' heartbeat gives a peer up."""
NOTICED_S = 0.3
"""After it both ends know, give or take."""
QUEUE_BYTES = 4 << 20
"""Held for one slow link: a few frames, as the shell's 256 MB are for real tensors."""


@dataclass(slots=True)
class End:
    """One side's wish: a peer's session."""

    session: int
    mine: int


@dataclass(slots=True)
class Network:
    """Every link. A side is told of LinkUp and LinkDown through its callbacks."""

    clockwork: Clockwork
    session_of: Callable[[str], int | None]
    """A node's living session."""
    tell: Callable[[str, str, int, bool], None]
    """(node, peer, the peer's session, up)."""
    wishes: dict[Pair, End] = field(default_factory=dict)
    up: dict[Pair, tuple[int, int]] = field(default_factory=dict)
    """(a, b), a < b -> their sessions."""
    cut: set[Pair] = field(default_factory=set)
    untold: dict[Pair, int] = field(default_factory=dict)
    """Broken links of which a side does not know yet: they do not come back before it does."""
    asleep: set[str] = field(default_factory=set)
    """Frozen: nobody can greet them."""
    foreign: set[str] = field(default_factory=set)
    """Speak another version: their Hello is refused."""
    swallows: set[Pair] = field(default_factory=set)
    """(sender, receiver): nothing arrives."""
    rates: dict[Pair, float] = field(default_factory=dict)
    """Slow links, in bytes per second."""
    free_s: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """By sender, receiver and lane of a slow link: when its queue is empty."""
    sent_s: dict[tuple[str, str, str], float] = field(default_factory=dict)
    dropped: int = 0

    def wish(self, node: str, mine: int, peer: str, session: int) -> None:
        """A node wants a link to this session of a peer."""
        self.wishes[node, peer] = End(session, mine)
        self.clockwork.after(self.clockwork.jitter(0.002, 0.05), lambda: self.meet(node, peer))

    def unwish(self, node: str, peer: str) -> None:
        """A node forgets a peer."""
        self.wishes.pop((node, peer), None)
        self._break(_pair(node, peer), tell=node)

    def meet(self, node: str, peer: str) -> None:
        """Bring the link up if nothing is in the way."""
        a, b = pair = _pair(node, peer)
        mine, theirs = self.wishes.get((a, b)), self.wishes.get((b, a))
        if mine is None or theirs is None or self._is_hindered(pair):
            return
        sessions = (self.session_of(a), self.session_of(b))
        if None in sessions or (theirs.session, mine.session) != sessions:
            return
        if (mine.mine, theirs.mine) != sessions:
            return
        self.up[a, b] = (mine.mine, theirs.mine)
        self.tell(a, b, theirs.mine, True)
        self.tell(b, a, mine.mine, True)

    def send(
        self,
        sender: str,
        receiver: str,
        lane: str,
        size_bytes: int,
        delay_s: float,
        deliver: Callable[[], None],
    ) -> bool:
        """In order per lane; lost if the link breaks on the way."""
        pair = _pair(sender, receiver)
        sessions = self.up.get(pair)
        if sessions is None:
            return False
        key = (sender, receiver, lane)
        if pair in self.rates:
            left_s = self._queue_s(key, self.rates[pair], size_bytes)
            if left_s is None:
                self.dropped += 1
                return False
            delay_s += left_s
        if (sender, receiver) in self.swallows:
            return True
        arrival_s = max(self.sent_s.get(key, 0.0), self.clockwork.now_s + delay_s)
        self.sent_s[key] = arrival_s

        def arrive() -> None:
            if self.up.get(pair) == sessions:
                deliver()

        self.clockwork.after(arrival_s - self.clockwork.now_s, arrive)
        return True

    def sever(self, a: str, b: str) -> None:
        """Cut the way between two nodes."""
        pair = _pair(a, b)
        self.cut.add(pair)
        self._break(pair)

    def mend(self, a: str, b: str) -> None:
        """The way between two nodes is open and fast again."""
        self.cut.discard(_pair(a, b))
        self.swallows -= {(a, b), (b, a)}
        self.rates.pop(_pair(a, b), None)
        self.clockwork.after(self.clockwork.jitter(0.01, 0.5), lambda: self.meet(a, b))

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """Nothing of the sender arrives; once a heartbeat is missed the link is gone for both."""
        self.swallows.add((sender, receiver))

        def give_up() -> None:
            if (sender, receiver) in self.swallows:
                self._break(_pair(sender, receiver), late_s=NOTICED_S)

        self.clockwork.after(self.clockwork.jitter(*TIME_OUT_S), give_up)

    def heal(self) -> None:
        """Every cut is mended; links come back by themselves."""
        self.cut.clear()
        self.swallows.clear()
        self.rates.clear()
        self._meet_all(lambda node, peer: node < peer)

    def gone(self, node: str) -> None:
        """A node died: its links break, its peers hear of it sooner or later."""
        self.asleep.discard(node)
        for pair in [pair for pair in self.up if node in pair]:
            self._break(pair)
        for key in [key for key in self.wishes if key[0] == node]:
            del self.wishes[key]

    def sleep(self, node: str) -> None:
        """A node stands still: its peers notice after the heartbeat's time-out."""
        self.asleep.add(node)

        def give_up() -> None:
            if node in self.asleep:
                for pair in [pair for pair in self.up if node in pair]:
                    self._break(pair, late_s=NOTICED_S)

        self.clockwork.after(self.clockwork.jitter(*TIME_OUT_S), give_up)

    def wake(self, node: str) -> None:
        """It goes on."""
        self.asleep.discard(node)
        self._meet_all(lambda a, b: a == node)

    def _is_hindered(self, pair: Pair) -> bool:
        a, b = pair
        if pair in self.up or pair in self.cut or pair in self.untold:
            return True
        if (a, b) in self.swallows or (b, a) in self.swallows:
            return True
        return not ({a, b}.isdisjoint(self.asleep) and {a, b}.isdisjoint(self.foreign))

    def _queue_s(
        self, key: tuple[str, str, str], bytes_per_s: float, size_bytes: int
    ) -> float | None:
        """How long a message waits for those before it and leaves; None: it does not fit."""
        now_s = self.clockwork.now_s
        start_s = max(now_s, self.free_s.get(key, 0.0))
        if (start_s - now_s) * bytes_per_s + size_bytes > QUEUE_BYTES:
            return None
        self.free_s[key] = start_s + size_bytes / bytes_per_s
        return self.free_s[key] - now_s

    def _meet_all(self, which: Callable[[str, str], bool]) -> None:
        for node, peer in sorted(self.wishes):
            if which(node, peer):
                delay_s = self.clockwork.jitter(0.01, 0.5)
                self.clockwork.after(delay_s, _meeting(self, node, peer))

    def _break(self, pair: Pair, tell: str = "", late_s: float = 2.0) -> None:
        sessions = self.up.pop(pair, None)
        if sessions is None:
            return
        for node, peer, session in (
            (pair[0], pair[1], sessions[1]),
            (pair[1], pair[0], sessions[0]),
        ):
            if node != tell:
                self.untold[pair] = self.untold.get(pair, 0) + 1
                delay_s = self.clockwork.jitter(0.0, late_s)
                self.clockwork.after(delay_s, _telling(self, node, peer, session))


def _pair(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)


def _meeting(network: Network, node: str, peer: str) -> Callable[[], None]:
    return lambda: network.meet(node, peer)


def _telling(network: Network, node: str, peer: str, session: int) -> Callable[[], None]:
    def tell() -> None:
        pair = _pair(node, peer)
        network.untold[pair] -= 1
        if not network.untold[pair]:
            del network.untold[pair]
        network.tell(node, peer, session, False)
        network.clockwork.after(0.1, _meeting(network, node, peer))

    return tell
