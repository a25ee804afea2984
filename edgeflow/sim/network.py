"""Links between nodes: up once both sides want each other's session, in order until they break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeflow.sim.clockwork import Clockwork

Pair = tuple[str, str]


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
    sent_s: dict[tuple[str, str, str], float] = field(default_factory=dict)

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
        a, b = _pair(node, peer)
        mine, theirs = self.wishes.get((a, b)), self.wishes.get((b, a))
        if (
            mine is None
            or theirs is None
            or (a, b) in self.cut | self.up.keys() | self.untold.keys()
        ):
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
        self, sender: str, receiver: str, lane: str, delay_s: float, deliver: Callable[[], None]
    ) -> bool:
        """In order per lane; lost if the link breaks on the way."""
        pair = _pair(sender, receiver)
        sessions = self.up.get(pair)
        if sessions is None:
            return False
        key = (sender, receiver, lane)
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

    def heal(self) -> None:
        """Every cut is mended; links come back by themselves."""
        self.cut.clear()
        for node, peer in sorted(self.wishes):
            if node < peer:
                delay_s = self.clockwork.jitter(0.01, 0.5)
                self.clockwork.after(delay_s, _meeting(self, node, peer))

    def gone(self, node: str) -> None:
        """A node died: its links break, its peers hear of it sooner or later."""
        for pair in [pair for pair in self.up if node in pair]:
            self._break(pair)
        for key in [key for key in self.wishes if key[0] == node]:
            del self.wishes[key]

    def _break(self, pair: Pair, tell: str = "") -> None:
        sessions = self.up.pop(pair, None)
        if sessions is None:
            return
        for node, peer, session in (
            (pair[0], pair[1], sessions[1]),
            (pair[1], pair[0], sessions[0]),
        ):
            if node != tell:
                self.untold[pair] = self.untold.get(pair, 0) + 1
                delay_s = self.clockwork.jitter(0.0, 2.0)
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
